//! Writes DER into one growing buffer.
//!
//! Certificates are made a thousand times a second from values that are known to be good, so this is a plain
//! writer and no tree of types: nothing is encoded twice and nothing is decoded on the way. What it wrote is read
//! back by [`crate::lint`] with decoders that share no code with it.

use std::time::Duration;

use der::DateTime;
use muster_core::{Oid, UnixTime};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const BMP_STRING: u8 = 0x1e;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Tag octet of the primitive context-specific tag `number`, which is below 31.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Tag octet of the constructed context-specific tag `number`, which is below 31.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The buffer.
#[derive(Debug, Default)]
pub(crate) struct Der(Vec<u8>);

impl Der {
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

    /// Appends an element with this content.
    pub(crate) fn primitive(&mut self, tag: u8, content: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(Length::of(content.len()).octets());
        self.0.extend_from_slice(content);
    }

    /// Appends an element whose content `body` writes.
    pub(crate) fn nested(&mut self, tag: u8, body: impl FnOnce(&mut Self)) {
        self.0.push(tag);
        // Room for a length of one octet; a longer one moves the content, which is cheaper than a second pass.
        let at = self.0.len();
        self.0.push(0);
        body(self);
        let length = Length::of(self.0.len().saturating_sub(at + 1));
        self.0.splice(at..=at, length.octets().iter().copied());
    }

    pub(crate) fn sequence(&mut self, body: impl FnOnce(&mut Self)) {
        self.nested(SEQUENCE, body);
    }

    /// Appends a non-negative INTEGER.
    pub(crate) fn unsigned(&mut self, number: u64) {
        self.magnitude(INTEGER, &number.to_be_bytes());
    }

    /// Appends a non-negative INTEGER (or ENUMERATED) from its big-endian octets.
    pub(crate) fn magnitude(&mut self, tag: u8, octets: &[u8]) {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let digits = octets.get(zeros..).unwrap_or_default();
        let sign = digits.first().is_none_or(|first| *first >= 0x80);
        self.nested(tag, |der| {
            if sign {
                der.raw(&[0]);
            }
            der.raw(digits);
        });
    }

    /// Appends a BIT STRING of whole octets.
    pub(crate) fn bit_string(&mut self, octets: &[u8]) {
        self.nested(BIT_STRING, |der| {
            der.raw(&[0]);
            der.raw(octets);
        });
    }

    /// Appends an OBJECT IDENTIFIER.
    pub(crate) fn oid(&mut self, oid: &Oid) {
        self.nested(OID, |der| {
            // An `Oid` has two arcs at least, each below 2^32.
            let mut arcs = oid.as_str().split('.').map(|arc| arc.parse::<u64>().unwrap_or_default());
            let first = arcs.next().unwrap_or_default() * 40 + arcs.next().unwrap_or_default();
            std::iter::once(first).chain(arcs).for_each(|arc| der.base128(arc));
        });
    }

    fn base128(&mut self, arc: u64) {
        let groups = (64 - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let octet = u8::try_from(arc >> (7 * group) & 0x7f).unwrap_or_default();
            self.0.push(if group == 0 { octet } else { octet | 0x80 });
        }
    }

    /// Appends a time.
    pub(crate) fn time(&mut self, time: &Time) {
        self.raw(&time.0);
    }
}

/// The length octets of an element.
struct Length {
    octets: [u8; 9],
    from: usize,
}

impl Length {
    fn of(length: usize) -> Self {
        let mut octets = [0; 9];
        let big_endian = u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes();
        for (to, from) in octets.iter_mut().skip(1).zip(big_endian) {
            *to = from;
        }
        let zeros = octets.iter().take_while(|octet| **octet == 0).count().min(8);
        if length < 0x80 {
            return Self { octets, from: 8 };
        }
        let from = zeros - 1;
        if let Some(first) = octets.get_mut(from) {
            *first = 0x80 | u8::try_from(9 - zeros).unwrap_or_default();
        }
        Self { octets, from }
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(self.from..).unwrap_or_default()
    }
}

