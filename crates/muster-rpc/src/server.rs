//! The server's end of one connection, as a state machine.
//!
//! A call to an interface that is not public reaches the caller of [`Server::receive`] only when its connection is
//! authenticated and the call was sealed.

pub use crate::connection::{MAX_STUB, RpcError};
use crate::connection::{Protection, fragments, open};
use crate::pdu::{
    Ack, Bind, BindNak, ContextResult, FIRST, Fault, HEADER_SIGNING, Header, Kind, LAST, MAX_FRAGMENT,
    MIN_FRAGMENT, Pdu, Presentation, Request, Response, Verifier, assemble, fault, response_header,
};
use crate::security::{AuthType, INTEGRITY, PRIVACY, Security, Step};
use crate::status::FaultStatus;
use crate::trailer::{self, Said};
use crate::uuid::{Interface, Syntax, Uuid};

/// Bound presentation contexts of one connection.
const MAX_BOUND: usize = 32;

/// What a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Octets of the arguments of one call.
    pub max_stub: usize,
    /// Packet integrity as well as packet privacy: calls that may be read by others, but not changed.
    pub integrity: bool,
    /// Clients that sign and seal their arguments, but not the headers of their messages (MS-RPCE 2.2.2.3): whoever is
    /// between can then choose another method or object for the arguments.
    pub unsigned_headers: bool,
}

impl Default for Terms {
    /// Packet privacy with signed headers, and calls as long as they can be.
    fn default() -> Self {
        Self { max_stub: MAX_STUB, integrity: false, unsigned_headers: false }
    }
}

/// What a message of the client leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing, yet.
    Nothing,
    /// Send this.
    Send(Vec<u8>),
    /// Send this and close the connection: the reason is for the log.
    Refuse(Vec<u8>, RpcError),
    /// Answer this, with [`Server::answer`] or [`Call::fault`].
    Call(Call),
}

/// A call that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Of which interface.
    pub interface: Interface,
    /// The method.
    pub opnum: u16,
    /// The object.
    pub object: Option<Uuid>,
    /// The arguments.
    pub stub: Vec<u8>,
    call_id: u32,
    context: u16,
}

/// A connection. `P` makes the provider when a client begins to authenticate.
#[derive(Debug)]
pub struct Server<S, P> {
    offered: Vec<Interface>,
    terms: Terms,
    provider: P,
    /// Shown to clients as the secondary address: the port.
    port: u16,
    contexts: Vec<(u16, Interface)>,
    protection: Option<Protection<S>>,
    /// The provider has seen the client's last token.
    authenticated: bool,
    bound: bool,
    /// The client offered to sign headers.
    signs_headers: bool,
    max_fragment: u16,
    partial: Option<Call>,
}

impl Call {
    /// The message that says that the call failed.
    #[must_use]
    pub fn fault(&self, status: FaultStatus) -> Vec<u8> {
        fault(self.call_id, self.context, Fault { status, did_not_execute: false })
    }

    /// The same of a call that was not even begun, so that the client may try it elsewhere.
    #[must_use]
    pub fn not_begun(&self, status: FaultStatus) -> Vec<u8> {
        fault(self.call_id, self.context, Fault { status, did_not_execute: true })
    }
}

impl<S: Security, P: FnMut(AuthType) -> Option<S>> Server<S, P> {
    /// A connection just accepted, on which these interfaces are offered.
    pub fn new(offered: &[Interface], port: u16, provider: P) -> Self {
        Self {
            offered: offered.to_vec(),
            terms: Terms::default(),
            provider,
            port,
            contexts: Vec::new(),
            protection: None,
            authenticated: false,
            bound: false,
            signs_headers: false,
            max_fragment: MAX_FRAGMENT,
            partial: None,
        }
    }

