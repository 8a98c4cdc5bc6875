//! Plain HTTP for relying parties: the revocation list and the CA certificate. Public, read only, from memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use muster_ca::Authority;
use muster_core::audit::Actor;
use muster_core::{Clock, UnixTime};
use muster_store::{Crl, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admission::Admission;
use crate::http as wire;

/// A list is replaced when it is this old, so that clients always find one with days to live.
const REFRESH_SECONDS: i64 = 86_400;
/// Expired certificates stay on the list for this long: one that expired between two lists was on one of them
/// (RFC 5280 3.3).
const EXPIRED_MARGIN: i64 = 8 * 86_400;
/// Connections served at the same time.
const CONNECTIONS: usize = 512;
/// Of these, at most so many of one address; a site behind one address has enough with it.
const CONNECTIONS_PER_ADDRESS: usize = 64;
/// Longest life of a connection: whoever reads slower than that holds no place.
const LIFE: Duration = Duration::from_secs(120);

/// Makes and serves revocation lists.
pub struct Publisher {
    store: Store,
    authority: Arc<Authority>,
    days: u32,
    clock: Arc<dyn Clock>,
    current: ArcSwapOption<Current>,
    /// Held while a list is made, so that a crowd of readers after a revocation makes one.
    making: tokio::sync::Mutex<()>,
}

struct Current {
    number: u64,
    der: Bytes,
    made: UnixTime,
    /// How often the set of revoked serial numbers had changed before it was read.
    revocations: u64,
}

/// No revocation list could be made.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA.
    #[error("the revocation list cannot be signed: {0}")]
    Sign(#[from] muster_ca::crl::CrlError),
}

/// Makes, signs and stores a revocation list.
///
/// # Errors
/// [`PublishError`].
pub async fn make(
    store: &Store,
    authority: &Authority,
    days: u32,
    now: UnixTime,
) -> Result<Crl, PublishError> {
    let draft = store.begin_crl(now, EXPIRED_MARGIN).await?;
    let next_update = now.plus(i64::from(days) * 86_400);
    let entries = draft.entries.into_iter().map(|e| (e.serial, e.at, e.reason));
    let der = authority.revocation_list(draft.number, now, next_update, entries)?;
    let crl = Crl { number: draft.number, this_update: now, next_update, der };
    store.put_crl(crl.clone(), Actor::Service).await?;
    Ok(crl)
}

impl Publisher {
    /// A publisher for one CA; lists are valid for `days`.
    #[must_use]
    pub fn new(store: Store, authority: Arc<Authority>, days: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            authority,
            days,
            clock,
            current: ArcSwapOption::empty(),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// Makes a new list if this node has none, if it is a day old, or if something was revoked since.
    ///
    /// # Errors
    /// [`PublishError`]; the last list stays.
    pub async fn publish_if_due(&self) -> Result<(), PublishError> {
        if self.due().await?.is_none() {
            return Ok(());
        }
        let _making = self.making.lock().await;
        match self.due().await? {
            Some(revocations) => self.publish(revocations).await,
            None => Ok(()),
        }
    }

    /// How often the set of revoked serial numbers has changed, if there has to be a new list.
    async fn due(&self) -> Result<Option<u64>, StoreError> {
        let now = self.clock.now();
        let revocations = self.store.generations().await?.revocations;
        // Replaced at half its life at the latest: clients keep a list until its end.
        let refresh = REFRESH_SECONDS.min(i64::from(self.days) * 43_200);
        let due = self.current.load().as_ref().is_none_or(|current| {
            // One that lies ahead was made before the clock was set back.
            let age = now.since(current.made);
            current.revocations != revocations || age < 0 || age >= refresh
        });
        Ok(due.then_some(revocations))
    }

    async fn publish(&self, revocations: u64) -> Result<(), PublishError> {
        let now = self.clock.now();
        match make(&self.store, &self.authority, self.days, now).await {
            Ok(crl) => {
                let newer = self.current.load().as_ref().is_none_or(|current| current.number < crl.number);
                if newer {
                    let (number, der) = (crl.number, crl.der.into());
                    self.current.store(Some(Arc::new(Current { number, der, made: now, revocations })));
                }
                Ok(())
            }
            // Somebody else made a newer one at the same moment: that one is to be shown.
            Err(PublishError::Store(StoreError::StaleCrl { .. })) => {
                if let Some(crl) = self.store.latest_crl().await? {
                    let (number, der) = (crl.number, crl.der.into());
                    self.current.store(Some(Arc::new(Current {
                        number,
                        der,
                        made: crl.this_update,
                        revocations,
                    })));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Serves until `stop` turns true.
    pub async fn serve(self: Arc<Self>, socket: TcpListener, mut stop: watch::Receiver<bool>) {
        let admission = Admission::fixed("publication", CONNECTIONS, CONNECTIONS_PER_ADDRESS);
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = wire::stopped(&mut stop) => return,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Some(place) = admission.admit(peer) else { continue };
            let publisher = Arc::clone(&self);
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(|request: Request<Incoming>| {
                    let publisher = Arc::clone(&publisher);
                    async move { Ok::<_, Infallible>(publisher.answer(&request).await) }
                });
                let mut builder = hyper::server::conn::http1::Builder::new();
                builder
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .max_buf_size(8 * 1024);
                // Whatever a peer does to its own connection concerns nobody else.
                let serving = builder.serve_connection(TokioIo::new(stream), service);
                let _ = tokio::time::timeout(LIFE, serving).await;
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return wire::text(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered here.\n");
        }
        match request.uri().path() {
            "/ca.crl" => {
                // A revocation by the command line is a change of the store alone; it shows at the next request.
                if let Err(error) = self.publish_if_due().await {
                    tracing::error!(%error, "the revocation list cannot be refreshed; the last one is served");
                }
                match &*self.current.load() {
                    Some(current) => {
                        wire::respond(StatusCode::OK, "application/pkix-crl", current.der.clone())
                    }
                    None => wire::text(StatusCode::SERVICE_UNAVAILABLE, "There is no revocation list yet.\n"),
                }
            }
            "/ca.crt" => {
                let der = Bytes::copy_from_slice(self.authority.certificate());
                wire::respond(StatusCode::OK, "application/pkix-cert", der)
            }
            "/ca.pem" => wire::respond(
                StatusCode::OK,
                "application/x-pem-file",
                crate::certificate_pem(self.authority.certificate()),
            ),
            _ => wire::text(StatusCode::NOT_FOUND, "There are /ca.crl, /ca.crt and /ca.pem here.\n"),
        }
    }
}
