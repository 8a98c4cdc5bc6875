//! The client's end of one connection, as a state machine: bind first, then one call after the other.
//!
//! [`Binding`] makes the messages that authenticate, and becomes a [`Client`] once the server has proven itself. A secured
//! interface can be bound only with packet privacy and with signed headers; what the server answers is checked, and
//! nothing lower is taken from it.

use std::convert::Infallible;

pub use crate::connection::{MAX_STUB, RpcError};
use crate::connection::{Protection, fragments, open};
use crate::pdu::{
    Ack, BindNak, FIRST, Fault, HEADER_SIGNING, Header, Kind, LAST, MAX_FRAGMENT, MIN_FRAGMENT, Pdu, Request,
    Response, assemble, one_interface, request_header,
};
use crate::security::{AuthType, PRIVACY, Security, SecurityError, Step};
use crate::uuid::{Interface, Syntax, Uuid};

/// The number of the one security context of a connection.
const SECURITY_CONTEXT: u32 = 1;

/// No security, for interfaces that are public.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous(Infallible);

impl Security for Anonymous {
    fn auth_type(&self) -> AuthType {
        match self.0 {}
    }

    fn step(&mut self, _: Option<&[u8]>) -> Result<Step, SecurityError> {
        match self.0 {}
    }

    fn token_length(&mut self, _: usize) -> Result<usize, SecurityError> {
        match self.0 {}
    }

    fn seal(&mut self, _: &[u8], _: &mut [u8], _: &[u8]) -> Result<Vec<u8>, SecurityError> {
        match self.0 {}
    }

    fn unseal(&mut self, _: &[u8], _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), SecurityError> {
        match self.0 {}
    }
}

/// A connection that is being bound.
#[derive(Debug)]
pub struct Binding<S> {
    interface: Syntax,
    protection: Option<Protection<S>>,
    call_id: u32,
    expected: Kind,
    max_fragment: u16,
}

/// What comes of an answer to a bind.
#[derive(Debug)]
pub enum Progress<S> {
    /// Send this, and come back with the answer.
    Send(Binding<S>, Vec<u8>),
    /// Send this, if there is something; then calls can be made.
    Bound(Client<S>, Option<Vec<u8>>),
}

impl Binding<Anonymous> {
    /// Begins without security. The second value is to be sent.
    ///
    /// # Errors
    /// [`RpcError::Unprotected`], unless the interface is one of those that are public.
    pub fn public(interface: Interface) -> Result<(Self, Vec<u8>), RpcError> {
        if !interface.is_public() {
            return Err(RpcError::Unprotected(Kind::Bind));
        }
        Self::start(interface, None)
    }
}

impl<S: Security> Binding<S> {
    /// Begins with packet privacy. The second value is to be sent.
    ///
    /// # Errors
    /// If the provider makes no token.
    pub fn sealed(interface: Interface, security: S) -> Result<(Self, Vec<u8>), RpcError> {
        Self::start(interface, Some(security))
    }

    fn start(interface: Interface, security: Option<S>) -> Result<(Self, Vec<u8>), RpcError> {
        let mut protection = security.map(|security| Protection {
            security,
            context_id: SECURITY_CONTEXT,
            level: PRIVACY,
            headers: true,
        });
        let token = match &mut protection {
            None => None,
            Some(protection) => match protection.security.step(None)? {
                Step::Continue(token) => Some(token),
                // Without an answer the server has proven nothing.
                Step::Done(_) => return Err(RpcError::NotReady),
            },
        };
        let interface = interface.syntax();
        let mut binding =
            Self { interface, protection, call_id: 0, expected: Kind::BindAck, max_fragment: MAX_FRAGMENT };
        let octets = binding.message(Kind::Bind, token.as_deref())?;
        Ok((binding, octets))
    }

    fn message(&mut self, kind: Kind, token: Option<&[u8]>) -> Result<Vec<u8>, RpcError> {
        let mut flags = FIRST | LAST;
        let body = if kind == Kind::Auth3 {
            // Four octets that nobody reads (MS-RPCE 2.2.2.10). It belongs to the call before it.
            vec![0; 4]
        } else {
            self.call_id += 1;
            if kind == Kind::Bind && token.is_some() {
                flags |= HEADER_SIGNING;
            }
            one_interface(0, self.interface).to_octets()
        };
        let security =
            self.protection.as_ref().zip(token).map(|(protection, token)| (protection.trailer(0), token));
        let octets = assemble(kind, flags, self.call_id, &body, security);
        if u16::try_from(octets.len()).is_err() {
            return Err(RpcError::TokenTooLong(token.map_or(0, <[u8]>::len)));
        }
        Ok(octets)
    }

