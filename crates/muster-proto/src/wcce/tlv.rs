//! Reading DER without copying, so that signatures are checked over the bytes that arrived.
//!
//! Typed decoders re-encode (and sort sets) when the signed bytes are asked for; this reader hands out the
//! received slices instead. It also is the gate in front of every recursive decoder: [`to_der`] measures the
//! nesting depth first and turns the BER forms that CMS producers emit (indefinite lengths, octet strings
//! in pieces) into DER.

use std::borrow::Cow;

use der::asn1::ObjectIdentifier;

use super::error::Malformed;

/// Greatest nesting of elements that is read. The deepest that occurs is 18: the name of the recipient of an
/// archived key, in an unsigned attribute of a CMC request.
pub const MAX_DEPTH: usize = 20;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const TELETEX_STRING: u8 = 0x14;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const VISIBLE_STRING: u8 = 0x1a;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, primitive.
pub(crate) const CTX_0_PRIMITIVE: u8 = 0x80;
/// `[0]`, constructed.
pub(crate) const CTX_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(crate) const CTX_1: u8 = 0xa1;
/// `[3]`, constructed.
pub(crate) const CTX_3: u8 = 0xa3;

const CONSTRUCTED: u8 = 0x20;
const CONSTRUCTED_OCTET_STRING: u8 = OCTET_STRING | CONSTRUCTED;

/// One element: its tag octet, the whole encoding, and the content octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) raw: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// Reads the content of a constructed element.
    pub(crate) fn children(&self) -> Cursor<'a> {
        Cursor { rest: self.value }
    }

    /// The content as an object identifier.
    pub(crate) fn oid(&self, what: &'static str) -> Result<ObjectIdentifier, Malformed> {
        if self.tag != OID {
            return Err(Malformed(what));
        }
        ObjectIdentifier::from_bytes(self.value).map_err(|_| Malformed(what))
    }

    /// The content as a non-negative integer below 2^32.
    pub(crate) fn small_integer(&self, what: &'static str) -> Result<u32, Malformed> {
        let magnitude = self.unsigned_integer(what)?;
        if magnitude.len() > 4 {
            return Err(Malformed(what));
        }
        Ok(magnitude.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet)))
    }

    /// The magnitude of a non-negative integer, big endian without leading zeros.
    pub(crate) fn unsigned_integer(&self, what: &'static str) -> Result<&'a [u8], Malformed> {
        match (self.tag, self.value) {
            (INTEGER, [0]) => Ok(&[]),
            (INTEGER, [0, rest @ ..]) if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest),
            (INTEGER, [first, ..]) if (1..0x80).contains(first) => Ok(self.value),
            _ => Err(Malformed(what)),
        }
    }

    /// The content of a BIT STRING that is a whole number of octets.
    pub(crate) fn bit_string_octets(&self, what: &'static str) -> Result<&'a [u8], Malformed> {
        match (self.tag, self.value) {
            (BIT_STRING, [0, octets @ ..]) => Ok(octets),
            _ => Err(Malformed(what)),
        }
    }

    /// The text of any of the string types that certificate requests use.
    pub(crate) fn text(&self) -> Option<String> {
        match self.tag {
            UTF8_STRING => std::str::from_utf8(self.value).ok().map(str::to_owned),
            PRINTABLE_STRING | IA5_STRING | VISIBLE_STRING => {
                self.value.is_ascii().then(|| self.value.iter().copied().map(char::from).collect())
            }
            // Teletex strings hold Latin-1 in practice.
            TELETEX_STRING => Some(self.value.iter().copied().map(char::from).collect()),
            BMP_STRING => {
                let (pairs, rest) = self.value.as_chunks::<2>();
                if !rest.is_empty() {
                    return None;
                }
                char::decode_utf16(pairs.iter().map(|pair| u16::from_be_bytes(*pair)))
                    .collect::<Result<String, _>>()
                    .ok()
            }
            _ => None,
        }
    }
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self, what: &'static str) -> Result<Tlv<'a>, Malformed> {
        let header = Header::read(self.rest).ok_or(Malformed(what))?;
        let Extent::Definite(length) = header.extent else { return Err(Malformed(what)) };
        let end = header.len.checked_add(length).ok_or(Malformed(what))?;
        let (raw, rest) = self.rest.split_at_checked(end).ok_or(Malformed(what))?;
        let value = raw.get(header.len..).ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(Tlv { tag: header.tag, raw, value })
    }

    /// The next element, which must carry `tag`.
    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, Malformed> {
        let tlv = self.any(what)?;
        if tlv.tag == tag { Ok(tlv) } else { Err(Malformed(what)) }
    }

    /// The next element if it carries `tag`.
    pub(crate) fn optional(&mut self, tag: u8, what: &'static str) -> Result<Option<Tlv<'a>>, Malformed> {
        if self.rest.first() == Some(&tag) { self.any(what).map(Some) } else { Ok(None) }
    }

    /// Refuses further elements.
    pub(crate) fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(what)) }
    }

    /// All elements that are left; each must carry `tag`.
    pub(crate) fn all(mut self, tag: u8, what: &'static str) -> Result<Vec<Tlv<'a>>, Malformed> {
        let mut elements = Vec::new();
        while !self.is_empty() {
            elements.push(self.expect(tag, what)?);
        }
        Ok(elements)
    }

    /// The one element that is left.
    pub(crate) fn only(mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, Malformed> {
        let element = self.expect(tag, what)?;
        self.finish(what)?;
        Ok(element)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Definite(usize),
    Indefinite,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    tag: u8,
    len: usize,
    extent: Extent,
}

impl Header {
    /// Tag numbers above 30 and lengths that are not minimal are refused: none of the formats has them.
    fn read(input: &[u8]) -> Option<Self> {
        let (&tag, rest) = input.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, extent) = match first {
            0..=0x7f => (2, Extent::Definite(usize::from(first))),
            0x80 => (2, Extent::Indefinite),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let octets = rest.get(..count)?;
                let length = octets
                    .iter()
                    .try_fold(0_usize, |sum, octet| Some(sum.checked_mul(256)? + usize::from(*octet)))?;
                if octets.first() == Some(&0) || length < 0x80 {
                    return None;
                }
                (2 + count, Extent::Definite(length))
            }
            0x85..=0xff => return None,
        };
        Some(Self { tag, len, extent })
    }
}

