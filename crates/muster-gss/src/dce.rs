//! Kerberos as DCE/RPC has it (MS-KILE 3.1.1.2, `GSS_C_DCE_STYLE`): three legs, both sides proven, and messages of which
//! header and trailer are signed and the middle is sealed where it stands.

use std::sync::Arc;
use std::time::Duration;

use crate::acceptor::{Acceptor, Refused, pac_of, refusal};
use crate::ffi::{Context, Cred, Initiation, Leg, Name, NameForm};
use crate::initiator::{Credential, Framing, InitiateError, Step};
use crate::pac::Pac;
use crate::principal::Principal;
use crate::spnego::{self, Negotiation, Ticket};

/// `GSS_C_…_FLAG` of RFC 2744, and MIT's `GSS_C_DCE_STYLE`.
const MUTUAL: u32 = 0x02;
const REPLAY: u32 = 0x04;
const SEQUENCE: u32 = 0x08;
const CONFIDENTIALITY: u32 = 0x10;
const INTEGRITY: u32 = 0x20;
const DCE_STYLE: u32 = 0x1000;
/// What both sides must have agreed on.
const NEEDED: u32 = MUTUAL | REPLAY | SEQUENCE | CONFIDENTIALITY | INTEGRITY | DCE_STYLE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// The other side's Kerberos token is awaited.
    Waiting,
    /// Kerberos is done; the last word of SPNEGO is awaited.
    Closing,
    Done,
    Failed,
}

/// The client's side of one connection.
pub struct DceInitiator {
    credential: Credential,
    target: Name,
    service: String,
    framing: Framing,
    context: Context,
    state: State,
}

impl std::fmt::Debug for DceInitiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DceInitiator({}, {:?})", self.service, self.state)
    }
}

impl Credential {
    /// An authentication to `class/host`, such as `HOST/ca01.corp.example`. The host is not looked up in DNS.
    ///
    /// # Errors
    /// If class and host make no name.
    pub fn dce_initiator(
        &self,
        class: &str,
        host: &str,
        framing: Framing,
    ) -> Result<DceInitiator, InitiateError> {
        let (api, _) = self.parts();
        let service = format!("{class}/{host}");
        let target = Name::import(api, &format!("{service}@"), NameForm::Principal)?;
        let (context, state) = (Context::new(api), State::New);
        Ok(DceInitiator { credential: self.clone(), target, service, framing, context, state })
    }
}

impl DceInitiator {
    /// How the tokens are wrapped.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The next token: at first without one, then with each answer. Blocks, at first on the KDC.
    ///
    /// # Errors
    /// See [`InitiateError`]; after one, the authentication cannot be gone on with.
    pub fn step(&mut self, token: Option<&[u8]>) -> Result<Step, InitiateError> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let answer = match (state, token) {
            (State::New, None) => None,
            (State::Waiting, Some(token)) => Some(self.unframed(token)?),
            (State::Closing, Some(token)) => {
                // Some servers say nothing more; none may say no, or want more.
                if !token.is_empty() {
                    let said = Self::read(token)?;
                    if !said.is_done() {
                        return Err(InitiateError::OtherMechanism);
                    }
                    if !said.mic.is_empty() {
                        self.context.verify_mic(&spnego::dce_mechanisms(), &said.mic)?;
                    }
                }
                self.state = State::Done;
                return Ok(Step::Done(None));
            }
            _ => return Err(InitiateError::OutOfOrder),
        };
        let (_, credential) = self.credential.parts();
        let how = Initiation { credential, target: &self.target, flags: NEEDED, bindings: None };
        let progress = self.context.initiate(&how, answer.as_deref())?;
        if progress.token.is_empty() {
            return Err(InitiateError::OutOfOrder);
        }
        let negotiate = self.framing == Framing::Negotiate;
        if !progress.complete {
            self.state = State::Waiting;
            return Ok(Step::Continue(match (negotiate, answer.is_none()) {
                (true, true) => spnego::dce_offer(&progress.token),
                (true, false) => spnego::next_leg(&progress.token, &[]),
                (false, _) => progress.token,
            }));
        }
        if answer.is_none() || progress.flags & NEEDED != NEEDED {
            return Err(InitiateError::NotProven("it does not agree to prove itself and to seal".to_owned()));
        }
        if negotiate {
            let mic = self.context.mic(&spnego::dce_mechanisms())?;
            self.state = State::Closing;
            return Ok(Step::Continue(spnego::next_leg(&progress.token, &mic)));
        }
        self.state = State::Done;
        Ok(Step::Done(Some(progress.token)))
    }

    fn unframed(&self, token: &[u8]) -> Result<Vec<u8>, InitiateError> {
        if self.framing == Framing::Kerberos {
            return Ok(token.to_vec());
        }
        let said = Self::read(token)?;
        if said.goes_on() { Ok(said.token) } else { Err(InitiateError::OtherMechanism) }
    }

    fn read(token: &[u8]) -> Result<Negotiation, InitiateError> {
        let said = Negotiation::read(token).map_err(|error| InitiateError::Malformed(error.to_string()))?;
        if said.is_rejected() { Err(InitiateError::Rejected) } else { Ok(said) }
    }

    /// The octets of the token that [`Self::seal`] makes for so many octets.
    ///
    /// # Errors
    /// [`InitiateError::OutOfOrder`] before the authentication is done, or what the library says.
    pub fn token_length(&mut self, stub: usize) -> Result<usize, InitiateError> {
        Ok(ready(&mut self.context, self.state)?.seal_length(stub)?)
    }

    /// Seals `stub` where it stands, and signs `header`, `stub` and `trailer`; the token is returned.
    ///
    /// # Errors
    /// [`InitiateError::NotSealed`], or what the library says.
    pub fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, InitiateError> {
        seal(ready(&mut self.context, self.state)?, header, stub, trailer)
    }

    /// The reverse. A message that was changed, replayed, is missing or out of order is an error.
    ///
    /// # Errors
    /// [`InitiateError::NotSealed`] if it was only signed, or what the library says.
    pub fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), InitiateError> {
        unseal(ready(&mut self.context, self.state)?, header, stub, trailer, token)
    }
}

