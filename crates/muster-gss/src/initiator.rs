//! The client's side: a ticket for a service, and what can be sealed with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::bindings::ChannelBinding;
use crate::ffi::{self, Context, Cred, Initiation, Name, NameForm, Usage};
use crate::library::Api;
use crate::spnego::{self, Answer};
use crate::status::{Cause, Status};

/// `GSS_C_…_FLAG` of RFC 2744.
const MUTUAL: u32 = 0x02;
const REPLAY: u32 = 0x04;
const SEQUENCE: u32 = 0x08;
const CONFIDENTIALITY: u32 = 0x10;
const INTEGRITY: u32 = 0x20;

/// As whom to ask for tickets.
#[derive(Clone)]
pub enum Login {
    /// The tickets that the user has (`kinit`, log-on), in the system's default cache.
    DefaultCache,
    /// The tickets in this cache, `FILE:/run/user/1000/krb5cc`, or a file name.
    Cache(String),
    /// A key in a keytab. Tickets are got when they are needed, renewed, and kept in memory for the process.
    Keytab {
        /// The file.
        keytab: PathBuf,
        /// Whose key, `PC1$@CORP.EXAMPLE`.
        principal: String,
    },
    /// A password. Tickets are kept in memory as long as the credential.
    Password {
        /// `alice@CORP.EXAMPLE`.
        principal: String,
        /// The password.
        password: Zeroizing<String>,
    },
}

impl std::fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DefaultCache => f.write_str("DefaultCache"),
            Self::Cache(cache) => write!(f, "Cache({cache})"),
            Self::Keytab { keytab, principal } => write!(f, "Keytab({principal}, {})", keytab.display()),
            Self::Password { principal, .. } => write!(f, "Password({principal})"),
        }
    }
}

/// Something to get tickets with; cheap to clone, for as many [`Initiator`]s as wanted.
#[derive(Clone)]
pub struct Credential {
    api: &'static Api,
    cred: Arc<Cred>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

impl Credential {
    pub(crate) fn new(api: &'static Api, login: &Login) -> Result<Self, InitiateError> {
        let cred = match login {
            Login::DefaultCache => Cred::acquire(api, None, Usage::Initiate, &[]),
            Login::Cache(cache) => Cred::acquire(api, None, Usage::Initiate, &[("ccache", cache.as_bytes())]),
            Login::Keytab { keytab, principal } => {
                let name = Name::import(api, principal, NameForm::Principal)?;
                // The same name gives the same tickets again; another process has another memory.
                let cache = ffi::residual(&format!("MEMORY:muster:{principal}:"), keytab);
                let file = ffi::residual("FILE:", keytab);
                let store = [("client_keytab", file.as_slice()), ("ccache", cache.as_slice())];
                Cred::acquire(api, Some(&name), Usage::Initiate, &store)
            }
            Login::Password { principal, password } => {
                let name = Name::import(api, principal, NameForm::Principal)?;
                Cred::with_password(api, &name, password)
            }
        };
        Ok(Self { api, cred: Arc::new(cred?.unforced()?) })
    }

    /// For a service that also acts for its callers.
    pub(crate) fn service(api: &'static Api, keytab: &Path, principal: &str) -> Result<Self, InitiateError> {
        let name = Name::import(api, principal, NameForm::Principal)?;
        let cache = ffi::residual(&format!("MEMORY:muster-service:{principal}:"), keytab);
        let file = ffi::residual("FILE:", keytab);
        let store = [
            ("client_keytab", file.as_slice()),
            ("keytab", file.as_slice()),
            ("ccache", cache.as_slice()),
            // What is accepted with it has been accepted before, with a replay cache.
            ("rcache", b"none:"),
        ];
        Ok(Self::of(api, Cred::acquire(api, Some(&name), Usage::Both, &store)?))
    }

    /// For a service that only takes calls.
    pub(crate) fn accepting(
        api: &'static Api,
        keytab: &Path,
        principal: &str,
    ) -> Result<Self, InitiateError> {
        let name = Name::import(api, principal, NameForm::Principal)?;
        let file = ffi::residual("FILE:", keytab);
        let store = [("keytab", file.as_slice()), ("rcache", &b"none:"[..])];
        Ok(Self::of(api, Cred::acquire(api, Some(&name), Usage::Accept, &store)?))
    }

    pub(crate) fn of(api: &'static Api, cred: Cred) -> Self {
        Self { api, cred: Arc::new(cred) }
    }

    pub(crate) fn parts(&self) -> (&'static Api, &Arc<Cred>) {
        (self.api, &self.cred)
    }

    /// A credential for `user`, `alice@CORP.EXAMPLE`, got without anything of the user's (S4U2Self, MS-SFU). With it tickets
    /// can be got for the services to which the directory permits this account to delegate (S4U2Proxy). Needs
    /// [`crate::Gss::service`]. Blocks on the KDC.
    ///
    /// # Errors
    /// [`InitiateError::UnknownAccount`], [`InitiateError::AccountRefused`], or what else the KDC says.
    pub fn impersonate(&self, user: &str) -> Result<Self, InitiateError> {
        let name = Name::import(self.api, user, NameForm::Principal)?;
        Ok(Self::of(self.api, self.cred.impersonate(&name)?))
    }
}

/// How the tokens are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// SPNEGO, for `Authorization: Negotiate`.
    Negotiate,
    /// Kerberos alone, for SASL `GSSAPI`.
    Kerberos,
}

