//! Revocation lists (RFC 5280 5): made whole each time, for all certificates of the CA.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ID_CE_CRL_NUMBER, ID_CE_CRL_REASONS};
use der::asn1::{AnyRef, OctetStringRef, UintRef};
use der::{Decode, Tagged};
use muster_core::revocation::Reason;
use muster_core::{Serial, UnixTime};

use crate::authority::{Authority, elements};
use crate::certificate::signed_part;
use crate::encode::{Der, ENUMERATED, INTEGER, Time, context_constructed};
use crate::extensions::{self, Criticality};

/// How long a revocation list is good: 7 days. A new one is due every day and after each revocation.
pub const LIFETIME_SECONDS: i64 = 7 * 86_400;

/// A revocation list could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// A time before 1970 or after 9999.
    #[error("{0} cannot be written into a revocation list")]
    Time(UnixTime),
    /// The list would end before it begins.
    #[error("the revocation list would end at {next_update}, not after its begin at {this_update}")]
    Order {
        /// Its begin.
        this_update: UnixTime,
        /// Its end.
        next_update: UnixTime,
    },
    /// A serial number is there twice.
    #[error("serial number {0} is to be revoked twice")]
    Twice(Serial),
    /// The key does not sign.
    #[error("the CA key cannot sign: {0}")]
    Signing(String),
    /// The octets are not a revocation list of a CA of this kind.
    #[error("this is not a revocation list that was made here: {0}")]
    NotAList(&'static str),
}

impl Authority {
    /// Makes a revocation list (version 2, DER), sorted by serial number. Its signature is verified.
    ///
    /// `number` must be greater than that of every list before; the caller keeps count. A certificate may be left
    /// out only after it expired, which is the caller's matter, too: see [`missing_from`].
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn revocation_list(
        &self,
        number: u64,
        this_update: UnixTime,
        next_update: UnixTime,
        revoked: impl IntoIterator<Item = (Serial, UnixTime, Reason)>,
    ) -> Result<Vec<u8>, CrlError> {
        if next_update <= this_update {
            return Err(CrlError::Order { this_update, next_update });
        }
        let instant = |t| Time::new(t).ok_or(CrlError::Time(t));
        let (from, to) = (instant(this_update)?, instant(next_update)?);
        let mut entries = revoked
            .into_iter()
            .map(|(serial, at, reason)| Ok((serial, instant(at)?, reason)))
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by_key(|(serial, ..)| *serial);
        if let Some([(serial, ..), _]) = entries.array_windows().find(|[(a, ..), (b, ..)]| a == b) {
            return Err(CrlError::Twice(*serial));
        }

        let mut der = Der::with_capacity(512 + entries.len() * 56);
        der.sequence(|der| {
            // v2
            der.unsigned(1);
            der.raw(self.algorithm_identifier());
            der.raw(self.subject());
            der.time(&from);
            der.time(&to);
            // RFC 5280 5.1.2.6: absent, not empty.
            if !entries.is_empty() {
                der.sequence(|der| {
                    for (serial, at, reason) in &entries {
                        write_entry(der, serial, at, *reason);
                    }
                });
            }
            der.nested(context_constructed(0), |der| {
                der.sequence(|der| {
                    der.raw(self.authority_key_identifier());
                    extensions::write(der, ID_CE_CRL_NUMBER, Criticality::NotCritical, |der| {
                        der.unsigned(number);
                    });
                });
            });
        });
        let tbs = der.finish();
        let signature = self.key().sign(&tbs).map_err(|e| CrlError::Signing(e.to_string()))?;
        if !self.key().verifies(&tbs, &signature) {
            return Err(CrlError::Signing("the signature that it made does not verify".to_owned()));
        }
        Ok(self.assemble(&tbs, &signature))
    }
}

