//! The services' own TLS certificate from the embedded CA: made at the first start, renewed a month before its end.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use der::{Decode, DecodePem};
use muster_ca::server_certificate;
use muster_core::audit::Actor;
use muster_core::identity::{AccountName, Method};
use muster_core::issuance::{Opening, RequestRecord};
use muster_core::names::AltName;
use muster_core::{UnixTime, policy};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::enroll::Enrollment;

/// The arc of the internal template below the installation's; templates of the catalog get random arcs, two of them.
const OWN_TEMPLATE_ARC: u32 = 1;
/// A certificate with less than this left is replaced.
const RENEW_BEFORE: i64 = 30 * 86_400;

/// Makes sure that there is a certificate for `names` with a month to live, and says where certificate and key are.
///
/// # Errors
/// A sentence.
pub(crate) async fn ensure(
    enrollment: &Enrollment,
    data_dir: &Path,
    names: &[String],
) -> Result<(PathBuf, PathBuf), String> {
    let directory = data_dir.join("tls");
    let (certificate_file, key_file) = (directory.join("server.pem"), directory.join("server.key.pem"));
    let names: Vec<AltName> = names
        .iter()
        .map(|name| name.parse::<IpAddr>().map_or_else(|_| AltName::Dns(name.clone()), AltName::Ip))
        .collect();
    let now = enrollment.clock.now();
    if key_file.exists() && is_good(&certificate_file, &names, now) {
        return Ok((certificate_file, key_file));
    }
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let authority = &enrollment.authority;
    let instance = enrollment.store.instance().await.map_err(|e| text(&e))?;
    let instance =
        instance.ok_or("the store belongs to no installation; make one with 'muster quickstart'")?;
    let template = instance.oid_root.child(&[OWN_TEMPLATE_ARC]);
    let (approved, key) =
        server_certificate::approve(authority, &names, template, now).map_err(|e| text(&e))?;
    let id = enrollment.store.reserve_request_id().await.map_err(|e| text(&e))?;
    let account: AccountName = approved.requester().clone();
    let record = RequestRecord {
        id,
        received: now,
        actor: Actor::Service,
        requester: account,
        method: Method::ClientCertificate,
        form: "own_service",
        template: Some(policy::OWN_SERVICE_TEMPLATE.to_owned()),
        endpoint: "own service".to_owned(),
        raw: approved.contents().spki.clone(),
        renews: None,
    };
    let issued = enrollment
        .issue(approved, id, Opening::New(Box::new(record)), Actor::Service)
        .await
        .map_err(|e| e.detail().unwrap_or_else(|| e.to_string()))?;
    let leaf = Certificate::from_der(issued.certificate()).map_err(|e| text(&e))?;
    let mut chain = der::EncodePem::to_pem(&leaf, der::pem::LineEnding::LF).map_err(|e| text(&e))?;
    chain.push_str(&crate::certificate_pem(authority.certificate()));
    let pem = key.to_pem().map_err(|e| text(&e))?;
    std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    // The key first: a certificate without its key would be found good at the next start.
    write_private(&key_file, pem.as_bytes())?;
    write_private(&certificate_file, chain.as_bytes())?;
    tracing::info!(request.id = id.number(), "the services' own certificate was issued");
    Ok((certificate_file, key_file))
}

fn is_good(path: &Path, names: &[AltName], now: UnixTime) -> bool {
    let Ok(pem) = std::fs::read(path) else { return false };
    let Ok(certificate) = Certificate::from_pem(&pem) else { return false };
    let tbs = certificate.tbs_certificate();
    let end = i64::try_from(tbs.validity().not_after.to_unix_duration().as_secs()).unwrap_or(0);
    let Ok(Some((_, found))) = tbs.get_extension::<SubjectAltName>() else { return false };
    let found: Vec<AltName> = found
        .0
        .iter()
        .filter_map(|name| {
            if let GeneralName::DnsName(name) = name {
                return Some(AltName::Dns(name.to_string()));
            }
            let GeneralName::IpAddress(octets) = name else { return None };
            address(octets.as_bytes()).map(AltName::Ip)
        })
        .collect();
    now.plus(RENEW_BEFORE).0 < end && found == names
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, octets: &[u8]) -> Result<(), String> {
    let wrong = |e: std::io::Error| format!("{}: {e}", path.display());
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).map_err(wrong)?;
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(wrong)?;
    std::fs::rename(&temporary, path).map_err(wrong)?;
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(wrong)?;
    }
    Ok(())
}
