//! Whether this node can issue now, and so whether it takes connections.
//!
//! A connection that is refused makes every client and balancer go on to the next node, whatever they think of a 503. So
//! a node whose store cannot be written closes its listening sockets; what was on its way is answered with 503. Doubt
//! comes from requests that failed; a small write then decides, and is repeated until it succeeds. A node that works is
//! asked nothing that costs.

use std::net::SocketAddr;
use std::time::Duration;

use muster_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::fault::{ServiceError, Unavailable};
use crate::http::stopped;

/// How often the store is looked at, and a closed node tries again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where requests report that the store failed them, and sockets learn what followed from it.
pub(crate) struct Readiness {
    doubt: Notify,
    open: watch::Sender<bool>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { doubt: Notify::new(), open: watch::Sender::new(true) }
    }
}

impl Readiness {
    /// Notes how a request ended. Only a store that failed is a reason for doubt.
    pub(crate) fn note(&self, error: &ServiceError) {
        if matches!(error, ServiceError::Unavailable(Unavailable::Store(_))) {
            self.doubt.notify_one();
        }
    }

    /// Makes a socket that listens at `address` follow the node: it is there while the node can issue.
    pub(crate) fn socket(&self, socket: TcpListener, address: SocketAddr) -> ReadySocket {
        ReadySocket { address, socket: Some(socket), open: self.open.subscribe() }
    }

    /// Watches over the store until `stop` turns true. A store that has stopped for good, which only a new start mends,
    /// stops the node: then `failed` turns true.
    pub(crate) async fn watch(&self, store: Store, failed: watch::Sender<bool>, stop: watch::Sender<bool>) {
        let mut stopping = stop.subscribe();
        loop {
            let doubted = tokio::select! {
                () = tokio::time::sleep(INTERVAL) => false,
                () = self.doubt.notified() => true,
                () = stopped(&mut stopping) => return,
            };
            let health = if doubted || !*self.open.borrow() {
                store.health().await
            } else {
                store.generations().await.map(drop)
            };
            match health {
                Err(error @ StoreError::Stopped) => {
                    tracing::error!(%error, "nothing can be issued any more; no more connections are taken");
                    let _ = stop.send(true);
                    let _ = failed.send(true);
                    return;
                }
                Err(error) => {
                    if self.open.send_replace(false) {
                        tracing::error!(%error, "the store cannot be used: no connections are taken until it can");
                    }
                }
                Ok(()) => {
                    if !self.open.send_replace(true) {
                        tracing::info!("the store can be used again: connections are taken again");
                    }
                }
            }
            if doubted {
                // Many requests fail for one reason; one look a second is enough.
                tokio::time::sleep(INTERVAL / 4).await;
            }
        }
    }
}

/// A listening socket that is closed while the node cannot issue, and opened again at the same address.
pub(crate) struct ReadySocket {
    address: SocketAddr,
    socket: Option<TcpListener>,
    open: watch::Receiver<bool>,
}

impl ReadySocket {
    /// The next connection. Can be given up at any point.
    ///
    /// # Errors
    /// Those of the system: out of descriptors, a connection that was gone before it was accepted, an address that
    /// somebody else took meanwhile. All pass; the caller waits a little and asks again.
    pub(crate) async fn accept(&mut self) -> std::io::Result<(tokio::net::TcpStream, SocketAddr)> {
        loop {
            // A sender that is gone is a node that ends; its sockets end by another signal.
            match &self.socket {
                Some(socket) => tokio::select! {
                    accepted = socket.accept() => return accepted,
                    Ok(_) = self.open.wait_for(|open| !open) => self.socket = None,
                },
                None => {
                    let _ = self.open.wait_for(|open| *open).await;
                    self.socket = Some(TcpListener::bind(self.address).await?);
                }
            }
        }
    }
}
