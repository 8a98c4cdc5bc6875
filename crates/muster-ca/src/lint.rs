//! The last look at a certificate before it is signed.
//!
//! It takes the octets that are about to be signed apart with decoders that share no code with the writer, and
//! compares every field with what policy approved and with rules that hold for each certificate of an embedded CA
//! (RFC 5280 4, CA/Browser baseline requirements 7.1 where they make sense for a private CA).

use std::fmt::Write;

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CERTIFICATE_POLICIES,
    ID_CE_CRL_DISTRIBUTION_POINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER, ID_PE_AUTHORITY_INFO_ACCESS,
};
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use const_oid::db::rfc8410::ID_ED_25519;
use der::asn1::{Any, AnyRef, OctetStringRef, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use muster_core::names::AltName;
use muster_core::policy::CertificateContents;
use muster_core::request::KeyAlgorithm;
use muster_core::template::{KeyUsage as Usage, eku};
use muster_core::{Oid, Serial, UnixTime};
use x509_cert::TbsCertificate;
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName, GeneralNames};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, CrlDistributionPoints, KeyUsage, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::time::Time;

use crate::authority::{Authority, elements};
use crate::extensions::{self, APPLICATION_POLICIES, OBJECT_SID, SECURITY, TEMPLATE};
use crate::names;

/// 1.3.6.1.4.1.311.20.2.3.
const UPN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");
/// 1.3.6.1.4.1.311.25.1.
const DIRECTORY_GUID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.25.1");
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
    let fields = elements(tbs).ok_or(Finding::NotDer)?;
    let decoded = TbsCertificate::from_der(tbs).map_err(|_| Finding::NotDer)?;
    let [_version, _serial, algorithm, issuer, _validity, _subject, spki, _extensions] = fields.as_slice()
    else {
        return Err(Finding::Fields);
    };
    ensure(decoded.version() == Version::V3, Finding::Version)?;
    ensure(Serial::from_bytes(decoded.serial_number().as_bytes()).is_some(), Finding::Serial)?;
    ensure(*algorithm == authority.algorithm_identifier(), Finding::Algorithm)?;
    ensure(*issuer == authority.subject(), Finding::Issuer)?;
    check_validity(authority, contents, &decoded)?;
    check_subject(contents, &decoded)?;
    ensure(*spki == contents.spki, Finding::PublicKey)?;
    check_key_kind(contents, &decoded)?;
    check_purposes(contents)?;
    check_extensions(authority, contents, &decoded)
}

fn check_validity(authority: &Authority, contents: &CertificateContents, tbs: &TbsCertificate) -> Checked {
    let (from, to) = (&tbs.validity().not_before, &tbs.validity().not_after);
    let is =
        |time: &Time, instant: UnixTime| u64::try_from(instant.0) == Ok(time.to_unix_duration().as_secs());
    ensure(is(from, contents.not_before) && is(to, contents.not_after), Finding::Validity)?;
    let within = contents.not_before < contents.not_after
        && contents.not_before >= authority.not_before()
        && contents.not_after <= authority.not_after();
    ensure(within, Finding::OutsideCa)?;
    let right_form = |time: &Time| match time {
        Time::UtcTime(_) => time.to_unix_duration().as_secs() < YEAR_2050,
        Time::GeneralTime(_) => time.to_unix_duration().as_secs() >= YEAR_2050,
    };
    ensure(right_form(from) && right_form(to), Finding::TimeForm)
}

fn check_subject(contents: &CertificateContents, tbs: &TbsCertificate) -> Checked {
    let named = !contents.subject.0.is_empty() || !contents.alternatives.is_empty();
    ensure(named, Finding::Nameless)?;
    names::check_subject(&contents.subject).map_err(Finding::Name)?;
    names::check_alternatives(&contents.alternatives).map_err(Finding::Name)?;
    let mut found = tbs.subject().iter_rdn();
    for (attribute, value) in &contents.subject.0 {
        let syntax = names::syntax(*attribute);
        let same = found.next().is_some_and(|rdn| {
            rdn.len() == 1
                && rdn.iter().all(|found| {
                    found.oid.as_bytes() == syntax.oid
                        && string_tag(syntax.tag) == Some(found.value.tag())
                        && found.value.value() == value.as_bytes()
                })
        });
        ensure(same, Finding::Subject)?;
    }
    ensure(found.next().is_none(), Finding::Subject)
}

const fn string_tag(octet: u8) -> Option<Tag> {
    match octet {
        0x0c => Some(Tag::Utf8String),
        0x13 => Some(Tag::PrintableString),
        0x16 => Some(Tag::Ia5String),
        _ => None,
    }
}

