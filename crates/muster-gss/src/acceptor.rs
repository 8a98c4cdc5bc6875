//! The server's side: one token in, one caller out, and no state before.

use std::path::PathBuf;
use std::time::Duration;

use crate::bindings::ChannelBinding;
use crate::ffi::{self, Acceptance, Context, Cred, Initiation, Leg, Name, NameForm, Usage};
use crate::initiator::{Credential, InitiateError};
use crate::keytab::{EncryptionType, KeytabEntry, KeytabError, read_keytab};
use crate::library::Api;
use crate::pac::{Pac, PacError};
use crate::principal::{Principal, ServiceName};
use crate::spnego::{InitialToken, MAX_TOKEN, Ticket};
use crate::status::{Cause, Status};

/// `GSS_C_DELEG_FLAG`.
const DELEGATED: u32 = 1;
/// `GSS_C_CHANNEL_BOUND_FLAG`, from MIT Kerberos 1.19 on: the bindings were there on both sides, and equal.
const CHANNEL_BOUND: u32 = 0x800;

/// What an [`Acceptor`] needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptorSettings {
    /// The keys of the services. Read again by every accept, so that keys can be rolled over while running.
    pub keytab: PathBuf,
    /// The names that clients may ask tickets for; each must be in the keytab, with an AES key.
    pub services: Vec<ServiceName>,
    /// Where used tokens are remembered.
    pub replay_cache: ReplayCache,
}

/// Where used tokens are remembered, for as long as clocks may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayCache {
    /// A file, made if it is not there; its folder must be there. Processes on one machine can share it.
    File(PathBuf),
    /// Nowhere: a token can be used twice, over the same TLS certificate. For tests and measurements.
    Off,
}

/// Settings that no acceptor can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptorError {
    /// The list of services is empty.
    #[error("no service name is given: name at least one, such as HTTP/pki.corp.example")]
    NoService,
    /// The keytab cannot be read.
    #[error(transparent)]
    Keytab(#[from] KeytabError),
    /// The keytab has no key for this service.
    #[error("the keytab {keytab} has no key for {service}; it has keys for {there}")]
    ServiceNotInKeytab {
        /// The service.
        service: ServiceName,
        /// The file.
        keytab: PathBuf,
        /// The principals that it has keys for.
        there: String,
    },
    /// The keytab has keys for this service, but none for AES.
    #[error(
        "the keytab {keytab} has only {etypes} keys for {service}: AES keys are needed (msDS-SupportedEncryptionTypes of its account must have 0x18, and its password be set after that)"
    )]
    OnlyWeakKeys {
        /// The service.
        service: ServiceName,
        /// The file.
        keytab: PathBuf,
        /// What keys it has.
        etypes: String,
    },
    /// The library refused keytab or replay cache.
    #[error("the Kerberos library cannot use the settings for {service}: {status}")]
    Library {
        /// The service.
        service: ServiceName,
        /// What it said.
        status: Status,
    },
}