    /// Takes the server's answer, one whole message.
    ///
    /// # Errors
    /// See [`RpcError`]: whatever is not exactly what was asked for. The connection is to be closed then.
    pub fn receive(mut self, octets: &[u8]) -> Result<Progress<S>, RpcError> {
        let pdu = Pdu::parse(octets)?;
        if pdu.header.call_id != self.call_id {
            return Err(RpcError::CallId { expected: self.call_id, got: pdu.header.call_id });
        }
        let kind = pdu.header.kind;
        if kind == Kind::BindNak {
            return Err(RpcError::BindRefused(BindNak::parse(pdu.body)?));
        }
        if kind == Kind::Fault {
            return Err(RpcError::Fault(Fault::parse(&pdu)?));
        }
        if kind != self.expected {
            return Err(RpcError::Unexpected(kind));
        }
        if pdu.header.flags & (FIRST | LAST) != FIRST | LAST {
            return Err(RpcError::Fragments);
        }
        let ack = accepted(&pdu)?;
        if self.expected == Kind::BindAck {
            if ack.max_receive < MIN_FRAGMENT {
                return Err(RpcError::FragmentSize(ack.max_receive));
            }
            self.max_fragment = ack.max_receive.min(MAX_FRAGMENT);
            if self.protection.is_some() && !pdu.header.has(HEADER_SIGNING) {
                return Err(RpcError::NoHeaderSigning);
            }
        }
        let step = match (&mut self.protection, &pdu.verifier) {
            (None, None) => Step::Done(None),
            (None, Some(verifier)) => return Err(RpcError::AuthType(verifier.auth_type)),
            // SPNEGO's last answer says only that all is well, and some servers leave it out; a provider that
            // needs it says so.
            (Some(protection), None) if self.expected == Kind::AlterContextResponse => {
                protection.security.step(Some(&[]))?
            }
            (Some(_), None) => return Err(RpcError::Unprotected(pdu.header.kind)),
            (Some(protection), Some(verifier)) => {
                protection.check(verifier)?;
                protection.security.step(Some(verifier.token))?
            }
        };
        match step {
            Step::Continue(token) => {
                self.expected = Kind::AlterContextResponse;
                let octets = self.message(Kind::AlterContext, Some(&token))?;
                Ok(Progress::Send(self, octets))
            }
            Step::Done(token) => {
                let last = token.map(|token| self.message(Kind::Auth3, Some(&token))).transpose()?;
                let Self { protection, max_fragment, call_id, .. } = self;
                let client = Client { protection, max_fragment, call_id, context: 0, state: State::Idle };
                Ok(Progress::Bound(client, last))
            }
        }
    }
}

/// The answer to a bind or alter_context for one interface, if the interface and NDR were taken.
fn accepted(pdu: &Pdu<'_>) -> Result<Ack, RpcError> {
    let ack = Ack::parse(pdu.body)?;
    let [result] = ack.results.as_slice() else { return Err(RpcError::ResultCount(ack.results.len())) };
    if result.result != 0 {
        return Err(RpcError::InterfaceRefused { result: result.result, reason: result.reason });
    }
    if result.transfer != Syntax::NDR {
        return Err(RpcError::TransferSyntax(result.transfer));
    }
    Ok(ack)
}

/// A connection that calls can be made on, one after the other.
#[derive(Debug)]
pub struct Client<S> {
    protection: Option<Protection<S>>,
    max_fragment: u16,
    call_id: u32,
    context: u16,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Waiting(Option<Vec<u8>>),
    Altering,
    Broken,
}

impl<S: Security> Client<S> {
    /// Whether a call can be made: none is waiting for its answer, and nothing has gone wrong.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// The fragments of a call, one after the other.
    ///
    /// # Errors
    /// [`RpcError::NotReady`] before the answer to the call before; [`RpcError::TooLong`]; what the provider says.
    pub fn call(&mut self, opnum: u16, object: Option<Uuid>, stub: &[u8]) -> Result<Vec<u8>, RpcError> {
        let State::Idle = std::mem::replace(&mut self.state, State::Broken) else {
            return Err(RpcError::NotReady);
        };
        if stub.len() > MAX_STUB {
            self.state = State::Idle;
            return Err(RpcError::TooLong);
        }
        self.call_id = self.call_id.wrapping_add(1);
        let context = self.context;
        let head = |header: Header, alloc_hint| {
            request_header(header, &Request { alloc_hint, context, opnum, object })
        };
        let octets = fragments(self.protection.as_mut(), self.max_fragment, self.call_id, stub, head)?;
        self.state = State::Waiting(None);
        Ok(octets)
    }

