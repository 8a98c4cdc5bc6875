//! Client certificates of other CAs that the configuration trusts, mapped to accounts.
//!
//! A certificate is accepted if it chains to the configured anchor, is for client authentication, is valid now, is
//! not on the configured revocation list, and carries exactly one name of the configured kind that is the name of an
//! account. There is no way to trust a CA without its revocation list; a list that has run out trusts nobody.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use der::Decode;
use muster_core::UnixTime;
use muster_core::identity::AccountName;
use muster_directory::AccountKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::file::ClientName;
use crate::config::{ClientTrust, ConfigError, TrustedAccount};
use crate::decode;

/// Certificates of a handshake that are looked at, beside the client's own.
pub(crate) const LONGEST_CHAIN: usize = 4;

/// One trusted CA.
pub(crate) struct Trusted {
    anchor: TrustAnchor<'static>,
    crl_file: PathBuf,
    crl: Mutex<Option<(SystemTime, CertRevocationList<'static>)>>,
    account: TrustedAccount,
}

/// The account that a certificate names.
pub(crate) enum Mapped {
    /// Of the store.
    Local(AccountName),
    /// Of a domain.
    Directory {
        /// The domain.
        domain: String,
        /// What the certificate says.
        key: AccountKey,
    },
}

impl Trusted {
    /// Reads the anchor and checks that its revocation list can be read.
    pub(crate) fn load(trust: &ClientTrust) -> Result<Self, ConfigError> {
        let wrong = |path: &Path, problem: String| ConfigError::Wrong {
            path: path.to_owned(),
            line: 1,
            key: "client_trust".to_owned(),
            problem,
        };
        let der = CertificateDer::from_pem_file(&trust.ca_file)
            .map_err(|e| wrong(&trust.ca_file, e.to_string()))?;
        let anchor =
            webpki::anchor_from_trusted_cert(&der).map_err(|e| wrong(&trust.ca_file, e.to_string()))?;
        let trusted = Self {
            anchor: anchor.to_owned(),
            crl_file: trust.crl_file.clone(),
            crl: Mutex::default(),
            account: trust.account.clone(),
        };
        trusted
            .with_crl(|_| ())
            .ok_or_else(|| wrong(&trust.crl_file, "no revocation list can be read from it".to_owned()))?;
        Ok(trusted)
    }

    /// The account that a certificate is for, if this CA vouches for it now.
    pub(crate) fn account(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Mapped> {
        let leaf = EndEntityCert::try_from(certificate).ok()?;
        let seconds = u64::try_from(now.0).ok()?;
        let time = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.with_crl(|crl| {
            let lists = [crl];
            let revocation = RevocationOptionsBuilder::new(&lists)
                .ok()?
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build();
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                std::slice::from_ref(&self.anchor),
                chain,
                time,
                KeyUsage::client_auth(),
                Some(revocation),
                None,
            )
            .ok()
            .map(|_| ())
        })??;
        self.mapped(certificate)
    }

    /// What the certificate says about its account. A security identifier goes before any name (KB5014754).
    fn mapped(&self, certificate: &[u8]) -> Option<Mapped> {
        let certificate = Certificate::from_der(certificate).ok()?;
        match &self.account {
            TrustedAccount::Local(kind) => {
                let name = the_one(&certificate, |name| match (kind, name) {
                    (ClientName::DnsName, GeneralName::DnsName(name)) => Some(name.to_string()),
                    (ClientName::Email, GeneralName::Rfc822Name(address)) => Some(address.to_string()),
                    _ => None,
                })?;
                Some(Mapped::Local(name.parse().ok().filter(AccountName::is_local)?))
            }
            TrustedAccount::Directory { domain, weak_names } => {
                let weak = || {
                    let upn = the_one(&certificate, upn_of).map(AccountKey::Upn);
                    upn.or_else(|| the_one(&certificate, host_of).map(AccountKey::DnsName))
                };
                let key = match decode::sid_of(&certificate) {
                    Some(sid) => AccountKey::Sid(sid.parse().ok()?),
                    None if *weak_names => weak()?,
                    None => return None,
                };
                Some(Mapped::Directory { domain: domain.clone(), key })
            }
        }
    }

    /// Calls `use_it` with the list, read again if the file changed.
    fn with_crl<T>(&self, use_it: impl FnOnce(&CertRevocationList<'static>) -> T) -> Option<T> {
        let modified = std::fs::metadata(&self.crl_file).and_then(|m| m.modified()).ok()?;
        let mut held = self.crl.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|(when, _)| *when != modified) {
            let octets = std::fs::read(&self.crl_file).ok()?;
            let der = CertificateRevocationListDer::from_pem_slice(&octets)
                .map_or_else(|_| octets.clone(), |der| der.as_ref().to_vec());
            let list = OwnedCertRevocationList::from_der(&der).ok()?;
            *held = Some((modified, list.into()));
        }
        held.as_ref().map(|(_, list)| use_it(list))
    }
}

fn host_of(name: &GeneralName) -> Option<String> {
    if let GeneralName::DnsName(name) = name { Some(name.to_string()) } else { None }
}

/// otherName 1.3.6.1.4.1.311.20.2.3, a UTF8String.
fn upn_of(name: &GeneralName) -> Option<String> {
    let GeneralName::OtherName(other) = name else { return None };
    if other.type_id.to_string() == "1.3.6.1.4.1.311.20.2.3" { other.value.decode_as().ok() } else { None }
}

/// The one alternative name that `of` takes; none if there are several.
fn the_one(certificate: &Certificate, of: impl Fn(&GeneralName) -> Option<String>) -> Option<String> {
    let (_, names) = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()??;
    let mut found = names.0.iter().filter_map(of);
    let name = found.next()?;
    found.next().is_none().then_some(name)
}