fn write_entry(der: &mut Der, serial: &Serial, at: &Time, reason: Reason) {
    der.sequence(|der| {
        der.magnitude(INTEGER, serial.as_bytes());
        der.time(at);
        match reason {
            // RFC 5280 5.3.1: absent rather than unspecified.
            Reason::Unspecified => {}
            Reason::KeyCompromise
            | Reason::CaCompromise
            | Reason::AffiliationChanged
            | Reason::Superseded
            | Reason::CessationOfOperation
            | Reason::CertificateHold
            | Reason::PrivilegeWithdrawn => der.sequence(|der| {
                extensions::write(der, ID_CE_CRL_REASONS, Criticality::NotCritical, |der| {
                    der.primitive(ENUMERATED, &[reason.code()]);
                });
            }),
        }
    });
}

/// What a revocation list says, as far as the next one has to be compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// CRLNumber.
    pub number: u64,
    /// thisUpdate.
    pub this_update: UnixTime,
    /// nextUpdate.
    pub next_update: UnixTime,
    /// The serial numbers, ascending.
    pub serials: Vec<Serial>,
}

impl Summary {
    /// Reads a revocation list (DER) that [`Authority::revocation_list`] made. The signature is not looked at.
    ///
    /// # Errors
    /// [`CrlError::NotAList`].
    pub fn from_der(crl: &[u8]) -> Result<Self, CrlError> {
        let tbs = signed_part(crl).ok_or(CrlError::NotAList("its outer structure"))?;
        let fields = elements(tbs).ok_or(CrlError::NotAList("its inner structure"))?;
        let (from, to, revoked, extensions) = match fields.as_slice() {
            [_version, _algorithm, _issuer, from, to, extensions] => (from, to, None, extensions),
            [_version, _algorithm, _issuer, from, to, revoked, extensions] => {
                (from, to, Some(revoked), extensions)
            }
            _ => return Err(CrlError::NotAList("its fields")),
        };
        let instant = |der: &[u8]| {
            x509_cert::time::Time::from_der(der)
                .ok()
                .and_then(|time| i64::try_from(time.to_unix_duration().as_secs()).ok())
                .map(UnixTime)
                .ok_or(CrlError::NotAList("its times"))
        };
        let mut serials = match revoked {
            None => Vec::new(),
            Some(revoked) => elements(revoked)
                .and_then(|entries| entries.into_iter().map(entry_serial).collect::<Option<Vec<_>>>())
                .ok_or(CrlError::NotAList("its entries"))?,
        };
        serials.sort_unstable();
        Ok(Self {
            number: crl_number(extensions).ok_or(CrlError::NotAList("its number"))?,
            this_update: instant(from)?,
            next_update: instant(to)?,
            serials,
        })
    }
}

fn entry_serial(entry: &[u8]) -> Option<Serial> {
    let fields = elements(entry)?;
    Serial::from_bytes(UintRef::from_der(fields.first()?).ok()?.as_bytes())
}

fn crl_number(extensions: &[u8]) -> Option<u64> {
    let wrapper = AnyRef::from_der(extensions).ok()?;
    if wrapper.tag().number().value() != 0 {
        return None;
    }
    let list = wrapper.value();
    elements(list)?.into_iter().find_map(|extension| {
        let fields = elements(extension)?;
        let found = ObjectIdentifier::from_der(fields.first()?).ok()?;
        let value = <&OctetStringRef>::from_der(fields.last()?).ok()?;
        if found == ID_CE_CRL_NUMBER { u64::from_der(value.as_bytes()).ok() } else { None }
    })
}

/// The serial numbers that the revocation list `old` has and `new` lacks. Each of them must belong to a certificate
/// that has expired; otherwise `new` must not be published.
///
/// # Errors
/// [`CrlError::NotAList`].
pub fn missing_from(old: &[u8], new: &[u8]) -> Result<Vec<Serial>, CrlError> {
    let old = Summary::from_der(old)?.serials;
    let new = Summary::from_der(new)?.serials;
    Ok(old.into_iter().filter(|serial| new.binary_search(serial).is_err()).collect())
}
