//! Writing requests, for the client: PKCS#10, CMC full requests and CMS renewals as Windows clients send them.

use der::asn1::ObjectIdentifier;

use super::attributes::{
    ClientInfo, CspProvider, NameValuePair, RequestedExtension, RequestedName, TemplateId,
};
use super::certificate;
use super::encode::{
    BuildError, Sid, attribute, signed_data, signer_info, signer_info_with, signing_identifier,
};
use super::error::Malformed;
use super::key::PublicKey;
use super::oids;
use super::signature::{DigestAlgorithm, SignBytes};
use super::tlv;
use super::x509::CertificateView;

/// Which template a request names, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSelector {
    /// By name (extension 20.2): templates of schema 1.
    Name(String),
    /// By OID and version (extension 21.7): templates of schema 2 and later.
    Id(TemplateId),
}

/// What goes into a PKCS#10.
#[derive(Clone, Copy, Debug)]
pub struct Pkcs10Builder<'a> {
    /// DER of the subject Name; empty for the empty name.
    pub subject: &'a [u8],
    /// DER of the SubjectPublicKeyInfo of the new key.
    pub public_key: &'a [u8],
    /// Subject alternative names.
    pub names: &'a [RequestedName],
    /// Template that is asked for.
    pub template: Option<&'a TemplateSelector>,
    /// Further extensions.
    pub extensions: &'a [RequestedExtension],
    /// Attribute 13.2.3, such as `10.0.22631.2`.
    pub os_version: Option<&'a str>,
    /// Attribute 21.20.
    pub client_info: Option<&'a ClientInfo>,
    /// Attribute 13.2.2.
    pub csp: Option<&'a CspProvider>,
    /// DER of the certificate to be renewed, attribute 13.1.
    pub renewal_certificate: Option<&'a [u8]>,
}

impl<'a> Pkcs10Builder<'a> {
    /// A request for this key without anything else.
    #[must_use]
    pub fn new(public_key: &'a [u8]) -> Self {
        Self {
            subject: &[],
            public_key,
            names: &[],
            template: None,
            extensions: &[],
            os_version: None,
            client_info: None,
            csp: None,
            renewal_certificate: None,
        }
    }

    /// Signs with the new key and returns the PKCS#10.
    ///
    /// # Errors
    /// [`BuildError`] when a part is not valid or signing fails.
    pub fn build(&self, new_key: &dyn SignBytes) -> Result<Vec<u8>, BuildError> {
        let identifier = signing_identifier(new_key.algorithm())?;
        let info = self.info()?;
        let signature = new_key.sign(&info)?;
        Ok(tlv::constructed(tlv::SEQUENCE, &[&info, &identifier, &tlv::bit_string(&signature)]))
    }

    /// The PKCS#10 with a null signature (MS-WCCE 2.2.2.6.5), for use inside of [`build_cmc`] only.
    ///
    /// # Errors
    /// [`BuildError`] when a part is not valid.
    pub fn build_null_signed(&self, digest: DigestAlgorithm) -> Result<Vec<u8>, BuildError> {
        let info = self.info()?;
        let signature = tlv::bit_string(&digest.digest(&info));
        Ok(tlv::constructed(tlv::SEQUENCE, &[&info, &digest.identifier(), &signature]))
    }

    /// DER of CertificationRequestInfo.
    fn info(&self) -> Result<Vec<u8>, BuildError> {
        let empty_name = tlv::element(tlv::SEQUENCE, &[]);
        let subject = if self.subject.is_empty() { &empty_name } else { self.subject };
        let mut attributes = Vec::new();
        if let Some(version) = self.os_version {
            let text = tlv::element(tlv::IA5_STRING, version.as_bytes());
            attributes.push(attribute(&oids::OS_VERSION, &[&text]));
        }
        if let Some(info) = self.client_info {
            let text = |text: &str| tlv::element(tlv::UTF8_STRING, text.as_bytes());
            let value = tlv::constructed(
                tlv::SEQUENCE,
                &[
                    &tlv::integer(&info.client_id.to_be_bytes()),
                    &text(&info.machine),
                    &text(&info.user),
                    &text(&info.process),
                ],
            );
            attributes.push(attribute(&oids::REQUEST_CLIENT_INFO, &[&value]));
        }
        if let Some(csp) = self.csp {
            let value = tlv::constructed(
                tlv::SEQUENCE,
                &[
                    &tlv::integer(&csp.key_spec.to_be_bytes()),
                    &tlv::bmp_string(&csp.name),
                    &tlv::bit_string(&[]),
                ],
            );
            attributes.push(attribute(&oids::ENROLLMENT_CSP_PROVIDER, &[&value]));
        }
        let extensions = self.extensions()?;
        if !extensions.is_empty() {
            let parts: Vec<Vec<u8>> = extensions.iter().map(extension).collect();
            let list = tlv::element(tlv::SEQUENCE, &parts.concat());
            attributes.push(attribute(&oids::EXTENSION_REQUEST, &[&list]));
        }
        if let Some(old) = self.renewal_certificate {
            CertificateView::read(old)?;
            attributes.push(attribute(&oids::RENEWAL_CERTIFICATE, &[old]));
        }
        Ok(tlv::constructed(
            tlv::SEQUENCE,
            &[&tlv::integer(&[0]), subject, self.public_key, &tlv::set_of(tlv::CTX_0, attributes)],
        ))
    }

