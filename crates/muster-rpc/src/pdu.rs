//! The messages of a connection (C706 chapter 12, MS-RPCE 2.2.2): a header, a body, and what protects both.
//!
//! A message of a call is a fragment of at most [`MAX_FRAGMENT`] octets; [`frame_length`] says where it ends, [`Pdu::parse`]
//! takes it apart. What `sec_trailer` covers is opened by [`crate::client`] and [`crate::server`].

mod body;

pub(crate) use body::one_interface;
pub use body::{
    Ack, Bind, BindNak, ContextResult, Fault, Presentation, Request, Response, fault, request_header,
    response_header,
};

use crate::ndr::{NdrError, Reader};
use crate::uuid::Syntax;

/// The octets of a header.
pub const HEADER: usize = 16;
/// The octets of `sec_trailer` before the token.
pub const TRAILER: usize = 8;
/// The longest fragment of a call that is sent or taken; also what Windows says. Messages that carry security tokens can be
/// longer, up to what their header can say.
pub const MAX_FRAGMENT: u16 = 5_840;
/// The shortest that everybody must take (C706 12.6.3.1, `MustRecvFragSize`).
pub const MIN_FRAGMENT: u16 = 1_432;

/// The first fragment of a call.
pub const FIRST: u8 = 0x01;
/// The last fragment of a call.
pub const LAST: u8 = 0x02;
/// In a bind and its answer: the security token covers headers, too (MS-RPCE 2.2.2.3).
pub const HEADER_SIGNING: u8 = 0x04;
/// In a fault: the call was not begun.
pub const DID_NOT_EXECUTE: u8 = 0x20;
/// In a request: it is to an object.
pub const OBJECT: u8 = 0x80;

/// A message that cannot be read, or that does not belong where it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// Not version 5.0 of the protocol.
    #[error("the peer speaks version {major}.{minor} of DCE/RPC, or none at all")]
    Version {
        /// What stands where the major version does.
        major: u8,
        /// And the minor.
        minor: u8,
    },
    /// A data representation other than little-endian, ASCII and IEEE.
    #[error("the peer's data representation {0:#010x} is not the little-endian one")]
    Representation(u32),
    /// A kind of message that does not exist in this protocol.
    #[error("there is no message of type {0}")]
    Kind(u8),
    /// A fragment longer than agreed, or shorter than what it must contain.
    #[error("a message has {0} octets, which cannot be")]
    Length(u16),
    /// The octets given are not one whole message.
    #[error("the message has {there} octets, its header says {said}")]
    Incomplete {
        /// What the header says.
        said: u16,
        /// What there is.
        there: usize,
    },
    /// The body cannot be read.
    #[error("the message cannot be read: {0}")]
    Body(#[from] NdrError),
    /// More presentation contexts or syntaxes than anybody needs.
    #[error("{0} presentation contexts are too many")]
    Contexts(u8),
}

/// The kinds of message that occur on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A call.
    Request,
    /// Its answer.
    Response,
    /// The answer to a call that failed.
    Fault,
    /// The first message of a connection.
    Bind,
    /// Its answer.
    BindAck,
    /// The refusal.
    BindNak,
    /// A further interface, or a further security token.
    AlterContext,
    /// Its answer.
    AlterContextResponse,
    /// The last security token, without an answer.
    Auth3,
    /// The server wants to close.
    Shutdown,
    /// The client cancels.
    Cancel,
    /// The client has lost interest.
    Orphaned,
}

impl Kind {
    const CODES: [(u8, Self); 12] = [
        (0, Self::Request),
        (2, Self::Response),
        (3, Self::Fault),
        (11, Self::Bind),
        (12, Self::BindAck),
        (13, Self::BindNak),
        (14, Self::AlterContext),
        (15, Self::AlterContextResponse),
        (16, Self::Auth3),
        (17, Self::Shutdown),
        (18, Self::Cancel),
        (19, Self::Orphaned),
    ];

