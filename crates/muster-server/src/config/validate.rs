//! From the tree as written to [`Settings`]: every rule between values, and the line at which one is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use muster_core::Method;
use muster_core::names::is_host_name;

use super::{Advertised, CaSettings, Endpoint, Listener, Service, Settings, TlsSettings, file};

mod authorities;
mod domains;
mod rpc;

/// A broken rule.
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) problem: String,
}

pub(super) fn fault<T>(key: impl Into<String>, problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { key: key.into(), problem: problem.into() })
}

pub(super) fn settings(tree: &file::File, base: &Path) -> Result<Settings, Fault> {
    // `base/.` would show in every message.
    let data_dir = if tree.data_dir == Path::new(".") { base.to_owned() } else { base.join(&tree.data_dir) };
    let listeners = super::sockets::listeners(tree)?;
    let authorities = authorities::authorities(tree, base, &data_dir)?;
    let policy_endpoints = policy_endpoints(tree, &listeners, &authorities)?;
    let enrollment_endpoints = enrollment_endpoints(tree, &listeners, &authorities)?;
    if policy_endpoints.is_empty() && enrollment_endpoints.is_empty() {
        return fault(
            "policy_endpoint",
            "no service is configured; add [[policy_endpoint]] or [[enrollment_endpoint]]",
        );
    }
    distinct_paths(&policy_endpoints, &enrollment_endpoints)?;
    if !(1..=8_760).contains(&tree.policy.next_update_hours) {
        return fault("policy.next_update_hours", "must be 1 to 8760");
    }
    if let Some(id) = &tree.policy.id
        && !is_braced_guid(id)
    {
        return fault("policy.id", "must look like {083C7011-0B4E-4E67-A0DB-3D4A6F2C4A1B}");
    }
    if !(4_096..=262_144).contains(&tree.limits.body_bytes) {
        return fault("limits.body_bytes", "must be 4096 to 262144");
    }
    for (key, value, most) in [
        ("limits.password_verifications", tree.limits.password_verifications, 256),
        ("limits.password_queue", tree.limits.password_queue, 65_536),
        ("limits.connections", tree.limits.connections, 1_000_000),
        ("limits.rpc_connections_per_account", tree.limits.rpc_connections_per_account, 1_000_000),
        (
            "limits.unauthenticated_connections_per_address",
            tree.limits.unauthenticated_connections_per_address,
            1_000_000,
        ),
    ] {
        if !(1..=most).contains(&value) {
            return fault(key, format!("must be 1 to {most}"));
        }
    }
    for (key, value, most) in [
        ("limits.handshake_seconds", tree.limits.handshake_seconds, 300),
        ("limits.header_seconds", tree.limits.header_seconds, 300),
        ("limits.body_seconds", tree.limits.body_seconds, 300),
        ("limits.write_seconds", tree.limits.write_seconds, 300),
        ("limits.rpc_idle_seconds", tree.limits.rpc_idle_seconds, 3_600),
        ("limits.rpc_lifetime_seconds", tree.limits.rpc_lifetime_seconds, 36_000),
    ] {
        if !(1..=most).contains(&value) {
            return fault(key, format!("must be 1 to {most}"));
        }
    }
    if !(1..=1_000_000).contains(&tree.limits.waiting_requests_per_account) {
        return fault("limits.waiting_requests_per_account", "must be 1 to 1000000");
    }
    if tree.limits.password_cache_seconds > 3_600 {
        return fault("limits.password_cache_seconds", "must be at most 3600; 0 remembers nothing");
    }
    let mut advertised = Vec::new();
    for (i, other) in tree.advertise.iter().enumerate() {
        let key = format!("advertise[{i}]");
        https_url(&format!("{key}.uri"), &other.uri, true)?;
        advertised.push(Advertised {
            ca: Arc::clone(&authorities::named(&key, other.ca.as_ref(), &authorities)?.name),
            uri: other.uri.clone(),
            method: other.authentication,
            priority: other.priority,
            renewal_only: other.renewal_only,
            key_based_renewal: other.key_based_renewal,
        });
    }
    let kerberos = domains::kerberos(tree, base, policy_endpoints.iter().chain(&enrollment_endpoints))?;
    let directories = domains::directories(tree, base, &kerberos)?;
    Ok(Settings {
        policy_name: tree.policy.name.clone(),
        policy_id: tree.policy.id.clone(),
        next_update_hours: tree.policy.next_update_hours,
        rpc: rpc::rpc(tree, base, &kerberos, &authorities)?,
        authorities,
        tls: tls(tree, base)?,
        listeners,
        policy_endpoints,
        enrollment_endpoints,
        advertised,
        client_trust: domains::client_trust(tree, base, &directories)?,
        directories,
        kerberos,
        proxy_certificates: tree.tls.proxy_certificates.iter().map(|file| base.join(file)).collect(),
        limits: tree.limits.clone(),
        data_dir,
    })
}