fn ready(context: &mut Context, state: State) -> Result<&mut Context, InitiateError> {
    // A client may seal its first call before it has seen the last word of SPNEGO.
    if matches!(state, State::Closing | State::Done) { Ok(context) } else { Err(InitiateError::OutOfOrder) }
}

fn seal(
    context: &mut Context,
    header: &[u8],
    stub: &mut [u8],
    trailer: &[u8],
) -> Result<Vec<u8>, InitiateError> {
    let (token, sealed) = context.seal(header, stub, trailer)?;
    if sealed { Ok(token) } else { Err(InitiateError::NotSealed) }
}

fn unseal(
    context: &mut Context,
    header: &[u8],
    stub: &mut [u8],
    trailer: &[u8],
    token: &[u8],
) -> Result<(), InitiateError> {
    if context.unseal(header, stub, trailer, token)? { Ok(()) } else { Err(InitiateError::NotSealed) }
}

/// What opens tickets.
enum Keys {
    /// One service.
    One(Credential),
    /// Whichever of several services the ticket is for; its number, once that is known.
    Several(Arc<Acceptor>, Option<usize>),
}

/// The server's side of one connection. Its keys are of [`crate::Gss::service_key`] or of an [`Acceptor`].
pub struct DceAcceptor {
    keys: Keys,
    framing: Framing,
    needed: u32,
    microsoft: bool,
    /// What the client offered, and its signature over it.
    offered: Vec<u8>,
    mic: Vec<u8>,
    context: Context,
    state: State,
    client: Option<(Principal, Option<Pac>)>,
    remaining: Duration,
    refused: Option<Refused>,
}

impl std::fmt::Debug for DceAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DceAcceptor({:?}, {:?})", self.client(), self.state)
    }
}

impl Credential {
    /// The server's end of one connection.
    #[must_use]
    pub fn dce_acceptor(&self, framing: Framing) -> DceAcceptor {
        DceAcceptor::new(Keys::One(self.clone()), Context::new(self.parts().0), framing)
    }
}

impl Acceptor {
    /// The server's end of one connection, for a ticket of any of the services. The replay cache is not used: the last leg
    /// proves that the client is there.
    #[must_use]
    pub fn dce_acceptor(self: &Arc<Self>, framing: Framing) -> DceAcceptor {
        DceAcceptor::new(Keys::Several(Arc::clone(self), None), Context::new(self.api()), framing)
    }
}

impl DceAcceptor {
    fn new(keys: Keys, context: Context, framing: Framing) -> Self {
        Self {
            keys,
            framing,
            needed: NEEDED,
            microsoft: false,
            offered: Vec::new(),
            mic: Vec::new(),
            context,
            state: State::New,
            client: None,
            remaining: Duration::ZERO,
            refused: None,
        }
    }

    /// Takes clients that do not want to seal, for messages that are signed alone: [`Self::sign`].
    #[must_use]
    pub fn without_sealing(self) -> Self {
        Self { needed: NEEDED & !CONFIDENTIALITY, ..self }
    }

    /// How the tokens are wrapped.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The caller, once the authentication is done.
    #[must_use]
    pub fn client(&self) -> Option<&Principal> {
        self.client.as_ref().map(|(principal, _)| principal)
    }

    /// What the directory says about the caller, once the authentication is done; from a KDC without PAC, nothing.
    #[must_use]
    pub fn pac(&self) -> Option<&Pac> {
        self.client.as_ref().and_then(|(_, pac)| pac.as_ref())
    }

    /// For how long the ticket was good when the authentication was done; zero before.
    #[must_use]
    pub const fn remaining(&self) -> Duration {
        self.remaining
    }

    /// Why the client's ticket was not taken, if it was that which was wrong.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Notes a refusal, and makes an error of it.
    fn refuse(&mut self, refused: Refused) -> InitiateError {
        let error = InitiateError::Malformed(refused.to_string());
        self.refused = Some(refused);
        error
    }

