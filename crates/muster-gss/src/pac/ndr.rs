//! The little of NDR that a PAC needs: little-endian, type serialization version 1 (MS-RPCE 2.2.6.1).

use super::PacError;

/// SE_GROUP_ENABLED and SE_GROUP_USE_FOR_DENY_ONLY (MS-PAC 2.2.1).
const ENABLED: u32 = 0x04;
const DENY_ONLY: u32 = 0x10;

/// Reads forwards; alignment is by the distance from the beginning.
pub(super) struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

/// A pointer was not null.
#[derive(Clone, Copy)]
pub(super) struct Pointer(bool);

/// A count and whether an array with so many elements follows later.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    count: u32,
    there: bool,
}

/// RPC_UNICODE_STRING: octets in use, and whether they follow later.
#[derive(Clone, Copy)]
pub(super) struct Text {
    length: u16,
    there: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }

    /// A reader behind the headers and the pointer to the one thing that is serialized.
    pub(super) fn serialized(octets: &'a [u8], what: &'static str) -> Result<Self, PacError> {
        let mut reader = Self::new(octets);
        // Version 1, little-endian, length of this header; a filler without meaning.
        if reader.take(4, what)? != [1, 0x10, 8, 0] {
            return Err(PacError::Wrong(what));
        }
        reader.take(4, what)?;
        let (length, _filler) = (reader.u32(what)?, reader.u32(what)?);
        let length = usize::try_from(length).map_err(|_| PacError::CutOff(what))?;
        let rest = reader.octets.get(reader.at..).unwrap_or_default();
        let mut reader = Self::new(rest.get(..length).ok_or(PacError::CutOff(what))?);
        if !reader.pointer(what)?.0 {
            return Err(PacError::Wrong(what));
        }
        Ok(reader)
    }

    pub(super) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], PacError> {
        let end = self.at.checked_add(count).ok_or(PacError::CutOff(what))?;
        let taken = self.octets.get(self.at..end).ok_or(PacError::CutOff(what))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], PacError> {
        self.take(N, what)?.try_into().map_err(|_| PacError::CutOff(what))
    }

    fn align(&mut self, what: &'static str) -> Result<(), PacError> {
        let padding = self.at.wrapping_neg() % 4;
        self.take(padding, what).map(drop)
    }

    fn remaining(&self) -> usize {
        self.octets.len().saturating_sub(self.at)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, PacError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, PacError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, PacError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn pointer(&mut self, what: &'static str) -> Result<Pointer, PacError> {
        self.u32(what).map(|referent| Pointer(referent != 0))
    }

    pub(super) fn counted_pointer(&mut self, what: &'static str) -> Result<Counted, PacError> {
        Ok(Counted { count: self.u32(what)?, there: self.pointer(what)?.0 })
    }

    pub(super) fn strings<const N: usize>(&mut self, what: &'static str) -> Result<[Text; N], PacError> {
        let mut strings = [Text { length: 0, there: false }; N];
        for string in &mut strings {
            let (length, _maximum) = (self.u16(what)?, self.u16(what)?);
            *string = Text { length, there: self.pointer(what)?.0 };
        }
        Ok(strings)
    }

    /// The characters of strings whose pointers have been read: conformant varying arrays.
    pub(super) fn texts<const N: usize>(
        &mut self,
        strings: [Text; N],
        what: &'static str,
    ) -> Result<[String; N], PacError> {
        let mut texts = [const { String::new() }; N];
        for (text, string) in texts.iter_mut().zip(strings) {
            if !string.there {
                continue;
            }
            self.align(what)?;
            let (_maximum, offset, count) = (self.u32(what)?, self.u32(what)?, self.u32(what)?);
            let octets = usize::try_from(count).ok().and_then(|count| count.checked_mul(2));
            let octets = self.take(octets.ok_or(PacError::CutOff(what))?, what)?;
            let used = octets.get(..usize::from(string.length)).ok_or(PacError::Wrong(what))?;
            if offset != 0 {
                return Err(PacError::Wrong(what));
            }
            *text = utf16(used, what)?;
        }
        Ok(texts)
    }

    /// The number of elements of a conformant array, each at least `size` octets long.
    fn conformant(&mut self, counted: Counted, size: usize, what: &'static str) -> Result<usize, PacError> {
        if !counted.there {
            return if counted.count == 0 { Ok(0) } else { Err(PacError::Wrong(what)) };
        }
        self.align(what)?;
        if self.u32(what)? != counted.count {
            return Err(PacError::Wrong(what));
        }
        let count = usize::try_from(counted.count).map_err(|_| PacError::CutOff(what))?;
        if count.checked_mul(size).is_none_or(|octets| octets > self.remaining()) {
            return Err(PacError::CutOff(what));
        }
        Ok(count)
    }

    /// The relative identifiers of an array of GROUP_MEMBERSHIP, as far as the groups are enabled.
    pub(super) fn groups(&mut self, counted: Counted, what: &'static str) -> Result<Vec<u32>, PacError> {
        let count = self.conformant(counted, 8, what)?;
        let mut groups = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, attributes) = (self.u32(what)?, self.u32(what)?);
            if is_enabled(attributes)? {
                groups.push(id);
            }
        }
        Ok(groups)
    }

    /// An array of KERB_SID_AND_ATTRIBUTES, as far as enabled: pointers and attributes first, then what they point to.
    pub(super) fn sids(&mut self, counted: Counted, what: &'static str) -> Result<Vec<String>, PacError> {
        let count = self.conformant(counted, 8, what)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let (pointer, attributes) = (self.pointer(what)?, self.u32(what)?);
            entries.push((pointer, is_enabled(attributes)?));
        }
        let mut sids = Vec::with_capacity(count);
        for (pointer, enabled) in entries {
            let sid = self.pointed_sid(pointer, what)?.ok_or(PacError::Wrong(what))?;
            if enabled {
                sids.push(sid);
            }
        }
        Ok(sids)
    }

    /// What a pointer to an RPC_SID points to.
    pub(super) fn pointed_sid(
        &mut self,
        pointer: Pointer,
        what: &'static str,
    ) -> Result<Option<String>, PacError> {
        if !pointer.0 {
            return Ok(None);
        }
        self.align(what)?;
        let count = self.u32(what)?;
        if self.octets.get(self.at.saturating_add(1)).map(|count| u32::from(*count)) != Some(count) {
            return Err(PacError::Wrong(what));
        }
        self.sid(what).map(Some)
    }

    /// A SID (MS-DTYP 2.4.2.2) as text (2.4.2.1).
    pub(super) fn sid(&mut self, what: &'static str) -> Result<String, PacError> {
        let [revision, count] = self.array(what)?;
        if revision != 1 || count > 15 {
            return Err(PacError::Wrong(what));
        }
        let [a, b, c, d, e, f] = self.array(what)?;
        let authority = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let mut text =
            if authority >> 32 == 0 { format!("S-1-{authority}") } else { format!("S-1-0x{authority:012X}") };
        for _ in 0..count {
            text.push_str(&format!("-{}", self.u32(what)?));
        }
        Ok(text)
    }
}

fn is_enabled(attributes: u32) -> Result<bool, PacError> {
    if attributes & DENY_ONLY != 0 { Err(PacError::DenyOnly) } else { Ok(attributes & ENABLED != 0) }
}

/// A part of `octets`.
pub(super) fn range<'a>(
    octets: &'a [u8],
    offset: u64,
    length: u64,
    what: &'static str,
) -> Result<&'a [u8], PacError> {
    let end = offset.checked_add(length);
    let bounds = usize::try_from(offset).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
    bounds.and_then(|(start, end)| octets.get(start..end)).ok_or(PacError::CutOff(what))
}

/// UTF-16, little-endian.
pub(super) fn utf16(octets: &[u8], what: &'static str) -> Result<String, PacError> {
    let (units, rest) = octets.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(PacError::Wrong(what));
    }
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16(&units).map_err(|_| PacError::Wrong(what))
}