fn check_key_kind(contents: &CertificateContents, tbs: &TbsCertificate) -> Checked {
    let identifier = &tbs.subject_public_key_info().algorithm;
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
    let mut sorted: Vec<&Oid> = contents.eku.iter().collect();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
    ensure(!sorted.is_empty() && !repeated, Finding::Purposes)?;
    let any = contents.eku.iter().any(|purpose| purpose.as_str() == eku::ANY);
    ensure(!any, Finding::AnyPurpose)
}

fn check_extensions(authority: &Authority, contents: &CertificateContents, tbs: &TbsCertificate) -> Checked {
    let expected = expected_extensions(contents);
    let found = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|(f, (oid, critical))| f.extn_id == *oid && f.critical == *critical);
    if !same {
        let list: Vec<String> = found.iter().map(|e| e.extn_id.to_string()).collect();
        return Err(Finding::Extensions(list.join(", ")));
    }
    for extension in found {
        let right = value_is_right(authority, contents, tbs, extension).unwrap_or(false);
        ensure(right, Finding::Value(extension.extn_id))?;
    }
    Ok(())
}

/// Identifiers and criticality, in order.
fn expected_extensions(contents: &CertificateContents) -> Vec<(ObjectIdentifier, bool)> {
    let mut expected = vec![
        (ID_CE_AUTHORITY_KEY_IDENTIFIER, false),
        (ID_CE_SUBJECT_KEY_IDENTIFIER, false),
        (ID_CE_KEY_USAGE, true),
        (ID_CE_EXT_KEY_USAGE, false),
        (TEMPLATE, false),
        (APPLICATION_POLICIES, false),
    ];
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
    tbs: &TbsCertificate,
    extension: &Extension,
) -> Option<bool> {
    let value = extension.extn_value.as_bytes();
    let right = match extension.extn_id {
        ID_CE_AUTHORITY_KEY_IDENTIFIER => {
            let found = AuthorityKeyIdentifier::from_der(value).ok()?;
            found.key_identifier.as_ref().map(|id| id.as_bytes()) == Some(authority.key_identifier())
                && found.authority_cert_issuer.is_none()
                && found.authority_cert_serial_number.is_none()
        }
        ID_CE_SUBJECT_KEY_IDENTIFIER => {
            let public_key = tbs.subject_public_key_info().subject_public_key.as_bytes()?;
            SubjectKeyIdentifier::from_der(value).ok()?.0.as_bytes() == extensions::key_identifier(public_key)
        }
        ID_CE_KEY_USAGE => {
            let found = KeyUsage::from_der(value).ok()?;
            // A list of named bits has no trailing zero bits in DER (X.690 11.2.2), which the decoder lets pass.
            usage_is(&found, &contents.usage) && found.to_der().ok()? == value
        }
        ID_CE_EXT_KEY_USAGE => purposes_are(value, &contents.eku)?,
        TEMPLATE => template_is(value, &contents.template)?,
        APPLICATION_POLICIES => policies_are(value, &contents.eku)?,
        ID_CE_CERTIFICATE_POLICIES => policies_are(value, &contents.policies)?,
        ID_CE_SUBJECT_ALT_NAME => {
            let found = SubjectAltName::from_der(value).ok()?.0;
            found.len() == contents.alternatives.len()
                && found.iter().zip(&contents.alternatives).all(|(found, name)| is_name(found, name))
        }
        SECURITY => match GeneralNames::from_der(value).ok()?.as_slice() {
            [GeneralName::OtherName(name)] if name.type_id == OBJECT_SID => {
                octet_string(&name.value)? == contents.sid.as_ref()?.as_str().as_bytes()
            }
            _ => false,
        },
        ID_CE_CRL_DISTRIBUTION_POINTS => match CrlDistributionPoints::from_der(value).ok()?.0.as_slice() {
            [point] if point.reasons.is_none() && point.crl_issuer.is_none() => {
                match point.distribution_point.as_ref()? {
                    DistributionPointName::FullName(names) => is_url(names, authority.addresses().crl()),
                    DistributionPointName::NameRelativeToCRLIssuer(_) => false,
                }
            }
            _ => false,
        },
        ID_PE_AUTHORITY_INFO_ACCESS => match AuthorityInfoAccessSyntax::from_der(value).ok()?.0.as_slice() {
            [access] => {
                access.access_method == ID_AD_CA_ISSUERS
                    && is_url(
                        std::slice::from_ref(&access.access_location),
                        authority.addresses().certificate(),
                    )
            }
            _ => false,
        },
        _ => false,
    };
    Some(right)
}