/// Checks that `input` is exactly one element nested at most [`MAX_DEPTH`] deep and returns it as DER.
///
/// DER is handed back untouched. BER is rewritten: definite lengths, octet strings in one piece.
///
/// # Errors
/// Truncated or trailing data, lengths that are not minimal, nesting that is too deep.
pub(crate) fn to_der(input: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    let mut plain = true;
    let rest = measure(input, 1, &mut plain)?;
    if !rest.is_empty() {
        return Err(Malformed("encoding: data after the end"));
    }
    if plain {
        return Ok(Cow::Borrowed(input));
    }
    let mut out = Vec::with_capacity(input.len());
    transcode(input, 1, &mut out)?;
    Ok(Cow::Owned(out))
}

/// Like [`to_der`] for places where only DER is allowed.
pub(crate) fn check_der(input: &[u8]) -> Result<(), Malformed> {
    match to_der(input)? {
        Cow::Borrowed(_) => Ok(()),
        Cow::Owned(_) => Err(Malformed("encoding: not DER")),
    }
}

/// Walks one element, returns what follows it; `plain` turns false at the first BER form.
fn measure<'a>(input: &'a [u8], depth: usize, plain: &mut bool) -> Result<&'a [u8], Malformed> {
    const TRUNCATED: Malformed = Malformed("encoding: truncated or not minimal");
    if depth > MAX_DEPTH {
        return Err(Malformed("encoding: nested too deep"));
    }
    let header = Header::read(input).ok_or(TRUNCATED)?;
    let body = input.get(header.len..).ok_or(TRUNCATED)?;
    let constructed = header.tag & CONSTRUCTED != 0;
    if header.tag == CONSTRUCTED_OCTET_STRING {
        *plain = false;
    }
    match header.extent {
        Extent::Definite(length) => {
            let (mut content, rest) = body.split_at_checked(length).ok_or(TRUNCATED)?;
            while constructed && !content.is_empty() {
                content = measure(content, depth + 1, plain)?;
            }
            Ok(rest)
        }
        Extent::Indefinite if constructed => {
            *plain = false;
            let mut content = body;
            loop {
                if let Some(rest) = content.strip_prefix(&[0, 0]) {
                    return Ok(rest);
                }
                content = measure(content, depth + 1, plain)?;
            }
        }
        Extent::Indefinite => Err(TRUNCATED),
    }
}