/// Which service, and how.
#[derive(Clone, Debug)]
pub struct InitiatorSettings {
    /// Kind of service: `HTTP`, `ldap`.
    pub class: String,
    /// The host name, as in the URL. Not looked up in DNS: the name that is asked for is the name in the ticket.
    pub host: String,
    /// The TLS channel to bind the token to.
    pub binding: Option<ChannelBinding>,
    /// The acceptor must prove who it is. Sealing needs it.
    pub mutual: bool,
    /// Messages will be sealed or signed after it. Not to be asked for inside of TLS: Active Directory refuses it there
    /// (MS-ADTS 5.1.2.1).
    pub sealing: bool,
    /// How the tokens are wrapped.
    pub framing: Framing,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this token, and come back with the answer.
    Continue(Vec<u8>),
    /// Done, once this token has been sent, if there is one.
    Done(Option<Vec<u8>>),
}

/// A ticket could not be got, or the service refused it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitiateError {
    /// There is no ticket, no key and no password.
    #[error("there is no Kerberos ticket: {0}")]
    NoCredential(String),
    /// The ticket or the key's account has expired.
    #[error("the Kerberos ticket has expired: get a new one with kinit")]
    Expired,
    /// Wrong password or wrong key in the keytab.
    #[error("the KDC refused the password or key")]
    WrongKey,
    /// The KDC knows no such account.
    #[error("the KDC does not know the account")]
    UnknownAccount,
    /// The account is disabled, locked or expired, or its password has to be changed.
    #[error("the KDC refused the account: {0}")]
    AccountRefused(String),
    /// The KDC does not permit to act for the caller: the directory does not let this service delegate to that one, or the
    /// caller's account or ticket does not permit it. KDCs do not say which.
    #[error("the KDC does not permit to act for the caller: {0}")]
    NotDelegated(String),
    /// The KDC knows no such service.
    #[error("the KDC does not know the service {0}: is its name (SPN) registered?")]
    UnknownService(String),
    /// No KDC answers, or none can be found.
    #[error("no KDC can be reached: {0}")]
    KdcUnreachable(String),
    /// The clocks differ.
    #[error("the clocks of this machine and the KDC or service differ by more than Kerberos permits")]
    ClockSkew,
    /// The service did not prove that it has the key that the ticket is for.
    #[error("the service did not prove its identity: {0}")]
    NotProven(String),
    /// The service said no in SPNEGO.
    #[error("the service refused the token")]
    Rejected,
    /// The service wants to negotiate further, which needs something else than Kerberos.
    #[error("the service wants another mechanism than Kerberos")]
    OtherMechanism,
    /// The answer cannot be read.
    #[error("the service's answer cannot be read: {0}")]
    Malformed(String),
    /// A call out of order: a token where there is none to expect, or none where there is.
    #[error("the exchange with the service is out of order")]
    OutOfOrder,
    /// Sealing was wanted, and the context cannot, or the message was not sealed.
    #[error("the message is not sealed")]
    NotSealed,
    /// Anything else that the library says.
    #[error("the Kerberos library failed: {0}")]
    Library(Status),
}

impl From<Status> for InitiateError {
    fn from(status: Status) -> Self {
        let message = || status.to_string();
        match status.cause() {
            Cause::NoCredential | Cause::NoKey => Self::NoCredential(message()),
            Cause::Expired => Self::Expired,
            Cause::Integrity | Cause::KeyVersion | Cause::PreauthenticationFailed => Self::WrongKey,
            Cause::ClientUnknown => Self::UnknownAccount,
            Cause::ClientRevoked | Cause::PasswordExpired | Cause::Policy | Cause::NotYetValid => {
                Self::AccountRefused(message())
            }
            Cause::NotPermitted => Self::NotDelegated(message()),
            Cause::ServiceUnknown => Self::UnknownService(message()),
            Cause::KdcUnreachable | Cause::RealmUnknown | Cause::WrongRealm => {
                Self::KdcUnreachable(message())
            }
            Cause::Skew => Self::ClockSkew,
            Cause::NotMutual | Cause::NotUs => Self::NotProven(message()),
            Cause::Damaged | Cause::AnotherLeg => Self::Malformed(message()),
            Cause::Replay
            | Cause::ReplayCache
            | Cause::Bindings
            | Cause::Encryption
            | Cause::Transited
            | Cause::Address
            | Cause::Configuration
            | Cause::Other => Self::Library(status),
        }
    }
}

/// One authentication to one service.
pub struct Initiator {
    credential: Credential,
    target: Name,
    settings: InitiatorSettings,
    context: Context,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Waiting,
    Done { flags: u32 },
    Failed,
}

