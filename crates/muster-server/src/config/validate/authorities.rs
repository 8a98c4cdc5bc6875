//! The certification authorities, and in whose name each is asked.

mod relay;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_core::Method;
use muster_core::names::is_host_name;

use super::{Fault, fault};
use crate::config::file::{self, Backend as Kind, Protocol};
use crate::config::{
    AdcsSettings, Backend, CaSettings, EmbeddedSettings, IdentityMode, OwnAccount, Publication,
};

/// Names that are told in one policy answer.
const MOST: usize = 32;

/// The authorities by name, at most one of them embedded.
pub(super) fn authorities(tree: &file::File, base: &Path, data_dir: &Path) -> Result<Vec<CaSettings>, Fault> {
    if tree.ca.is_empty() || tree.ca.len() > MOST {
        return fault("ca", format!("needs 1 to {MOST} tables [ca.\"NAME\"]"));
    }
    let mut embedded: Option<&str> = None;
    let mut all = Vec::new();
    for (name, written) in &tree.ca {
        let key = format!("ca.\"{name}\"");
        if name.trim() != name
            || name.is_empty()
            || name.chars().count() > 64
            || name.contains(['/', '\\', '%', '?', '#', '"'])
        {
            return fault(key, "the name must have 1 to 64 characters, none of them / \\ % ? # \"");
        }
        let shared: Arc<str> = name.as_str().into();
        only_its_own(&key, written)?;
        let backend = match written.backend {
            Kind::Embedded => {
                if let Some(first) = embedded.replace(name) {
                    return fault(
                        format!("{key}.backend"),
                        format!("there can be one embedded CA, and that is ca.\"{first}\""),
                    );
                }
                Backend::Embedded(embedded_ca(tree, data_dir, &key, &shared, written)?)
            }
            Kind::Adcs => Backend::Adcs(adcs(tree, base, &key, written)?),
            Kind::Relay => Backend::Relay(Box::new(relay::settings(tree, base, &key, written)?)),
        };
        all.push(CaSettings { name: shared, backend });
    }
    if embedded.is_none() && !tree.tls.names.is_empty() {
        return fault("tls.names", "is for a certificate from the embedded CA, and there is none");
    }
    Ok(all)
}

/// Keys of another kind of CA would do nothing.
fn only_its_own(key: &str, written: &file::Ca) -> Result<(), Fault> {
    let of_embedded = [
        ("directory", written.directory.is_some()),
        ("passphrase_file", written.passphrase_file.is_some()),
        ("crl_days", written.crl_days.is_some()),
    ];
    let of_adcs = [
        ("server", written.server.is_some()),
        ("mapper_port", written.mapper_port.is_some()),
        ("protocol", written.protocol.is_some()),
        ("agent_certificate", written.agent_certificate.is_some()),
        ("agent_key", written.agent_key.is_some()),
    ];
    let of_relay = [
        ("password_url", written.password_url.is_some()),
        ("kerberos_url", written.kerberos_url.is_some()),
        ("certificate_url", written.certificate_url.is_some()),
        ("ca_file", written.ca_file.is_some()),
        ("client_certificate", written.client_certificate.is_some()),
        ("client_key", written.client_key.is_some()),
    ];
    let of_others = [
        ("certificates", !written.certificates.is_empty()),
        ("account", written.account.is_some()),
        ("keytab", written.keytab.is_some()),
        ("templates", !written.templates.is_empty()),
        ("connect_seconds", written.connect_seconds.is_some()),
        ("call_seconds", written.call_seconds.is_some()),
        ("max_connections", written.max_connections.is_some()),
    ];
    let (foreign, word) = match written.backend {
        Kind::Embedded => ([&of_adcs[..], &of_relay, &of_others].concat(), "embedded"),
        Kind::Adcs => ([&of_embedded[..], &of_relay].concat(), "adcs"),
        Kind::Relay => ([&of_embedded[..], &of_adcs].concat(), "relay"),
    };
    match foreign.iter().find(|(_, is_written)| *is_written) {
        Some((name, _)) => {
            fault(format!("{key}.{name}"), format!("is not for a CA with backend = \"{word}\""))
        }
        None => Ok(()),
    }
}

