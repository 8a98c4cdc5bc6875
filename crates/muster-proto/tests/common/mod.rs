//! What the tests of this crate share.

use muster_proto::soap::Envelope;
use muster_proto::soap::xml::Limits;

/// A file of the vectors.
pub(crate) fn vector(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../vectors/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// An envelope that has to parse under the limits for requests.
#[track_caller]
pub(crate) fn envelope(bytes: &[u8]) -> Envelope<'_> {
    Envelope::parse(bytes, &Limits::REQUEST).unwrap()
}

/// Are the bytes exactly one DER value with a two byte length, so that nothing was lost on the way?
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn is_whole_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x81, length, rest @ ..] => usize::from(*length) == rest.len(),
        [0x30, 0x82, high, low, rest @ ..] => usize::from(u16::from_be_bytes([*high, *low])) == rest.len(),
        _ => false,
    }
}