impl std::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Initiator({}/{}, {:?})", self.settings.class, self.settings.host, self.state)
    }
}

impl Initiator {
    pub(crate) fn new(credential: &Credential, settings: InitiatorSettings) -> Result<Self, InitiateError> {
        // An empty realm: that of the host by the system's configuration, or by the KDC's referral.
        let target = format!("{}/{}@", settings.class, settings.host);
        let target = Name::import(credential.api, &target, NameForm::Principal)?;
        let context = Context::new(credential.api);
        Ok(Self { credential: credential.clone(), target, settings, context, state: State::New })
    }

    /// The next token: at first without one, then with each answer of the service. Blocks, at first on the KDC.
    ///
    /// # Errors
    /// See [`InitiateError`]; after one, the authentication cannot be gone on with.
    pub fn step(&mut self, token: Option<&[u8]>) -> Result<Step, InitiateError> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let answer = match (state, token) {
            (State::New, None) => None,
            (State::Waiting, Some(token)) => Some(self.unwrapped(token)?),
            _ => return Err(InitiateError::OutOfOrder),
        };
        let mut flags =
            if self.settings.sealing { REPLAY | SEQUENCE | CONFIDENTIALITY | INTEGRITY } else { 0 };
        if self.settings.mutual {
            flags |= MUTUAL;
        }
        let how = Initiation {
            credential: &self.credential.cred,
            target: &self.target,
            flags,
            bindings: self.settings.binding.as_ref().map(ChannelBinding::application_data),
        };
        let progress = self.context.initiate(&how, answer.as_deref())?;
        let first = answer.is_none();
        let token = (!progress.token.is_empty()).then(|| match self.settings.framing {
            Framing::Negotiate if first => spnego::offer(&progress.token),
            Framing::Negotiate | Framing::Kerberos => progress.token,
        });
        if progress.complete {
            if self.settings.mutual && progress.flags & MUTUAL == 0 {
                return Err(InitiateError::NotProven("it did not answer the challenge".to_owned()));
            }
            self.state = State::Done { flags: progress.flags };
            return Ok(Step::Done(token));
        }
        self.state = State::Waiting;
        token.map(Step::Continue).ok_or(InitiateError::OutOfOrder)
    }

    fn unwrapped(&self, token: &[u8]) -> Result<Vec<u8>, InitiateError> {
        if self.settings.framing == Framing::Kerberos {
            return Ok(token.to_vec());
        }
        match spnego::read_answer(token) {
            Ok(Answer::Accepted(token)) => Ok(token),
            Ok(Answer::Rejected) => Err(InitiateError::Rejected),
            Ok(Answer::Incomplete) => Err(InitiateError::OtherMechanism),
            Err(error) => Err(InitiateError::Malformed(error.to_string())),
        }
    }

    /// What can be done with an authentication once it is done.
    ///
    /// # Errors
    /// [`InitiateError::OutOfOrder`] before [`Step::Done`].
    pub fn into_channel(self) -> Result<Channel, InitiateError> {
        match self.state {
            State::Done { flags } => Ok(Channel { context: self.context, flags }),
            State::New | State::Waiting | State::Failed => Err(InitiateError::OutOfOrder),
        }
    }
}

/// Whether a message is sealed or only signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Signed: readable by all.
    Integrity,
    /// Sealed.
    Confidentiality,
}

/// A context that is established: messages in order, each signed or sealed.
pub struct Channel {
    context: Context,
    flags: u32,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel")
    }
}

impl Channel {
    /// Whether messages can be sealed.
    #[must_use]
    pub fn can_seal(&self) -> bool {
        self.flags & CONFIDENTIALITY != 0
    }

    /// Protects a message.
    ///
    /// # Errors
    /// [`InitiateError::NotSealed`] if it should have been sealed and is not; else what the library says.
    pub fn wrap(&mut self, message: &[u8], protection: Protection) -> Result<Vec<u8>, InitiateError> {
        let seal = protection == Protection::Confidentiality;
        let (wrapped, sealed) = self.context.wrap(message, seal)?;
        if seal && !sealed { Err(InitiateError::NotSealed) } else { Ok(wrapped) }
    }

    /// Opens a message. One that is replayed, missing or out of order is an error.
    ///
    /// # Errors
    /// [`InitiateError::NotSealed`] if it should be sealed and is not; else what the library says.
    pub fn unwrap(&mut self, wrapped: &[u8], protection: Protection) -> Result<Vec<u8>, InitiateError> {
        let (message, sealed) = self.context.unwrap(wrapped)?;
        if protection == Protection::Confidentiality && !sealed {
            return Err(InitiateError::NotSealed);
        }
        Ok(message)
    }

    /// How long a message may be so that it is not longer than `limit` octets when wrapped.
    ///
    /// # Errors
    /// What the library says.
    pub fn max_message_size(&mut self, limit: u32, protection: Protection) -> Result<u32, InitiateError> {
        Ok(self.context.wrap_size_limit(limit, protection == Protection::Confidentiality)?)
    }
}