/// An instant as RFC 5280 4.1.2.5 wants it: UTCTime until 2049, GeneralizedTime from 2050, whole seconds, `Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Time(Vec<u8>);

impl Time {
    /// `None` before 1970 and after 9999.
    pub(crate) fn new(instant: UnixTime) -> Option<Self> {
        let seconds = u64::try_from(instant.0).ok()?;
        let date = DateTime::from_unix_duration(Duration::from_secs(seconds)).ok()?;
        let mut der = Vec::with_capacity(17);
        if date.year() < 2050 {
            der.extend_from_slice(&[UTC_TIME, 13]);
        } else {
            der.extend_from_slice(&[GENERALIZED_TIME, 15]);
            push_two_digits(&mut der, u8::try_from(date.year() / 100).ok()?);
        }
        push_two_digits(&mut der, u8::try_from(date.year() % 100).ok()?);
        for part in [date.month(), date.day(), date.hour(), date.minutes(), date.seconds()] {
            push_two_digits(&mut der, part);
        }
        der.push(b'Z');
        Some(Self(der))
    }
}

fn push_two_digits(to: &mut Vec<u8>, number: u8) {
    to.extend_from_slice(&[b'0' + number / 10 % 10, b'0' + number % 10]);
}

#[cfg(test)]
mod tests {
    use der::{Decode, Encode};

    use super::*;

    #[test]
    fn lengths_are_minimal() {
        for (length, head) in [
            (0_usize, vec![4, 0]),
            (127, vec![4, 127]),
            (128, vec![4, 0x81, 128]),
            (255, vec![4, 0x81, 255]),
            (256, vec![4, 0x82, 1, 0]),
            (65_536, vec![4, 0x83, 1, 0, 0]),
        ] {
            let content = vec![7; length];
            let mut flat = Der::default();
            flat.primitive(OCTET_STRING, &content);
            let mut nested = Der::default();
            nested.nested(OCTET_STRING, |der| der.raw(&content));
            let flat = flat.finish();
            assert_eq!(flat, nested.finish());
            assert_eq!(flat[..head.len()], head);
            assert_eq!(flat.len(), head.len() + length);
        }
    }

    #[test]
    fn identifiers_match_another_encoder() {
        for text in ["1.2", "2.5.29.37.0", "1.3.6.1.4.1.311.21.8.4294967295.128.127.16384", "0.9.2342"] {
            let mut der = Der::default();
            der.oid(&text.parse().unwrap());
            assert_eq!(der.finish(), der::asn1::ObjectIdentifier::new(text).unwrap().to_der().unwrap());
        }
        // The example of X.690 8.19.5, which that encoder does not know.
        let mut der = Der::default();
        der.oid(&"2.999.3".parse().unwrap());
        assert_eq!(der.finish(), [6, 3, 0x88, 0x37, 3]);
    }

    #[test]
    fn integers_match_another_encoder() {
        for number in [0, 1, 127, 128, 255, 256, u64::MAX] {
            let mut der = Der::default();
            der.unsigned(number);
            assert_eq!(der.finish(), number.to_der().unwrap());
        }
    }

    #[test]
    fn times_switch_form_at_2050() {
        for (seconds, text) in [
            (0, "700101000000Z"),
            (1_709_164_800, "240229000000Z"),
            (2_147_483_648, "380119031408Z"),
            (2_524_607_999, "491231235959Z"),
            (2_524_608_000, "20500101000000Z"),
            (253_402_300_799, "99991231235959Z"),
        ] {
            let time = Time::new(UnixTime(seconds)).unwrap();
            assert_eq!(time.0[2..], *text.as_bytes());
            let decoded = x509_cert::time::Time::from_der(&time.0).unwrap();
            assert_eq!(decoded.to_unix_duration().as_secs(), u64::try_from(seconds).unwrap());
        }
        assert_eq!(Time::new(UnixTime(-1)), None);
        assert_eq!(Time::new(UnixTime(253_402_300_800)), None);
    }
}
