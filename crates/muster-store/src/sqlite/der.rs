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

/// The octets of a certificate's tbsCertificate.
pub(super) fn tbs(certificate: &[u8]) -> Option<&[u8]> {
    tbs_element(certificate).map(|e| e.octets)
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
        assert_eq!(spki_of_tbs(tbs(der).unwrap()), spki(der));
        for length in 0..der.len() {
            assert_eq!(spki(&der[..length]), None);
        }
    }
}