/// A token that was not accepted: one variant for each cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is longer than any token of Kerberos.
    #[error("the token has {0} octets, more than {MAX_TOKEN}")]
    TooLong(usize),
    /// It cannot be read.
    #[error("the token cannot be read: {0}")]
    Malformed(String),
    /// NTLM, with or without SPNEGO around it.
    #[error("NTLM is not spoken here: the client got no Kerberos ticket for this server's name")]
    Ntlm,
    /// Neither Kerberos nor NTLM: NegoEx, IAKERB, PKU2U or unknown.
    #[error("mechanism {0} is not spoken here, only Kerberos")]
    OtherMechanism(String),
    /// The client wants to negotiate in several messages, or goes on with a negotiation.
    #[error("the negotiation takes more than one message, and only one is taken")]
    AnotherLeg,
    /// Kerberos, but something else than the message that carries a ticket.
    #[error("the token is Kerberos, but not an AP-REQ")]
    NotAnApReq,
    /// The ticket or its session key has another encryption type than AES.
    #[error("the ticket uses {0}: only AES is taken")]
    WeakEncryption(EncryptionType),
    /// The ticket names a service that is not one of ours.
    #[error("the ticket is for {0}, which is none of the configured service names")]
    WrongService(String),
    /// No key that we have opens the ticket.
    #[error(
        "no key in the keytab opens the ticket for {service} (key version {kvno}, {etype}): the keytab is older or newer than the ticket, or of another account"
    )]
    WrongKey {
        /// The service.
        service: String,
        /// As the ticket says; `none` if it does not.
        kvno: String,
        /// As the ticket says.
        etype: EncryptionType,
    },
    /// The keytab cannot be read any more, or has lost the service.
    #[error("the keytab has no key for {service} any more: {message}")]
    NoKey {
        /// The service.
        service: String,
        /// What the library said.
        message: String,
    },
    /// The ticket has expired.
    #[error("the ticket has expired")]
    Expired,
    /// The ticket is not valid yet.
    #[error("the ticket is not valid yet: the clocks of KDC and server differ, or it is postdated")]
    NotYetValid,
    /// The client's clock and ours differ by more than the library permits (`clockskew`, five minutes).
    #[error("the clocks of client and server differ by more than Kerberos permits")]
    ClockSkew,
    /// The token has been used before.
    #[error("the token has been used before")]
    Replay,
    /// The replay cache cannot be read or written.
    #[error("the replay cache cannot be used: {0}")]
    ReplayCache(String),
    /// The token is not bound to a TLS channel.
    #[error("the client sent no channel binding: it must support extended protection")]
    NoChannelBinding,
    /// The token is bound to another TLS channel: it was made for another server, or there is a proxy between.
    #[error(
        "the client's channel binding is for another certificate: a proxy that ends TLS, or a relayed token"
    )]
    WrongChannelBinding,
    /// The PAC is there, but its signature is not that of our key, or it is of another ticket.
    #[error("the PAC in the ticket cannot be verified")]
    PacNotVerified,
    /// The PAC is verified, but cannot be read.
    #[error("the PAC in the ticket cannot be read: {0}")]
    Pac(#[from] PacError),
    /// Anything else that the library says.
    #[error("the Kerberos library refused the token: {0}")]
    Library(Status),
}

/// A caller who has proven by a ticket who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who it is.
    pub principal: Principal,
    /// The service that the ticket was for.
    pub service: ServiceName,
    /// How long the ticket is valid from now on, with the clock skew that the library permits.
    pub remaining: Duration,
    /// What the directory says about the caller; from a KDC without PAC, nothing.
    pub pac: Option<Pac>,
    /// The token for the answer, `WWW-Authenticate: Negotiate …`.
    pub reply: Vec<u8>,
    /// The client also sent us its ticket to act in its name; it is thrown away, whatever is done with the caller's token.
    pub delegated: bool,
}

/// Accepts Kerberos tokens for services of ours.
///
/// Can be used by several threads; the library lets one accept for the same service through at a time.
#[derive(Debug)]
pub struct Acceptor {
    api: &'static Api,
    services: Vec<Service>,
}

/// One service principal.
struct Service {
    name: ServiceName,
    /// With its realm.
    principal: String,
    realm: String,
    credential: Cred,
    /// Without replay cache, to look at a token before it is used.
    look: Cred,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.principal)
    }
}

impl Acceptor {
    pub(crate) fn new(api: &'static Api, settings: &AcceptorSettings) -> Result<Self, AcceptorError> {
        if settings.services.is_empty() {
            return Err(AcceptorError::NoService);
        }
        let entries = read_keytab(&settings.keytab)?;
        let mut services = Vec::new();
        for name in &settings.services {
            for (principal, realm) in principals(&entries, name, settings)? {
                let library = |status| AcceptorError::Library { service: name.clone(), status };
                services.push(Service::new(api, name, principal, realm, settings).map_err(library)?);
            }
        }
        Ok(Self { api, services })
    }

