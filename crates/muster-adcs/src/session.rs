//! A connection on which requests can be made, in one identity's name: opened by the endpoint mapper or by activation.

use std::time::Duration;

use muster_gss::Step as Leg;
use muster_rpc::client::RpcError;
use muster_rpc::dcom::activation::{self, Activation};
use muster_rpc::dcom::{self, Version};
use muster_rpc::security::Step;
use muster_rpc::status::HResult;
use muster_rpc::wcce::{self, CertReply, CertRequest, RequestFlags};
use muster_rpc::{Interface, Uuid, csra, epm};

use tokio::time::Instant;

use crate::adcs::Identity;
use crate::error::AdcsError;
use crate::kerberos::{Kerberos, Prepared};
use crate::settings::{Method, Settings};
use crate::wire::{CallError, Wire, connection};

/// Objects that are not pinged are forgotten by their server after six minutes (MS-DCOM 3.1.1.6.1), and whoever loses a right
/// shall not keep it by an old connection.
const LIFETIME: Duration = Duration::from_secs(240);

/// A class, and what is wanted of it, the newer interface first.
type Class = (Uuid, [Interface; 2]);

const REQUESTS: Class = (wcce::CLASS, [Interface::CertRequest2, Interface::CertRequest]);
const DECISIONS: Class = (csra::CLASS, [Interface::CertAdmin2, Interface::CertAdmin]);

/// Ready for requests.
#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire<Prepared>,
    object: Option<Object>,
    opened: Instant,
}

/// For saying that an object is not needed any more; nothing waits for it.
const RELEASE: Duration = Duration::from_secs(5);

/// The authority's object.
#[derive(Debug)]
struct Object {
    /// What it offers, the newer one if it can.
    interface: Interface,
    ipid: Uuid,
    /// The `IRemUnknown` of its exporter, which takes the references back.
    rem_unknown: Uuid,
    references: u32,
    version: Version,
}

/// A new UUID, for what must not be the same twice.
fn causality() -> Uuid {
    let mut octets = [0; 16];
    // Were there no randomness, calls would all have the cause zero, which harms nothing.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    Uuid(octets)
}

/// A ticket for `class/host`, got where that may block.
async fn prepared(
    settings: &Settings,
    identity: &Identity,
    class: &'static str,
) -> Result<Prepared, AdcsError> {
    let (host, framing) = (settings.host.clone(), settings.framing);
    let asking = identity.clone();
    let begin = move || {
        let mut initiator = asking.credential()?.dce_initiator(class, &host, framing)?;
        let first = match initiator.step(None)? {
            Leg::Continue(token) => Step::Continue(token),
            Leg::Done(token) => Step::Done(token),
        };
        Ok(Prepared { first: Some(first), inner: Kerberos(initiator) })
    };
    let ticket = |error| AdcsError::Ticket {
        identity: identity.name().to_owned(),
        service: format!("{class}/{}", settings.host),
        error,
    };
    match tokio::task::spawn_blocking(begin).await {
        Ok(done) => done.map_err(ticket),
        // Only when the process ends, or the library panics.
        Err(error) => Err(connection(
            &settings.host,
            RpcError::Security(muster_rpc::security::SecurityError(error.to_string())),
        )),
    }
}

impl Session {
    pub(crate) async fn open(settings: &Settings, identity: &Identity) -> Result<Self, AdcsError> {
        match settings.method {
            Method::Passage => Self::passage(settings, identity).await,
            Method::Object => Self::object(settings, identity, REQUESTS).await,
        }
    }

    /// For officers, whose calls are made to another object; there is no other way than DCOM.
    pub(crate) async fn open_for_officer(
        settings: &Settings,
        identity: &Identity,
    ) -> Result<Self, AdcsError> {
        Self::object(settings, identity, DECISIONS).await
    }

    /// Endpoint mapper, then `ICertPassage`.
    async fn passage(settings: &Settings, identity: &Identity) -> Result<Self, AdcsError> {
        let (host, interface) = (settings.host.as_str(), Interface::CertPassage);
        let mut mapper = Wire::public(host, settings.mapper_port, Interface::EndpointMapper).await?;
        let towers = mapper.call(epm::MAP, None, &epm::map_request(interface)).await;
        let towers = towers.map_err(|error| before(host, error))?;
        let port = epm::port(&towers, interface).map_err(|error| connection(host, error))?;
        let port = port.ok_or_else(|| AdcsError::NotServed { host: host.to_owned() })?;
        let security = prepared(settings, identity, "HOST").await?;
        let wire = Wire::sealed(host, port, interface, security).await?;
        Ok(Self { wire, object: None, opened: Instant::now() })
    }

