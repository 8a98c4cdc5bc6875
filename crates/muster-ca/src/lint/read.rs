//! Looks into DER without copying it: elements as they lie in the octets, told apart by tags of one octet. It shares no
//! code with the writer; headers are read by the crate `der`.

use der::{Decode, Header, Reader, SliceReader};

pub(super) const BOOLEAN_TRUE: &[u8] = &[1, 1, 0xff];
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The tag of a primitive element of context-specific class.
pub(super) const fn primitive(number: u8) -> u8 {
    0x80 | number
}

/// The tag of a constructed element of context-specific class.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One element at the beginning of some octets.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// Tag, length and content.
    whole: &'a [u8],
    rest: &'a [u8],
}

fn first(octets: &[u8]) -> Option<Element<'_>> {
    let mut reader = SliceReader::new(octets).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let content = reader.read_slice(header.length()).ok()?;
    let (whole, rest) =
        octets.split_at_checked(octets.len() - usize::try_from(reader.remaining_len()).ok()?)?;
    // Lower bits of ones would continue the tag.
    let tag = octets.first().copied().filter(|tag| tag & 0x1f != 0x1f)?;
    Some(Element { tag, content, whole, rest })
}

/// The content of the one element that `der` is, if it has this tag.
pub(super) fn content(der: &[u8], tag: u8) -> Option<&[u8]> {
    let element = first(der)?;
    (element.tag == tag && element.rest.is_empty()).then_some(element.content)
}

/// The elements in `octets`, if there are so many.
pub(super) fn exactly<const N: usize>(mut octets: &[u8]) -> Option<[&[u8]; N]> {
    let mut found: [&[u8]; N] = [&[]; N];
    for slot in &mut found {
        let element = first(octets)?;
        (*slot, octets) = (element.whole, element.rest);
    }
    octets.is_empty().then_some(found)
}

/// The one element in the one that `der` is, if that has this tag.
pub(super) fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    let [element] = exactly(content(der, tag)?)?;
    Some(element)
}

/// Whether the elements in `octets` are, one for one, what is expected.
pub(super) fn matches<T>(mut octets: &[u8], expected: &[T], is: impl Fn(&[u8], &T) -> bool) -> bool {
    for expected in expected {
        match first(octets) {
            Some(element) if is(element.whole, expected) => octets = element.rest,
            Some(_) | None => return false,
        }
    }
    octets.is_empty()
}

/// What `read` makes of each element in `octets`; `None` if one of them is none.
pub(super) fn all<'a, T>(mut octets: &'a [u8], read: impl Fn(&'a [u8]) -> Option<T>) -> Option<Vec<T>> {
    // As many as a certificate has extensions.
    let mut found = Vec::with_capacity(11);
    while !octets.is_empty() {
        let element = first(octets)?;
        found.push(read(element.whole)?);
        octets = element.rest;
    }
    Some(found)
}