    /// Accepts a client's first token, of SPNEGO or of Kerberos alone. Blocks on keytab and replay cache.
    ///
    /// `bindings` are the channels that the token may be bound to: that of the TLS connection it came by, and
    /// those of proxies in front. Without any, nothing is accepted. With several, the token is tried with each before
    /// it is used.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn accept(&self, token: &[u8], bindings: &[ChannelBinding]) -> Result<Accepted, Refused> {
        let token = InitialToken::parse(token)?;
        let service = self.service(&token.ticket)?;
        if !service.name.is_http() {
            return Err(Refused::WrongService(service.name.to_string()));
        }
        let kerberos = token.kerberos();
        let binding = match bindings {
            [] => return Err(Refused::NoChannelBinding),
            [one] => one,
            several => service.matching(&kerberos, several, &token.ticket)?,
        };
        let accepted = Context::accept(&service.credential, &kerberos, Some(binding.application_data()))
            .map_err(|status| refusal(status, &token.ticket))?;
        if accepted.flags & CHANNEL_BOUND == 0 {
            return Err(Refused::NoChannelBinding);
        }
        service.accepted(accepted, &token)
    }

    /// As [`Self::accept`], and also a credential to get tickets in the caller's name with (S4U2Proxy, MS-SFU), for the
    /// services to which the directory permits `own` to delegate, and for no other. `own` is of [`crate::Gss::service`] for
    /// the account of the service that the caller's ticket is for. Blocks on the KDC as well.
    ///
    /// A client may have sent us its own ticket (`GSS_C_DELEG_FLAG`, as some do to every server), with which we could do
    /// in its name whatever we like: that is never handed out. One ticket is got with it, for our own service, which is
    /// what S4U2Proxy needs, and the rest is thrown away.
    ///
    /// Whether the directory permits anything at all is seen when a ticket is got with the credential.
    ///
    /// # Errors
    /// [`Refused`], if the caller is not authenticated; and inside, why an authenticated caller cannot be acted for.
    pub fn accept_delegating(
        &self,
        token: &[u8],
        bindings: &[ChannelBinding],
        own: &Credential,
    ) -> Result<(Accepted, Result<Credential, InitiateError>), Refused> {
        let accepted = self.accept(token, bindings)?;
        // The token has just been accepted, with its binding, and is remembered as used.
        let token = InitialToken::parse(token)?;
        let principal = format!("{}@{}", token.ticket.service, token.ticket.realm);
        let credential = proxy(own, &token.kerberos(), &principal, &accepted.principal);
        Ok((accepted, credential))
    }

    /// Accepts a token that this process made itself, for [`crate::password`].
    pub(crate) fn accept_own(&self, token: &[u8]) -> Result<Accepted, Refused> {
        let token = InitialToken::parse(token)?;
        let service = self.service(&token.ticket)?;
        let accepted = Context::accept(&service.look, &token.kerberos(), None)
            .map_err(|status| refusal(status, &token.ticket))?;
        service.accepted(accepted, &token)
    }

    /// A principal of ours to get a ticket for: in `realm` if there is one.
    pub(crate) fn principal_near(&self, realm: &str) -> Option<&str> {
        let near = self.services.iter().find(|service| service.realm == realm);
        near.or(self.services.first()).map(|service| service.principal.as_str())
    }

    pub(crate) fn api(&self) -> &'static Api {
        self.api
    }

    /// The credential that a ticket is to be opened with, where another leg proves that the client is there, so that
    /// nothing is remembered; and the number by which [`Self::opener`] finds it again.
    pub(crate) fn opener_for(&self, ticket: &Ticket) -> Result<usize, Refused> {
        let service = self.service(ticket)?;
        self.services.iter().position(|one| std::ptr::eq(one, service)).ok_or(Refused::AnotherLeg)
    }

    pub(crate) fn opener(&self, number: usize) -> Option<&Cred> {
        self.services.get(number).map(|service| &service.look)
    }

    /// The service that a ticket says it is for.
    ///
    /// This reads what an attacker can write: the service's name is not inside of what the KDC encrypts. So it
    /// only chooses the key; a ticket for a service with another key fails there. Services that share an account share
    /// its key, and nothing tells their tickets apart but the channel binding.
    fn service(&self, ticket: &Ticket) -> Result<&Service, Refused> {
        for etype in [ticket.ticket_etype, ticket.authenticator_etype] {
            if !EncryptionType(etype).is_aes() {
                return Err(Refused::WeakEncryption(EncryptionType(etype)));
            }
        }
        let ours = |service: &&Service| service.name.is(&ticket.service) && service.realm == ticket.realm;
        self.services.iter().find(ours).ok_or_else(|| {
            let name = format!("{}@{}", ticket.service, ticket.realm);
            Refused::WrongService(name.chars().filter(|c| !c.is_control()).take(256).collect())
        })
    }
}

