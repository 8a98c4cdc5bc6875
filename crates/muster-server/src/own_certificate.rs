//! The certificates that the service needs itself, from the embedded CA: the one for TLS, made at the first start and
//! renewed a month before its end, and the CA's key exchange certificate, which lives for a week.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use der::{Decode, Encode};
use muster_ca::{Passphrase, exchange, server_certificate};
use muster_core::audit::Actor;
use muster_core::identity::Method;
use muster_core::issuance::{Issued, Opening, RequestRecord};
use muster_core::names::AltName;
use muster_core::{Approved, Oid, UnixTime, policy};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::enroll::Enrollment;

/// Arcs of the internal templates below the installation's root; templates of the catalog get two arcs, at random.
const OWN_TEMPLATE_ARC: u32 = 1;
const EXCHANGE_TEMPLATE_ARC: u32 = 2;
/// An exchange certificate with less than this left is replaced.
const RENEW_EXCHANGE_BEFORE: i64 = 2 * 86_400;
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
    let template = internal_template(enrollment, OWN_TEMPLATE_ARC).await?;
    let (approved, key) =
        server_certificate::approve(&enrollment.authority, &names, template, now).map_err(|e| text(&e))?;
    let issued = issue(enrollment, approved, policy::OWN_SERVICE_TEMPLATE).await?;
    let leaf = Certificate::from_der(issued.certificate()).map_err(|e| text(&e))?;
    let mut chain = der::EncodePem::to_pem(&leaf, der::pem::LineEnding::LF).map_err(|e| text(&e))?;
    chain.push_str(&crate::certificate_pem(enrollment.authority.certificate()));
    let pem = key.to_pem().map_err(|e| text(&e))?;
    std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    // The key first: a certificate without its key would be found good at the next start.
    write_private(&key_file, pem.as_bytes())?;
    write_private(&certificate_file, chain.as_bytes())?;
    tracing::info!(request.id = issued.id().number(), "the services' own certificate was issued");
    Ok((certificate_file, key_file))
}

/// Makes sure that there is a key exchange certificate with two days to live, and returns it, DER.
///
/// # Errors
/// A sentence.
pub(crate) async fn ensure_exchange(
    enrollment: &Enrollment,
    ca_directory: &Path,
    passphrase: &Passphrase,
) -> Result<Vec<u8>, String> {
    let (certificate_file, key_file) =
        (ca_directory.join("exchange.pem"), ca_directory.join("exchange.key.pem"));
    let now = enrollment.clock.now();
    if key_file.exists()
        && let Some(certificate) = read(&certificate_file)
        && now.plus(RENEW_EXCHANGE_BEFORE) < end_of(&certificate)
    {
        return certificate.to_der().map_err(|e| e.to_string());
    }
    let template = internal_template(enrollment, EXCHANGE_TEMPLATE_ARC).await?;
    let approved = exchange::approve(&enrollment.authority, template, &key_file, passphrase, now)
        .map_err(|e| e.to_string())?;
    let issued = issue(enrollment, approved, policy::EXCHANGE_TEMPLATE).await?;
    write_private(&certificate_file, crate::certificate_pem(issued.certificate()).as_bytes())?;
    tracing::info!(request.id = issued.id().number(), "the CA's key exchange certificate was issued");
    Ok(issued.certificate().to_vec())
}

async fn internal_template(enrollment: &Enrollment, arc: u32) -> Result<Oid, String> {
    let instance = enrollment.store.instance().await.map_err(|e| e.to_string())?;
    let instance =
        instance.ok_or("the store belongs to no installation; make one with 'muster quickstart'")?;
    Ok(instance.oid_root.child(&[arc]))
}

/// The way of every certificate, with the service itself as actor.
async fn issue(enrollment: &Enrollment, approved: Approved, template: &str) -> Result<Issued, String> {
    let id = enrollment.store.reserve_request_id().await.map_err(|e| e.to_string())?;
    let record = RequestRecord {
        id,
        received: enrollment.clock.now(),
        actor: Actor::Service,
        requester: approved.requester().clone(),
        requester_sid: None,
        method: Method::ClientCertificate,
        form: "own_service",
        template: Some(template.to_owned()),
        endpoint: "own service".to_owned(),
        raw: approved.contents().spki.clone(),
        asked_with: None,
    };
    let opening = Opening::New(Box::new(record));
    let issued = enrollment.issue(approved, id, opening, Actor::Service, None).await;
    issued.map_err(|e| e.detail().unwrap_or_else(|| e.to_string()))
}

/// The first certificate of a PEM file.
fn read(path: &Path) -> Option<Certificate> {
    Certificate::load_pem_chain(&std::fs::read(path).ok()?).ok()?.into_iter().next()
}

/// When the certificate in a PEM file ends.
pub(crate) fn end_of_file(path: &Path) -> Result<UnixTime, String> {
    read(path).map(|c| end_of(&c)).ok_or_else(|| format!("cannot read a certificate from {}", path.display()))
}

fn end_of(certificate: &Certificate) -> UnixTime {
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    UnixTime(i64::try_from(end).unwrap_or(0))
}

fn is_good(path: &Path, names: &[AltName], now: UnixTime) -> bool {
    let Some(certificate) = read(path) else { return false };
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, found))) = found else { return false };
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
    now.plus(RENEW_BEFORE) < end_of(&certificate) && found == names
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
    // What an earlier attempt left, or somebody else put there, has its own mode and may be a link.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        Ok(()) | Err(_) => {}
    }
    options.write(true).create_new(true);
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn private_files_follow_no_link_and_keep_no_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("key.pem"), folder.path().join("other"));
        std::fs::write(&other, "theirs").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("key.new")).unwrap();
        write_private(&path, b"secret").unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "theirs");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