    /// The same on other terms.
    #[must_use]
    pub fn on_terms(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// Whether fragments of a call have come, and the last one has not.
    #[must_use]
    pub const fn is_in_a_call(&self) -> bool {
        self.partial.is_some()
    }

    /// The provider, once the client is authenticated: it knows who that is.
    #[must_use]
    pub const fn authenticated(&self) -> Option<&S> {
        match &self.protection {
            Some(protection) if self.authenticated => Some(&protection.security),
            Some(_) | None => None,
        }
    }

    /// The provider, whatever it has made of the client so far; none before the client's first token.
    #[must_use]
    pub fn security(&self) -> Option<&S> {
        self.protection.as_ref().map(|protection| &protection.security)
    }

    /// Takes one whole message.
    ///
    /// # Errors
    /// See [`RpcError`]; the connection is to be closed without an answer.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Event, RpcError> {
        let pdu = Pdu::parse(octets)?;
        match pdu.header.kind {
            Kind::Bind if !self.bound => self.bind(&pdu),
            Kind::AlterContext if self.bound => self.bind(&pdu),
            Kind::Auth3 if self.bound => self.auth3(&pdu),
            Kind::Request if self.bound => self.request(&pdu),
            Kind::Cancel | Kind::Orphaned if self.bound => {
                self.partial = None;
                Ok(Event::Nothing)
            }
            Kind::Request
            | Kind::Response
            | Kind::Fault
            | Kind::Bind
            | Kind::BindAck
            | Kind::BindNak
            | Kind::AlterContext
            | Kind::AlterContextResponse
            | Kind::Auth3
            | Kind::Shutdown
            | Kind::Cancel
            | Kind::Orphaned => Err(RpcError::Unexpected(pdu.header.kind)),
        }
    }

    fn bind(&mut self, pdu: &Pdu<'_>) -> Result<Event, RpcError> {
        let call_id = pdu.header.call_id;
        if pdu.header.flags & (FIRST | LAST) != FIRST | LAST {
            return Err(RpcError::Fragments);
        }
        let bind = Bind::parse(pdu.body)?;
        let first = !self.bound;
        if first {
            if bind.max_receive < MIN_FRAGMENT {
                return Err(RpcError::FragmentSize(bind.max_receive));
            }
            self.max_fragment = bind.max_receive.min(MAX_FRAGMENT);
            self.signs_headers = pdu.header.has(HEADER_SIGNING);
        }
        let mut token = None;
        if let Some(verifier) = &pdu.verifier {
            match self.token(verifier, true, pdu.header) {
                Ok(answer) => token = answer,
                Err((reason, error)) => return Ok(Event::Refuse(reason.to_pdu(call_id), error)),
            }
        }
        self.bound = true;
        let results = bind.contexts.iter().map(|context| self.context(context)).collect();
        let secondary_address = if first { format!("{}\0", self.port).into_bytes() } else { Vec::new() };
        let (max_transmit, max_receive) = (self.max_fragment, MAX_FRAGMENT);
        let ack = Ack { max_transmit, max_receive, association: 1, secondary_address, results };
        let kind = if first { Kind::BindAck } else { Kind::AlterContextResponse };
        let signs = self.protection.as_ref().is_some_and(|protection| protection.headers);
        let signing = if signs { HEADER_SIGNING } else { 0 };
        let trailer = self.protection.as_ref().map(|protection| protection.trailer(0));
        let security = trailer.zip(token.as_deref());
        Ok(Event::Send(assemble(kind, FIRST | LAST | signing, call_id, &ack.to_octets(), security)))
    }

    /// The client's next token; what is less than the terms demand is refused before the provider sees it. Where it `may_begin`,
    /// a client may authenticate anew, by another number than before: then nothing of the first time counts any more.
    fn token(
        &mut self,
        verifier: &Verifier<'_>,
        may_begin: bool,
        header: Header,
    ) -> Result<Option<Vec<u8>>, (BindNak, RpcError)> {
        let refuse = |error| (BindNak::AUTHENTICATION_TYPE, error);
        let anew =
            |protection: &Protection<S>| self.authenticated && protection.context_id != verifier.context_id;
        if may_begin && self.protection.as_ref().is_none_or(anew) {
            self.authenticated = false;
            self.partial = None;
            let auth_type = AuthType::of(verifier.auth_type);
            let headers = header.has(HEADER_SIGNING);
            if !headers && !self.terms.unsigned_headers {
                return Err(refuse(RpcError::NoHeaderSigning));
            }
            let level =
                if self.terms.integrity && verifier.auth_level == INTEGRITY { INTEGRITY } else { PRIVACY };
            let context_id = verifier.context_id;
            let security = auth_type.and_then(&mut self.provider);
            self.protection = security.map(|security| Protection { security, context_id, level, headers });
        }
        let Some(protection) = &mut self.protection else {
            return Err(refuse(RpcError::AuthType(verifier.auth_type)));
        };
        protection.check(verifier).map_err(refuse)?;
        if self.authenticated {
            return Err(refuse(RpcError::Unexpected(header.kind)));
        }
        match protection.security.step(Some(verifier.token)) {
            Ok(Step::Continue(token)) => Ok(Some(token)),
            Ok(Step::Done(token)) => {
                self.authenticated = true;
                Ok(token)
            }
            Err(error) => Err((BindNak::INVALID_CHECKSUM, error.into())),
        }
    }