fn tls(tree: &file::File, base: &Path) -> Result<TlsSettings, Fault> {
    match (&tree.tls.certificate, &tree.tls.key, tree.tls.names.as_slice()) {
        (Some(certificate), Some(key), []) => {
            Ok(TlsSettings::Files { certificate: base.join(certificate), key: base.join(key) })
        }
        (None, None, names @ [_, ..]) => {
            for name in names {
                let lower = name.to_ascii_lowercase();
                if name.parse::<IpAddr>().is_err() && lower != "localhost" && !is_host_name(&lower, false) {
                    return fault("tls.names", format!("'{name}' is neither a host name nor an address"));
                }
            }
            Ok(TlsSettings::Embedded { names: names.iter().map(|n| n.to_ascii_lowercase()).collect() })
        }
        (Some(_), None, _) => fault("tls.certificate", "needs tls.key beside it"),
        (None, Some(_), _) => fault("tls.key", "needs tls.certificate beside it"),
        (Some(_), Some(_), [_, ..]) => {
            fault("tls.names", "is for a certificate from the embedded CA; remove it or certificate and key")
        }
        (None, None, []) => fault("tls", "needs either certificate and key, or names"),
    }
}

fn policy_endpoints(
    tree: &file::File,
    listeners: &BTreeMap<String, Listener>,
    authorities: &[CaSettings],
) -> Result<Vec<Arc<Endpoint>>, Fault> {
    let build = |(i, written): (usize, &file::PolicyEndpoint)| {
        let key = format!("policy_endpoint[{i}]");
        let listener = listener_for(&key, &written.listener, written.authentication, listeners)?;
        let path = match &written.path {
            Some(path) => checked_path(&key, path)?,
            None => {
                let mode = if written.key_based_renewal { "KeyBasedRenewal_" } else { "" };
                format!("/{mode}ADPolicyProvider_CEP_{}/service.svc/CEP", iis_word(written.authentication))
            }
        };
        key_based(&key, written.key_based_renewal, written.authentication)?;
        Ok(Arc::new(Endpoint {
            service: Service::Policy,
            ca: authorities.first().map(|ca| Arc::clone(&ca.name)).unwrap_or_default(),
            identity: None,
            method: written.authentication,
            listener: written.listener.clone(),
            uri: format!("{}{}", listener.url, encode_path(&path)),
            path,
            priority: 0,
            renewal_only: false,
            key_based_renewal: written.key_based_renewal,
        }))
    };
    tree.policy_endpoint.iter().enumerate().map(build).collect()
}

fn enrollment_endpoints(
    tree: &file::File,
    listeners: &BTreeMap<String, Listener>,
    authorities: &[CaSettings],
) -> Result<Vec<Arc<Endpoint>>, Fault> {
    let build = |(i, written): (usize, &file::EnrollmentEndpoint)| {
        let key = format!("enrollment_endpoint[{i}]");
        let listener = listener_for(&key, &written.listener, written.authentication, listeners)?;
        key_based(&key, written.key_based_renewal, written.authentication)?;
        if written.key_based_renewal && !written.renewal_only {
            return fault(
                format!("{key}.key_based_renewal"),
                "is for an endpoint that does nothing else: write renewal_only = true beside it",
            );
        }
        let ca = authorities::named(&key, written.ca.as_ref(), authorities)?;
        let identity = authorities::identity(&key, written, ca, tree)?;
        let path = match &written.path {
            Some(path) => checked_path(&key, path)?,
            None => format!("/{}_CES_{}/service.svc/CES", ca.name, iis_word(written.authentication)),
        };
        Ok(Arc::new(Endpoint {
            service: Service::Enrollment,
            ca: Arc::clone(&ca.name),
            identity,
            method: written.authentication,
            listener: written.listener.clone(),
            uri: format!("{}{}", listener.url, encode_path(&path)),
            path,
            priority: written.priority,
            renewal_only: written.renewal_only,
            key_based_renewal: written.key_based_renewal,
        }))
    };
    tree.enrollment_endpoint.iter().enumerate().map(build).collect()
}

/// Key-based renewal is for holders of certificates.
fn key_based(key: &str, wanted: bool, method: Method) -> Result<(), Fault> {
    match method {
        Method::UsernamePassword | Method::Kerberos if wanted => fault(
            format!("{key}.key_based_renewal"),
            "goes with authentication = \"client_certificate\" alone",
        ),
        Method::ClientCertificate | Method::UsernamePassword | Method::Kerberos => Ok(()),
    }
}

/// The word that IIS puts into its paths for an authentication.
const fn iis_word(method: Method) -> &'static str {
    match method {
        Method::UsernamePassword => "UsernamePassword",
        Method::ClientCertificate => "Certificate",
        Method::Kerberos => "Kerberos",
    }
}