    fn of(code: u8) -> Result<Self, PduError> {
        Self::CODES
            .iter()
            .find(|(known, _)| *known == code)
            .map(|(_, kind)| *kind)
            .ok_or(PduError::Kind(code))
    }

    fn code(self) -> u8 {
        Self::CODES.iter().find(|(_, kind)| *kind == self).map_or(u8::MAX, |(code, _)| *code)
    }

    /// Octets of the body before the arguments of a call; 0 for messages without any. A request to an object has 16
    /// more.
    const fn call_header(self) -> usize {
        match self {
            Self::Request | Self::Response => 8,
            Self::Fault => 16,
            Self::Bind
            | Self::BindAck
            | Self::BindNak
            | Self::AlterContext
            | Self::AlterContextResponse
            | Self::Auth3
            | Self::Shutdown
            | Self::Cancel
            | Self::Orphaned => 0,
        }
    }
}

/// The fields of a header that differ from message to message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// [`FIRST`], [`LAST`], [`HEADER_SIGNING`], [`DID_NOT_EXECUTE`], [`OBJECT`].
    pub flags: u8,
    /// Octets of the whole message.
    pub frag_length: u16,
    /// Octets of the token.
    pub auth_length: u16,
    /// The call.
    pub call_id: u32,
}

impl Header {
    fn parse(octets: &[u8]) -> Result<Self, PduError> {
        let mut reader = Reader::new(octets);
        let (major, minor, kind, flags) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        if (major, minor & 0xfe) != (5, 0) {
            return Err(PduError::Version { major, minor });
        }
        let representation = reader.u32()?;
        if representation != 0x10 {
            return Err(PduError::Representation(representation));
        }
        let (frag_length, auth_length, call_id) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let kind = Kind::of(kind)?;
        // Tickets of callers in many groups are longer than a fragment, and tokens are never divided.
        let limit = if kind.call_header() == 0 { u16::MAX } else { MAX_FRAGMENT };
        if !(u16_of(HEADER)..=limit).contains(&frag_length) {
            return Err(PduError::Length(frag_length));
        }
        Ok(Self { kind, flags, frag_length, auth_length, call_id })
    }

    /// The header as octets.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut octets = vec![5, 0, self.kind.code(), self.flags, 0x10, 0, 0, 0];
        octets.extend(self.frag_length.to_le_bytes());
        octets.extend(self.auth_length.to_le_bytes());
        octets.extend(self.call_id.to_le_bytes());
        octets
    }

    /// Whether the flags have this one.
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Lengths here never come near the limit of a `u16`; what did would be refused as a length, not shortened.
pub(crate) fn u16_of(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// The length of the message that begins with these octets; `None` as long as there are fewer than [`HEADER`].
///
/// # Errors
/// If no message of this protocol begins so, or it is longer than [`MAX_FRAGMENT`].
pub fn frame_length(octets: &[u8]) -> Result<Option<usize>, PduError> {
    if octets.len() < HEADER {
        return Ok(None);
    }
    Header::parse(octets).map(|header| Some(usize::from(header.frag_length)))
}

/// `sec_trailer` and the token (MS-RPCE 2.2.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifier<'a> {
    /// The security provider.
    pub auth_type: u8,
    /// The level of protection.
    pub auth_level: u8,
    /// Octets between the arguments and the trailer.
    pub pad_length: u8,
    /// Which security context of the connection.
    pub context_id: u32,
    /// The trailer itself, which is signed.
    pub trailer: &'a [u8],
    /// What the provider made.
    pub token: &'a [u8],
}

impl<'a> Verifier<'a> {
    fn parse(trailer: &'a [u8], token: &'a [u8]) -> Result<Self, NdrError> {
        let mut reader = Reader::new(trailer);
        let (auth_type, auth_level, pad_length) = (reader.u8()?, reader.u8()?, reader.u8()?);
        reader.u8()?;
        Ok(Self { auth_type, auth_level, pad_length, context_id: reader.u32()?, trailer, token })
    }
}

