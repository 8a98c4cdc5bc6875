//! What the library's two numbers mean: from a major and a minor status to one cause.

use std::fmt;

/// What the library said: RFC 2744's major status, the mechanism's minor status, and its message for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `GSS_S_…`, with all its bits.
    pub major: u32,
    /// For Kerberos a number of `krb5.h`, seen as unsigned.
    pub minor: u32,
    /// The library's sentence. It can repeat names that a peer sent; control characters are taken out, and it is
    /// not longer than 300 characters.
    pub message: String,
}

impl Status {
    pub(crate) fn new(major: u32, minor: u32, message: &str) -> Self {
        let message = message.chars().filter(|character| !character.is_control()).take(300).collect();
        Self { major, minor, message }
    }

    /// The cause, as far as the numbers tell one.
    pub(crate) fn cause(&self) -> Cause {
        const BAD_BINDINGS: u32 = 4;
        const BAD_SIGNATURE: u32 = 6;
        const NO_CREDENTIAL: u32 = 7;
        const DEFECTIVE_TOKEN: u32 = 9;
        const CREDENTIALS_EXPIRED: u32 = 11;
        const CONTEXT_EXPIRED: u32 = 12;
        let by_code = Cause::of_code(self.minor.cast_signed());
        if by_code != Cause::Other {
            return by_code;
        }
        match self.major >> 16 & 0xff {
            BAD_BINDINGS => Cause::Bindings,
            BAD_SIGNATURE | DEFECTIVE_TOKEN => Cause::Damaged,
            NO_CREDENTIAL => Cause::NoCredential,
            CREDENTIALS_EXPIRED | CONTEXT_EXPIRED => Cause::Expired,
            0 if self.major & 1 != 0 => Cause::AnotherLeg,
            _ => Cause::Other,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return write!(f, "GSSAPI status {:#010x}, {}", self.major, self.minor.cast_signed());
        }
        f.write_str(&self.message)
    }
}

/// What went wrong, seen from nobody's side: acceptor, initiator and password check give it their own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Decryption failed: for a ticket the key, for an initial ticket the password.
    Integrity,
    /// The keytab has no key of the version or type that is needed.
    KeyVersion,
    /// The keytab cannot be read, or has nothing for the service.
    NoKey,
    /// The ticket is for someone else.
    NotUs,
    Expired,
    NotYetValid,
    Skew,
    Replay,
    /// The replay cache cannot be read or written.
    ReplayCache,
    Bindings,
    /// A message that Kerberos cannot read, or one that was changed.
    Damaged,
    /// An encryption type that one side does not permit.
    Encryption,
    /// The path of realms that the ticket came by is not trusted.
    Transited,
    Address,
    AnotherLeg,
    PreauthenticationFailed,
    ClientUnknown,
    ServiceUnknown,
    /// Disabled, locked, expired, or outside its hours.
    ClientRevoked,
    /// The password or key has to be changed first.
    PasswordExpired,
    /// The KDC's policy forbids it.
    Policy,
    /// The ticket does not permit what is asked for with it, or the KDC does not: to act for its holder.
    NotPermitted,
    KdcUnreachable,
    RealmUnknown,
    WrongRealm,
    /// The other side did not prove that it is who we asked for.
    NotMutual,
    NoCredential,
    Configuration,
    Other,
}

/// The base of the `krb5` error table; RFC 4120's error code is the distance from it up to 127.
const KRB5: i32 = -1_765_328_384;

impl Cause {
    fn of_code(code: i32) -> Self {
        match code.wrapping_sub(KRB5) {
            // RFC 4120, section 7.5.9.
            1 | 18 => Self::ClientRevoked,
            6 => Self::ClientUnknown,
            7 => Self::ServiceUnknown,
            12 => Self::Policy,
            13 | 221 => Self::NotPermitted,
            14 | 15 => Self::Encryption,
            23 => Self::PasswordExpired,
            24 => Self::PreauthenticationFailed,
            11 | 21 | 22 | 33 | 145 => Self::NotYetValid,
            28 => Self::Transited,
            29 => Self::KdcUnreachable,
            31 => Self::Integrity,
            2 | 32 => Self::Expired,
            34 | 163 => Self::Replay,
            35 | 36 => Self::NotUs,
            37 => Self::Skew,
            38 => Self::Address,
            39 | 40 | 41 | 42 | 47 | 49 | 50 => Self::Damaged,
            44 => Self::KeyVersion,
            45 => Self::NoKey,
            46 => Self::NotMutual,
            68 => Self::WrongRealm,
            // The library's own, from KRB5_ERR_RCSID (128) on.
            135 | 136 | 224 => Self::Configuration,
            139 | 141 | 143 | 194 | 195 | 203 => Self::NoCredential,
            144 => Self::NotUs,
            148 => Self::Skew,
            150..=152 | 188 | 236 | 237 => Self::Encryption,
            154 | 217 => Self::RealmUnknown,
            155 => Self::ServiceUnknown,
            156 | 220 => Self::KdcUnreachable,
            158 => Self::NotMutual,
            159..=162 | 164..=172 | 215 => Self::ReplayCache,
            147 | 149 => Self::Damaged,
            179..=182 | 184 | 213 | 235 => Self::NoKey,
            210 => Self::PreauthenticationFailed,
            230 => Self::KeyVersion,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_from_numbers_of_krb5_h() {
        for (code, cause) in [
            (-1_765_328_353, Cause::Integrity),
            (-1_765_328_352, Cause::Expired),
            (-1_765_328_351, Cause::NotYetValid),
            (-1_765_328_350, Cause::Replay),
            (-1_765_328_349, Cause::NotUs),
            (-1_765_328_347, Cause::Skew),
            (-1_765_328_340, Cause::KeyVersion),
            (-1_765_328_339, Cause::NoKey),
            (-1_765_328_371, Cause::NotPermitted),
            (-1_765_328_163, Cause::NotPermitted),
            (-1_765_328_366, Cause::ClientRevoked),
            (-1_765_328_361, Cause::PasswordExpired),
            (-1_765_328_360, Cause::PreauthenticationFailed),
            (-1_765_328_174, Cause::PreauthenticationFailed),
            (-1_765_328_228, Cause::KdcUnreachable),
            (-1_765_328_164, Cause::KdcUnreachable),
            (-1_765_328_230, Cause::RealmUnknown),
            (-1_765_328_203, Cause::NoKey),
            (-1_765_328_154, Cause::KeyVersion),
            (-1_765_328_236, Cause::Skew),
            (-1_765_328_220, Cause::ReplayCache),
            (-1_765_328_189, Cause::NoCredential),
            (-1_765_328_316, Cause::WrongRealm),
            (0, Cause::Other),
        ] {
            assert_eq!(Cause::of_code(code), cause, "{code}");
        }
    }

    #[test]
    fn wrong_bindings_have_no_minor_status() {
        assert_eq!(Status::new(4 << 16, 0, "").cause(), Cause::Bindings);
    }

    #[test]
    fn messages_carry_no_control_characters() {
        assert_eq!(Status::new(0, 0, "a\r\nb\u{1b}[0m").message, "ab[0m");
    }
}
