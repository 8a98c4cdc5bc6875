//! Certificate requests: which of the three forms arrived, what it asks for, and who proved what.
//!
//! A [`ParsedRequest`] exists only after every signature in the request has been verified over the received
//! bytes and possession of the new private key has been shown.

use der::asn1::ObjectIdentifier;

use super::attributes::{
    ClientDescription, NameValuePair, RequestAttributes, RequestedExtension, RequestedName, RequestedSubject,
    TemplateId, TemplateIdentifiers, name_value_pair, parse_general_names, parse_template_name,
    read_attributes, read_extensions, read_values,
};
use super::error::{Malformed, RequestError};
use super::key::PublicKey;
use super::oids;
use super::pkcs10::{Pkcs10, Pkcs10Signature, only_pkcs10};
use super::signed_data::{SignedData, SignerId, SignerInfo};
use super::tlv::{self, Cursor, Tlv};

/// Longest request that is read, in octets of DER.
pub const MAX_REQUEST_LEN: usize = 48 * 1024;

/// Entry point for what a BinarySecurityToken of an Issue request holds.
#[derive(Clone, Copy, Debug)]
pub struct CertificateRequest;

/// A request of which every signature has been verified.
///
/// Names, extensions and attributes are what the requester asks for; only policy makes more of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRequest {
    /// In which form the request came, and who signed it besides the new key.
    pub form: RequestForm,
    /// The key to be certified; run [`check_requested_key`](super::check_requested_key)
    /// on the request before that.
    pub public_key: PublicKey,
    /// How possession of its private key was shown.
    pub possession: Possession,
    /// Whether SHA-1 took part in any signature of the request.
    pub sha1_signature: bool,
    /// The subject asked for.
    pub subject: RequestedSubject,
    /// Names of the subject alternative name extension asked for.
    pub names: Vec<RequestedName>,
    /// All extensions asked for in the PKCS#10, subject alternative names included, in order.
    pub extensions: Vec<RequestedExtension>,
    /// Extensions that CMC controls add. To be heeded only if a signer is an accepted registration authority.
    pub control_extensions: Vec<RequestedExtension>,
    /// All that names a template.
    pub template: TemplateIdentifiers,
    /// Name-value pairs of the PKCS#10 and of CMC regInfo, and names of requesters from unsigned attributes.
    pub pairs: Vec<NameValuePair>,
    /// What the client tells of itself; for logs.
    pub client: ClientDescription,
    /// Whether a private key for archival comes with the request.
    pub archived_key: bool,
    /// Key attestation attributes that are present.
    pub attestation: Vec<ObjectIdentifier>,
    /// The PKCS#10 as received.
    pub pkcs10_der: Vec<u8>,
}

/// The forms of requests that are answered (MS-WCCE 3.1.1.4.3). Decide on all of them; what fits none is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestForm {
    /// Bare PKCS#10.
    Pkcs10,
    /// CMS around a PKCS#10 without renewal certificate; the signers may be enrollment agents.
    Cms {
        /// Everyone who signed.
        signers: Vec<VerifiedSigner>,
    },
    /// CMS around a PKCS#10 with renewal certificate.
    CmsRenewal {
        /// Holder of the certificate that is to be renewed.
        renewed: VerifiedSigner,
        /// Everyone else who signed.
        others: Vec<VerifiedSigner>,
    },
    /// CMC full request without renewal certificate; the signers may be registration authorities.
    Cmc {
        /// Everyone who signed besides the new key.
        signers: Vec<VerifiedSigner>,
    },
    /// CMC full request with renewal certificate.
    CmcRenewal {
        /// Holder of the certificate that is to be renewed.
        renewed: VerifiedSigner,
        /// Everyone else who signed besides the new key.
        others: Vec<VerifiedSigner>,
    },
}

impl RequestForm {
    /// Holder of the certificate that is to be renewed, in a renewal.
    #[must_use]
    pub fn renewed(&self) -> Option<&VerifiedSigner> {
        match self {
            Self::CmsRenewal { renewed, .. } | Self::CmcRenewal { renewed, .. } => Some(renewed),
            Self::Pkcs10 | Self::Cms { .. } | Self::Cmc { .. } => None,
        }
    }

    /// Signers with a certificate, without the holder of a certificate that is to be renewed.
    #[must_use]
    pub fn cosigners(&self) -> &[VerifiedSigner] {
        match self {
            Self::Pkcs10 => &[],
            Self::Cms { signers } | Self::Cmc { signers } => signers,
            Self::CmsRenewal { others, .. } | Self::CmcRenewal { others, .. } => others,
        }
    }
}

