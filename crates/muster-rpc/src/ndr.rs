//! NDR 2.0 (C706 chapter 14), little-endian: arguments as octets.
//!
//! The reader never allocates more than the octets that it holds: every count is compared with what is left before
//! anything is made of it.

use crate::uuid::Uuid;

/// Arguments that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdrError {
    /// The octets end before the value does.
    #[error("the data end at octet {length}, {wanted} more are needed at octet {at}")]
    Truncated {
        /// Where the value begins.
        at: usize,
        /// How many octets it has.
        wanted: usize,
        /// How many there are in all.
        length: usize,
    },
    /// A count is larger than what is permitted there.
    #[error("{what} has {count} elements, {limit} are permitted")]
    TooMany {
        /// Which array.
        what: &'static str,
        /// The count.
        count: u32,
        /// The limit.
        limit: u32,
    },
    /// Two numbers that must agree do not, or a value is none that is permitted.
    #[error("{0} contradicts itself or is not permitted")]
    Invalid(&'static str),
    /// A pointer that must point somewhere does not.
    #[error("{0} is missing")]
    Null(&'static str),
    /// A text that is not UTF-16, or contains NUL before its end.
    #[error("{0} is not UTF-16 that ends with NUL")]
    Text(&'static str),
}

/// Reads values in order. Alignment counts from the first octet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the first octet on.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self { octets, at: 0 }
    }

    /// How many octets have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.octets.get(self.at..).unwrap_or_default()
    }

    /// Skips to the next multiple of `to`.
    ///
    /// # Errors
    /// If the octets end before.
    pub fn align(&mut self, to: usize) -> Result<(), NdrError> {
        let gap = self.at.next_multiple_of(to) - self.at;
        self.octets(gap).map(drop)
    }

    /// So many octets, as they are.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn octets(&mut self, count: usize) -> Result<&'a [u8], NdrError> {
        let truncated = NdrError::Truncated { at: self.at, wanted: count, length: self.octets.len() };
        let end = self.at.checked_add(count).ok_or(truncated)?;
        let found = self.octets.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(found)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NdrError> {
        let truncated = NdrError::Truncated { at: self.at, wanted: N, length: self.octets.len() };
        self.octets(N)?.first_chunk().copied().ok_or(truncated)
    }

    /// One octet.
    ///
    /// # Errors
    /// If there is none left.
    pub fn u8(&mut self) -> Result<u8, NdrError> {
        self.array().map(u8::from_le_bytes)
    }

    /// Two octets, aligned.
    ///
    /// # Errors
    /// If there are fewer left.
    pub fn u16(&mut self) -> Result<u16, NdrError> {
        self.align(2)?;
        self.array().map(u16::from_le_bytes)
    }

    /// Four octets, aligned.
    ///
    /// # Errors
    /// If there are fewer left.
    pub fn u32(&mut self) -> Result<u32, NdrError> {
        self.align(4)?;
        self.array().map(u32::from_le_bytes)
    }

    /// Eight octets, aligned.
    ///
    /// # Errors
    /// If there are fewer left.
    pub fn u64(&mut self) -> Result<u64, NdrError> {
        self.align(8)?;
        self.array().map(u64::from_le_bytes)
    }

    /// A UUID, aligned as its first field.
    ///
    /// # Errors
    /// If there are fewer octets left.
    pub fn uuid(&mut self) -> Result<Uuid, NdrError> {
        self.align(4)?;
        self.array().map(Uuid)
    }

    /// A count of elements, at most `limit`, which is also the length that memory is taken for.
    ///
    /// # Errors
    /// If it is larger.
    pub fn count(&mut self, what: &'static str, limit: u32) -> Result<usize, NdrError> {
        let count = self.u32()?;
        if count > limit {
            return Err(NdrError::TooMany { what, count, limit });
        }
        usize::try_from(count).map_err(|_| NdrError::Invalid(what))
    }

    /// A conformant array of octets whose count must be `length`.
    ///
    /// # Errors
    /// If it is not, or if there are fewer octets left.
    pub fn sized_octets(&mut self, what: &'static str, length: u32) -> Result<&'a [u8], NdrError> {
        let count = self.count(what, u32::MAX)?;
        if usize::try_from(length) != Ok(count) {
            return Err(NdrError::Invalid(what));
        }
        self.octets(count)
    }

    /// Whether a unique pointer points somewhere.
    ///
    /// # Errors
    /// If there are fewer than four octets left.
    pub fn pointer(&mut self) -> Result<bool, NdrError> {
        self.u32().map(|referent| referent != 0)
    }

    /// The referent of a `[string] wchar_t *`, of at most `limit` characters with its NUL.
    ///
    /// # Errors
    /// If it is longer, is not UTF-16 or does not end with its only NUL.
    pub fn wide_string(&mut self, what: &'static str, limit: u32) -> Result<String, NdrError> {
        let maximum = self.u32()?;
        let offset = self.u32()?;
        let actual = self.count(what, limit)?;
        if offset != 0 || u32::try_from(actual).map_or(true, |actual| actual > maximum) {
            return Err(NdrError::Invalid(what));
        }
        let octets = self.octets(actual.saturating_mul(2))?;
        let text = utf16(octets).ok_or(NdrError::Text(what))?;
        let text = text.strip_suffix('\0').ok_or(NdrError::Text(what))?;
        if text.contains('\0') {
            return Err(NdrError::Text(what));
        }
        Ok(text.to_owned())
    }

    /// A `[string, unique] wchar_t *` among the arguments.
    ///
    /// # Errors
    /// As [`Self::wide_string`].
    pub fn optional_string(&mut self, what: &'static str, limit: u32) -> Result<Option<String>, NdrError> {
        if self.pointer()? { self.wide_string(what, limit).map(Some) } else { Ok(None) }
    }
}

