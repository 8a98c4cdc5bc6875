//! From a request as the wire has it to a [`Submission`] as policy sees it. The only place where the two meet.

use der::asn1::ObjectIdentifier;
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::request::{KeyAlgorithm, PublicKey, RequestForm, RequestedNames, RequestedTemplate};
use muster_core::{Oid, Submission};
use muster_proto::wcce::{self, CertificateRequest, ParsedRequest, RequestedName, VerifiedSigner};

use crate::fault::RequestFault;

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const SID_EXTENSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.25.2");
/// A SID may also hide in an alternative name of the kind URI.
const SID_URI: &str = "tag:microsoft.com,2022-09-14:sid:";

/// Parses a request, verifies every signature in it, and checks that its key is fit to be certified.
///
/// # Errors
/// [`RequestFault`].
pub(crate) fn submission(raw: &[u8]) -> Result<Submission, RequestFault> {
    let parsed = CertificateRequest::parse(raw)?;
    wcce::check_requested_key(&parsed)?;
    if parsed.archived_key {
        return Err(RequestFault::KeyArchival);
    }
    Ok(Submission {
        form: match on_behalf(&parsed)? {
            Some(form) => form,
            None => form(&parsed),
        },
        template: template(&parsed),
        key: key(&parsed.public_key),
        names: names(&parsed),
        sha1_signature: parsed.sha1_signature,
        raw: raw.to_vec(),
    })
}

/// Whoever signs for somebody else makes it another kind of request. It counts only in the signed attributes of that
/// signer (MS-WCCE 2.2.2.7.10); a name elsewhere is refused, so that nobody takes it for one that counts.
fn on_behalf(parsed: &ParsedRequest) -> Result<Option<RequestForm>, RequestFault> {
    let signers = || parsed.form.renewed().into_iter().chain(parsed.form.cosigners());
    let (naming, others): (Vec<_>, Vec<_>) = signers().partition(|signer| signer.requester_name.is_some());
    let elsewhere: Vec<&str> = parsed
        .pairs
        .iter()
        .filter(|pair| pair.name.eq_ignore_ascii_case("requestername"))
        .map(|pair| pair.value.as_str())
        .collect();
    let mut names = naming.iter().filter_map(|signer| signer.requester_name.as_ref());
    let Some(requester) = names.next() else {
        return if elsewhere.is_empty() { Ok(None) } else { Err(RequestFault::RequesterUnsigned) };
    };
    // Several agents may sign; they have to mean one account.
    if names.any(|other| other != requester) {
        return Err(RequestFault::RequesterTwice);
    }
    if elsewhere.iter().any(|other| *other != requester.as_str()) {
        return Err(RequestFault::RequesterDiffers);
    }
    if parsed.form.renewed().is_some() {
        return Err(RequestFault::RenewalOnBehalf);
    }
    let certificates =
        |signers: Vec<&VerifiedSigner>| signers.iter().map(|signer| signer.certificate_der.clone()).collect();
    Ok(Some(RequestForm::OnBehalfOf {
        requester: requester.clone(),
        agents: certificates(naming.clone()),
        cosigners: certificates(others),
    }))
}

fn form(parsed: &ParsedRequest) -> RequestForm {
    match &parsed.form {
        wcce::RequestForm::Pkcs10 => RequestForm::Pkcs10,
        wcce::RequestForm::Cms { .. } | wcce::RequestForm::Cmc { .. } => RequestForm::CmcFull,
        wcce::RequestForm::CmsRenewal { renewed, .. } | wcce::RequestForm::CmcRenewal { renewed, .. } => {
            let extra_signers = parsed.form.cosigners().len();
            RequestForm::Renewal { old_certificate: renewed.certificate_der.clone(), extra_signers }
        }
    }
}