/// How possession of the new private key was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possession {
    /// The PKCS#10 is signed by it.
    Pkcs10Signature,
    /// A SignerInfo is signed by it; the PKCS#10 inside carries a null signature (MS-WCCE 2.2.2.6.5).
    SignerInfo,
    /// Both of these.
    Both,
}

/// Someone whose SignerInfo verified with the key of a certificate in the message.
///
/// That says who holds the key of this certificate, not that the certificate is good for anything: compare it
/// byte for byte with certificates that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSigner {
    /// DER of the certificate.
    pub certificate_der: Vec<u8>,
    /// Whether the SignerInfo names it by issuer and serial number (otherwise by key identifier).
    pub by_issuer_and_serial: bool,
    /// Whether SHA-1 took part in the signature.
    pub sha1_signature: bool,
    /// For whom an enrollment agent enrolls: name-value pair `requestername` of the *signed* attributes.
    pub requester_name: Option<String>,
    /// All name-value pairs of the signed attributes.
    pub pairs: Vec<NameValuePair>,
}

impl CertificateRequest {
    /// The octets of a request as DER, whatever rules it is encoded by; for looking at what [`Self::parse`] passes over.
    ///
    /// # Errors
    /// [`RequestError`] if they are no encoding.
    pub fn as_der(input: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, RequestError> {
        Ok(tlv::to_der(input)?)
    }

    /// Finds out the form of `input` from its bytes, verifies all of its signatures, and reads what it asks for.
    ///
    /// CMS may be BER; PKCS#10 and certificates must be DER.
    ///
    /// # Errors
    /// [`RequestError`] for the first thing that is wrong.
    pub fn parse(input: &[u8]) -> Result<ParsedRequest, RequestError> {
        if input.len() > MAX_REQUEST_LEN {
            return Err(RequestError::TooLarge { len: input.len() });
        }
        let der = tlv::to_der(input)?;
        let outer = Cursor::new(&der).any("request")?;
        if SignedData::sniff(&outer) {
            Self::parse_signed_data(&SignedData::read(&outer)?)
        } else if Pkcs10::sniff(&outer) && matches!(der, std::borrow::Cow::Borrowed(_)) {
            let pkcs10 = Pkcs10::read(&outer)?;
            let Pkcs10Signature::Key { sha1 } = pkcs10.verify(false)? else {
                return Err(RequestError::NoProofOfPossession);
            };
            let (request, renewal) =
                assemble(&pkcs10, RequestForm::Pkcs10, Possession::Pkcs10Signature, sha1)?;
            // A renewal is signed with the old key, which a bare PKCS#10 cannot be.
            if renewal.is_some() { Err(RequestError::RenewalNotSigned) } else { Ok(request) }
        } else {
            Err(RequestError::UnknownFormat)
        }
    }

    fn parse_signed_data(message: &SignedData<'_>) -> Result<ParsedRequest, RequestError> {
        let content = message.content.ok_or(Malformed("CMS content"))?;
        if message.signers.is_empty() {
            return Err(RequestError::NoSigner);
        }
        match message.content_type {
            oids::ID_DATA => {
                let pkcs10 = only_pkcs10(content)?;
                finish(message, content, &pkcs10, &Controls::default(), Kind::Cms)
            }
            oids::ID_CCT_PKI_DATA => {
                tlv::check_der(content)?;
                let (controls, pkcs10) = read_pki_data(content)?;
                finish(message, content, &pkcs10, &controls, Kind::Cmc)
            }
            _ => Err(RequestError::UnknownFormat),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Cms,
    Cmc,
}

/// Verifies the PKCS#10 and all signers, then assembles the request.
fn finish(
    message: &SignedData<'_>,
    content: &[u8],
    pkcs10: &Pkcs10<'_>,
    controls: &Controls,
    kind: Kind,
) -> Result<ParsedRequest, RequestError> {
    let inner = pkcs10.verify(true)?;
    let signers = verify_signers(message, content, &pkcs10.public_key)?;
    let (possession, inner_sha1) = match (inner, signers.by_new_key) {
        (Pkcs10Signature::Key { sha1 }, true) => (Possession::Both, sha1),
        (Pkcs10Signature::Key { sha1 }, false) => (Possession::Pkcs10Signature, sha1),
        (Pkcs10Signature::Null, true) => (Possession::SignerInfo, false),
        (Pkcs10Signature::Null, false) => return Err(RequestError::NoProofOfPossession),
    };
    let sha1 = inner_sha1 || signers.sha1;
    let (mut request, renewal) = assemble(pkcs10, RequestForm::Pkcs10, possession, sha1)?;
    let mut with_certificate = signers.with_certificate;
    request.form = match (renewal, kind) {
        (None, Kind::Cms) => RequestForm::Cms { signers: with_certificate },
        (None, Kind::Cmc) => RequestForm::Cmc { signers: with_certificate },
        (Some(old), kind) => {
            let at = with_certificate
                .iter()
                .position(|signer| signer.by_issuer_and_serial && signer.certificate_der == old)
                .ok_or(RequestError::RenewalNotSigned)?;
            let renewed = with_certificate.remove(at);
            match kind {
                Kind::Cms => RequestForm::CmsRenewal { renewed, others: with_certificate },
                Kind::Cmc => RequestForm::CmcRenewal { renewed, others: with_certificate },
            }
        }
    };
    request.archived_key |= controls.encrypted_key_hash
        || message
            .signers
            .iter()
            .flat_map(|signer| &signer.unsigned)
            .any(|a| a.oid == oids::ARCHIVED_KEY_ATTR);
    request.control_extensions.clone_from(&controls.extensions);
    request.pairs.extend(controls.pairs.iter().cloned());
    request.pairs.extend(unsigned_requester_names(message)?);
    request.template.names = template_names(&request.extensions, &request.pairs)?;
    Ok(request)
}

/// Result of verifying all SignerInfos.
#[derive(Default)]
struct Signers {
    with_certificate: Vec<VerifiedSigner>,
    /// Whether a SignerInfo verified with the key of the PKCS#10.
    by_new_key: bool,
    sha1: bool,
}

/// Every SignerInfo must verify; one that does not makes the whole request invalid.
fn verify_signers(
    message: &SignedData<'_>,
    content: &[u8],
    new_key: &PublicKey,
) -> Result<Signers, RequestError> {
    let mut result = Signers::default();
    for (index, signer) in message.signers.iter().enumerate() {
        if signer.is_no_signature() {
            signer.verify_no_signature(index, &message.content_type, content)?;
            continue;
        }
        let names_new_key = match signer.id {
            SignerId::IssuerAndSerial { .. } => false,
            // Whatever identifier the client made up: where no certificate has it, it must mean the new key.
            SignerId::KeyIdentifier(identifier) => {
                identifier == new_key.key_identifier()
                    || signer.candidates(&message.certificates).next().is_none()
            }
        };
        if names_new_key {
            let algorithm = signer.verify(index, &message.content_type, content, new_key)?;
            result.by_new_key = true;
            result.sha1 |= algorithm.is_sha1();
        } else {
            let verified = verify_with_certificate(message, content, index, signer)?;
            result.sha1 |= verified.0.sha1_signature;
            // Same-key renewal: the old key is the new key.
            result.by_new_key |= verified.1.spki_der() == new_key.spki_der();
            result.with_certificate.push(verified.0);
        }
    }
    Ok(result)
}

/// Certificates tried for one SignerInfo, which bounds the work that a message can ask for.
const MAX_CANDIDATES: usize = 2;

/// Verifies a SignerInfo with the certificate it names. Two certificates may carry the same identifier, as a
/// re-keyed CA's do; the one whose key fits is meant.
fn verify_with_certificate(
    message: &SignedData<'_>,
    content: &[u8],
    index: usize,
    signer: &SignerInfo<'_>,
) -> Result<(VerifiedSigner, PublicKey), RequestError> {
    let mut failure = RequestError::SignerCertificateMissing { index };
    for certificate in signer.candidates(&message.certificates).take(MAX_CANDIDATES) {
        let key = match certificate.public_key() {
            Ok(key) => key,
            Err(error) => {
                failure = RequestError::SignerKey { index, error };
                continue;
            }
        };
        match signer.verify(index, &message.content_type, content, &key) {
            Ok(algorithm) => {
                let pairs = signed_pairs(signer)?;
                let requester_name = requester_name(&pairs)?;
                let verified = VerifiedSigner {
                    certificate_der: certificate.raw.to_vec(),
                    by_issuer_and_serial: matches!(signer.id, SignerId::IssuerAndSerial { .. }),
                    sha1_signature: algorithm.is_sha1(),
                    requester_name,
                    pairs,
                };
                return Ok((verified, key));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn signed_pairs(signer: &SignerInfo<'_>) -> Result<Vec<NameValuePair>, RequestError> {
    let mut pairs = Vec::new();
    for attribute in signer.signed_attributes() {
        if attribute.oid == oids::ENROLLMENT_NAME_VALUE_PAIR {
            for value in &attribute.values {
                pairs.push(name_value_pair(value)?);
            }
        }
    }
    Ok(pairs)
}

/// Names of requesters in unsigned attributes, which anybody can add: they are kept so that they can be refused.
fn unsigned_requester_names(message: &SignedData<'_>) -> Result<Vec<NameValuePair>, RequestError> {
    let mut names = Vec::new();
    let unsigned = message.signers.iter().flat_map(|signer| &signer.unsigned);
    for attribute in unsigned.filter(|attribute| attribute.oid == oids::ENROLLMENT_NAME_VALUE_PAIR) {
        for value in &attribute.values {
            let pair = name_value_pair(value)?;
            if pair.name.eq_ignore_ascii_case("requestername") {
                names.push(pair);
            }
        }
    }
    Ok(names)
}

fn requester_name(pairs: &[NameValuePair]) -> Result<Option<String>, RequestError> {
    let mut names = pairs.iter().filter(|pair| pair.name.eq_ignore_ascii_case("requestername"));
    let first = names.next().map(|pair| pair.value.clone());
    if names.next().is_some() {
        return Err(RequestError::NotOneValue(oids::ENROLLMENT_NAME_VALUE_PAIR));
    }
    Ok(first)
}

/// Reads what a verified PKCS#10 asks for; also hands back the renewal certificate.
fn assemble<'a>(
    pkcs10: &Pkcs10<'a>,
    form: RequestForm,
    possession: Possession,
    sha1_signature: bool,
) -> Result<(ParsedRequest, Option<&'a [u8]>), RequestError> {
    let mut read = RequestAttributes::default();
    read.read(&pkcs10.attributes)?;
    let mut names = Vec::new();
    let mut template =
        TemplateIdentifiers { names: template_names(&read.extensions, &read.pairs)?, id: None };
    for extension in &read.extensions {
        match extension.oid {
            oids::SUBJECT_ALT_NAME => names = parse_general_names(&extension.value)?,
            oids::CERTIFICATE_TEMPLATE => template.id = Some(TemplateId::from_der(&extension.value)?),
            _ => {}
        }
    }
    let request = ParsedRequest {
        form,
        public_key: pkcs10.public_key.clone(),
        possession,
        sha1_signature,
        subject: pkcs10.subject.clone(),
        names,
        extensions: read.extensions,
        control_extensions: Vec::new(),
        template,
        pairs: read.pairs,
        client: read.client,
        archived_key: read.encrypted_key_hash,
        attestation: read.attestation,
        pkcs10_der: pkcs10.raw().to_vec(),
    };
    Ok((request, read.renewal_certificate))
}

fn template_names(
    extensions: &[RequestedExtension],
    pairs: &[NameValuePair],
) -> Result<Vec<String>, RequestError> {
    let mut names = Vec::new();
    for extension in extensions.iter().filter(|extension| extension.oid == oids::ENROLL_CERTTYPE) {
        names.push(parse_template_name(&extension.value)?);
    }
    names.extend(
        pairs
            .iter()
            .filter(|pair| pair.name.eq_ignore_ascii_case("CertificateTemplate"))
            .map(|pair| pair.value.clone()),
    );
    Ok(names)
}

/// What the controls of a CMC request hold.
#[derive(Debug, Default)]
struct Controls {
    extensions: Vec<RequestedExtension>,
    pairs: Vec<NameValuePair>,
    encrypted_key_hash: bool,
}

/// Reads PKIData (RFC 5272 section 3.2.1) with exactly one PKCS#10.
fn read_pki_data(content: &[u8]) -> Result<(Controls, Pkcs10<'_>), RequestError> {
    const WHAT: &str = "PKIData";
    let mut parts = Cursor::new(content).only(tlv::SEQUENCE, WHAT)?.children();
    let controls = parts.expect(tlv::SEQUENCE, WHAT)?;
    let mut requests = parts.expect(tlv::SEQUENCE, WHAT)?.children();
    let cms_sequence = parts.expect(tlv::SEQUENCE, WHAT)?;
    let other_messages = parts.expect(tlv::SEQUENCE, WHAT)?;
    parts.finish(WHAT)?;
    if !cms_sequence.value.is_empty() || !other_messages.value.is_empty() {
        return Err(Malformed("PKIData with nested messages").into());
    }
    let mut found = Vec::new();
    while !requests.is_empty() {
        found.push(requests.any(WHAT)?);
    }
    let [request] = found.as_slice() else { return Err(RequestError::NotOneRequest { found: found.len() }) };
    // Only the PKCS#10 choice of TaggedRequest; CRMF and others are not for this protocol.
    if request.tag != tlv::CTX_0 {
        return Err(Malformed("TaggedRequest").into());
    }
    let mut tagged = request.children();
    tagged.expect(tlv::INTEGER, "TaggedRequest")?;
    let pkcs10 = Pkcs10::read(&tagged.expect(tlv::SEQUENCE, "TaggedRequest")?)?;
    tagged.finish("TaggedRequest")?;
    Ok((read_controls(&controls)?, pkcs10))
}

fn read_controls(sequence: &Tlv<'_>) -> Result<Controls, RequestError> {
    const WHAT: &str = "CMC control";
    let mut result = Controls::default();
    let mut list = sequence.children();
    while !list.is_empty() {
        let mut parts = list.expect(tlv::SEQUENCE, WHAT)?.children();
        parts.expect(tlv::INTEGER, WHAT)?;
        let oid = parts.any(WHAT)?.oid(WHAT)?;
        let values = read_values(parts.expect(tlv::SET, WHAT)?)?;
        parts.finish(WHAT)?;
        for value in &values {
            match oid {
                oids::ID_CMC_REG_INFO => read_reg_info(value, &mut result.pairs)?,
                oids::ENROLLMENT_NAME_VALUE_PAIR => result.pairs.push(name_value_pair(value)?),
                oids::ID_CMC_ADD_EXTENSIONS => {
                    let mut fields = value.children();
                    fields.expect(tlv::INTEGER, WHAT)?;
                    fields.expect(tlv::SEQUENCE, WHAT)?;
                    read_extensions(&fields.expect(tlv::SEQUENCE, WHAT)?, &mut result.extensions)?;
                    fields.finish(WHAT)?;
                }
                oids::CMC_ADD_ATTRIBUTES => {
                    let mut fields = value.children();
                    fields.expect(tlv::INTEGER, WHAT)?;
                    fields.expect(tlv::SEQUENCE, WHAT)?;
                    let attributes = read_attributes(fields.expect(tlv::SET, WHAT)?.children())?;
                    fields.finish(WHAT)?;
                    let mut added = RequestAttributes::default();
                    added.read(&attributes)?;
                    result.encrypted_key_hash |= added.encrypted_key_hash;
                    result.pairs.extend(added.pairs);
                    for extension in added.extensions {
                        match result.extensions.iter().find(|known| known.oid == extension.oid) {
                            Some(known) if *known == extension => {}
                            Some(_) => return Err(RequestError::Duplicate(extension.oid)),
                            None => result.extensions.push(extension),
                        }
                    }
                }
                oids::ENCRYPTED_KEY_HASH => result.encrypted_key_hash = true,
                // Nonces, transaction ids and the like change nothing about what is asked for.
                _ => {}
            }
        }
    }
    Ok(result)
}

/// Reads `Name=Value&Name=Value` (MS-WCCE 2.2.2.6.3): an OCTET STRING of UTF-8, or a string.
fn read_reg_info(value: &Tlv<'_>, pairs: &mut Vec<NameValuePair>) -> Result<(), RequestError> {
    const WHAT: &str = "regInfo";
    let text = match value.tag {
        tlv::OCTET_STRING => std::str::from_utf8(value.value).ok().map(str::to_owned),
        _ => value.text(),
    }
    .ok_or(Malformed(WHAT))?;
    // As with request attributes, what is no pair is passed over (MS-WCCE 3.2.1.4.2.1.2).
    for (name, value) in text.split('&').filter_map(|part| part.split_once('=')) {
        pairs.push(NameValuePair {
            name: name.trim().to_owned(),
            value: value.trim_matches([' ', '\0', '\r', '\n']).to_owned(),
        });
    }
    Ok(())
}
