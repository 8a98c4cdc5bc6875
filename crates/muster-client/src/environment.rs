//! What the client needs from outside and tests replace: the time and randomness.

use aws_lc_rs::rand::SecureRandom;
use muster_proto::soap::DateTime;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> DateTime;
}

/// Where random bytes come from, for message ids and the order of equal endpoints. Keys do not come from here.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A number below `bound`; 0 if `bound` is 0. The slight preference for small numbers does not matter for
    /// what it is used for.
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        let drawn = u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0);
        usize::try_from(drawn).unwrap_or(0)
    }

    /// A fresh `urn:uuid:…` (RFC 9562 version 4).
    fn message_id(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{number:032x}");
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        format!("urn:uuid:{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

/// The operating system's random numbers.
#[derive(Debug)]
pub struct SystemRandom(aws_lc_rs::rand::SystemRandom);

impl SystemRandom {
    /// Opens the source.
    #[must_use]
    pub fn new() -> Self {
        Self(aws_lc_rs::rand::SystemRandom::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(clippy::expect_used, reason = "AWS-LC aborts rather than run without randomness")]
        self.0.fill(bytes).expect("the system has randomness");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Constant(u8);

    impl Random for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn message_id_is_a_version_4_uuid() {
        assert_eq!(Constant(0xff).message_id(), "urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Constant(0).message_id(), "urn:uuid:00000000-0000-4000-8000-000000000000");
        assert_ne!(SystemRandom::new().message_id(), SystemRandom::new().message_id());
    }

    #[test]
    fn number_stays_below_its_bound() {
        let random = SystemRandom::new();
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        assert!((0..200).all(|_| random.below(3) < 3));
    }
}
