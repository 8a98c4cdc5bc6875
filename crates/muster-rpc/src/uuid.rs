//! Identifiers of interfaces, classes and objects.

use std::fmt;

/// A UUID, as the sixteen octets that are sent: the first three fields little-endian (C706, appendix A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zero: no object.
    pub const NIL: Self = Self([0; 16]);

    /// The UUID that is written so: `d99e6e70-fc88-11d0-b498-00a0c90312f3` is `0xd99e6e70_fc88_11d0_b498_00a0c90312f3`.
    #[must_use]
    pub const fn new(written: u128) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = written.to_be_bytes();
        let [i, j, k, l, m, n, o, p] = rest;
        Self([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) = self;
        write!(out, "{d:02x}{c:02x}{b:02x}{a:02x}-{f:02x}{e:02x}-{h:02x}{g:02x}-{i:02x}{j:02x}-")?;
        write!(out, "{k:02x}{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}")
    }
}

/// A syntax and its version: an interface, or an encoding of arguments (`p_syntax_id_t` of C706).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Syntax {
    /// Which.
    pub uuid: Uuid,
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
}

impl Syntax {
    /// NDR 2.0, the one encoding that is spoken here (C706 chapter 14).
    pub const NDR: Self = Self::new(0x8a885d04_1ceb_11c9_9fe8_08002b104860, 2);

    /// The UUID that is written so, and a major version.
    #[must_use]
    pub const fn new(written: u128, major: u16) -> Self {
        Self { uuid: Uuid::new(written), major, minor: 0 }
    }
}

/// The interfaces that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// `ept`, the endpoint mapper (C706 appendix O).
    EndpointMapper,
    /// `IObjectExporter` (MS-DCOM 3.1.2.5.1).
    ObjectExporter,
    /// `IRemoteSCMActivator` (MS-DCOM 3.1.2.5.2).
    RemoteActivator,
    /// `IRemUnknown` (MS-DCOM 3.1.1.5.6).
    RemUnknown,
    /// `ICertPassage` (MS-ICPR).
    CertPassage,
    /// `ICertRequestD` (MS-WCCE).
    CertRequest,
    /// `ICertRequestD2` (MS-WCCE), which has the methods of `ICertRequestD` too.
    CertRequest2,
    /// `ICertAdminD` (MS-CSRA).
    CertAdmin,
    /// `ICertAdminD2` (MS-CSRA), which has the methods of `ICertAdminD` too.
    CertAdmin2,
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::EndpointMapper,
        Self::ObjectExporter,
        Self::RemoteActivator,
        Self::RemUnknown,
        Self::CertPassage,
        Self::CertRequest,
        Self::CertRequest2,
        Self::CertAdmin,
        Self::CertAdmin2,
    ];

    /// Its UUID and version.
    #[must_use]
    pub const fn syntax(self) -> Syntax {
        match self {
            Self::EndpointMapper => Syntax::new(0xe1af8308_5d1f_11c9_91a4_08002b14a0fa, 3),
            Self::ObjectExporter => Syntax::new(0x99fcfec4_5260_101b_bbcb_00aa0021347a, 0),
            Self::RemoteActivator => Syntax::new(0x000001a0_0000_0000_c000_000000000046, 0),
            Self::RemUnknown => Syntax::new(0x00000131_0000_0000_c000_000000000046, 0),
            Self::CertPassage => Syntax::new(0x91ae6020_9e3c_11cf_8d7c_00aa00c091be, 0),
            Self::CertRequest => Syntax::new(0xd99e6e70_fc88_11d0_b498_00a0c90312f3, 0),
            Self::CertRequest2 => Syntax::new(0x5422fd3a_d4b8_4cef_a12e_e87d4ca22e90, 0),
            Self::CertAdmin => Syntax::new(0xd99e6e71_fc88_11d0_b498_00a0c90312f3, 0),
            Self::CertAdmin2 => Syntax::new(0x7fe0d935_dda6_443f_85d0_1cfb58fe41dd, 0),
        }
    }

    /// Its UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.syntax().uuid
    }

    /// Whether questions may be put to it without security, because nothing in them or in the answers is secret, and
    /// an answer that was changed leads to a connection that then fails to authenticate.
    #[must_use]
    pub const fn is_public(self) -> bool {
        match self {
            Self::EndpointMapper | Self::ObjectExporter => true,
            Self::RemoteActivator
            | Self::RemUnknown
            | Self::CertPassage
            | Self::CertRequest
            | Self::CertRequest2
            | Self::CertAdmin
            | Self::CertAdmin2 => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_is_written_as_it_is_named() {
        let uuid = Interface::CertRequest.uuid();
        assert_eq!(uuid.to_string(), "d99e6e70-fc88-11d0-b498-00a0c90312f3");
        assert_eq!(uuid.0.first_chunk(), Some(&[0x70, 0x6e, 0x9e, 0xd9]));
    }
}
