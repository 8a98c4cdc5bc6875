//! The last look at a certificate before it is signed.
//!
//! It takes the octets that are about to be signed apart with decoders that share no code with the writer, and
//! compares every field with what policy approved and with rules that hold for each certificate of an embedded CA
//! (RFC 5280 4, CA/Browser baseline requirements 7.1 where they make sense for a private CA).

mod read;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER, ID_PE_AUTHORITY_INFO_ACCESS,
};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode;
use der::asn1::{BitStringRef, IntRef};
use muster_core::names::AltName;
use muster_core::policy::CertificateContents;
use muster_core::request::KeyAlgorithm;
use muster_core::template::{KeyUsage as Usage, eku};
use muster_core::{Oid, Serial, UnixTime};
use x509_cert::spki::SubjectPublicKeyInfoRef;
use x509_cert::time::Time;

use self::read::{
    BOOLEAN_TRUE, Element, OCTET_STRING, OID, SEQUENCE, SET, UTF8_STRING, constructed, exactly, matches, one,
    primitive,
};
use crate::authority::Authority;
use crate::extensions::{self, APPLICATION_POLICIES, OBJECT_SID, SECURITY, TEMPLATE};
use crate::names;

/// 1.3.6.1.4.1.311.20.2.3.
const UPN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");
/// 1.3.6.1.4.1.311.25.1.
const DIRECTORY_GUID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.25.1");
/// Version 3, as its field has it.
const VERSION: &[u8] = &[0xa0, 3, 2, 1, 2];
/// First instant that has to be written as GeneralizedTime.
const YEAR_2050: u64 = 2_524_608_000;

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// It is not a TBSCertificate in DER.
    #[error("it is not a certificate in DER")]
    NotDer,
    /// It has fields besides the usual: unique identifiers.
    #[error("it has fields that no certificate issued here has")]
    Fields,
    /// Not version 3.
    #[error("its version is not 3")]
    Version,
    /// Not a serial number that is made here.
    #[error("its serial number is not one that is made here: positive, 20 octets, for a request")]
    Serial,
    /// The algorithm inside is not that of the CA's key.
    #[error("it names another signature algorithm than the CA's")]
    Algorithm,
    /// The issuer is not, octet by octet, the CA's subject.
    #[error("its issuer is not the subject of the CA certificate")]
    Issuer,
    /// Begin or end are not those that were approved.
    #[error("its validity is not what was approved")]
    Validity,
    /// It outlives the CA, begins before it, or ends before it begins.
    #[error("its validity is not within that of the CA certificate")]
    OutsideCa,
    /// UTCTime from 2050 on, or GeneralizedTime before.
    #[error("its validity is written in the wrong form of time")]
    TimeForm,
    /// The subject is not the one that was approved.
    #[error("its subject is not what was approved")]
    Subject,
    /// A name cannot be written down.
    #[error("a name breaks a limit: {0}")]
    Name(String),
    /// Neither a subject nor an alternative name.
    #[error("it names nobody")]
    Nameless,
    /// The key is not, octet by octet, the one that was approved.
    #[error("its public key is not the one that was approved")]
    PublicKey,
    /// The key is of another kind than was approved.
    #[error("its public key is of another kind than was approved")]
    KeyKind,
    /// An extension too many, too few, twice, in another place or with another criticality.
    #[error("its extensions are not those that belong to it: {0}")]
    Extensions(String),
    /// The value of an extension is wrong.
    #[error("its extension {0} is wrong")]
    Value(ObjectIdentifier),
    /// No extended key usage, or one twice.
    #[error("its extended key usages are empty or repeat themselves")]
    Purposes,
    /// anyExtendedKeyUsage.
    #[error("it is good for any purpose")]
    AnyPurpose,
    /// A usage bit that this kind of key cannot have.
    #[error("its key usage does not fit its kind of key")]
    UsageForKey,
}

type Checked = Result<(), Finding>;

fn ensure(condition: bool, finding: Finding) -> Checked {
    if condition { Ok(()) } else { Err(finding) }
}

