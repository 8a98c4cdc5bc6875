//! The bodies of messages, each read and written.

use crate::ndr::{Reader, Writer};
use crate::pdu::{
    DID_NOT_EXECUTE, FIRST, Header, Kind, LAST, MAX_FRAGMENT, OBJECT, Pdu, PduError, assemble, syntax,
};
use crate::status::FaultStatus;
use crate::uuid::{Syntax, Uuid};

/// Presentation contexts in one message, and syntaxes in one context.
const MAX_CONTEXTS: u8 = 16;

/// One interface that a client wants, and the encodings that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// Its number on this connection.
    pub id: u16,
    /// The interface.
    pub interface: Syntax,
    /// The encodings.
    pub transfer: Vec<Syntax>,
}

/// `bind` and `alter_context` (C706 12.6.4.1, 12.6.4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The longest fragment that the client sends.
    pub max_transmit: u16,
    /// The longest that it takes.
    pub max_receive: u16,
    /// An association to join; 0 for a new one.
    pub association: u32,
    /// What it wants.
    pub contexts: Vec<Presentation>,
}

impl Bind {
    /// Reads the body of a [`Kind::Bind`] or [`Kind::AlterContext`].
    ///
    /// # Errors
    /// See [`PduError`].
    pub fn parse(body: &[u8]) -> Result<Self, PduError> {
        let mut reader = Reader::new(body);
        let (max_transmit, max_receive, association) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let count = bounded(reader.u8()?)?;
        reader.octets(3)?;
        let mut contexts = Vec::new();
        for _ in 0..count {
            let id = reader.u16()?;
            let syntaxes = bounded(reader.u8()?)?;
            reader.octets(1)?;
            let interface = syntax(&mut reader)?;
            let transfer = (0..syntaxes).map(|_| syntax(&mut reader)).collect::<Result<_, _>>()?;
            contexts.push(Presentation { id, interface, transfer });
        }
        Ok(Self { max_transmit, max_receive, association, contexts })
    }

    /// The body.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u16(self.max_transmit).u16(self.max_receive).u32(self.association);
        writer.u8(u8::try_from(self.contexts.len()).unwrap_or(u8::MAX)).octets(&[0; 3]);
        for context in &self.contexts {
            writer.u16(context.id).u8(u8::try_from(context.transfer.len()).unwrap_or(u8::MAX)).u8(0);
            for syntax in std::iter::once(&context.interface).chain(&context.transfer) {
                write_syntax(&mut writer, syntax);
            }
        }
        writer.finish()
    }
}

fn bounded(count: u8) -> Result<u8, PduError> {
    if count > MAX_CONTEXTS { Err(PduError::Contexts(count)) } else { Ok(count) }
}

fn write_syntax(writer: &mut Writer, syntax: &Syntax) {
    writer.uuid(syntax.uuid).u16(syntax.major).u16(syntax.minor);
}

/// What the server says to one presentation context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextResult {
    /// 0 acceptance, 1 refused by the user, 2 by the provider, 3 an answer to a negotiation of features.
    pub result: u16,
    /// Why it was refused: 1 the interface, 2 the encodings, 3 a local limit.
    pub reason: u16,
    /// The encoding that was taken.
    pub transfer: Syntax,
}

impl ContextResult {
    /// NDR was taken.
    pub const ACCEPTED: Self = Self { result: 0, reason: 0, transfer: Syntax::NDR };

    /// It was refused.
    #[must_use]
    pub const fn refused(reason: u16) -> Self {
        Self { result: 2, reason, transfer: Syntax { uuid: Uuid::NIL, major: 0, minor: 0 } }
    }
}

/// `bind_ack` and `alter_context_resp` (C706 12.6.4.4, 12.6.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The longest fragment that the server sends.
    pub max_transmit: u16,
    /// The longest that it takes.
    pub max_receive: u16,
    /// The association.
    pub association: u32,
    /// Another endpoint of the server, with its NUL; ignored by all.
    pub secondary_address: Vec<u8>,
    /// One for each context.
    pub results: Vec<ContextResult>,
}

impl Ack {
    /// Reads the body of a [`Kind::BindAck`] or [`Kind::AlterContextResponse`].
    ///
    /// # Errors
    /// See [`PduError`].
    pub fn parse(body: &[u8]) -> Result<Self, PduError> {
        let mut reader = Reader::new(body);
        let (max_transmit, max_receive, association) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let length = reader.u16()?;
        let secondary_address = reader.octets(usize::from(length))?.to_vec();
        reader.align(4)?;
        let count = bounded(reader.u8()?)?;
        reader.octets(3)?;
        let mut results = Vec::new();
        for _ in 0..count {
            let (result, reason) = (reader.u16()?, reader.u16()?);
            results.push(ContextResult { result, reason, transfer: syntax(&mut reader)? });
        }
        Ok(Self { max_transmit, max_receive, association, secondary_address, results })
    }

    /// The body.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u16(self.max_transmit).u16(self.max_receive).u32(self.association);
        writer.u16(crate::pdu::u16_of(self.secondary_address.len())).octets(&self.secondary_address).align(4);
        writer.u8(u8::try_from(self.results.len()).unwrap_or(u8::MAX)).octets(&[0; 3]);
        for one in &self.results {
            writer.u16(one.result).u16(one.reason);
            write_syntax(&mut writer, &one.transfer);
        }
        writer.finish()
    }
}

/// `bind_nak` (C706 12.6.4.5, MS-RPCE 2.2.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindNak(pub u16);

impl BindNak {
    /// The peer's version of the protocol is not spoken.
    pub const VERSION: Self = Self(4);
    /// The authentication type is not known (MS-RPCE).
    pub const AUTHENTICATION_TYPE: Self = Self(8);
    /// The security token was refused (MS-RPCE).
    pub const INVALID_CHECKSUM: Self = Self(9);