    /// Takes one whole message of the server; the results, once the last fragment of them is there.
    ///
    /// # Errors
    /// See [`RpcError`]. After [`RpcError::Fault`] the connection is good for another call, after anything else it is to
    /// be closed.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Option<Vec<u8>>, RpcError> {
        let State::Waiting(before) = std::mem::replace(&mut self.state, State::Broken) else {
            return Err(RpcError::NotReady);
        };
        let pdu = Pdu::parse(octets)?;
        if pdu.header.call_id != self.call_id {
            return Err(RpcError::CallId { expected: self.call_id, got: pdu.header.call_id });
        }
        let kind = pdu.header.kind;
        if kind == Kind::Fault {
            return self.fault(&pdu);
        }
        if kind != Kind::Response {
            return Err(RpcError::Unexpected(kind));
        }
        let response = Response::parse(&pdu)?;
        if response.context != self.context {
            return Err(RpcError::Context(response.context));
        }
        let part = open(self.protection.as_mut(), &pdu)?;
        let mut stub = match (pdu.header.has(FIRST), before) {
            (true, None) => Vec::new(),
            (false, Some(before)) => before,
            (true, Some(_)) | (false, None) => return Err(RpcError::Fragments),
        };
        if stub.len() + part.len() > MAX_STUB {
            return Err(RpcError::TooLong);
        }
        // A server that sends fragments without anything in them would never come to an end.
        if part.is_empty() && !pdu.header.has(LAST) {
            return Err(RpcError::Fragments);
        }
        stub.extend(part);
        if pdu.header.has(LAST) {
            self.state = State::Idle;
            return Ok(Some(stub));
        }
        self.state = State::Waiting(Some(stub));
        Ok(None)
    }

    /// Asks for another interface on the same connection, in the security context that it has. The octets are to be sent;
    /// the answer goes to [`Self::altered`].
    ///
    /// # Errors
    /// [`RpcError::NotReady`] before the answer to the call before; [`RpcError::Unprotected`], if the interface is not
    /// public and the connection has no security.
    pub fn alter(&mut self, interface: Interface) -> Result<Vec<u8>, RpcError> {
        if !self.is_ready() {
            return Err(RpcError::NotReady);
        }
        if self.protection.is_none() && !interface.is_public() {
            return Err(RpcError::Unprotected(Kind::AlterContext));
        }
        self.call_id = self.call_id.wrapping_add(1);
        self.context = self.context.wrapping_add(1);
        self.state = State::Altering;
        let body = one_interface(self.context, interface.syntax()).to_octets();
        Ok(assemble(Kind::AlterContext, FIRST | LAST, self.call_id, &body, None))
    }

    /// Takes the answer to [`Self::alter`], one whole message. All calls after it are to the other interface.
    ///
    /// # Errors
    /// See [`RpcError`]; the connection is to be closed then.
    pub fn altered(&mut self, octets: &[u8]) -> Result<(), RpcError> {
        let State::Altering = std::mem::replace(&mut self.state, State::Broken) else {
            return Err(RpcError::NotReady);
        };
        let pdu = Pdu::parse(octets)?;
        if pdu.header.call_id != self.call_id {
            return Err(RpcError::CallId { expected: self.call_id, got: pdu.header.call_id });
        }
        if pdu.header.kind == Kind::Fault {
            return Err(RpcError::Fault(Fault::parse(&pdu)?));
        }
        if pdu.header.kind != Kind::AlterContextResponse {
            return Err(RpcError::Unexpected(pdu.header.kind));
        }
        // No token was sent that a token could answer.
        if let Some(verifier) = &pdu.verifier {
            return Err(RpcError::AuthType(verifier.auth_type));
        }
        accepted(&pdu)?;
        self.state = State::Idle;
        Ok(())
    }

    /// On a connection with security a fault without a verifier proves nothing: whoever is on the way can have sent it,
    /// and the answer may still come. Windows and Samba send theirs like that, so it is an error of its own.
    fn fault(&mut self, pdu: &Pdu<'_>) -> Result<Option<Vec<u8>>, RpcError> {
        let fault = Fault::parse(pdu)?;
        if self.protection.is_some() && pdu.verifier.is_none() {
            return Err(RpcError::UnverifiedFault(fault));
        }
        // What is signed contains the status; there is nothing behind it that matters.
        open(self.protection.as_mut(), pdu)?;
        self.state = State::Idle;
        Err(RpcError::Fault(fault))
    }
}
