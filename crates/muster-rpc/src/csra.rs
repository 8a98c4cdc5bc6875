//! `ICertAdminD` and `ICertAdminD2` (MS-CSRA): deciding on requests, revoking, and reading an authority's database.
//!
//! Only over DCOM, with the methods and the tables that are needed here. The numbers of columns differ between versions of
//! Windows, so they are asked for by name ([`view_columns`]).

mod view;

pub use view::{
    Column, ColumnKind, FileTime, Restriction, Row, Rows, Seek, Sort, Value, close_view, enum_view,
    open_view, parse_columns, parse_rows, view_columns,
};

use crate::client::RpcError;
use crate::dcom::{Version, read_that, this};
use crate::ndr::Reader;
use crate::status::HResult;
use crate::uuid::Uuid;
use crate::wcce::Disposition;

/// The class of the object, `CCertAdminD`.
pub const CLASS: Uuid = Uuid::new(0xd99e6e73_fc88_11d0_b498_00a0c90312f3);

/// `ICertAdminD::ResubmitRequest`: an officer approves.
pub const RESUBMIT: u16 = 5;
/// `ICertAdminD::DenyRequest`.
pub const DENY: u16 = 6;
/// `ICertAdminD::RevokeCertificate`.
pub const REVOKE: u16 = 10;
/// `ICertAdminD::EnumViewColumn`.
pub const ENUM_VIEW_COLUMN: u16 = 11;
/// `ICertAdminD::OpenView`.
pub const OPEN_VIEW: u16 = 14;
/// `ICertAdminD::EnumView`.
pub const ENUM_VIEW: u16 = 15;
/// `ICertAdminD::CloseView`.
pub const CLOSE_VIEW: u16 = 16;
/// `ICertAdminD2::GetCAProperty`, with arguments and results as those of MS-WCCE.
pub const GET_CA_PROPERTY: u16 = 32;
/// `ICertAdminD2::GetMyRoles`.
pub const GET_MY_ROLES: u16 = 47;

/// Why a certificate is revoked (MS-CSRA 3.1.4.1.8), and the end of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// No reason is given.
    Unspecified,
    /// Somebody else has, or may have, the key.
    KeyCompromise,
    /// Somebody else has the CA's key.
    CaCompromise,
    /// The holder belongs elsewhere now.
    AffiliationChanged,
    /// There is another certificate in its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// For the time being.
    CertificateHold,
    /// The hold is over: the certificate is valid again.
    ReleaseFromHold,
}

impl RevocationReason {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::ReleaseFromHold => u32::MAX,
        }
    }
}

/// What a caller may do at an authority (MS-CSRA 3.1.1.7). Each of enroll, officer and administrator includes to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(pub u32);

impl Roles {
    /// Manage the authority.
    #[must_use]
    pub const fn administrator(self) -> bool {
        self.0 & 0x1 != 0
    }

    /// Decide on requests, and revoke.
    #[must_use]
    pub const fn officer(self) -> bool {
        self.0 & 0x2 != 0
    }

    /// Read the database.
    #[must_use]
    pub const fn read(self) -> bool {
        self.0 & 0x303 != 0
    }

    /// Request certificates, of its own and for others by the templates' permissions.
    #[must_use]
    pub const fn enroll(self) -> bool {
        self.0 & 0x200 != 0
    }
}

/// The arguments of `ResubmitRequest` and `DenyRequest`.
#[must_use]
pub fn of_request(version: Version, causality: Uuid, authority: &str, request_id: u32) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.optional_string(Some(authority)).u32(request_id);
    })
}

/// The results of `ResubmitRequest`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_resubmitted(stub: &[u8]) -> Result<Result<Disposition, HResult>, RpcError> {
    parse_number(stub).map(|number| number.map(Disposition::of))
}

/// The arguments of `RevokeCertificate`; the serial number in hexadecimal digits, as the authority's database has it.
#[must_use]
pub fn revoke(
    version: Version,
    causality: Uuid,
    authority: &str,
    serial: &str,
    reason: RevocationReason,
    since: FileTime,
) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.optional_string(Some(authority)).optional_string(Some(serial)).u32(reason.number());
        since.write(writer);
    })
}

/// The arguments of methods that have nothing but the authority.
#[must_use]
pub fn of_authority(version: Version, causality: Uuid, authority: &str) -> Vec<u8> {
    this(version, causality, |writer| {
        writer.optional_string(Some(authority));
    })
}

/// The results of `GetMyRoles`.
///
/// # Errors
/// If they cannot be read.
pub fn parse_roles(stub: &[u8]) -> Result<Result<Roles, HResult>, RpcError> {
    parse_number(stub).map(|number| number.map(Roles))
}

/// The results of methods that return nothing but whether they did it.
///
/// # Errors
/// If they cannot be read.
pub fn parse_done(stub: &[u8]) -> Result<HResult, RpcError> {
    let mut reader = Reader::new(stub);
    read_that(&mut reader)?;
    Ok(HResult(reader.u32()?))
}

fn parse_number(stub: &[u8]) -> Result<Result<u32, HResult>, RpcError> {
    let mut reader = Reader::new(stub);
    read_that(&mut reader)?;
    let number = reader.u32()?;
    let result = HResult(reader.u32()?);
    Ok(if result.is_success() { Ok(number) } else { Err(result) })
}

/// What became of a request, as the database has it: the numbers of the database, and those that the specification lists
/// (MS-CSRA 3.1.4.1.3 and note 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// It is being worked on.
    Active,
    /// An officer has to decide.
    Pending,
    /// The certificate was issued.
    Issued,
    /// It was, and is revoked.
    Revoked,
    /// Something went wrong.
    Failed,
    /// Policy or an officer said no.
    Denied,
    /// A certificate of another authority's, or of the authority itself.
    Foreign,
    /// A number that means nothing here.
    Other(u32),
}

impl RequestState {
    /// The number that the database has for requests that wait for an officer.
    pub const PENDING: u32 = 9;

    /// The meaning of a number.
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match number {
            8 => Self::Active,
            5 | 9 => Self::Pending,
            3 | 20 => Self::Issued,
            6 | 21 => Self::Revoked,
            1 | 30 => Self::Failed,
            2 | 31 => Self::Denied,
            12 | 15 | 16 | 17 => Self::Foreign,
            other => Self::Other(other),
        }
    }

    /// A word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Issued => "issued",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Foreign => "foreign",
            Self::Other(_) => "unknown",
        }
    }
}