impl Service {
    fn new(
        api: &'static Api,
        name: &ServiceName,
        principal: String,
        realm: String,
        settings: &AcceptorSettings,
    ) -> Result<Self, Status> {
        let text = Name::import(api, &principal, NameForm::Principal)?;
        let keytab = ffi::residual("FILE:", &settings.keytab);
        let acquire = |replay_cache: &[u8]| {
            let store = [("keytab", keytab.as_slice()), ("rcache", replay_cache)];
            Cred::acquire(api, Some(&text), Usage::Accept, &store)
        };
        let look = acquire(b"none:")?;
        let credential = match &settings.replay_cache {
            ReplayCache::File(path) => acquire(&ffi::residual("file2:", path))?,
            ReplayCache::Off => acquire(b"none:")?,
        };
        Ok(Self { name: name.clone(), principal, realm, credential, look })
    }

    /// Which of several bindings a token has. The library compares with one, and remembers a token as used before
    /// it compares: so the tries are made without the replay cache, and the accept that counts comes after.
    fn matching<'a>(
        &self,
        token: &[u8],
        bindings: &'a [ChannelBinding],
        ticket: &Ticket,
    ) -> Result<&'a ChannelBinding, Refused> {
        for binding in bindings {
            match Context::accept(&self.look, token, Some(binding.application_data())) {
                Ok(accepted) if accepted.flags & CHANNEL_BOUND != 0 => return Ok(binding),
                Ok(_) => return Err(Refused::NoChannelBinding),
                Err(status) if status.cause() == Cause::Bindings => {}
                Err(status) => return Err(refusal(status, ticket)),
            }
        }
        Err(Refused::WrongChannelBinding)
    }

    fn accepted(&self, accepted: Acceptance, token: &InitialToken<'_>) -> Result<Accepted, Refused> {
        let text = accepted.client.display().map_err(Refused::Library)?;
        let principal = Principal::parse(&text)
            .ok_or_else(|| Refused::Malformed("the client's name has no realm".to_owned()))?;
        let pac = pac_of(&accepted.client)?;
        Ok(Accepted {
            principal,
            service: self.name.clone(),
            remaining: Duration::from_secs(accepted.lifetime.into()),
            pac,
            reply: token.answer(accepted.reply),
            delegated: accepted.flags & DELEGATED != 0,
        })
    }
}

/// A credential to act with for the caller of a token for our service, whatever else the caller sent along.
fn proxy(
    own: &Credential,
    token: &[u8],
    service: &str,
    caller: &Principal,
) -> Result<Credential, InitiateError> {
    let none = || InitiateError::NotDelegated("the caller's ticket does not permit it".to_owned());
    let (api, cred) = own.parts();
    let given = Context::new(api).accept_leg(cred, token, None)?.delegated.ok_or_else(none)?;
    if given.impersonator()?.is_some() {
        return Ok(Credential::of(api, given));
    }
    // The caller's own ticket.
    let target = Name::import(api, service, NameForm::Principal)?;
    let how = Initiation { credential: &given, target: &target, flags: 0, bindings: None };
    let token = Context::new(api).initiate(&how, None)?.token;
    let Leg { client, delegated, .. } = Context::new(api).accept_leg(cred, &token, None)?;
    // Somebody may send the ticket of somebody else.
    let same = Principal::parse(&client.display()?).is_some_and(|client| client == *caller);
    let given = delegated.filter(|_| same).ok_or_else(none)?;
    match given.impersonator()? {
        Some(_) => Ok(Credential::of(api, given)),
        None => Err(none()),
    }
}