/// Octets as UTF-16, if they are.
pub(crate) fn utf16(octets: &[u8]) -> Option<String> {
    let (pairs, rest) = octets.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(pairs.iter().copied().map(u16::from_le_bytes)).collect::<Result<_, _>>().ok()
}

/// A text as UTF-16 with a NUL at its end.
pub(crate) fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Writes values in order. Alignment counts from the first octet.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
    referents: u32,
}

impl Writer {
    /// Nothing written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.octets
    }

    /// How many octets have been written.
    #[must_use]
    pub fn position(&self) -> usize {
        self.octets.len()
    }

    /// Zeros up to the next multiple of `to`.
    pub fn align(&mut self, to: usize) -> &mut Self {
        self.octets.resize(self.octets.len().next_multiple_of(to), 0);
        self
    }

    /// Octets as they are.
    pub fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.octets.extend_from_slice(octets);
        self
    }

    /// One octet.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.octets(&[value])
    }

    /// Two octets, aligned.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.align(2).octets(&value.to_le_bytes())
    }

    /// Four octets, aligned.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.align(4).octets(&value.to_le_bytes())
    }

    /// Eight octets, aligned.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.align(8).octets(&value.to_le_bytes())
    }

    /// A UUID, aligned as its first field.
    pub fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.align(4).octets(&value.0)
    }

    /// A count; what is counted here is always held in memory that a `u32` can count.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A pointer, with a referent identifier of its own if it points somewhere.
    pub fn pointer(&mut self, present: bool) -> &mut Self {
        if !present {
            return self.u32(0);
        }
        self.referents = self.referents.wrapping_add(1);
        self.u32(0x0002_0000 | self.referents << 2)
    }

    /// The referent of a `[string] wchar_t *`.
    pub fn wide_string(&mut self, text: &str) -> &mut Self {
        let octets = wide(text);
        let count = octets.len() / 2;
        self.count(count).u32(0).count(count).octets(&octets)
    }

    /// A `[string, unique] wchar_t *` among the arguments.
    pub fn optional_string(&mut self, text: Option<&str>) -> &mut Self {
        self.pointer(text.is_some());
        if let Some(text) = text {
            self.wide_string(text);
        }
        self
    }

    /// A conformant array of octets.
    pub fn sized_octets(&mut self, octets: &[u8]) -> &mut Self {
        self.count(octets.len()).octets(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_is_read_as_it_was_written() {
        let mut writer = Writer::new();
        writer.u8(7).optional_string(Some("Corp CA \u{1f511}")).optional_string(None).u64(9);
        let octets = writer.finish();
        let mut reader = Reader::new(&octets);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.optional_string("name", 64).unwrap().as_deref(), Some("Corp CA \u{1f511}"));
        assert_eq!(reader.optional_string("name", 64), Ok(None));
        assert_eq!(reader.u64(), Ok(9));
        assert_eq!(reader.rest(), []);
    }

    #[test]
    fn string_with_counts_that_lie_is_refused() {
        let mut writer = Writer::new();
        writer.wide_string("CA");
        let good = writer.finish();
        let read = |octets: &[u8]| Reader::new(octets).wide_string("name", 16);
        assert_eq!(read(&good).as_deref(), Ok("CA"));
        for (place, value, error) in [
            (0, 2, NdrError::Invalid("name")),
            (4, 1, NdrError::Invalid("name")),
            (8, 17, NdrError::TooMany { what: "name", count: 17, limit: 16 }),
            (8, 2, NdrError::Text("name")),
            (12, 0, NdrError::Text("name")),
        ] {
            let mut bad = good.clone();
            *bad.get_mut(place).unwrap() = value;
            assert_eq!(read(&bad), Err(error), "{place}");
        }
        assert_eq!(read(good.get(..16).unwrap()), Err(NdrError::Truncated { at: 12, wanted: 6, length: 16 }));
    }

    #[test]
    fn count_does_not_wrap() {
        let octets = [0xff; 12];
        assert!(Reader::new(&octets).sized_octets("array", u32::MAX).is_err());
        assert!(Reader::new(&octets).octets(usize::MAX).is_err());
    }
}