/// Finds the first fault.
pub(crate) fn check(authority: &Authority, contents: &CertificateContents, tbs: &[u8]) -> Checked {
    let fields = one(tbs).and_then(|tbs| read::all(tbs.content(SEQUENCE)?, Some)).ok_or(Finding::NotDer)?;
    let [version, serial, algorithm, issuer, validity, subject, spki, extensions] = fields.as_slice() else {
        return Err(if fields.is_empty() { Finding::NotDer } else { Finding::Fields });
    };
    ensure(version.whole == VERSION, Finding::Version)?;
    let serial = IntRef::from_der(serial.whole).map_err(|_| Finding::NotDer)?;
    ensure(Serial::from_bytes(serial.as_bytes()).is_some(), Finding::Serial)?;
    ensure(algorithm.whole == authority.algorithm_identifier(), Finding::Algorithm)?;
    ensure(issuer.whole == authority.subject(), Finding::Issuer)?;
    check_validity(authority, contents, *validity)?;
    check_subject(contents, *subject)?;
    ensure(spki.whole == contents.spki, Finding::PublicKey)?;
    let key = SubjectPublicKeyInfoRef::from_der(spki.whole).map_err(|_| Finding::NotDer)?;
    check_key_kind(contents, &key)?;
    check_purposes(contents)?;
    check_extensions(authority, contents, &key, *extensions)
}

fn check_validity(authority: &Authority, contents: &CertificateContents, validity: Element<'_>) -> Checked {
    let times = validity.content(SEQUENCE).and_then(exactly::<2>).ok_or(Finding::NotDer)?;
    let [from, to] = times.map(|time| Time::from_der(time.whole));
    let (from, to) = (from.map_err(|_| Finding::NotDer)?, to.map_err(|_| Finding::NotDer)?);
    let is =
        |time: &Time, instant: UnixTime| u64::try_from(instant.0) == Ok(time.to_unix_duration().as_secs());
    ensure(is(&from, contents.not_before) && is(&to, contents.not_after), Finding::Validity)?;
    let within = contents.not_before < contents.not_after
        && contents.not_before >= authority.not_before()
        && contents.not_after <= authority.not_after();
    ensure(within, Finding::OutsideCa)?;
    let right_form = |time: &Time| match time {
        Time::UtcTime(_) => time.to_unix_duration().as_secs() < YEAR_2050,
        Time::GeneralTime(_) => time.to_unix_duration().as_secs() >= YEAR_2050,
    };
    ensure(right_form(&from) && right_form(&to), Finding::TimeForm)
}

fn check_subject(contents: &CertificateContents, subject: Element<'_>) -> Checked {
    let named = !contents.subject.0.is_empty() || !contents.alternatives.is_empty();
    ensure(named, Finding::Nameless)?;
    names::check_subject(&contents.subject).map_err(Finding::Name)?;
    names::check_alternatives(&contents.alternatives).map_err(Finding::Name)?;
    let rdns = subject.content(SEQUENCE).ok_or(Finding::NotDer)?;
    let same = matches(rdns, &contents.subject.0, |rdn, (attribute, value)| {
        let syntax = names::syntax(*attribute);
        let pair = rdn.only(SET).and_then(|pair| pair.content(SEQUENCE)).and_then(exactly::<2>);
        pair.is_some_and(|[oid, found]| {
            oid.content(OID) == Some(syntax.oid) && found.content(syntax.tag) == Some(value.as_bytes())
        })
    });
    ensure(same, Finding::Subject)
}

fn check_key_kind(contents: &CertificateContents, key: &SubjectPublicKeyInfoRef<'_>) -> Checked {
    let identifier = &key.algorithm;
    let curve = || {
        identifier.parameters.as_ref().and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
    };
    let (oid, named_curve) = match contents.key_algorithm {
        KeyAlgorithm::Rsa => (RSA_ENCRYPTION, None),
        KeyAlgorithm::P256 => (ID_EC_PUBLIC_KEY, Some(SECP_256_R_1)),
        KeyAlgorithm::P384 => (ID_EC_PUBLIC_KEY, Some(SECP_384_R_1)),
        KeyAlgorithm::P521 => (ID_EC_PUBLIC_KEY, Some(SECP_521_R_1)),
        KeyAlgorithm::Ed25519 => (ID_ED_25519, None),
    };
    let fits = identifier.oid == oid && (named_curve.is_none() || curve() == named_curve);
    ensure(fits, Finding::KeyKind)?;
    let usage_fits = contents.usage.iter().all(|usage| match usage {
        Usage::DigitalSignature | Usage::NonRepudiation => true,
        Usage::KeyEncipherment | Usage::DataEncipherment => contents.key_algorithm == KeyAlgorithm::Rsa,
        Usage::KeyAgreement => named_curve.is_some(),
    });
    ensure(usage_fits && !contents.usage.is_empty(), Finding::UsageForKey)
}

fn check_purposes(contents: &CertificateContents) -> Checked {
    let purposes = contents.eku.iter().enumerate();
    let repeated =
        purposes.into_iter().any(|(at, purpose)| contents.eku.iter().skip(at + 1).any(|p| p == purpose));
    ensure(!contents.eku.is_empty() && !repeated, Finding::Purposes)?;
    let any = contents.eku.iter().any(|purpose| purpose.as_str() == eku::ANY);
    ensure(!any, Finding::AnyPurpose)
}