    fn extensions(&self) -> Result<Vec<RequestedExtension>, BuildError> {
        let mut extensions = Vec::new();
        let plain = |oid, value| RequestedExtension { oid, critical: false, value };
        match self.template {
            Some(TemplateSelector::Name(name)) => {
                extensions.push(plain(oids::ENROLL_CERTTYPE, certificate::template_name_to_der(name)));
            }
            Some(TemplateSelector::Id(id)) => extensions.push(plain(oids::CERTIFICATE_TEMPLATE, id.to_der())),
            None => {}
        }
        if !self.names.is_empty() {
            extensions.push(RequestedExtension {
                oid: oids::SUBJECT_ALT_NAME,
                // RFC 5280 section 4.2.1.6: critical when the subject is empty.
                critical: self.subject.is_empty(),
                value: certificate::general_names_to_der(self.names)?,
            });
        }
        extensions.extend_from_slice(self.extensions);
        Ok(extensions)
    }
}

fn extension(extension: &RequestedExtension) -> Vec<u8> {
    let critical: &[u8] = if extension.critical { &[0x01, 0x01, 0xff] } else { &[] };
    let value = tlv::element(tlv::OCTET_STRING, &extension.value);
    tlv::constructed(tlv::SEQUENCE, &[&tlv::oid(&extension.oid), critical, &value])
}

/// A further signer of a request: the holder of the certificate to be renewed, or a registration authority.
#[derive(Clone, Copy, Debug)]
pub struct Cosigner<'a> {
    /// DER of the certificate.
    pub certificate: &'a [u8],
    /// Its key.
    pub key: &'a dyn SignBytes,
}

/// Builds a CMC full request around a PKCS#10: first signed by the new key, named by its key identifier, then
/// by the cosigners. A renewal needs the old certificate both in the PKCS#10 and as a cosigner.
///
/// # Errors
/// [`BuildError`] when a part is not valid or signing fails.
pub fn build_cmc(
    pkcs10: &[u8],
    public_key: &[u8],
    new_key: &dyn SignBytes,
    reg_info: &[NameValuePair],
    cosigners: &[Cosigner<'_>],
) -> Result<Vec<u8>, BuildError> {
    let key = PublicKey::from_spki_der(public_key).map_err(|_| Malformed("public key"))?;
    let mut controls = Vec::new();
    if !reg_info.is_empty() {
        controls = control(2, &oids::ID_CMC_REG_INFO, &reg_info_value(reg_info)?);
    }
    let empty = tlv::element(tlv::SEQUENCE, &[]);
    let tagged = tlv::constructed(tlv::CTX_0, &[&tlv::integer(&[1]), pkcs10]);
    let content = tlv::constructed(
        tlv::SEQUENCE,
        &[&tlv::element(tlv::SEQUENCE, &controls), &tlv::element(tlv::SEQUENCE, &tagged), &empty, &empty],
    );
    let content_type = oids::ID_CCT_PKI_DATA;
    let identifier = key.key_identifier();
    let mut signers =
        vec![signer_info(&Sid::KeyIdentifier(&identifier), &content_type, &content, true, new_key)?];
    for cosigner in cosigners {
        let sid = Sid::Certificate(cosigner.certificate);
        signers.push(signer_info(&sid, &content_type, &content, true, cosigner.key)?);
    }
    let certificates: Vec<&[u8]> = cosigners.iter().map(|cosigner| cosigner.certificate).collect();
    Ok(signed_data(&content_type, Some(&content), &certificates, &signers))
}

fn control(id: u8, oid: &ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    tlv::constructed(tlv::SEQUENCE, &[&tlv::integer(&[id]), &tlv::oid(oid), &tlv::element(tlv::SET, value)])
}

/// `Name=Value&Name=Value` as an OCTET STRING (RFC 5272 section 6.12, MS-WCCE 2.2.2.6.3).
fn reg_info_value(pairs: &[NameValuePair]) -> Result<Vec<u8>, Malformed> {
    let special = ['&', '=', '\r', '\n', '\0'];
    let mut text = String::new();
    for NameValuePair { name, value } in pairs {
        if name.contains(special) || value.contains(special) {
            return Err(Malformed("name-value pair"));
        }
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    Ok(tlv::element(tlv::OCTET_STRING, text.as_bytes()))
}

/// Builds a CMS renewal: a PKCS#10 that carries the old certificate, signed by the old key without signed
/// attributes, as Windows does for templates of schema 1.
///
/// # Errors
/// [`BuildError`] when a part is not valid or signing fails.
pub fn build_cms_renewal(pkcs10: &[u8], old: Cosigner<'_>) -> Result<Vec<u8>, BuildError> {
    let signer = signer_info(&Sid::Certificate(old.certificate), &oids::ID_DATA, pkcs10, false, old.key)?;
    Ok(signed_data(&oids::ID_DATA, Some(pkcs10), &[old.certificate], &[signer]))
}

/// Builds a request on behalf of somebody: a PKCS#10, signed by an enrollment agent who names the requester,
/// `CORP\\alice`, in the signed attributes (MS-WCCE 2.2.2.7.10, 3.1.1.4.3.3.2).
///
/// # Errors
/// [`BuildError`] when a part is not valid or signing fails.
pub fn build_on_behalf(pkcs10: &[u8], requester: &str, agent: Cosigner<'_>) -> Result<Vec<u8>, BuildError> {
    if requester.is_empty() || requester.chars().any(char::is_control) {
        return Err(Malformed("name of the requester").into());
    }
    let pair = [tlv::bmp_string("requestername"), tlv::bmp_string(requester)].concat();
    let name = attribute(&oids::ENROLLMENT_NAME_VALUE_PAIR, &[&tlv::element(tlv::SEQUENCE, &pair)]);
    let sid = Sid::Certificate(agent.certificate);
    let signer = signer_info_with(&sid, &oids::ID_DATA, pkcs10, Some(vec![name]), agent.key)?;
    Ok(signed_data(&oids::ID_DATA, Some(pkcs10), &[agent.certificate], &[signer]))
}
