//! One log event per exchange, filled along the way and written once at the end.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use muster_core::audit::Actor;
use muster_core::request::RequestId;
use muster_core::{Caller, Method};
use muster_store::Generations;

/// A number that no other exchange of this process has, and those of other processes most probably not: it counts from
/// a random one. It is no secret and opens nothing.
fn reference() -> String {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = FIRST.get_or_init(|| {
        let mut random = [0; 8];
        // Without randomness it counts from zero, and the log line is still there.
        let _ = aws_lc_rs::rand::fill(&mut random);
        u64::from_be_bytes(random)
    });
    format!("{:016x}", first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// What is to be logged about an exchange.
#[derive(Debug)]
pub struct Record {
    /// Finds this event from an answer: 16 hexadecimal digits.
    pub reference: String,
    peer: SocketAddr,
    started: Instant,
    path: String,
    caller: Option<(muster_core::identity::AccountName, Method)>,
    /// The operation, as far as it was understood.
    pub operation: &'static str,
    /// The template's name.
    pub template: Option<String>,
    /// The request.
    pub request: Option<RequestId>,
    /// Taken before the caller was authenticated: what was true then is true as long as these do not change.
    pub(crate) seen: Option<Generations>,
    /// A SHA-1 signature proved possession of the key.
    pub sha1: bool,
    /// The request was recorded as denied, with its audit record.
    pub(crate) denied: bool,
}

impl Record {
    /// An event that begins now.
    #[must_use]
    pub fn begin(peer: SocketAddr, path: &str) -> Self {
        Self {
            reference: reference(),
            peer,
            started: Instant::now(),
            path: path.chars().filter(|c| !c.is_control()).take(200).collect(),
            caller: None,
            operation: "unknown",
            template: None,
            request: None,
            seen: None,
            sha1: false,
            denied: false,
        }
    }

    /// Notes who it is.
    pub fn authenticated(&mut self, caller: &Caller) {
        self.caller = Some((caller.principal().name.clone(), caller.method()));
    }

    /// Whether it is known who it is.
    pub(crate) const fn is_authenticated(&self) -> bool {
        self.caller.is_some()
    }

    /// The path, without control characters, at most 200 characters.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The actor for audit records.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let address = Some(self.peer.ip());
        match &self.caller {
            Some((account, method)) => Actor::Caller { account: account.clone(), method: *method, address },
            None => Actor::Unauthenticated { address },
        }
    }

    /// Writes the event. `outcome` is `ok`, `pending` or the code of an error.
    pub fn end(&self, status: u16, outcome: &str, detail: Option<&str>) {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (account, method) = match &self.caller {
            Some((account, method)) => (account.as_str(), method.as_str()),
            None => ("", ""),
        };
        tracing::info!(
            target: "muster::request",
            reference = self.reference,
            peer = %self.peer,
            path = self.path,
            operation = self.operation,
            caller.account = account,
            caller.method = method,
            template = self.template.as_deref().unwrap_or_default(),
            request.id = self.request.map_or(0, RequestId::number),
            sha1 = self.sha1,
            status,
            outcome,
            detail = detail.unwrap_or_default(),
            duration_us = micros,
            "request"
        );
    }
}
