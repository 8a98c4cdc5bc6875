//! The part of BER that LDAP uses (RFC 4511 5.1): definite lengths, tags of one octet, primitive strings.
//!
//! Not the decoder that certificates go through: Active Directory writes every length in four octets, which a DER reader
//! rightly refuses, and a directory's answer must be read without recursion.

use zeroize::Zeroizing;

/// The octets are not LDAP's BER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BerError {
    /// The octets end inside an element.
    #[error("an element ends early")]
    Truncated,
    /// An indefinite length or one of more than four octets.
    #[error("a length that LDAP does not allow")]
    Length,
    /// Another element than the message format demands.
    #[error("element {found:#04x} in the place of {expected:#04x}")]
    Unexpected {
        /// Identifier octet that the format demands.
        expected: u8,
        /// Identifier octet that came.
        found: u8,
    },
    /// An INTEGER or ENUMERATED that is empty or larger than 32 bits.
    #[error("a number out of range")]
    Number,
    /// A BOOLEAN that is not one octet.
    #[error("a truth value of another size than one octet")]
    Boolean,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Tag `[n]` of the context class, primitive.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Tag `[n]` of the context class, constructed.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// Identifier and length of the element at the beginning of `octets`: `(identifier, octets of the header, of the contents)`.
/// `None` while too few octets are there to tell.
fn header(octets: &[u8]) -> Result<Option<(u8, usize, usize)>, BerError> {
    let [identifier, first, rest @ ..] = octets else { return Ok(None) };
    if *first < 0x80 {
        return Ok(Some((*identifier, 2, usize::from(*first))));
    }
    let count = usize::from(*first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(BerError::Length);
    }
    let Some(length) = rest.get(..count) else { return Ok(None) };
    let length = length.iter().fold(0_usize, |sum, octet| sum << 8 | usize::from(*octet));
    Ok(Some((*identifier, 2 + count, length)))
}

/// How long the message is that begins with `octets`; `None` while too few are there to tell.
pub(crate) fn message_length(octets: &[u8]) -> Result<Option<usize>, BerError> {
    if let Some(first) = octets.first()
        && *first != SEQUENCE
    {
        return Err(BerError::Unexpected { expected: SEQUENCE, found: *first });
    }
    match header(octets)? {
        None => Ok(None),
        Some((_, head, contents)) => head.checked_add(contents).ok_or(BerError::Length).map(Some),
    }
}

/// Elements one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(crate) fn element(&mut self) -> Result<(u8, &'a [u8]), BerError> {
        let (identifier, head, contents) = header(self.0)?.ok_or(BerError::Truncated)?;
        let rest = self.0.get(head..).ok_or(BerError::Truncated)?;
        let (contents, rest) = rest.split_at_checked(contents).ok_or(BerError::Truncated)?;
        self.0 = rest;
        Ok((identifier, contents))
    }

    /// The contents of the next element, which must be `expected`.
    pub(crate) fn expect(&mut self, expected: u8) -> Result<&'a [u8], BerError> {
        let (found, contents) = self.element()?;
        if found == expected { Ok(contents) } else { Err(BerError::Unexpected { expected, found }) }
    }

    /// The contents of the next element if it is `wanted`; nothing is read otherwise.
    pub(crate) fn optional(&mut self, wanted: u8) -> Result<Option<&'a [u8]>, BerError> {
        if self.0.first() == Some(&wanted) { self.expect(wanted).map(Some) } else { Ok(None) }
    }

    pub(crate) fn integer(&mut self) -> Result<i32, BerError> {
        number(self.expect(INTEGER)?)
    }

    pub(crate) fn enumerated(&mut self) -> Result<i32, BerError> {
        number(self.expect(ENUMERATED)?)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, BerError> {
        std::str::from_utf8(self.expect(OCTET_STRING)?).map_err(|_| BerError::Text)
    }
}

fn number(contents: &[u8]) -> Result<i32, BerError> {
    let [first, rest @ ..] = contents else { return Err(BerError::Number) };
    let first = i64::from(i8::from_ne_bytes([*first]));
    if rest.len() > 7 {
        return Err(BerError::Number);
    }
    let value = rest.iter().fold(first, |sum, octet| sum << 8 | i64::from(*octet));
    i32::try_from(value).map_err(|_| BerError::Number)
}

/// A truth value from the contents of a BOOLEAN.
pub(crate) const fn boolean(contents: &[u8]) -> Result<bool, BerError> {
    match contents {
        [octet] => Ok(*octet != 0),
        _ => Err(BerError::Boolean),
    }
}