fn listener_for<'l>(
    key: &str,
    name: &str,
    method: Method,
    listeners: &'l BTreeMap<String, Listener>,
) -> Result<&'l Listener, Fault> {
    let Some(listener) = listeners.get(name) else {
        return fault(format!("{key}.listener"), format!("there is no [listener.{name}]"));
    };
    let asks = listener.client_certificate;
    match method {
        Method::ClientCertificate if !asks => fault(
            format!("{key}.listener"),
            format!(
                "client_certificate needs a listener that asks for one: set listener.{name}.client_certificate = true, or use another"
            ),
        ),
        Method::UsernamePassword | Method::Kerberos if asks => fault(
            format!("{key}.listener"),
            format!("listener.{name} asks for client certificates; {} needs another one", method.as_str()),
        ),
        Method::ClientCertificate | Method::UsernamePassword | Method::Kerberos => Ok(listener),
    }
}

fn checked_path(key: &str, path: &str) -> Result<String, Fault> {
    if path.starts_with('/') && !path.contains(['?', '#', '%']) && !path.chars().any(char::is_control) {
        Ok(path.to_owned())
    } else {
        fault(format!("{key}.path"), "must begin with / and contain no ? # % (it is encoded by itself)")
    }
}

fn distinct_paths(policy: &[Arc<Endpoint>], enrollment: &[Arc<Endpoint>]) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    let keyed = policy.iter().enumerate().map(|(i, e)| (format!("policy_endpoint[{i}]"), e));
    let keyed =
        keyed.chain(enrollment.iter().enumerate().map(|(i, e)| (format!("enrollment_endpoint[{i}]"), e)));
    for (key, endpoint) in keyed {
        if !seen.insert((endpoint.listener.clone(), endpoint.path.to_ascii_lowercase())) {
            return fault(
                format!("{key}.path"),
                format!("{} is served twice by listener.{}", endpoint.path, endpoint.listener),
            );
        }
    }
    Ok(())
}

pub(super) fn https_url(key: &str, url: &str, with_path: bool) -> Result<(), Fault> {
    let host = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host)
            if !host.is_empty()
                && (with_path || !host.contains('/'))
                && !host.contains([' ', '?', '#', '@']) =>
        {
            Ok(())
        }
        _ if with_path => fault(
            key,
            format!(
                "'{url}' must be a URL such as https://pki.example/CA_CES_UsernamePassword/service.svc/CES"
            ),
        ),
        _ => fault(
            key,
            format!(
                "'{url}' must be a URL without a path, such as https://pki.example or https://pki.example:8443"
            ),
        ),
    }
}

fn is_braced_guid(text: &str) -> bool {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    inner.is_some_and(|t| {
        let groups: Vec<&str> = t.split('-').collect();
        groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
            && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}

/// Percent-encodes what may not stand in the path of a URL; IIS does so with the spaces of a CA's name.
pub(crate) fn encode_path(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"/-_.~!$&'()*+,;=:@".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

pub(super) fn line_of_offset(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// The key at an offset of the text, for errors of the TOML reader: the table and the start of the line.
pub(super) fn key_at(text: &str, offset: usize) -> String {
    let line = line_of_offset(text, offset);
    let table = text.lines().take(line).filter(|l| l.trim_start().starts_with('[')).last();
    let table = table.map(|l| l.trim().trim_matches(['[', ']']).to_owned());
    let key = text.lines().nth(line.saturating_sub(1)).and_then(|l| l.split_once('=')).map(|(k, _)| k.trim());
    match (table, key) {
        (Some(table), Some(key)) => format!("{table}.{key}"),
        (Some(table), None) => table,
        (None, Some(key)) => key.to_owned(),
        (None, None) => "the file".to_owned(),
    }
}

/// The line of a key such as `listener.main.address` or `policy_endpoint[1].listener`; of its table, if the key
/// itself is not written; 1 if the table is not either.
pub(super) fn line_of_key(text: &str, key: &str) -> usize {
    let Ok(root) = toml::de::DeTable::parse(text) else { return 1 };
    let mut table = root.get_ref();
    let mut at = 0;
    // A quoted part, such as that of a realm, has dots of its own.
    let mut quoted = false;
    let parts = key.split(|c: char| {
        quoted ^= c == '"';
        c == '.' && !quoted
    });
    for part in parts {
        let part = part.trim_matches('"');
        let (name, index) = match part.split_once('[') {
            Some((name, rest)) => (name, rest.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((found, value)) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name) else { break };
        at = found.span().start;
        let mut value = value;
        if let (toml::de::DeValue::Array(items), Some(index)) = (value.get_ref(), index) {
            let Some(item) = items.get(index) else { break };
            at = item.span().start;
            value = item;
        }
        let toml::de::DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    line_of_offset(text, at)
}
