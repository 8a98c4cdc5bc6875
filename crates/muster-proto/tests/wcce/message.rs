//! Messages put together by hand, so that each part can be wrong. Independent of the crate's own writers.

use muster_proto::wcce::{DigestAlgorithm, SignBytes};

use crate::support::{Key, element, hex};

pub(crate) const ID_DATA: &str = "06092a864886f70d010701";
pub(crate) const PKI_DATA: &str = "06082b06010505070c02";
pub(crate) const EXTENSION_REQUEST: &str = "06092a864886f70d01090e";
pub(crate) const CERT_EXTENSIONS: &str = "060a2b060104018237 02010e";
pub(crate) const RENEWAL: &str = "06092b060104018237 0d01";
pub(crate) const NAME_VALUE: &str = "060a2b060104018237 0d0201";
pub(crate) const OS_VERSION: &str = "060a2b060104018237 0d0203";

pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    element(0x31, &parts.concat())
}

pub(crate) fn attribute(oid: &str, values: &[&[u8]]) -> Vec<u8> {
    seq(&[&hex(oid), &set(values)])
}

pub(crate) fn extension(oid: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&hex(oid), &element(4, value)])
}

pub(crate) fn bmp(text: &str) -> Vec<u8> {
    element(0x1e, &text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
}

pub(crate) fn name_value(name: &str, value: &str) -> Vec<u8> {
    seq(&[&bmp(name), &bmp(value)])
}

/// AlgorithmIdentifier of the digest that goes with a key.
fn digest_identifier(key: &Key) -> (DigestAlgorithm, Vec<u8>) {
    let digest = key.algorithm().digest();
    let oid = match digest {
        DigestAlgorithm::Sha1 => "06052b0e03021a",
        DigestAlgorithm::Sha256 => "0609608648016503040201",
        DigestAlgorithm::Sha384 => "0609608648016503040202",
        DigestAlgorithm::Sha512 => "0609608648016503040203",
    };
    (digest, element(0x30, &hex(oid)))
}

fn signature_identifier(key: &Key) -> Vec<u8> {
    hex(match key {
        Key::Rsa(_) => "300d06092a864886f70d01010b0500",
        Key::P256(_) => "300a06082a8648ce3d040302",
        Key::P384(_) => "300a06082a8648ce3d040303",
        Key::Ed25519(_) => "300506032b6570",
    })
}

/// DER of a Name with one common name.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    seq(&[&set(&[&seq(&[&hex("0603550403"), &element(0x0c, common_name.as_bytes())])])])
}

/// A PKCS#10 with these attributes, signed by `key`.
pub(crate) fn pkcs10(key: &Key, subject: &[u8], attributes: &[&[u8]]) -> Vec<u8> {
    let info = seq(&[&[2, 1, 0], subject, &key.spki(), &element(0xa0, &attributes.concat())]);
    let signature = [&[0], key.sign(&info).unwrap().as_slice()].concat();
    seq(&[&info, &signature_identifier(key), &element(3, &signature)])
}

/// A PKCS#10 with a null signature, made with SHA-256.
pub(crate) fn null_pkcs10(key: &Key, attributes: &[&[u8]]) -> Vec<u8> {
    let info = seq(&[&[2, 1, 0], &[0x30, 0], &key.spki(), &element(0xa0, &attributes.concat())]);
    let signature = [&[0], DigestAlgorithm::Sha256.digest(&info).as_slice()].concat();
    seq(&[&info, &element(0x30, &hex("0609608648016503040201")), &element(3, &signature)])
}

/// PKIData around requests, with the given controls.
pub(crate) fn pki_data(controls: &[&[u8]], requests: &[&[u8]]) -> Vec<u8> {
    let tagged: Vec<u8> =
        requests.iter().flat_map(|request| element(0xa0, &[&[2, 1, 1], *request].concat())).collect();
    seq(&[&seq(controls), &element(0x30, &tagged), &[0x30, 0], &[0x30, 0]])
}

/// A CMC control with one value.
pub(crate) fn control(oid: &str, value: &[u8]) -> Vec<u8> {
    seq(&[&[2, 1, 2], &hex(oid), &set(&[value])])
}

pub(crate) fn by_key(key: &Key) -> Vec<u8> {
    // The subject public key is what follows the BIT STRING header of the SubjectPublicKeyInfo.
    let identifier = muster_proto::wcce::PublicKey::from_spki_der(&key.spki()).unwrap().key_identifier();
    element(0x80, &identifier)
}

pub(crate) fn by_serial(issuer: &str, serial: u8) -> Vec<u8> {
    seq(&[&name(issuer), &[2, 1, serial]])
}

/// The signed attributes as they should be, for changing.
pub(crate) fn signed_attributes(key: &Key, content_type: &str, content: &[u8]) -> Vec<Vec<u8>> {
    let digest = digest_identifier(key).0.digest(content);
    vec![
        attribute("06092a864886f70d010903", &[&hex(content_type)]),
        attribute("06092a864886f70d010904", &[&element(4, &digest)]),
    ]
}

/// A SignerInfo; without `attributes` the signature covers the content.
pub(crate) fn signer(
    key: &Key,
    sid: &[u8],
    content: &[u8],
    attributes: Option<&[Vec<u8>]>,
    unsigned: &[&[u8]],
) -> Vec<u8> {
    let (signed, signature) = match attributes {
        Some(attributes) => {
            let attributes = attributes.concat();
            (element(0xa0, &attributes), key.sign(&element(0x31, &attributes)).unwrap())
        }
        None => (vec![], key.sign(content).unwrap()),
    };
    let unsigned = if unsigned.is_empty() { vec![] } else { element(0xa1, &unsigned.concat()) };
    seq(&[
        &[2, 1, 3],
        sid,
        &digest_identifier(key).1,
        &signed,
        &signature_identifier(key),
        &element(4, &signature),
        &unsigned,
    ])
}

/// The no-signature mechanism with SHA-256.
pub(crate) fn no_signature(content_type: &str, content: &[u8], digest_of: Option<&[u8]>) -> Vec<u8> {
    let digest = DigestAlgorithm::Sha256;
    let attributes = [
        attribute("06092a864886f70d010903", &[&hex(content_type)]),
        attribute("06092a864886f70d010904", &[&element(4, &digest.digest(content))]),
    ]
    .concat();
    let covered = element(0x31, &attributes);
    seq(&[
        &[2, 1, 3],
        &element(0x80, &[0; 20]),
        &element(0x30, &hex("0609608648016503040201")),
        &element(0xa0, &attributes),
        &element(0x30, &hex("06082b06010505070602")),
        &element(4, &digest.digest(digest_of.unwrap_or(&covered))),
    ])
}

/// ContentInfo with SignedData.
pub(crate) fn cms(content_type: &str, content: &[u8], certificates: &[&[u8]], signers: &[&[u8]]) -> Vec<u8> {
    let certificates = if certificates.is_empty() { vec![] } else { element(0xa0, &certificates.concat()) };
    let data = seq(&[
        &[2, 1, 3],
        &set(&[]),
        &seq(&[&hex(content_type), &element(0xa0, &element(4, content))]),
        &certificates,
        &set(signers),
    ]);
    seq(&[&hex("06092a864886f70d010702"), &element(0xa0, &data)])
}

/// A CMC request signed by the new key as it should be.
pub(crate) fn cmc(key: &Key, content: &[u8]) -> Vec<u8> {
    let attributes = signed_attributes(key, PKI_DATA, content);
    cms(PKI_DATA, content, &[], &[&signer(key, &by_key(key), content, Some(&attributes), &[])])
}