fn check_extensions(
    authority: &Authority,
    contents: &CertificateContents,
    key: &SubjectPublicKeyInfoRef<'_>,
    extensions: Element<'_>,
) -> Checked {
    let expected = expected_extensions(contents);
    let list = extensions.only(constructed(3)).and_then(|list| list.content(SEQUENCE));
    let found = list.and_then(|list| read::all(list, Extension::read)).ok_or(Finding::NotDer)?;
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|(f, (oid, critical))| f.oid == oid.as_bytes() && f.critical == *critical);
    if !same {
        let name = |e: &Extension<'_>| {
            ObjectIdentifier::from_bytes(e.oid).map_or_else(|_| "unknown".to_owned(), |oid| oid.to_string())
        };
        let list: Vec<String> = found.iter().map(name).collect();
        return Err(Finding::Extensions(list.join(", ")));
    }
    for (extension, (oid, _)) in found.iter().zip(expected) {
        let right = value_is_right(authority, contents, key, oid, extension.value).unwrap_or(false);
        ensure(right, Finding::Value(oid))?;
    }
    Ok(())
}

/// One extension as it stands in a certificate.
struct Extension<'a> {
    /// Content of its object identifier.
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl<'a> Extension<'a> {
    fn read(extension: Element<'a>) -> Option<Self> {
        let parts = extension.content(SEQUENCE)?;
        let (oid, critical, value) = match exactly(parts) {
            Some([oid, value]) => (oid, false, value),
            None => match exactly(parts)? {
                // FALSE is the default, which DER does not write.
                [oid, critical, value] if critical.whole == BOOLEAN_TRUE => (oid, true, value),
                [_, _, _] => return None,
            },
        };
        Some(Self { oid: oid.content(OID)?, critical, value: value.content(OCTET_STRING)? })
    }
}

/// Identifiers and criticality, in order.
fn expected_extensions(contents: &CertificateContents) -> Vec<(ObjectIdentifier, bool)> {
    let mut expected = Vec::with_capacity(11);
    expected.extend([
        (ID_CE_AUTHORITY_KEY_IDENTIFIER, false),
        (ID_CE_SUBJECT_KEY_IDENTIFIER, false),
        (ID_CE_KEY_USAGE, true),
        (ID_CE_EXT_KEY_USAGE, false),
        (TEMPLATE, false),
        (APPLICATION_POLICIES, false),
    ]);
    if !contents.policies.is_empty() {
        expected.push((ID_CE_CERTIFICATE_POLICIES, false));
    }
    if !contents.alternatives.is_empty() {
        expected.push((ID_CE_SUBJECT_ALT_NAME, contents.subject.0.is_empty()));
    }
    if contents.sid.is_some() {
        expected.push((SECURITY, false));
    }
    expected.extend([(ID_CE_CRL_DISTRIBUTION_POINTS, false), (ID_PE_AUTHORITY_INFO_ACCESS, false)]);
    expected
}

/// `None` if the value does not decode.
fn value_is_right(
    authority: &Authority,
    contents: &CertificateContents,
    key: &SubjectPublicKeyInfoRef<'_>,
    oid: ObjectIdentifier,
    value: &[u8],
) -> Option<bool> {
    let value = one(value)?;
    let inside = || value.content(SEQUENCE);
    Some(match oid {
        // The key identifier and nothing else.
        ID_CE_AUTHORITY_KEY_IDENTIFIER => {
            value.only(SEQUENCE)?.content(primitive(0))? == authority.key_identifier()
        }
        ID_CE_SUBJECT_KEY_IDENTIFIER => {
            let public_key = key.subject_public_key.as_bytes()?;
            value.content(OCTET_STRING)? == extensions::key_identifier(public_key)
        }
        ID_CE_KEY_USAGE => usage_is(value.whole, &contents.usage)?,
        ID_CE_EXT_KEY_USAGE => matches(inside()?, &contents.eku, is_oid),
        TEMPLATE => {
            let (oid, major, minor) = &contents.template;
            let [found, found_major, found_minor] = exactly(inside()?)?;
            is_oid(found, oid)
                && u32::from_der(found_major.whole) == Ok(*major)
                && u32::from_der(found_minor.whole) == Ok(*minor)
        }
        APPLICATION_POLICIES => matches(inside()?, &contents.eku, is_policy),
        ID_CE_CERTIFICATE_POLICIES => matches(inside()?, &contents.policies, is_policy),
        ID_CE_SUBJECT_ALT_NAME => matches(inside()?, &contents.alternatives, is_name),
        SECURITY => {
            let name = value.only(SEQUENCE)?;
            other_name(name, OBJECT_SID, OCTET_STRING)? == contents.sid.as_ref()?.as_str().as_bytes()
        }
        ID_CE_CRL_DISTRIBUTION_POINTS => {
            // One point, with nothing but a full name, which is one name.
            let point = value.only(SEQUENCE)?.only(SEQUENCE)?;
            let name = point.only(constructed(0))?.only(constructed(0))?;
            is_url(name, authority.addresses().crl())
        }
        ID_PE_AUTHORITY_INFO_ACCESS => {
            let [method, location] = exactly(value.only(SEQUENCE)?.content(SEQUENCE)?)?;
            method.content(OID)? == ID_AD_CA_ISSUERS.as_bytes()
                && is_url(location, authority.addresses().certificate())
        }
        _ => false,
    })
}