/// Appends the DER form of one element, returns what follows it.
fn transcode<'a>(input: &'a [u8], depth: usize, out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    const TRUNCATED: Malformed = Malformed("encoding: truncated");
    if depth > MAX_DEPTH {
        return Err(Malformed("encoding: nested too deep"));
    }
    let header = Header::read(input).ok_or(TRUNCATED)?;
    let body = input.get(header.len..).ok_or(TRUNCATED)?;
    if header.tag & CONSTRUCTED == 0 {
        let Extent::Definite(length) = header.extent else { return Err(TRUNCATED) };
        let (content, rest) = body.split_at_checked(length).ok_or(TRUNCATED)?;
        put(out, header.tag, content);
        return Ok(rest);
    }
    let mut parts = Vec::new();
    let rest = match header.extent {
        Extent::Definite(length) => {
            let (mut content, rest) = body.split_at_checked(length).ok_or(TRUNCATED)?;
            while !content.is_empty() {
                content = transcode(content, depth + 1, &mut parts)?;
            }
            rest
        }
        Extent::Indefinite => {
            let mut content = body;
            loop {
                if let Some(rest) = content.strip_prefix(&[0, 0]) {
                    break rest;
                }
                content = transcode(content, depth + 1, &mut parts)?;
            }
        }
    };
    if header.tag == CONSTRUCTED_OCTET_STRING {
        let pieces = Cursor::new(&parts).all(OCTET_STRING, "octet string in pieces")?;
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.value).copied().collect();
        put(out, OCTET_STRING, &whole);
    } else {
        put(out, header.tag, &parts);
    }
    Ok(rest)
}

/// Appends one element.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    put_head(out, tag, content.len());
    out.extend_from_slice(content);
}

/// Appends tag and length.
fn put_head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    let length = length.to_be_bytes();
    let octets = length.iter().position(|octet| *octet != 0).and_then(|at| length.get(at..)).unwrap_or(&[0]);
    match octets {
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // At most eight octets, so the sum cannot overflow.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
}

/// One element as a new vector.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    joined(tag, &[content])
}

/// A constructed element of the given parts, in this order.
pub(crate) fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    joined(tag, parts)
}

/// One allocation, and each octet is copied once.
fn joined<T: AsRef<[u8]>>(tag: u8, parts: &[T]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.as_ref().len()).sum();
    let mut out = Vec::with_capacity(HEAD + length);
    put_head(&mut out, tag, length);
    parts.iter().for_each(|part| out.extend_from_slice(part.as_ref()));
    out
}

/// Octets of tag and length, of anything that is shorter than 4 GiB.
const HEAD: usize = 6;

/// A SET OF: its members sorted as DER wants it.
pub(crate) fn set_of(tag: u8, mut members: Vec<Vec<u8>>) -> Vec<u8> {
    members.sort();
    joined(tag, &members)
}

/// Writes DER into one growing buffer, for what is written with every answer.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(octets: usize) -> Self {
        Self(Vec::with_capacity(octets))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Appends what is encoded already.
    pub(crate) fn raw(&mut self, der: &[u8]) {
        self.0.extend_from_slice(der);
    }

    /// Appends one element.
    pub(crate) fn element(&mut self, tag: u8, content: &[u8]) {
        put(&mut self.0, tag, content);
    }

    /// Appends an object identifier.
    pub(crate) fn oid(&mut self, oid: &ObjectIdentifier) {
        self.element(OID, oid.as_bytes());
    }

    /// Appends an INTEGER below 128.
    pub(crate) fn small(&mut self, number: u8) {
        debug_assert!(number < 0x80, "it would be negative");
        self.element(INTEGER, &[number]);
    }

    /// Appends an element whose content `body` writes.
    pub(crate) fn nested(&mut self, tag: u8, body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        // Room for a length of one octet; a longer one moves the content, which is cheaper than a buffer of its own.
        self.0.extend_from_slice(&[tag, 0]);
        let content = self.0.len();
        body(self);
        let length = self.0.len().saturating_sub(content);
        match (u8::try_from(length), self.0.get_mut(start + 1)) {
            (Ok(short @ ..0x80), Some(octet)) => *octet = short,
            _ => {
                let mut head = Vec::with_capacity(HEAD);
                put_head(&mut head, tag, length);
                self.0.splice(start..content, head);
            }
        }
    }
}

/// An object identifier.
pub(crate) fn oid(oid: &ObjectIdentifier) -> Vec<u8> {
    element(OID, oid.as_bytes())
}

