//! Enrollment over RPC, as members of a domain enroll with AD CS: MS-ICPR, and MS-WCCE over DCOM. Off by default.
//!
//! Two sockets. The **mapper** tells anybody on which port the other one is, and activates the authority's object; the
//! **requests'** socket takes calls of callers who authenticate with Kerberos and seal every message, and no others
//! (ESC11). What is asked for takes the path of every request, [`crate::enroll::Enrollment::submit`]; nothing is
//! decided here.

mod connection;
mod mapper;
mod properties;
mod requests;

use std::sync::Arc;

use muster_adcs::Accepting;
use muster_gss::{Acceptor, AcceptorSettings, Framing, Gss, ReplayCache, ServiceName};
use muster_rpc::security::AuthType;
use muster_rpc::server::{Server, Terms};
use muster_rpc::wcce::{sanitized, sanitized_short};
use muster_rpc::{Interface, Uuid};
use tokio::sync::watch;

use crate::admission::Admission;
use crate::auth::KerberosError;
use crate::config::RpcSettings;
use crate::enroll::Enrollment;
use crate::readiness::ReadySocket;
use crate::service::State;

/// Octets of the arguments of a call beside the request in them: names, attributes, headers.
const BESIDE: usize = 16 * 1024;
/// The longest arguments that the mapper takes.
const MAPPER_STUB: usize = 16 * 1024;

/// What one of the two sockets offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Endpoint mapper, object exporter, activation.
    Mapper,
    /// Calls to the authority.
    Requests,
}

/// What both sockets share.
pub(crate) struct Rpc {
    state: Arc<State>,
    enrollment: Arc<Enrollment>,
    settings: RpcSettings,
    acceptor: Arc<Acceptor>,
    /// The ports that were bound.
    ports: Ports,
    /// The names by which callers may call the authority.
    names: [String; 3],
    object: Object,
    /// Counted apart, so that nobody in particular at the mapper keeps anybody from the authority.
    mapper_admission: Admission,
    request_admission: Admission,
}

struct Ports {
    mapper: u16,
    requests: u16,
}

/// The one object that there is, and its interfaces. It lives as long as the process, so references to it are not counted.
struct Object {
    exporter: u64,
    object: u64,
    rem_unknown: Uuid,
    unknown: Uuid,
    request: Uuid,
    request2: Uuid,
}

type Connection<F> = Server<Accepting, F>;

impl Rpc {
    /// In front of the embedded CA of a node; the ports are those that were bound, the mapper's first.
    ///
    /// # Errors
    /// [`KerberosError`] if the keys cannot be used.
    pub(crate) fn new(
        state: Arc<State>,
        enrollment: Arc<Enrollment>,
        settings: RpcSettings,
        [mapper, requests]: [u16; 2],
    ) -> Result<Arc<Self>, KerberosError> {
        let wrong = |problem: String| KerberosError::Rpc(problem);
        let service = |name: &String| ServiceName::of_rpc(&format!("{name}@{}", settings.realm));
        let services: Result<Vec<_>, _> = settings.services.iter().map(service).collect();
        let acceptor = AcceptorSettings {
            keytab: settings.keytab.clone(),
            services: services.map_err(|error| wrong(error.to_string()))?,
            // A connection proves in its third leg that it is not a repetition.
            replay_cache: ReplayCache::Off,
        };
        let acceptor = Gss::load()?.acceptor(&acceptor).map_err(|error| wrong(error.to_string()))?;
        let name = enrollment.authority.name();
        let limits = state.settings.limits.clone();
        let admission = |entrance| Admission::new(entrance, &limits);
        Ok(Arc::new(Self {
            names: [name.to_owned(), sanitized(name), sanitized_short(name)],
            state,
            enrollment,
            settings,
            acceptor: Arc::new(acceptor),
            ports: Ports { mapper, requests },
            object: Object::new(),
            mapper_admission: admission("rpc mapper"),
            request_admission: admission("rpc requests"),
        }))
    }

