//! Looks into DER without copying it, by the decoders of the crate `der`: none of them shares code with the writer.

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

/// The tag of a primitive element of context-specific class.
pub(super) const fn primitive(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: false, number: TagNumber(number) }
}

/// The tag of a constructed element of context-specific class.
pub(super) const fn constructed(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// The content of the one element that `der` is, if it has this tag.
pub(super) fn content(der: &[u8], tag: Tag) -> Option<&[u8]> {
    let element = AnyRef::from_der(der).ok().filter(|element| element.tag() == tag)?;
    Some(element.value())
}

/// The elements in `octets`, if there are so many.
pub(super) fn exactly<const N: usize>(octets: &[u8]) -> Option<[&[u8]; N]> {
    let mut reader = SliceReader::new(octets).ok()?;
    let mut found: [&[u8]; N] = [&[]; N];
    for slot in &mut found {
        *slot = reader.tlv_bytes().ok()?;
    }
    reader.is_finished().then_some(found)
}

/// The one element in the one that `der` is, if that has this tag.
pub(super) fn only(der: &[u8], tag: Tag) -> Option<&[u8]> {
    let [element] = exactly(content(der, tag)?)?;
    Some(element)
}

/// Whether the elements in `octets` are, one for one, what is expected.
pub(super) fn matches<T>(octets: &[u8], expected: &[T], is: impl Fn(&[u8], &T) -> bool) -> bool {
    let Ok(mut reader) = SliceReader::new(octets) else { return false };
    let same = expected.iter().all(|expected| reader.tlv_bytes().is_ok_and(|der| is(der, expected)));
    same && reader.is_finished()
}

/// What `read` makes of each element in `octets`; `None` if one of them is none.
pub(super) fn all<'a, T>(octets: &'a [u8], read: impl Fn(&'a [u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut reader = SliceReader::new(octets).ok()?;
    let mut found = Vec::with_capacity(11);
    while !reader.is_finished() {
        found.push(read(reader.tlv_bytes().ok()?)?);
    }
    Some(found)
}