/// Whether `element` is this OBJECT IDENTIFIER, of any length (X.690 8.19).
fn is_oid(element: Element<'_>, expected: &Oid) -> bool {
    let Some(octets) = element.content(OID) else { return false };
    let mut arcs = expected.as_str().split('.').map(|arc| arc.parse::<u64>().ok());
    // The first number stands for two arcs.
    let (Some(Some(root)), Some(Some(second))) = (arcs.next(), arcs.next()) else { return false };
    let mut wanted = std::iter::once(Some(root * 40 + second)).chain(arcs);
    let (mut number, mut open) = (0_u64, false);
    for octet in octets {
        // No number begins with zeros, and none is larger than what is compared with it.
        if !open && *octet == 0x80 || number > u64::MAX >> 7 {
            return false;
        }
        number = number << 7 | u64::from(octet & 0x7f);
        open = octet & 0x80 != 0;
        if !open {
            if wanted.next() != Some(Some(number)) {
                return false;
            }
            number = 0;
        }
    }
    !open && wanted.next().is_none()
}

/// Whether `element` is PolicyInformation of this policy without qualifiers.
fn is_policy(element: Element<'_>, expected: &Oid) -> bool {
    element.only(SEQUENCE).is_some_and(|oid| is_oid(oid, expected))
}

/// Exactly these bits, of which none is keyCertSign or cRLSign, and no zeros after the last of them, as DER wants it of
/// a list of named bits (X.690 11.2.2).
fn usage_is(value: &[u8], expected: &[Usage]) -> Option<bool> {
    let found = BitStringRef::from_der(value).ok()?;
    let [octet] = found.raw_bytes() else { return Some(false) };
    let bits = [
        (0x80, Usage::DigitalSignature),
        (0x40, Usage::NonRepudiation),
        (0x20, Usage::KeyEncipherment),
        (0x10, Usage::DataEncipherment),
        (0x08, Usage::KeyAgreement),
    ];
    let same = bits.iter().all(|(bit, usage)| (octet & bit != 0) == expected.contains(usage));
    Some(same && octet & 0x07 == 0 && u32::from(found.unused_bits()) == octet.trailing_zeros())
}

fn is_url(element: Element<'_>, url: &str) -> bool {
    element.content(primitive(6)) == Some(url.as_bytes())
}

/// The value of an otherName of this type, if it has this tag (RFC 5280 4.2.1.6).
fn other_name(element: Element<'_>, kind: ObjectIdentifier, tag: u8) -> Option<&[u8]> {
    let [oid, value] = exactly(element.content(constructed(0))?)?;
    let right = oid.content(OID)? == kind.as_bytes();
    value.only(constructed(0))?.content(tag).filter(|_| right)
}

fn is_name(element: Element<'_>, name: &AltName) -> bool {
    let (found, expected): (_, &[u8]) = match name {
        AltName::Email(address) => (element.content(primitive(1)), address.as_bytes()),
        AltName::Dns(host) => (element.content(primitive(2)), host.as_bytes()),
        AltName::Uri(uri) => (element.content(primitive(6)), uri.as_bytes()),
        AltName::Ip(std::net::IpAddr::V4(address)) => {
            return element.content(primitive(7)) == Some(address.octets().as_slice());
        }
        AltName::Ip(std::net::IpAddr::V6(address)) => {
            return element.content(primitive(7)) == Some(address.octets().as_slice());
        }
        AltName::Upn(upn) => (other_name(element, UPN, UTF8_STRING), upn.as_bytes()),
        AltName::Guid(guid) => (other_name(element, DIRECTORY_GUID, OCTET_STRING), guid.0.as_slice()),
    };
    found == Some(expected)
}