fn template(parsed: &ParsedRequest) -> RequestedTemplate {
    let mut names = parsed.template.names.clone();
    let pairs = parsed.pairs.iter().filter(|p| p.name.eq_ignore_ascii_case("CertificateTemplate"));
    for pair in pairs {
        if !names.contains(&pair.value) {
            names.push(pair.value.clone());
        }
    }
    let identifiers = parsed.template.id.iter().filter_map(|id| {
        // An identifier that no template can have is kept, so that it leads to a refusal and not to silence.
        let oid = id.oid.to_string().parse::<Oid>();
        if oid.is_err() {
            names.push(id.oid.to_string());
        }
        oid.ok().map(|oid| (oid, id.major, id.minor))
    });
    let identifiers = identifiers.collect();
    RequestedTemplate { names, identifiers }
}

/// Adds a template that was named beside the request: a name, or an identifier.
pub(crate) fn name_template(requested: &mut RequestedTemplate, named: &str) {
    match named.parse::<Oid>() {
        Ok(oid) if requested.identifiers.iter().all(|(known, ..)| *known != oid) => {
            requested.identifiers.push((oid, None, None));
        }
        Ok(_) => {}
        Err(_) if requested.names.iter().all(|known| !known.eq_ignore_ascii_case(named)) => {
            requested.names.push(named.to_owned());
        }
        Err(_) => {}
    }
}

fn key(key: &wcce::PublicKey) -> PublicKey {
    let algorithm = match key.algorithm() {
        wcce::KeyAlgorithm::Rsa { .. } => KeyAlgorithm::Rsa,
        wcce::KeyAlgorithm::P256 => KeyAlgorithm::P256,
        wcce::KeyAlgorithm::P384 => KeyAlgorithm::P384,
        wcce::KeyAlgorithm::P521 => KeyAlgorithm::P521,
        wcce::KeyAlgorithm::Ed25519 => KeyAlgorithm::Ed25519,
    };
    PublicKey { spki: key.spki_der().to_vec(), algorithm, bits: key.algorithm().bits() }
}

fn names(parsed: &ParsedRequest) -> RequestedNames {
    let mut names = RequestedNames::default();
    add_subject(&mut names, &parsed.subject.name);
    add_alternatives(&mut names, &parsed.names);
    for extension in parsed.extensions.iter().chain(&parsed.control_extensions) {
        match extension.oid {
            // SEQUENCE { BOOLEAN TRUE … }: a CA.
            BASIC_CONSTRAINTS => names.wants_ca |= extension.value.get(2..4) == Some(&[0x01, 0x01]),
            // Bit 5 of the first octet of the BIT STRING: keyCertSign; bit 6: cRLSign.
            KEY_USAGE => names.wants_ca |= extension.value.get(3).is_some_and(|bits| bits & 0x06 != 0),
            SID_EXTENSION => names.sids.push(sid_text(&extension.value)),
            _ => {}
        }
    }
    names
}

/// Subject and alternative names of a certificate, in the words in which a request asks for them.
pub(crate) fn names_of(certificate: &x509_cert::Certificate) -> RequestedNames {
    let mut names = RequestedNames::default();
    let tbs = certificate.tbs_certificate();
    add_subject(&mut names, tbs.subject());
    let extensions = tbs.extensions().into_iter().flatten();
    for extension in extensions.filter(|extension| extension.extn_id == SUBJECT_ALT_NAME) {
        match wcce::parse_general_names(extension.extn_value.as_bytes()) {
            Ok(list) => add_alternatives(&mut names, &list),
            Err(_) => names.unknown_alternatives.push("unreadable".to_owned()),
        }
    }
    names
}

fn add_subject(names: &mut RequestedNames, subject: &x509_cert::name::Name) {
    for rdn in subject.iter_rdn() {
        for pair in rdn.iter() {
            match (attribute(pair.oid), text(&pair.value)) {
                (Some(attribute), Some(value)) => names.subject.0.push((attribute, value)),
                _ => names.unknown_subject_attributes.push(pair.oid.to_string()),
            }
        }
    }
}