    /// The answer to one presentation context, which is remembered if it is taken.
    fn context(&mut self, wanted: &Presentation) -> ContextResult {
        // The first octets of a name that says which features are negotiated (MS-RPCE 3.3.1.5.3); none are.
        let feature = wanted.transfer.first().is_some_and(|syntax| {
            syntax.uuid.0.starts_with(&[0x2c, 0x1c, 0xb7, 0x6c, 0x12, 0x98, 0x40, 0x45])
        });
        if feature {
            return ContextResult { result: 3, reason: 0, transfer: Syntax::default() };
        }
        let offered = self.offered.iter().copied().find(|interface| {
            let ours = interface.syntax();
            ours.uuid == wanted.interface.uuid && ours.major == wanted.interface.major
        });
        let Some(interface) = offered else { return ContextResult::refused(1) };
        if !wanted.transfer.contains(&Syntax::NDR) {
            return ContextResult::refused(2);
        }
        self.contexts.retain(|(id, _)| *id != wanted.id);
        if self.contexts.len() >= MAX_BOUND {
            return ContextResult::refused(3);
        }
        self.contexts.push((wanted.id, interface));
        ContextResult::ACCEPTED
    }

    fn auth3(&mut self, pdu: &Pdu<'_>) -> Result<Event, RpcError> {
        let verifier = pdu.verifier.as_ref().ok_or(RpcError::Unprotected(Kind::Auth3))?;
        match self.token(verifier, false, pdu.header) {
            // There is no answer that a further token could be sent with.
            Ok(None) if self.authenticated => Ok(Event::Nothing),
            Ok(_) => Err(RpcError::NotReady),
            Err((_, error)) => Err(error),
        }
    }

    fn request(&mut self, pdu: &Pdu<'_>) -> Result<Event, RpcError> {
        let (call_id, request) = (pdu.header.call_id, Request::parse(pdu)?);
        let refused = |status| {
            let refused = Fault { status, did_not_execute: true };
            Ok(Event::Send(fault(call_id, request.context, refused)))
        };
        let bound = self.contexts.iter().find(|(id, _)| *id == request.context);
        let Some((_, interface)) = bound.copied() else { return refused(FaultStatus::UNKNOWN_INTERFACE) };
        let part = match &mut self.protection {
            None if interface.is_public() => open::<S>(None, pdu)?,
            None => return refused(FaultStatus::ACCESS_DENIED),
            Some(_) if !self.authenticated => return refused(FaultStatus::ACCESS_DENIED),
            Some(protection) => open(Some(protection), pdu)?,
        };
        let mut call = match (pdu.header.has(FIRST), self.partial.take()) {
            (true, None) => {
                let (context, opnum, object) = (request.context, request.opnum, request.object);
                Call { interface, opnum, object, stub: Vec::new(), call_id, context }
            }
            (false, Some(call)) if call.call_id == call_id && call.context == request.context => call,
            (true, Some(_)) | (false, _) => return Err(RpcError::Fragments),
        };
        if call.stub.len() + part.len() > self.terms.max_stub.min(MAX_STUB) {
            return Err(RpcError::TooLong);
        }
        if part.is_empty() && !pdu.header.has(LAST) {
            return Err(RpcError::Fragments);
        }
        call.stub.extend(part);
        if pdu.header.has(LAST) {
            let said = Said {
                signs_headers: self.signs_headers,
                interface: interface.syntax(),
                call_id,
                context: call.context,
                opnum: call.opnum,
            };
            return match trailer::remove(&mut call.stub, said) {
                Ok(()) => Ok(Event::Call(call)),
                Err(RpcError::Trailer(_)) => refused(FaultStatus::ACCESS_DENIED),
                Err(_) => refused(FaultStatus::BAD_STUB_DATA),
            };
        }
        self.partial = Some(call);
        Ok(Event::Nothing)
    }

    /// The fragments that answer a call.
    ///
    /// # Errors
    /// [`RpcError::TooLong`], or what the provider says.
    pub fn answer(&mut self, call: &Call, results: &[u8]) -> Result<Vec<u8>, RpcError> {
        let head = |header: Header, alloc_hint| {
            response_header(header, &Response { alloc_hint, context: call.context })
        };
        fragments(self.protection.as_mut(), self.max_fragment, call.call_id, results, head)
    }
}
