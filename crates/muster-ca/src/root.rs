//! The certificate of a new root.

use const_oid::db::rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_KEY_IDENTIFIER};
use muster_core::UnixTime;
use muster_core::names::{NameAttribute, SubjectName};
use muster_core::policy::BACKDATE_SECONDS;

use crate::authority::AuthorityError;
use crate::certificate::subject_public_key;
use crate::encode::{BOOLEAN, Der, INTEGER, OCTET_STRING, Time, context_constructed};
use crate::extensions::{self, Criticality};
use crate::key::{KeyError, SigningAlgorithm, SigningKey};
use crate::names;
use crate::serial::{NoRandomness, random};

/// Mean length of a Gregorian year.
const YEAR_SECONDS: i64 = 31_556_952;
/// Longest life of a root that can be asked for, in years.
const MAX_YEARS: u32 = 40;

/// What a new root is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootParameters {
    /// `CN`, 1 to 64 characters.
    pub common_name: String,
    /// `O`, 1 to 64 characters.
    pub organization: Option<String>,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// How long it lives, 1 to 40 years.
    pub years: u32,
}

/// A self-signed certificate (RFC 5280 4.1, 4.2): CA, key usage for certificates, revocation lists and, because CMC
/// responses are signed with the CA's key, signatures.
pub(crate) fn root_certificate(
    parameters: &RootParameters,
    key: &SigningKey,
    now: UnixTime,
) -> Result<Vec<u8>, AuthorityError> {
    let refuse = |problem: String| AuthorityError::Parameters(problem);
    if !(1..=MAX_YEARS).contains(&parameters.years) {
        return Err(refuse(format!("it cannot live {} years; choose 1 to {MAX_YEARS}", parameters.years)));
    }
    let organization = parameters.organization.iter().map(|name| (NameAttribute::Organization, name.clone()));
    let subject = SubjectName(
        organization.chain([(NameAttribute::CommonName, parameters.common_name.clone())]).collect(),
    );
    names::check_subject(&subject).map_err(refuse)?;
    let instant = |t| Time::new(t).ok_or_else(|| refuse(format!("{t} is outside the years 1970 to 9999")));
    let not_before = instant(now.plus(-BACKDATE_SECONDS))?;
    let not_after = instant(now.plus(i64::from(parameters.years) * YEAR_SECONDS - 1))?;
    let key_identifier =
        subject_public_key(key.spki()).map(extensions::key_identifier).ok_or(KeyError::Encoding)?;
    let serial = root_serial()?;

    let mut tbs = Der::default();
    tbs.sequence(|der| {
        der.nested(context_constructed(0), |der| der.unsigned(2));
        der.magnitude(INTEGER, &serial);
        der.raw(key.algorithm().identifier());
        names::write_subject(der, &subject);
        der.sequence(|der| {
            der.time(&not_before);
            der.time(&not_after);
        });
        names::write_subject(der, &subject);
        der.raw(key.spki());
        der.nested(context_constructed(3), |der| {
            der.sequence(|der| {
                extensions::write(der, ID_CE_SUBJECT_KEY_IDENTIFIER, Criticality::NotCritical, |der| {
                    der.primitive(OCTET_STRING, &key_identifier);
                });
                extensions::write(der, ID_CE_BASIC_CONSTRAINTS, Criticality::Critical, |der| {
                    der.sequence(|der| der.primitive(BOOLEAN, &[0xff]));
                });
                extensions::write(der, ID_CE_KEY_USAGE, Criticality::Critical, |der| {
                    extensions::write_usage(der, extensions::CA_USAGE_BITS);
                });
            });
        });
    });
    let tbs = tbs.finish();
    let signature = key.sign(&tbs)?;
    let mut certificate = Der::default();
    certificate.sequence(|der| {
        der.raw(&tbs);
        der.raw(key.algorithm().identifier());
        der.bit_string(&signature);
    });
    Ok(certificate.finish())
}

/// 20 octets, positive, without a leading zero octet; 157 of the bits are random. Never one that
/// [`muster_core::Serial`] makes: that would begin with 0x4d.
fn root_serial() -> Result<[u8; 20], NoRandomness> {
    let mut serial: [u8; 20] = random()?;
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x1f | 0x20;
    }
    Ok(serial)
}