    /// Reads the body.
    ///
    /// # Errors
    /// If it has no reason.
    pub fn parse(body: &[u8]) -> Result<Self, PduError> {
        Ok(Self(Reader::new(body).u16()?))
    }

    /// The message.
    #[must_use]
    pub fn to_pdu(self, call_id: u32) -> Vec<u8> {
        let mut writer = Writer::new();
        // One version: 5.0.
        writer.u16(self.0).u8(1).u8(5).u8(0).align(4);
        assemble(Kind::BindNak, FIRST | LAST, call_id, &writer.finish(), None)
    }
}

impl std::fmt::Display for BindNak {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            0 => "no reason given",
            1 => "temporary congestion",
            2 => "a local limit was exceeded",
            4 => "protocol version not supported",
            8 => "authentication type not recognized",
            9 => "the security token was refused",
            _ => "unknown reason",
        };
        write!(out, "{name} ({})", self.0)
    }
}

/// What a request says besides its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How long all arguments are, as a hint.
    pub alloc_hint: u32,
    /// The presentation context.
    pub context: u16,
    /// The method.
    pub opnum: u16,
    /// The object.
    pub object: Option<Uuid>,
}

impl Request {
    /// Reads what stands before the arguments of a [`Kind::Request`].
    ///
    /// # Errors
    /// If there is too little.
    pub fn parse(pdu: &Pdu<'_>) -> Result<Self, PduError> {
        let mut reader = pdu.call_header();
        let (alloc_hint, context, opnum) = (reader.u32()?, reader.u16()?, reader.u16()?);
        let object = if pdu.header.has(OBJECT) { Some(reader.uuid()?) } else { None };
        Ok(Self { alloc_hint, context, opnum, object })
    }
}

/// Header and the rest that is not sealed, of one fragment of a request. The lengths are those of the whole message.
#[must_use]
pub fn request_header(header: Header, request: &Request) -> Vec<u8> {
    let flags = header.flags | if request.object.is_some() { OBJECT } else { 0 };
    let mut octets = Header { kind: Kind::Request, flags, ..header }.to_octets();
    octets.extend(request.alloc_hint.to_le_bytes());
    octets.extend(request.context.to_le_bytes());
    octets.extend(request.opnum.to_le_bytes());
    octets.extend(request.object.map(|object| object.0).into_iter().flatten());
    octets
}

/// What a response says besides its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// How long all results are, as a hint.
    pub alloc_hint: u32,
    /// The presentation context.
    pub context: u16,
}

impl Response {
    /// Reads what stands before the results of a [`Kind::Response`].
    ///
    /// # Errors
    /// If there is too little.
    pub fn parse(pdu: &Pdu<'_>) -> Result<Self, PduError> {
        let mut reader = pdu.call_header();
        Ok(Self { alloc_hint: reader.u32()?, context: reader.u16()? })
    }
}

/// As [`request_header`], of a response.
#[must_use]
pub fn response_header(header: Header, response: &Response) -> Vec<u8> {
    let mut octets = Header { kind: Kind::Response, ..header }.to_octets();
    octets.extend(response.alloc_hint.to_le_bytes());
    octets.extend(response.context.to_le_bytes());
    octets.extend([0, 0]);
    octets
}

/// A call that failed (C706 12.6.4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Why.
    pub status: FaultStatus,
    /// The server says that the call was not begun.
    pub did_not_execute: bool,
}

impl Fault {
    /// Whether the call was not begun: the server says so, or the status is one that comes before a method is entered.
    #[must_use]
    pub const fn was_not_begun(self) -> bool {
        self.did_not_execute
            || matches!(
                self.status,
                FaultStatus::ACCESS_DENIED
                    | FaultStatus::E_ACCESS_DENIED
                    | FaultStatus::OP_RANGE
                    | FaultStatus::PROCNUM_OUT_OF_RANGE
                    | FaultStatus::UNKNOWN_INTERFACE
                    | FaultStatus::UNKNOWN_IF
                    | FaultStatus::TOO_BUSY
                    | FaultStatus::SERVER_TOO_BUSY
                    | FaultStatus::DISCONNECTED
                    | FaultStatus::INVALID_OBJECT
                    | FaultStatus::VERSION_MISMATCH
            )
    }

    /// Reads what a [`Kind::Fault`] says.
    ///
    /// # Errors
    /// If there is too little.
    pub fn parse(pdu: &Pdu<'_>) -> Result<Self, PduError> {
        let mut reader = pdu.call_header();
        reader.octets(8)?;
        let did_not_execute = pdu.header.has(DID_NOT_EXECUTE);
        Ok(Self { status: FaultStatus(reader.u32()?), did_not_execute })
    }
}

/// The message of a fault, without protection: there is nothing secret in it, and nothing is done because of it.
#[must_use]
pub fn fault(call_id: u32, context: u16, fault: Fault) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u32(32).u16(context).u16(0).u32(fault.status.0).u32(0);
    let flags = FIRST | LAST | if fault.did_not_execute { DID_NOT_EXECUTE } else { 0 };
    assemble(Kind::Fault, flags, call_id, &writer.finish(), None)
}

/// A bind or alter_context for one interface, as presentation context `id`.
#[must_use]
pub(crate) fn one_interface(id: u16, interface: Syntax) -> Bind {
    let context = Presentation { id, interface, transfer: vec![Syntax::NDR] };
    Bind { max_transmit: MAX_FRAGMENT, max_receive: MAX_FRAGMENT, association: 0, contexts: vec![context] }
}