    const fn admission(&self, offer: Offer) -> &Admission {
        match offer {
            Offer::Mapper => &self.mapper_admission,
            Offer::Requests => &self.request_admission,
        }
    }

    /// Takes connections until `stop` turns true, then lets calls in progress finish.
    pub(crate) async fn serve(
        self: Arc<Self>,
        offer: Offer,
        socket: ReadySocket,
        stop: watch::Receiver<bool>,
    ) {
        connection::serve(self, offer, socket, stop).await;
    }

    /// The state of a connection that was just accepted.
    fn connection(
        &self,
        offer: Offer,
    ) -> Connection<impl FnMut(AuthType) -> Option<Accepting> + Send + use<>> {
        let (offered, port, max_stub): (&[Interface], _, _) = match offer {
            Offer::Mapper => (
                &[Interface::EndpointMapper, Interface::ObjectExporter, Interface::RemoteActivator],
                self.ports.mapper,
                MAPPER_STUB,
            ),
            Offer::Requests => (
                &[
                    Interface::CertPassage,
                    Interface::CertRequest,
                    Interface::CertRequest2,
                    Interface::RemUnknown,
                ],
                self.ports.requests,
                self.state.settings.limits.body_bytes + BESIDE,
            ),
        };
        // Nothing secret is in an activation, and Windows activates with integrity alone.
        let integrity = offer == Offer::Mapper;
        let terms = Terms { max_stub, integrity, unsigned_headers: self.settings.unsigned_headers };
        let acceptor = Arc::clone(&self.acceptor);
        let provider = move |auth_type| {
            let framing = match auth_type {
                AuthType::Negotiate => Framing::Negotiate,
                AuthType::Kerberos => Framing::Kerberos,
            };
            let end = acceptor.dce_acceptor(framing);
            Some(Accepting(if integrity { end.without_sealing() } else { end }))
        };
        Server::new(offered, port, provider).on_terms(terms)
    }

    /// Whether a caller means this authority.
    fn is_called(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| self.names.iter().any(|own| own.to_lowercase() == name.to_lowercase()))
    }
}

impl Object {
    /// The interface of the object by which it is called as `iid`.
    fn interface(&self, iid: Uuid) -> Option<Uuid> {
        // Every object has this one.
        const UNKNOWN: Uuid = Uuid::new(0x00000000_0000_0000_c000_000000000046);
        match iid {
            UNKNOWN => Some(self.unknown),
            iid if iid == Interface::CertRequest.uuid() => Some(self.request),
            iid if iid == Interface::CertRequest2.uuid() => Some(self.request2),
            _ => None,
        }
    }

    /// Whether a call to `object` by way of `interface` is to this object.
    fn has(&self, interface: Interface, object: Uuid) -> bool {
        match interface {
            Interface::RemUnknown => object == self.rem_unknown,
            // The second one has the methods of the first.
            Interface::CertRequest => object == self.request || object == self.request2,
            Interface::CertRequest2 => object == self.request2,
            Interface::EndpointMapper
            | Interface::ObjectExporter
            | Interface::RemoteActivator
            | Interface::CertPassage
            | Interface::CertAdmin
            | Interface::CertAdmin2 => false,
        }
    }

    fn new() -> Self {
        let number = || {
            let mut octets = [0; 16];
            // Numbers that are no secret: whoever has them still has to authenticate. Without randomness they are known.
            let _ = aws_lc_rs::rand::fill(&mut octets);
            octets
        };
        let half = |[a, b, c, d, e, f, g, h, ..]: [u8; 16]| u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        // The first octets tell the interfaces apart whatever was drawn.
        let interface = |which: u8| {
            let [_, rest @ ..] = number();
            let mut octets = [which; 16];
            octets.iter_mut().skip(1).zip(rest).for_each(|(octet, random)| *octet = random);
            Uuid(octets)
        };
        Self {
            exporter: half(number()),
            object: half(number()),
            rem_unknown: interface(1),
            unknown: interface(2),
            request: interface(3),
            request2: interface(4),
        }
    }
}
