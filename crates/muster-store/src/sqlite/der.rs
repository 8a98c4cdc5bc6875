//! The parts of a certificate that the store compares, indexes or keeps apart, cut out as they lie in its DER.

use der::{Decode as _, Encode as _, Header, Length, Reader as _, SliceReader, Tag};

/// The version of a certificate, `[0] EXPLICIT`.
const VERSION: u8 = 0xa0;

/// The contents of the SEQUENCE that `der` is.
fn contents(der: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(der).ok()?;
    let header = Header::decode(&mut reader).ok().filter(|header| header.tag() == Tag::Sequence)?;
    let contents = reader.read_slice(header.length()).ok()?;
    reader.is_finished().then_some(contents)
}

/// A certificate in two parts: the octets that are signed, and what follows them (signatureAlgorithm and signature, RFC
/// 5280 4.1). `None` if it is none. DER has one form for a length, so [`join`] makes the same octets of them.
pub(super) fn split(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = contents(certificate)?;
    let tbs = SliceReader::new(inside).ok()?.tlv_bytes().ok()?;
    contents(tbs)?;
    Some((tbs, inside.get(tbs.len()..)?))
}

/// Puts both parts together again. `None` if they are longer than DER can say here, 256 MiB.
pub(super) fn join(tbs: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    let length = Length::try_from(tbs.len().checked_add(rest.len())?).ok()?;
    let mut certificate = Header::new(Tag::Sequence, length).to_der().ok()?;
    certificate.extend_from_slice(tbs);
    certificate.extend_from_slice(rest);
    Some(certificate)
}

/// The octets of a certificate's subjectPublicKeyInfo.
pub(super) fn spki(certificate: &[u8]) -> Option<&[u8]> {
    spki_of_tbs(split(certificate)?.0)
}

/// The same of a tbsCertificate alone.
pub(super) fn spki_of_tbs(tbs: &[u8]) -> Option<&[u8]> {
    let mut fields = SliceReader::new(contents(tbs)?).ok()?;
    let first = fields.tlv_bytes().ok()?;
    // serialNumber, signature, issuer, validity and subject come before it.
    let before = if first.first() == Some(&VERSION) { 5 } else { 4 };
    for _ in 0..before {
        fields.tlv_bytes().ok()?;
    }
    let spki = fields.tlv_bytes().ok()?;
    contents(spki).map(|_| spki)
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData;

    use super::*;

    #[test]
    fn key_is_found_in_whole_certificates_only() {
        let signed = rcgen::generate_simple_self_signed(["host.example".to_owned()]).unwrap();
        let der = signed.cert.der();
        assert_eq!(spki(der), Some(signed.signing_key.subject_public_key_info().as_slice()));
        let (tbs, rest) = split(der).unwrap();
        assert_eq!(spki_of_tbs(tbs), spki(der));
        assert_eq!(join(tbs, rest).as_deref(), Some(der.as_ref()));
        for length in 0..der.len() {
            assert_eq!(spki(&der[..length]), None);
        }
    }

    #[test]
    fn parts_are_joined_octet_by_octet() {
        for length in [0, 1, 0x7d, 0x7e, 0x7f, 0xfc, 0xfd, 0xfe, 0x100, 0xfffc, 0x1_0000] {
            let (tbs, rest) = ([0x30, 0], vec![7; length]);
            let whole = join(&tbs, &rest).unwrap();
            assert_eq!(split(&whole), Some((&tbs[..], &rest[..])), "{length}");
        }
        // The same with a length in a longer form would not come back as it was.
        assert_eq!(split(&[0x30, 0x81, 2, 0x30, 0]), None);
    }
}