/// A non-negative INTEGER from its big-endian octets.
pub(crate) fn integer(magnitude: &[u8]) -> Vec<u8> {
    let start = magnitude.iter().position(|octet| *octet != 0).unwrap_or(magnitude.len());
    let digits = magnitude.get(start..).unwrap_or_default();
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|first| *first >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    element(INTEGER, &content)
}

/// A BIT STRING of whole octets.
pub(crate) fn bit_string(octets: &[u8]) -> Vec<u8> {
    constructed(BIT_STRING, &[&[0], octets])
}

/// A BMPString.
pub(crate) fn bmp_string(text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    element(BMP_STRING, &units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_elements_are_written_as_single_ones_are() {
        for length in [0, 127, 128, 256, 65_536] {
            let content = vec![7; length];
            let mut writer = Writer::with_capacity(0);
            writer.raw(&[5, 0]);
            writer.nested(SEQUENCE, |writer| {
                writer.nested(SET, |writer| writer.element(OCTET_STRING, &content))
            });
            let single = element(SEQUENCE, &element(SET, &element(OCTET_STRING, &content)));
            assert_eq!(writer.finish(), [&[5, 0], &*single].concat());
        }
    }

    #[test]
    fn lengths_are_written_minimally() {
        for (length, head) in [
            (0_usize, vec![4, 0]),
            (127, vec![4, 127]),
            (128, vec![4, 0x81, 128]),
            (256, vec![4, 0x82, 1, 0]),
            (65536, vec![4, 0x83, 1, 0, 0]),
        ] {
            let bytes = element(OCTET_STRING, &vec![7; length]);
            assert_eq!(bytes[..head.len()], head);
            assert_eq!(Cursor::new(&bytes).only(OCTET_STRING, "x").unwrap().value.len(), length);
        }
    }

    #[test]
    fn integers_keep_their_sign_and_are_minimal() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        let read = |bytes: &[u8]| Cursor::new(bytes).any("x").unwrap().small_integer("x");
        assert_eq!(read(&[2, 1, 0]), Ok(0));
        assert_eq!(read(&[2, 2, 0, 0x80]), Ok(128));
        assert!(read(&[2, 1, 0x80]).is_err(), "negative");
        assert!(read(&[2, 2, 0, 5]).is_err(), "not minimal");
        assert!(read(&[2, 0]).is_err(), "empty");
        assert!(read(&[2, 6, 1, 0, 0, 0, 0, 0]).is_err(), "too large");
    }

    #[test]
    fn indefinite_lengths_and_octet_strings_in_pieces_become_der() {
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 2, 1, 2, 4, 1, 3, 0, 0, 2, 1, 5, 0, 0];
        assert_eq!(&*to_der(&ber).unwrap(), [0x30, 8, 4, 3, 1, 2, 3, 2, 1, 5]);
        assert!(check_der(&ber).is_err());
        let der = [0x30, 3, 2, 1, 5];
        assert!(matches!(to_der(&der), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused_without_recursion_into_it() {
        let nested = |depth: usize| (1..depth).fold(vec![0x30, 0], |inner, _| element(SEQUENCE, &inner));
        assert!(to_der(&nested(MAX_DEPTH)).is_ok());
        assert!(to_der(&nested(MAX_DEPTH + 1)).is_err());
        assert!(to_der(&[0x30, 0x80].repeat(100_000)).is_err());
    }

    #[test]
    fn lengths_past_the_end_are_refused() {
        for bytes in [
            &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff][..],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x30],
            &[],
            &[0x1f, 1, 0],
        ] {
            assert!(to_der(bytes).is_err());
        }
        assert!(to_der(&[0x30, 0, 0]).is_err(), "trailing data");
    }

    #[test]
    fn strings_of_all_types_are_read() {
        let text = |tag, value: &[u8]| Cursor::new(&element(tag, value)).any("x").unwrap().text();
        assert_eq!(text(BMP_STRING, &[0, b'U', 0x20, 0xac]).as_deref(), Some("U€"));
        assert_eq!(text(BMP_STRING, &[0xd8, 0]), None, "half a surrogate pair");
        assert_eq!(text(BMP_STRING, &[0]), None, "odd length");
        assert_eq!(text(UTF8_STRING, "ä".as_bytes()).as_deref(), Some("ä"));
        assert_eq!(text(UTF8_STRING, &[0xff]), None);
        assert_eq!(text(IA5_STRING, &[0xe4]), None);
        assert_eq!(text(TELETEX_STRING, &[0xe4]).as_deref(), Some("ä"));
        assert_eq!(text(OCTET_STRING, b"x"), None);
    }
}
