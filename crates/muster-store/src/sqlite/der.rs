//! As much DER as the store needs to compare and to index what it is given: tags and lengths, nothing else.

const SEQUENCE: u8 = 0x30;
/// The version of a certificate, `[0] EXPLICIT`.
const VERSION: u8 = 0xa0;

struct Element<'a> {
    tag: u8,
    contents: &'a [u8],
    /// Tag, length and contents.
    octets: &'a [u8],
    rest: &'a [u8],
}

/// Splits the first element off `der`. Lengths below 2^24 and tags of one octet, as certificates have them.
fn element(der: &[u8]) -> Option<Element<'_>> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    let octets = der.get(..der.len().checked_sub(rest.len())?)?;
    Some(Element { tag: *tag, contents, octets, rest })
}

/// The tbsCertificate of a certificate (RFC 5280 4.1).
fn tbs_element(certificate: &[u8]) -> Option<Element<'_>> {
    let outer = element(certificate).filter(|e| e.tag == SEQUENCE && e.rest.is_empty())?;
    element(outer.contents).filter(|e| e.tag == SEQUENCE)
}

/// A certificate in two parts: the octets that are signed, and what follows them (signatureAlgorithm and signature).
/// `None` if they could not be put together again octet by octet.
pub(super) fn split(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let outer = element(certificate).filter(|e| e.tag == SEQUENCE && e.rest.is_empty())?;
    let tbs = tbs_element(certificate)?;
    let head = certificate.len().checked_sub(outer.contents.len())?;
    (head == 1 + length_octets(outer.contents.len())).then_some((tbs.octets, tbs.rest))
}

/// Puts both parts together again.
pub(super) fn join(tbs: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = tbs.len() + rest.len();
    let octets = length_octets(length);
    let mut certificate = Vec::with_capacity(1 + octets + length);
    certificate.push(SEQUENCE);
    let big_endian = length.to_be_bytes();
    if octets > 1 {
        certificate.push(0x80 | u8::try_from(octets - 1).unwrap_or(0x7f));
    }
    let from = big_endian.len().saturating_sub(octets.saturating_sub(1).max(1));
    certificate.extend_from_slice(big_endian.get(from..).unwrap_or_default());
    certificate.extend_from_slice(tbs);
    certificate.extend_from_slice(rest);
    certificate
}

/// How many octets the shortest form of this length has, below 2^24 as everywhere here.
const fn length_octets(length: usize) -> usize {
    match length {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 4,
    }
}

/// The octets of a certificate's subjectPublicKeyInfo.
pub(super) fn spki(certificate: &[u8]) -> Option<&[u8]> {
    spki_in(tbs_element(certificate)?.contents)
}

/// The same of a tbsCertificate alone.
pub(super) fn spki_of_tbs(tbs: &[u8]) -> Option<&[u8]> {
    let outer = element(tbs).filter(|e| e.tag == SEQUENCE && e.rest.is_empty())?;
    spki_in(outer.contents)
}

fn spki_in(tbs: &[u8]) -> Option<&[u8]> {
    let mut next = element(tbs)?;
    if next.tag == VERSION {
        next = element(next.rest)?;
    }
    // From serialNumber over signature, issuer, validity and subject.
    for _ in 0..5 {
        next = element(next.rest)?;
    }
    (next.tag == SEQUENCE).then_some(next.octets)
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
        assert_eq!(&join(tbs, rest), der.as_ref());
        for length in 0..der.len() {
            assert_eq!(spki(&der[..length]), None);
        }
    }

    #[test]
    fn parts_are_joined_octet_by_octet() {
        for length in [0, 1, 0x7d, 0x7e, 0x7f, 0xfc, 0xfd, 0xfe, 0x100, 0xfffc, 0x1_0000] {
            let (tbs, rest) = ([SEQUENCE, 0], vec![7; length]);
            let whole = join(&tbs, &rest);
            assert_eq!(split(&whole), Some((&tbs[..], &rest[..])), "{length}");
        }
        // The same with a length in a longer form would not come back as it was.
        assert_eq!(split(&[SEQUENCE, 0x81, 2, SEQUENCE, 0]), None);
    }
}
