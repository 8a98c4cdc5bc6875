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

/// One element. Its header is read once; what is asked of it afterwards is answered from here.
#[derive(Clone, Copy, Default)]
pub(super) struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Its content, if it has this tag.
    pub(super) fn content(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }

    /// The one element in it, if it has this tag.
    pub(super) fn only(self, tag: u8) -> Option<Self> {
        one(self.content(tag)?)
    }
}

/// The first element of some octets, and what follows it.
fn first(octets: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let mut reader = SliceReader::new(octets).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let content = reader.read_slice(header.length()).ok()?;
    let (whole, rest) =
        octets.split_at_checked(octets.len() - usize::try_from(reader.remaining_len()).ok()?)?;
    // Lower bits of ones would continue the tag.
    let tag = octets.first().copied().filter(|tag| tag & 0x1f != 0x1f)?;
    Some((Element { tag, content, whole }, rest))
}

/// The elements in `octets`, if there are so many.
pub(super) fn exactly<const N: usize>(mut octets: &[u8]) -> Option<[Element<'_>; N]> {
    let mut found = [Element::default(); N];
    for slot in &mut found {
        (*slot, octets) = first(octets)?;
    }
    octets.is_empty().then_some(found)
}

/// The one element that `octets` are.
pub(super) fn one(octets: &[u8]) -> Option<Element<'_>> {
    exactly(octets).map(|[element]| element)
}

/// Whether the elements in `octets` are, one for one, what is expected.
pub(super) fn matches<T>(mut octets: &[u8], expected: &[T], is: impl Fn(Element<'_>, &T) -> bool) -> bool {
    for expected in expected {
        match first(octets) {
            Some((element, rest)) if is(element, expected) => octets = rest,
            Some(_) | None => return false,
        }
    }
    octets.is_empty()
}

/// What `read` makes of each element in `octets`; `None` if one of them is none.
pub(super) fn all<'a, T>(mut octets: &'a [u8], read: impl Fn(Element<'a>) -> Option<T>) -> Option<Vec<T>> {
    // As many as a certificate has extensions.
    let mut found = Vec::with_capacity(11);
    while !octets.is_empty() {
        let (element, rest) = first(octets)?;
        found.push(read(element)?);
        octets = rest;
    }
    Some(found)
}
