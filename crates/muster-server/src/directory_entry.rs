//! This installation's CA as directories shall have it: what `muster ad publish` writes and `muster ad check` compares.

use std::sync::Arc;

use der::{Decode as _, Encode as _};
use muster_ca::CERTIFICATE_FILE;
use muster_core::Method;
use muster_directory::authority::ServerAuthentication;
use muster_directory::{CaPublication, EnrollmentServer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;

use crate::config::Settings;

/// The embedded CA with its enrollment addresses, offering `templates`.
///
/// # Errors
/// What is wrong with its certificate, or that there is no address to publish.
pub fn ca_publication(settings: &Settings, templates: Vec<String>) -> Result<CaPublication, String> {
    let embedded = settings.embedded().map_err(|e| e.to_string())?;
    let path = embedded.directory.join(CERTIFICATE_FILE);
    let wrong = |problem: String| format!("{}: {problem}", path.display());
    let der = CertificateDer::from_pem_file(&path).map_err(|e| wrong(e.to_string()))?;
    let certificate = Certificate::from_der(&der).map_err(|e| wrong(e.to_string()))?;
    let tbs = certificate.tbs_certificate();
    let name = embedded.name.to_string();
    let self_issued = tbs.issuer().to_der().ok() == tbs.subject().to_der().ok();
    let servers = servers(settings, &embedded.name);
    let dns_host_name = servers.first().and_then(|server| host(&server.uri)).unwrap_or_default().to_owned();
    if dns_host_name.is_empty() {
        return Err("there is no enrollment endpoint that could be published".to_owned());
    }
    Ok(CaPublication {
        display_name: name.clone(),
        dns_host_name,
        certificate: der.to_vec(),
        certificate_dn: tbs.subject().to_string(),
        templates,
        servers,
        roots: if self_issued { vec![(name.clone(), der.to_vec())] } else { Vec::new() },
        nt_auth: false,
        name,
    })
}

/// The enrollment addresses of a CA at this node and those that it advertises for others, the preferred one first.
fn servers(settings: &Settings, ca: &Arc<str>) -> Vec<EnrollmentServer> {
    let own = settings.enrollment_endpoints.iter().filter(|own| own.ca == *ca);
    let own =
        own.map(|own| server(&own.uri, own.method, own.priority, (own.renewal_only, own.key_based_renewal)));
    let others = settings.advertised.iter().filter(|other| other.ca == *ca);
    let others = others.map(|other| {
        server(&other.uri, other.method, other.priority, (other.renewal_only, other.key_based_renewal))
    });
    let mut all: Vec<EnrollmentServer> = own.chain(others).collect();
    all.sort();
    all
}

/// `renewal`: renewals alone, and key-based ones.
fn server(uri: &str, method: Method, priority: u32, renewal: (bool, bool)) -> EnrollmentServer {
    let (renewal_only, key_based_renewal) = renewal;
    let authentication = match method {
        Method::Kerberos => ServerAuthentication::Kerberos,
        Method::UsernamePassword => ServerAuthentication::UsernamePassword,
        Method::ClientCertificate => ServerAuthentication::Certificate,
    };
    EnrollmentServer { priority, authentication, renewal_only, uri: uri.to_owned(), key_based_renewal }
}

/// The host name of an `https` address.
#[must_use]
pub fn host(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("https://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use muster_core::Method;

    use super::{host, server};

    /// The fifth field of a value of msPKI-Enrollment-Servers tells of key-based renewal, the third of renewals alone.
    #[test]
    fn published_address_tells_of_key_based_renewal() {
        let uri = "https://pki.corp.example/renewal";
        let value = |renewal| server(uri, Method::ClientCertificate, 7, renewal).to_string();
        assert_eq!(value((true, true)), format!("7\n8\n1\n{uri}\n1"));
        assert_eq!(value((true, false)), format!("7\n8\n1\n{uri}\n0"));
        assert_eq!(value((false, false)), format!("7\n8\n0\n{uri}\n0"));
    }

    #[test]
    fn host_is_read_from_the_address() {
        assert_eq!(host("https://pki.corp.example/CA/service.svc/CES"), Some("pki.corp.example"));
        assert_eq!(host("https://pki.corp.example:8443/x"), Some("pki.corp.example"));
        assert_eq!(host("http://pki.corp.example/x"), None);
        assert_eq!(host("https:///x"), None);
    }
}