fn add_alternatives(names: &mut RequestedNames, list: &[RequestedName]) {
    for name in list {
        match name {
            RequestedName::Dns(name) => names.alternatives.push(AltName::Dns(name.to_ascii_lowercase())),
            RequestedName::Email(address) => names.alternatives.push(AltName::Email(address.clone())),
            RequestedName::Ip(address) => names.alternatives.push(AltName::Ip(*address)),
            RequestedName::Uri(uri) => match uri.strip_prefix(SID_URI) {
                Some(sid) => names.sids.push(sid.to_owned()),
                None => names.alternatives.push(AltName::Uri(uri.clone())),
            },
            RequestedName::Upn(upn) => names.alternatives.push(AltName::Upn(upn.clone())),
            RequestedName::OtherName { oid, .. } => {
                names.unknown_alternatives.push(format!("otherName {oid}"))
            }
            RequestedName::Directory(_) => names.unknown_alternatives.push("directoryName".to_owned()),
            RequestedName::RegisteredId(oid) => {
                names.unknown_alternatives.push(format!("registeredID {oid}"))
            }
            RequestedName::Unusual(_) => {
                names.unknown_alternatives.push("x400Address or ediPartyName".to_owned())
            }
        }
    }
}

/// The SID extension of a certificate, as text; `None` if it has none.
pub(crate) fn sid_of(certificate: &x509_cert::Certificate) -> Option<String> {
    let extensions = certificate.tbs_certificate().extensions()?;
    let extension = extensions.iter().find(|extension| extension.extn_id == SID_EXTENSION)?;
    Some(sid_text(extension.extn_value.as_bytes()))
}

/// The SID in 1.3.6.1.4.1.311.25.2, as far as it can be read: `S-` up to the end of the octets. A value that cannot
/// be read still counts as a SID, which equals nobody's.
fn sid_text(value: &[u8]) -> String {
    let start = value.windows(2).rposition(|w| w == b"S-");
    let tail = start.and_then(|s| value.get(s..)).unwrap_or_default();
    String::from_utf8_lossy(tail).into_owned()
}

fn attribute(oid: ObjectIdentifier) -> Option<NameAttribute> {
    const KNOWN: [(ObjectIdentifier, NameAttribute); 9] = [
        (ObjectIdentifier::new_unwrap("2.5.4.3"), NameAttribute::CommonName),
        (ObjectIdentifier::new_unwrap("2.5.4.10"), NameAttribute::Organization),
        (ObjectIdentifier::new_unwrap("2.5.4.11"), NameAttribute::OrganizationalUnit),
        (ObjectIdentifier::new_unwrap("2.5.4.7"), NameAttribute::Locality),
        (ObjectIdentifier::new_unwrap("2.5.4.8"), NameAttribute::State),
        (ObjectIdentifier::new_unwrap("2.5.4.6"), NameAttribute::Country),
        (ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"), NameAttribute::DomainComponent),
        (ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"), NameAttribute::Email),
        (ObjectIdentifier::new_unwrap("2.5.4.5"), NameAttribute::SerialNumber),
    ];
    KNOWN.iter().find(|(known, _)| *known == oid).map(|(_, attribute)| *attribute)
}

/// The text of an attribute value of one of the string types of X.520.
fn text(value: &der::Any) -> Option<String> {
    use der::{Tag, Tagged};
    let tag = value.tag();
    if matches!(tag, Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString) {
        return std::str::from_utf8(value.value()).ok().map(str::to_owned);
    }
    if tag == Tag::BmpString {
        let unit = |pair: &[u8]| pair.iter().fold(0, |unit, octet| (unit << 8) | u16::from(*octet));
        let units: Vec<u16> = value.value().chunks(2).map(unit).collect();
        return String::from_utf16(&units).ok();
    }
    None
}

/// The names asked for, for log lines: never more than 200 characters.
#[must_use]
pub(crate) fn describe(names: &RequestedNames) -> String {
    let SubjectName(subject) = &names.subject;
    let subject = subject.iter().map(|(a, v)| format!("{}={v}", a.short()));
    let all: Vec<String> = subject.chain(names.alternatives.iter().map(ToString::to_string)).collect();
    all.join(", ").chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}