/// What the directory says about a client in its ticket; from a KDC without PAC, nothing.
pub(crate) fn pac_of(client: &Name) -> Result<Option<Pac>, Refused> {
    match client.attribute("urn:mspac:").map_err(Refused::Library)? {
        // The ticket has one, whose signature is not that of our key: the library keeps it back.
        None if client.lists("urn:mspac:").map_err(Refused::Library)? => Err(Refused::PacNotVerified),
        None => Ok(None),
        Some(pac) if pac.authenticated => match Pac::parse(&pac.value) {
            // MIT's KDC adds one that carries signatures alone, where its database knows nothing to say.
            Err(PacError::NoLogonInfo) => Ok(None),
            pac => Ok(Some(pac?)),
        },
        Some(_) => Err(Refused::PacNotVerified),
    }
}

/// The principals of the keytab that a service name means, with their realms, each with an AES key.
fn principals(
    entries: &[KeytabEntry],
    name: &ServiceName,
    settings: &AcceptorSettings,
) -> Result<Vec<(String, String)>, AcceptorError> {
    let keytab = || settings.keytab.clone();
    let list = |mut texts: Vec<String>| {
        texts.sort();
        texts.dedup();
        if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
    };
    let ours: Vec<&KeytabEntry> =
        entries.iter().filter(|entry| name.is(&entry.name) && name.has_realm(&entry.realm)).collect();
    if ours.is_empty() {
        let there = list(entries.iter().map(|entry| format!("{}@{}", entry.name, entry.realm)).collect());
        return Err(AcceptorError::ServiceNotInKeytab { service: name.clone(), keytab: keytab(), there });
    }
    let mut principals: Vec<(String, String)> = ours
        .iter()
        .filter(|entry| entry.etype.is_aes())
        .map(|entry| (format!("{}@{}", entry.name, entry.realm), entry.realm.clone()))
        .collect();
    principals.sort();
    // One of several spellings is enough: the key is the account's.
    principals.dedup_by(|a, b| a.1 == b.1 && a.0.eq_ignore_ascii_case(&b.0));
    if principals.is_empty() {
        let etypes = list(ours.iter().map(|entry| entry.etype.to_string()).collect());
        return Err(AcceptorError::OnlyWeakKeys { service: name.clone(), keytab: keytab(), etypes });
    }
    Ok(principals)
}

pub(crate) fn refusal(status: Status, ticket: &Ticket) -> Refused {
    let service = || ticket.service.clone();
    match status.cause() {
        Cause::Integrity | Cause::KeyVersion | Cause::NotUs => Refused::WrongKey {
            service: service(),
            kvno: ticket.kvno.map_or_else(|| "none".to_owned(), |kvno| kvno.to_string()),
            etype: EncryptionType(ticket.ticket_etype),
        },
        Cause::NoKey => Refused::NoKey { service: service(), message: status.message },
        Cause::Expired => Refused::Expired,
        Cause::NotYetValid => Refused::NotYetValid,
        Cause::Skew => Refused::ClockSkew,
        Cause::Replay => Refused::Replay,
        Cause::ReplayCache => Refused::ReplayCache(status.message),
        Cause::Bindings => Refused::WrongChannelBinding,
        Cause::Damaged => Refused::Malformed(status.to_string()),
        Cause::Encryption => Refused::WeakEncryption(EncryptionType(ticket.ticket_etype)),
        Cause::AnotherLeg => Refused::AnotherLeg,
        Cause::Transited
        | Cause::Address
        | Cause::PreauthenticationFailed
        | Cause::ClientUnknown
        | Cause::ServiceUnknown
        | Cause::ClientRevoked
        | Cause::PasswordExpired
        | Cause::Policy
        | Cause::NotPermitted
        | Cause::KdcUnreachable
        | Cause::RealmUnknown
        | Cause::WrongRealm
        | Cause::NotMutual
        | Cause::NoCredential
        | Cause::Configuration
        | Cause::Other => Refused::Library(status),
    }
}
