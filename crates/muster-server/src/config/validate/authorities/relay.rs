//! An authority behind another enrollment service.

use std::path::Path;

use muster_core::Method;

use super::{Fault, can_delegate, certificates, fault, max_connections, own_account, seconds};
use crate::config::{CaSettings, IdentityMode, RelaySettings, Url, file};

pub(super) fn settings(
    tree: &file::File,
    base: &Path,
    key: &str,
    written: &file::Ca,
) -> Result<RelaySettings, Fault> {
    let url = |name: &str, text: &Option<String>| match text.as_deref().map(str::parse::<Url>) {
        None => Ok(None),
        Some(Ok(url)) => Ok(Some(url)),
        Some(Err(error)) => fault(format!("{key}.{name}"), error.to_string()),
    };
    let client = match (&written.client_certificate, &written.client_key) {
        (Some(certificate), Some(key)) => Some((base.join(certificate), base.join(key))),
        (None, None) => None,
        (Some(_), None) => return fault(format!("{key}.client_certificate"), "needs client_key beside it"),
        (None, Some(_)) => return fault(format!("{key}.client_key"), "needs client_certificate beside it"),
    };
    if client.is_some() != written.certificate_url.is_some() {
        return fault(format!("{key}.certificate_url"), "and client_certificate need each other");
    }
    let settings = RelaySettings {
        password_url: url("password_url", &written.password_url)?,
        kerberos_url: url("kerberos_url", &written.kerberos_url)?,
        certificate_url: url("certificate_url", &written.certificate_url)?,
        ca_file: written.ca_file.as_ref().map(|file| base.join(file)),
        certificates: certificates(base, key, written)?,
        account: own_account(tree, base, key, written)?,
        client,
        templates: written.templates.clone(),
        connect: seconds(key, "connect_seconds", written.connect_seconds, 10)?,
        call: seconds(key, "call_seconds", written.call_seconds, 60)?,
        max_connections: max_connections(key, written)?,
    };
    let urls = [&settings.password_url, &settings.kerberos_url, &settings.certificate_url];
    if urls.iter().all(|url| url.is_none()) {
        return fault(
            format!("{key}.password_url"),
            "is missing: write at least one of password_url, kerberos_url and certificate_url",
        );
    }
    Ok(settings)
}

/// Whether an endpoint says in whose name the other service is asked, and there is an address for it.
pub(super) fn identity(
    key: &str,
    written: &file::EnrollmentEndpoint,
    ca: &CaSettings,
    relay: &RelaySettings,
    tree: &file::File,
) -> Result<Option<IdentityMode>, Fault> {
    let missing =
        |name: &str, why: &str| fault(format!("ca.\"{}\".{name}", ca.name), format!("is missing: {why}"));
    match (written.identity, written.authentication) {
        (None, _) => {
            return fault(
                key,
                "is missing: write \"delegate\", to ask the other service in the caller's name, or \"renew_on_behalf\"",
            );
        }
        (Some(IdentityMode::RegistrationAuthority), _) => {
            return fault(key, "\"registration_authority\" is not for a CA with backend = \"relay\"");
        }
        (Some(IdentityMode::RenewOnBehalf), _) if !written.renewal_only => {
            return fault(
                key,
                "\"renew_on_behalf\" is for renewals alone: write renewal_only = true beside it",
            );
        }
        (Some(IdentityMode::RenewOnBehalf), _) if relay.client.is_some() => {}
        (Some(IdentityMode::Delegate), Method::UsernamePassword) => {
            if relay.password_url.is_none() {
                return missing("password_url", "an endpoint passes on passwords");
            }
        }
        (Some(IdentityMode::RenewOnBehalf), _)
        | (Some(IdentityMode::Delegate), Method::Kerberos | Method::ClientCertificate) => {
            if relay.kerberos_url.is_none() {
                return missing("kerberos_url", "an endpoint asks with tickets");
            }
            if relay.account.is_none() {
                return missing(
                    "account",
                    "an endpoint asks the other service as, or by delegation to, an account of this service",
                );
            }
        }
    }
    if written.identity == Some(IdentityMode::Delegate) {
        can_delegate(key.to_owned(), written.authentication, relay.account.as_ref(), tree)?;
    }
    Ok(written.identity)
}