/// The dotted text of an OBJECT IDENTIFIER, of any length (X.690 8.19).
fn dotted(oid: &[u8]) -> Option<String> {
    let oid = AnyRef::from_der(oid).ok().filter(|oid| oid.tag() == Tag::ObjectIdentifier)?;
    let mut text = String::with_capacity(40);
    let mut arc = 0_u64;
    let mut octets = oid.value().iter().peekable();
    while let Some(octet) = octets.next() {
        if arc == 0 && *octet == 0x80 {
            return None;
        }
        arc = arc.checked_mul(128)? + u64::from(octet & 0x7f);
        if octet & 0x80 != 0 {
            octets.peek()?;
            continue;
        }
        if text.is_empty() {
            let root = (arc / 40).min(2);
            write!(text, "{root}.{}", arc - 40 * root).ok()?;
        } else {
            write!(text, ".{arc}").ok()?;
        }
        arc = 0;
    }
    Some(text)
}

fn is_oid(der: &[u8], expected: &Oid) -> bool {
    dotted(der).as_deref() == Some(expected.as_str())
}

fn purposes_are(value: &[u8], expected: &[Oid]) -> Option<bool> {
    let found = elements(value)?;
    Some(found.len() == expected.len() && found.iter().zip(expected).all(|(der, oid)| is_oid(der, oid)))
}

fn policies_are(value: &[u8], expected: &[Oid]) -> Option<bool> {
    let found = elements(value)?;
    let same = found.iter().zip(expected).all(|(policy, oid)| {
        // One element: no qualifiers.
        matches!(elements(policy).as_deref(), Some([der]) if is_oid(der, oid))
    });
    Some(found.len() == expected.len() && same)
}

/// Exactly these bits: none of them is keyCertSign or cRLSign.
fn usage_is(found: &KeyUsage, expected: &[Usage]) -> bool {
    found.digital_signature() == expected.contains(&Usage::DigitalSignature)
        && found.non_repudiation() == expected.contains(&Usage::NonRepudiation)
        && found.key_encipherment() == expected.contains(&Usage::KeyEncipherment)
        && found.data_encipherment() == expected.contains(&Usage::DataEncipherment)
        && found.key_agreement() == expected.contains(&Usage::KeyAgreement)
        && !(found.key_cert_sign() || found.crl_sign() || found.encipher_only() || found.decipher_only())
}

fn template_is(value: &[u8], (oid, major, minor): &(Oid, u32, u32)) -> Option<bool> {
    match elements(value)?.as_slice() {
        [found, found_major, found_minor] => Some(
            is_oid(found, oid)
                && u32::from_der(found_major) == Ok(*major)
                && u32::from_der(found_minor) == Ok(*minor),
        ),
        _ => None,
    }
}

fn octet_string(value: &Any) -> Option<&[u8]> {
    value.decode_as::<&OctetStringRef>().ok().map(OctetStringRef::as_bytes)
}

fn is_url(names: &[GeneralName], url: &str) -> bool {
    matches!(names, [GeneralName::UniformResourceIdentifier(found)] if found.as_str() == url)
}

fn is_name(found: &GeneralName, name: &AltName) -> bool {
    match (name, found) {
        (AltName::Dns(host), GeneralName::DnsName(found)) => found.as_str() == host,
        (AltName::Email(address), GeneralName::Rfc822Name(found)) => found.as_str() == address,
        (AltName::Uri(uri), GeneralName::UniformResourceIdentifier(found)) => found.as_str() == uri,
        (AltName::Ip(address), GeneralName::IpAddress(found)) => match address {
            std::net::IpAddr::V4(address) => found.as_bytes() == address.octets(),
            std::net::IpAddr::V6(address) => found.as_bytes() == address.octets(),
        },
        (AltName::Upn(upn), GeneralName::OtherName(found)) => {
            found.type_id == UPN
                && found.value.tag() == Tag::Utf8String
                && found.value.decode_as::<Utf8StringRef<'_>>().is_ok_and(|text| text.as_str() == upn)
        }
        (AltName::Guid(guid), GeneralName::OtherName(found)) => {
            found.type_id == DIRECTORY_GUID && octet_string(&found.value) == Some(guid.0.as_slice())
        }
        (
            AltName::Dns(_)
            | AltName::Email(_)
            | AltName::Uri(_)
            | AltName::Ip(_)
            | AltName::Upn(_)
            | AltName::Guid(_),
            _,
        ) => false,
    }
}
