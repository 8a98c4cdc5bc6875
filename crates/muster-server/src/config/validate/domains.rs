//! Realms, domains, and other CAs: where callers come from that this installation does not know by itself.

use std::path::Path;
use std::sync::Arc;

use muster_core::Method;
use muster_core::names::is_host_name;
use muster_directory::ldap::{Access, LdapSettings, Login, Server, TlsBind, TlsStart};

use super::{Fault, fault};
use crate::config::{ClientTrust, DirectoryDomain, Endpoint, KerberosRealm, TrustedAccount, file};

/// The realms, and whether there is one for the endpoints that need one.
pub(super) fn kerberos<'e>(
    tree: &file::File,
    base: &Path,
    mut endpoints: impl Iterator<Item = &'e Arc<Endpoint>>,
) -> Result<Vec<KerberosRealm>, Fault> {
    let mut realms = Vec::new();
    for (name, written) in &tree.kerberos {
        let key = format!("kerberos.\"{name}\"");
        let is_realm = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b".-_".contains(&b));
        if !is_realm {
            return fault(
                key,
                format!("'{name}' is not the name of a realm: write it in upper case, as in CORP.EXAMPLE"),
            );
        }
        if written.services.is_empty() {
            return fault(format!("{key}.services"), "needs a name such as HTTP/pki.corp.example");
        }
        for service in &written.services {
            let host = service.strip_prefix("HTTP/");
            if !host.is_some_and(|host| host == "localhost" || is_host_name(host, false)) {
                return fault(
                    format!("{key}.services"),
                    format!("'{service}' must be HTTP/ and a host name in lower case, without the realm"),
                );
            }
        }
        realms.push(KerberosRealm {
            name: name.clone(),
            keytab: base.join(&written.keytab),
            services: written.services.clone(),
        });
    }
    if realms.is_empty() && endpoints.any(|endpoint| endpoint.method == Method::Kerberos) {
        return fault(
            "kerberos",
            "an endpoint has authentication = \"kerberos\"; add [kerberos.\"YOUR.REALM\"] with keytab and services",
        );
    }
    Ok(realms)
}

/// The domains, each with a way to reach it and a forest that it belongs to.
pub(super) fn directories(
    tree: &file::File,
    base: &Path,
    realms: &[KerberosRealm],
) -> Result<Vec<DirectoryDomain>, Fault> {
    tree.directory.iter().map(|(name, written)| directory(tree, base, realms, name, written)).collect()
}

fn directory(
    tree: &file::File,
    base: &Path,
    realms: &[KerberosRealm],
    name: &str,
    written: &file::Directory,
) -> Result<DirectoryDomain, Fault> {
    let key = format!("directory.\"{name}\"");
    if !is_host_name(name, false) {
        return fault(
            key,
            format!("'{name}' is not the DNS name of a domain: write it in lower case, as in corp.example"),
        );
    }
    let realm = written.realm.clone().unwrap_or_else(|| name.to_ascii_uppercase());
    let keytab = match (&written.keytab, realms.iter().find(|known| known.name == realm)) {
        (Some(file), _) => Some(base.join(file)),
        (None, known) => known.map(|known| known.keytab.clone()),
    };
    let kerberos = |file| Login::Keytab { file, principal: written.account.clone() };
    let access = match (&written.password_file, &written.ca_file, keytab) {
        (Some(_), None, _) => {
            return fault(
                format!("{key}.password_file"),
                "needs ca_file beside it: a password is sent over TLS alone",
            );
        }
        (Some(file), Some(ca_file), _) => Access::Tls {
            start: TlsStart::AtOnce,
            ca_file: base.join(ca_file),
            bind: TlsBind::Password { name: written.account.clone(), file: base.join(file) },
        },
        (None, Some(ca_file), Some(keytab)) => Access::Tls {
            start: TlsStart::AtOnce,
            ca_file: base.join(ca_file),
            bind: TlsBind::Kerberos(kerberos(keytab)),
        },
        (None, None, Some(keytab)) => Access::Sealed(kerberos(keytab)),
        (None, _, None) => {
            return fault(
                format!("{key}.keytab"),
                format!(
                    "is missing, and there is no [kerberos.\"{realm}\"] with one; or write password_file and ca_file"
                ),
            );
        }
    };
    if !written.account.contains('@') {
        return fault(
            format!("{key}.account"),
            format!("must name the realm as well, as in svc-muster@{realm}"),
        );
    }
    if written.passwords && !realms.iter().any(|known| known.name == realm) && written.trusted_by.is_none() {
        return fault(
            format!("{key}.passwords"),
            format!(
                "needs [kerberos.\"{realm}\"]: the KDC is believed only if it makes a ticket for this service"
            ),
        );
    }
    let servers = written.servers.iter().map(|server| server.parse::<Server>()).collect::<Result<_, _>>();
    let servers = servers.or_else(|error| fault(format!("{key}.servers"), error.to_string()))?;
    let forest = match &written.trusted_by {
        None => name.to_owned(),
        Some(other) => match tree.directory.get(other) {
            Some(trusting) if trusting.trusted_by.is_none() => other.clone(),
            Some(_) => {
                return fault(
                    format!("{key}.trusted_by"),
                    format!("directory.\"{other}\" has trusted_by itself: name the domain at the end"),
                );
            }
            None => {
                return fault(format!("{key}.trusted_by"), format!("there is no [directory.\"{other}\"]"));
            }
        },
    };
    Ok(DirectoryDomain {
        domain: name.to_owned(),
        realm,
        ldap: LdapSettings::new(name, servers, access),
        templates: written.templates && written.trusted_by.is_none(),
        passwords: written.passwords,
        upn_suffixes: written.upn_suffixes.clone(),
        forest,
    })
}

/// Other CAs, each with one way from a certificate to an account.
pub(super) fn client_trust(
    tree: &file::File,
    base: &Path,
    domains: &[DirectoryDomain],
) -> Result<Vec<ClientTrust>, Fault> {
    let build = |(i, written): (usize, &file::ClientTrust)| {
        let key = format!("client_trust[{i}]");
        let account = match (written.name, &written.directory) {
            (Some(name), None) if !written.weak_names => TrustedAccount::Local(name),
            (None, Some(domain)) if domains.iter().any(|known| known.domain == *domain) => {
                TrustedAccount::Directory { domain: domain.clone(), weak_names: written.weak_names }
            }
            (None, Some(domain)) => {
                return fault(format!("{key}.directory"), format!("there is no [directory.\"{domain}\"]"));
            }
            (Some(_), None) => {
                return fault(format!("{key}.weak_names"), "is for certificates of a directory");
            }
            (Some(_), Some(_)) | (None, None) => {
                return fault(format!("{key}.name"), "write either name or directory");
            }
        };
        Ok(ClientTrust {
            ca_file: base.join(&written.ca_file),
            crl_file: base.join(&written.crl_file),
            account,
        })
    };
    tree.client_trust.iter().enumerate().map(build).collect()
}