fn embedded_ca(
    tree: &file::File,
    data_dir: &Path,
    key: &str,
    name: &Arc<str>,
    written: &file::Ca,
) -> Result<EmbeddedSettings, Fault> {
    let crl_days = written.crl_days.unwrap_or(7);
    if !(1..=30).contains(&crl_days) {
        return fault(format!("{key}.crl_days"), "must be 1 to 30");
    }
    let Some(publication) = &tree.publication else {
        return fault("publication", "is missing: the embedded CA needs it for its revocation list");
    };
    let url = publication.url.trim_end_matches('/');
    if !url.starts_with("http://") || url.len() <= "http://".len() {
        return fault(
            "publication.url",
            "must begin with http:// and name a host: clients that check revocation cannot start with HTTPS",
        );
    }
    let in_data = |path: &Option<PathBuf>, default: &str| {
        path.as_ref().map_or_else(|| data_dir.join(default), |path| data_dir.join(path))
    };
    Ok(EmbeddedSettings {
        name: Arc::clone(name),
        directory: in_data(&written.directory, "ca"),
        passphrase_file: in_data(&written.passphrase_file, "secrets/ca.passphrase"),
        crl_days,
        publication: Publication { address: publication.address, url: url.to_owned() },
    })
}

fn adcs(tree: &file::File, base: &Path, key: &str, written: &file::Ca) -> Result<AdcsSettings, Fault> {
    let Some(server) = &written.server else {
        return fault(format!("{key}.server"), "is missing: write the authority's host name");
    };
    if !(is_host_name(server, false) || server == "localhost") {
        return fault(
            format!("{key}.server"),
            format!("'{server}' must be a host name in lower case: tickets are for names"),
        );
    }
    let agent = match (&written.agent_certificate, &written.agent_key) {
        (Some(certificate), Some(key)) => Some((base.join(certificate), base.join(key))),
        (None, None) => None,
        (Some(_), None) => return fault(format!("{key}.agent_certificate"), "needs agent_key beside it"),
        (None, Some(_)) => return fault(format!("{key}.agent_key"), "needs agent_certificate beside it"),
    };
    Ok(AdcsSettings {
        agent,
        server: server.clone(),
        mapper_port: written.mapper_port.unwrap_or(135),
        protocol: written.protocol.unwrap_or(Protocol::Dcom),
        certificates: certificates(base, key, written)?,
        account: own_account(tree, base, key, written)?,
        templates: written.templates.clone(),
        connect: seconds(key, "connect_seconds", written.connect_seconds, 10)?,
        call: seconds(key, "call_seconds", written.call_seconds, 60)?,
        max_connections: max_connections(key, written)?,
    })
}

fn certificates(base: &Path, key: &str, written: &file::Ca) -> Result<Vec<PathBuf>, Fault> {
    if written.certificates.is_empty() {
        return fault(
            format!("{key}.certificates"),
            "is missing: without the authority's certificate its answers cannot be checked",
        );
    }
    Ok(written.certificates.iter().map(|file| base.join(file)).collect())
}

fn seconds(key: &str, name: &str, value: Option<u64>, default: u64) -> Result<Duration, Fault> {
    match value.unwrap_or(default) {
        value @ 1..=300 => Ok(Duration::from_secs(value)),
        _ => fault(format!("{key}.{name}"), "must be 1 to 300"),
    }
}

fn max_connections(key: &str, written: &file::Ca) -> Result<usize, Fault> {
    match written.max_connections.unwrap_or(64) {
        number @ 1..=1_024 => Ok(number),
        _ => fault(format!("{key}.max_connections"), "must be 1 to 1024"),
    }
}

/// Who this service is at another CA.
fn own_account(
    tree: &file::File,
    base: &Path,
    key: &str,
    written: &file::Ca,
) -> Result<Option<OwnAccount>, Fault> {
    let Some(account) = &written.account else {
        return match written.keytab {
            Some(_) => fault(format!("{key}.keytab"), "needs account beside it"),
            None => Ok(None),
        };
    };
    let Some((_, realm)) =
        account.rsplit_once('@').filter(|(name, realm)| !name.is_empty() && !realm.is_empty())
    else {
        return fault(format!("{key}.account"), "must name the realm as well, as in svc-muster@CORP.EXAMPLE");
    };
    let keytab = written.keytab.as_ref().or_else(|| tree.kerberos.get(realm).map(|known| &known.keytab));
    match keytab {
        Some(keytab) => Ok(Some(OwnAccount { principal: account.clone(), keytab: base.join(keytab) })),
        None => fault(
            format!("{key}.keytab"),
            format!("is missing, and there is no [kerberos.\"{realm}\"] with one"),
        ),
    }
}