/// Elements in the making, lengths in the shortest form. Wiped at the end: one of them may be a password.
#[derive(Default)]
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// Room for the whole message, so that nothing of it is left behind where it grew.
    pub(crate) fn with_capacity(octets: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(octets)))
    }

    pub(crate) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// An element with these contents.
    pub(crate) fn element(&mut self, identifier: u8, contents: &[u8]) {
        self.0.push(identifier);
        let length = u32::try_from(contents.len()).unwrap_or(u32::MAX).to_be_bytes();
        match length {
            [0, 0, 0, short] if short < 0x80 => self.0.push(short),
            [0, 0, 0, a] => self.0.extend([0x81, a]),
            [0, 0, a, b] => self.0.extend([0x82, a, b]),
            [0, a, b, c] => self.0.extend([0x83, a, b, c]),
            [a, b, c, d] => self.0.extend([0x84, a, b, c, d]),
        }
        self.0.extend_from_slice(contents);
    }

    /// An element whose contents are what `fill` writes.
    pub(crate) fn nested(&mut self, identifier: u8, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::with_capacity(self.0.capacity());
        fill(&mut inner);
        self.element(identifier, &inner.0);
    }

    pub(crate) fn integer(&mut self, identifier: u8, value: i32) {
        let octets = value.to_be_bytes();
        // As few octets as keep the sign.
        let skip = match octets {
            [0, 0, 0, d] if d < 0x80 => 3,
            [0, 0, c, _] if c < 0x80 => 2,
            [0, b, _, _] if b < 0x80 => 1,
            _ => 0,
        };
        let short: Vec<u8> = octets.into_iter().skip(skip).collect();
        self.element(identifier, &short);
    }

    pub(crate) fn boolean(&mut self, identifier: u8, value: bool) {
        self.element(identifier, &[if value { 0xff } else { 0 }]);
    }

    pub(crate) fn octets(&mut self, contents: &[u8]) {
        self.element(OCTET_STRING, contents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_four_octets_is_read() {
        let octets = [0x30, 0x84, 0, 0, 0, 3, 0x02, 0x01, 0x05];
        assert_eq!(message_length(&octets), Ok(Some(9)));
        let mut message = Reader::new(&octets);
        let mut inside = Reader::new(message.expect(SEQUENCE).unwrap());
        assert_eq!(inside.integer(), Ok(5));
        assert!(inside.is_empty() && message.is_empty());
    }

    #[test]
    fn beginning_of_a_message_asks_for_more() {
        for octets in [&[][..], &[0x30], &[0x30, 0x82], &[0x30, 0x82, 0x01]] {
            assert_eq!(message_length(octets), Ok(None), "{octets:x?}");
        }
    }

    #[test]
    fn indefinite_and_oversized_lengths_are_refused() {
        for octets in [&[0x30, 0x80, 0, 0][..], &[0x30, 0x85, 0, 0, 0, 0, 1], &[0x30, 0xff]] {
            assert_eq!(message_length(octets), Err(BerError::Length), "{octets:x?}");
        }
    }

    #[test]
    fn number_keeps_its_sign() {
        for value in [0, 1, 127, 128, 255, 256, 65_535, 8_388_608, i32::MAX, -1, -128, -129, i32::MIN] {
            let mut writer = Writer::default();
            writer.integer(INTEGER, value);
            let octets = writer.finish();
            assert_eq!(Reader::new(&octets).integer(), Ok(value), "{octets:x?}");
        }
    }

    #[test]
    fn number_out_of_range_is_refused() {
        for octets in [&[0x02, 0x00][..], &[0x02, 0x05, 1, 0, 0, 0, 0], &[0x02, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
        {
            assert_eq!(Reader::new(octets).integer(), Err(BerError::Number), "{octets:x?}");
        }
    }

    #[test]
    fn element_longer_than_its_surroundings_is_refused() {
        assert_eq!(Reader::new(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, 1]).element(), Err(BerError::Truncated));
        assert_eq!(Reader::new(&[0x04, 0x05, 1]).element(), Err(BerError::Truncated));
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for size in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut writer = Writer::default();
            writer.octets(&vec![7; size]);
            let octets = writer.finish();
            let (identifier, contents) = Reader::new(&octets).element().unwrap();
            assert_eq!((identifier, contents.len()), (OCTET_STRING, size));
        }
    }
}