    /// `ServerAlive2` for the version, activation, then the newer interface, or the older one of an authority without it.
    async fn object(
        settings: &Settings,
        identity: &Identity,
        (class, [newer, older]): Class,
    ) -> Result<Self, AdcsError> {
        let host = settings.host.as_str();
        let mut exporter = Wire::public(host, settings.mapper_port, Interface::ObjectExporter).await?;
        let alive = exporter.call(dcom::ALIVE2, None, &[]).await.map_err(|error| before(host, error))?;
        let alive = dcom::parse_alive_response(&alive).map_err(|error| connection(host, error))?;
        let version = alive.version.common().map_err(|error| connection(host, error.into()))?;
        let security = prepared(settings, identity, "RPCSS").await?;
        let mut activator =
            Wire::sealed(host, settings.mapper_port, Interface::RemoteActivator, security).await?;
        let mut interface = newer;
        let activated = loop {
            let asked = activation::request(class, interface.uuid(), version, causality());
            let said = activator.call(activation::CREATE_INSTANCE, None, &asked).await;
            let said = said.map_err(|error| before(host, error))?;
            match activation::parse_response(&said, interface.uuid()) {
                Ok(Activation::Done(done)) => break done,
                Ok(Activation::Failed(HResult::NO_INTERFACE)) if interface == newer => interface = older,
                Ok(Activation::Failed(result)) => {
                    return Err(AdcsError::Activation { host: host.to_owned(), result });
                }
                Err(error) => return Err(connection(host, error)),
            }
        };
        // The addresses are those that the host believes to have: we stay with the one that was dialled.
        let port = activated.bindings.tcp_port();
        let port = port.ok_or_else(|| AdcsError::NotServed { host: host.to_owned() })?;
        let security = prepared(settings, identity, "HOST").await?;
        let wire = Wire::sealed(host, port, interface, security).await?;
        let object = Object {
            interface,
            ipid: activated.interface.ipid,
            rem_unknown: activated.rem_unknown,
            references: activated.interface.public_references,
            version: activated.version,
        };
        Ok(Self { wire, object: Some(object), opened: Instant::now() })
    }

    pub(crate) fn is_good(&self) -> bool {
        self.opened.elapsed() < LIFETIME && self.wire.is_good()
    }

    /// One request or query; the error says whether it may have arrived.
    pub(crate) async fn request(&mut self, request: &CertRequest) -> Result<CertReply, CallError> {
        let lost = |error: RpcError| CallError::Lost(error.to_string());
        match &self.object {
            None => {
                let stub = request.to_passage();
                let results = self.wire.call(wcce::CERT_SERVER_REQUEST, None, &stub).await?;
                CertReply::parse_passage(&results).map_err(lost)
            }
            Some(Object { interface: Interface::CertRequest, ipid, version, .. }) => {
                // A full response is offered by `Request2` alone (MS-WCCE 3.2.1.4.3.1.1).
                let flags = RequestFlags { full_response: false, ..request.flags };
                let stub = CertRequest { flags, ..request.clone() }.to_request(*version, causality());
                let results = self.wire.call(wcce::REQUEST, Some(*ipid), &stub).await?;
                CertReply::parse_object(&results).map_err(lost)
            }
            Some(Object { ipid, version, .. }) => {
                let stub = request.to_request2(*version, causality());
                let results = self.wire.call(wcce::REQUEST2, Some(*ipid), &stub).await?;
                CertReply::parse_object(&results).map_err(lost)
            }
        }
    }

    /// A call to the authority's object, whose arguments are made for its version; `None` where there is no object.
    pub(crate) async fn method(
        &mut self,
        opnum: u16,
        arguments: impl FnOnce(Version, Uuid) -> Vec<u8>,
    ) -> Option<Result<Vec<u8>, CallError>> {
        let Object { ipid, version, .. } = self.object.as_ref()?;
        let stub = arguments(*version, causality());
        Some(self.wire.call(opnum, Some(*ipid), &stub).await)
    }

    /// The interface of the authority's object; `None` over MS-ICPR.
    pub(crate) fn interface(&self) -> Option<Interface> {
        self.object.as_ref().map(|object| object.interface)
    }

    /// Gives the object back, so that the authority does not keep it until it has not been pinged for six minutes.
    /// Whether that succeeds matters to nobody.
    pub(crate) async fn close(mut self) {
        let Some(object) = self.object.take() else { return };
        if !self.wire.is_good() {
            return;
        }
        let released = tokio::time::timeout(RELEASE, async {
            self.wire.alter(Interface::RemUnknown).await?;
            let stub = dcom::release_request(object.version, causality(), object.ipid, object.references);
            self.wire.call(dcom::RELEASE, Some(object.rem_unknown), &stub).await
        });
        if let Ok(Err(error)) = released.await {
            tracing::debug!(?error, "the authority's object was not released");
        }
    }
}

/// A failure of what comes before a request. What a fault says is believed here: nothing has been asked for yet.
pub(crate) fn before(host: &str, error: CallError) -> AdcsError {
    match error {
        CallError::NotBegun(error) => connection(host, error),
        CallError::Unproven(fault) => connection(host, RpcError::UnverifiedFault(fault)),
        CallError::Lost(why) => {
            connection(host, RpcError::Security(muster_rpc::security::SecurityError(why)))
        }
    }
}