    /// The first token: the AP-REQ in it, and what it says in clear.
    fn first(&mut self, token: &[u8]) -> Result<(Vec<u8>, Ticket), Refused> {
        if self.framing == Framing::Kerberos {
            return Ok((token.to_vec(), spnego::ticket_of(token)?));
        }
        let (ap_req, microsoft) = spnego::read_dce_offer(token)?;
        self.microsoft = microsoft;
        self.offered = spnego::offered_mechanisms(token)?;
        let ticket = spnego::ticket_of(&ap_req)?;
        Ok((ap_req, ticket))
    }

    fn key(keys: &Keys) -> Option<&Cred> {
        match keys {
            Keys::One(credential) => Some(credential.parts().1),
            Keys::Several(acceptor, number) => number.and_then(|number| acceptor.opener(number)),
        }
    }

    /// The next token, from the client's.
    ///
    /// # Errors
    /// See [`InitiateError`]; after one, the authentication cannot be gone on with.
    pub fn step(&mut self, token: &[u8]) -> Result<Step, InitiateError> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let negotiate = self.framing == Framing::Negotiate;
        let mut ticket = None;
        let token = match state {
            State::New => {
                let (ap_req, read) = self.first(token).map_err(|refused| self.refuse(refused))?;
                if let Keys::Several(acceptor, number) = &mut self.keys {
                    match acceptor.opener_for(&read) {
                        Ok(found) => *number = Some(found),
                        Err(refused) => return Err(self.refuse(refused)),
                    }
                }
                ticket = Some(read);
                ap_req
            }
            State::Waiting if negotiate => {
                let said =
                    Negotiation::read(token).map_err(|error| InitiateError::Malformed(error.to_string()))?;
                if !said.goes_on() {
                    return Err(InitiateError::Rejected);
                }
                self.mic = said.mic;
                said.token
            }
            State::Waiting => token.to_vec(),
            State::Closing | State::Done | State::Failed => return Err(InitiateError::OutOfOrder),
        };
        let key = Self::key(&self.keys).ok_or(InitiateError::OutOfOrder)?;
        let leg = match (self.context.accept_leg(key, &token, None), &ticket) {
            (Ok(leg), _) => leg,
            (Err(status), Some(ticket)) => {
                let refused = refusal(status, ticket);
                return Err(self.refuse(refused));
            }
            (Err(status), None) => return Err(status.into()),
        };
        let Leg { client, reply, flags, complete, lifetime, .. } = leg;
        if !complete {
            self.state = State::Waiting;
            let reply =
                if negotiate { spnego::answer_leg(false, self.microsoft, &reply, &[]) } else { reply };
            return Ok(Step::Continue(reply));
        }
        // Complete at once: the client did not ask for proof in three legs.
        if state == State::New || flags & self.needed != self.needed {
            return Err(InitiateError::NotProven("it does not want proof, or not to seal".to_owned()));
        }
        let name = client.display().map_err(InitiateError::from)?;
        let principal = Principal::parse(&name);
        let principal =
            principal.ok_or_else(|| InitiateError::Malformed("a name without realm".to_owned()))?;
        let pac = pac_of(&client).map_err(|refused| self.refuse(refused))?;
        self.client = Some((principal, pac));
        self.remaining = Duration::from_secs(lifetime.into());
        let mut mic = Vec::new();
        if !self.mic.is_empty() {
            self.context.verify_mic(&self.offered, &self.mic)?;
            mic = self.context.mic(&self.offered)?;
        }
        self.state = State::Done;
        Ok(Step::Done(negotiate.then(|| spnego::answer_leg(true, self.microsoft, &[], &mic))))
    }

    /// The octets of what [`Self::sign`] makes.
    ///
    /// # Errors
    /// [`InitiateError::OutOfOrder`] before the authentication is done, or what the library says.
    pub fn signature_length(&mut self) -> Result<usize, InitiateError> {
        Ok(ready(&mut self.context, self.state)?.mic_length()?)
    }

    /// The signature of a message that is not sealed.
    ///
    /// # Errors
    /// The same.
    pub fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, InitiateError> {
        Ok(ready(&mut self.context, self.state)?.mic(message)?)
    }

    /// The reverse. A message that was changed, replayed, is missing or out of order is an error.
    ///
    /// # Errors
    /// What the library says.
    pub fn verify(&mut self, message: &[u8], signature: &[u8]) -> Result<(), InitiateError> {
        Ok(ready(&mut self.context, self.state)?.verify_mic(message, signature)?)
    }

    /// As [`DceInitiator::token_length`].
    ///
    /// # Errors
    /// The same.
    pub fn token_length(&mut self, stub: usize) -> Result<usize, InitiateError> {
        Ok(ready(&mut self.context, self.state)?.seal_length(stub)?)
    }

    /// As [`DceInitiator::seal`].
    ///
    /// # Errors
    /// The same.
    pub fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, InitiateError> {
        seal(ready(&mut self.context, self.state)?, header, stub, trailer)
    }

    /// As [`DceInitiator::unseal`].
    ///
    /// # Errors
    /// The same.
    pub fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), InitiateError> {
        unseal(ready(&mut self.context, self.state)?, header, stub, trailer, token)
    }
}