/// One message, taken apart but not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pdu<'a> {
    /// Its header.
    pub header: Header,
    /// From the header on, all that is signed but never sealed.
    pub signed: &'a [u8],
    /// The body, of calls the arguments with their padding; not yet unsealed.
    pub body: &'a [u8],
    /// What protects it.
    pub verifier: Option<Verifier<'a>>,
}

impl<'a> Pdu<'a> {
    /// Takes one whole message apart.
    ///
    /// # Errors
    /// See [`PduError`].
    pub fn parse(octets: &'a [u8]) -> Result<Self, PduError> {
        let header = Header::parse(octets)?;
        let incomplete = PduError::Incomplete { said: header.frag_length, there: octets.len() };
        if usize::from(header.frag_length) != octets.len() {
            return Err(incomplete);
        }
        let bad = PduError::Length(header.frag_length);
        let object = if header.kind == Kind::Request && header.has(OBJECT) { 16 } else { 0 };
        let signed = HEADER + header.kind.call_header() + object;
        let (rest, verifier) = if header.auth_length == 0 {
            (octets, None)
        } else {
            let (rest, token) = octets
                .len()
                .checked_sub(usize::from(header.auth_length))
                .and_then(|at| octets.split_at_checked(at))
                .ok_or(bad)?;
            let (rest, trailer) =
                rest.len().checked_sub(TRAILER).and_then(|at| rest.split_at_checked(at)).ok_or(bad)?;
            (rest, Some(Verifier::parse(trailer, token)?))
        };
        let (signed, body) = rest.split_at_checked(signed).ok_or(bad)?;
        Ok(Self { header, signed, body, verifier })
    }

    /// The octets between the header and the arguments of a call.
    fn call_header(&self) -> Reader<'a> {
        let mut reader = Reader::new(self.signed);
        // The signed part always contains the header.
        let _ = reader.octets(HEADER);
        reader
    }
}

/// How a message that is being made is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The security provider.
    pub auth_type: u8,
    /// The level of protection.
    pub auth_level: u8,
    /// Octets between the arguments and the trailer.
    pub pad_length: u8,
    /// Which security context of the connection.
    pub context_id: u32,
}

impl Trailer {
    /// As octets.
    #[must_use]
    pub fn to_octets(&self) -> [u8; TRAILER] {
        let [a, b, c, d] = self.context_id.to_le_bytes();
        [self.auth_type, self.auth_level, self.pad_length, 0, a, b, c, d]
    }
}

/// One message without arguments that could be sealed: binds, their answers, faults.
#[must_use]
pub fn assemble(
    kind: Kind,
    flags: u8,
    call_id: u32,
    body: &[u8],
    security: Option<(Trailer, &[u8])>,
) -> Vec<u8> {
    let token = security.map(|(_, token)| token).unwrap_or_default();
    let pad = if security.is_some() { body.len().next_multiple_of(4) - body.len() } else { 0 };
    let trailer = security.map(|(trailer, _)| {
        let pad_length = u8::try_from(pad).unwrap_or_default();
        Trailer { pad_length, ..trailer }.to_octets()
    });
    let length = HEADER + body.len() + pad + trailer.map_or(0, |trailer| trailer.len()) + token.len();
    let header =
        Header { kind, flags, frag_length: u16_of(length), auth_length: u16_of(token.len()), call_id };
    let mut octets = header.to_octets();
    octets.extend_from_slice(body);
    octets.resize(octets.len() + pad, 0);
    octets.extend(trailer.unwrap_or_default().into_iter().take(if trailer.is_some() { TRAILER } else { 0 }));
    octets.extend_from_slice(token);
    octets
}

pub(crate) fn syntax(reader: &mut Reader<'_>) -> Result<Syntax, NdrError> {
    Ok(Syntax { uuid: reader.uuid()?, major: reader.u16()?, minor: reader.u16()? })
}