/// The CA that a table names, or the only one.
pub(super) fn named<'c>(
    key: &str,
    name: Option<&String>,
    authorities: &'c [CaSettings],
) -> Result<&'c CaSettings, Fault> {
    match (name, authorities) {
        (Some(name), _) => match authorities.iter().find(|ca| *ca.name == **name) {
            Some(ca) => Ok(ca),
            None => fault(format!("{key}.ca"), format!("there is no [ca.\"{name}\"]")),
        },
        (None, [only]) => Ok(only),
        (None, _) => fault(format!("{key}.ca"), "is missing: there are several CAs"),
    }
}

/// Whether an endpoint says in whose name its CA is asked, and can.
pub(super) fn identity(
    key: &str,
    written: &file::EnrollmentEndpoint,
    ca: &CaSettings,
    tree: &file::File,
) -> Result<Option<IdentityMode>, Fault> {
    let key = format!("{key}.identity");
    let adcs = match (&ca.backend, written.identity) {
        (Backend::Embedded(_), None) => return Ok(None),
        (Backend::Embedded(_), Some(_)) => return fault(key, "is not for the embedded CA"),
        (Backend::Adcs(adcs), _) => adcs,
        (Backend::Relay(relay), _) => return relay::identity(&key, written, ca, relay, tree),
    };
    let needs_account = match (written.identity, written.authentication) {
        (None, _) => {
            return fault(
                key,
                "is missing: write \"delegate\", to ask the authority in the caller's name, \"renew_on_behalf\" or \"registration_authority\"",
            );
        }
        (Some(IdentityMode::RegistrationAuthority), _) if adcs.agent.is_none() => {
            return fault(
                format!("ca.\"{}\".agent_certificate", ca.name),
                "is missing: a registration authority signs what it passes on",
            );
        }
        (Some(IdentityMode::RenewOnBehalf), _) if !written.renewal_only => {
            return fault(
                key,
                "\"renew_on_behalf\" is for renewals alone: write renewal_only = true beside it",
            );
        }
        (Some(IdentityMode::Delegate), Method::UsernamePassword) => {
            if !tree.directory.values().any(|domain| domain.passwords) {
                return fault(
                    key,
                    "\"delegate\" with passwords needs a [directory.\"DOMAIN\"] with passwords = true: accounts of this installation alone are unknown to the authority",
                );
            }
            false
        }
        (Some(IdentityMode::RenewOnBehalf | IdentityMode::RegistrationAuthority), _)
        | (Some(IdentityMode::Delegate), Method::Kerberos | Method::ClientCertificate) => true,
    };
    if needs_account && adcs.account.is_none() {
        return fault(
            format!("ca.\"{}\".account", ca.name),
            "is missing: an endpoint asks this authority as, or by delegation to, an account of this service",
        );
    }
    if written.identity == Some(IdentityMode::Delegate) {
        can_delegate(key, written.authentication, adcs.account.as_ref(), tree)?;
    }
    Ok(written.identity)
}

/// Whether callers who come by this method can have what they are delegated by.
fn can_delegate(
    key: String,
    method: Method,
    account: Option<&OwnAccount>,
    tree: &file::File,
) -> Result<(), Fault> {
    match method {
        Method::Kerberos => {
            let account = account.map(|account| account.principal.as_str()).unwrap_or_default();
            let (_, realm) = account.rsplit_once('@').unwrap_or_default();
            if !tree.kerberos.contains_key(realm) {
                return fault(
                    key,
                    format!(
                        "\"delegate\" with tickets needs a [kerberos.\"{realm}\"] whose services are names of {account}: callers' tickets have to be for the account that asks the authority"
                    ),
                );
            }
        }
        Method::ClientCertificate if tree.directory.is_empty() => {
            return fault(
                key,
                "\"delegate\" with certificates needs a [directory.\"DOMAIN\"]: accounts of this installation alone are unknown to the authority",
            );
        }
        Method::ClientCertificate | Method::UsernamePassword => {}
    }
    Ok(())
}
