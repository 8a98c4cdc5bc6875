//! Which connections are taken: so many in all, so many of an address on which nobody has signed in, so many of an
//! account. Whoever is not let in is not answered, so the log says why, and how often; at most once a minute for each
//! bound, since those who are refused can come again as often as they like.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::file::Limits;
use crate::http::stopped;
use crate::readiness::ReadySocket;

/// How long nothing more is said of a bound after it was said that it is reached.
const QUIET: Duration = Duration::from_secs(60);

/// The bounds of sockets whose connections are counted together. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// For the log.
    entrance: &'static str,
    /// The bounds are those of `[limits]`.
    configured: bool,
    connections: usize,
    per_address: usize,
    open: Arc<AtomicUsize>,
    addresses: Counts<IpAddr>,
    accounts: Counts<String>,
    complaints: Arc<[Complaint; 3]>,
}

/// A bound that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Connections,
    Address,
    Account,
}

impl Full {
    /// Why a connection is refused, and what to set if more are wanted.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Connections => ("so many connections are open", "limits.connections"),
            Self::Address => (
                "so many connections of this address are open on which nobody has signed in",
                "limits.unauthenticated_connections_per_address",
            ),
            Self::Account => {
                ("so many connections of this account are open", "limits.rpc_connections_per_account")
            }
        }
    }
}

impl Admission {
    /// The bounds of the configuration.
    #[must_use]
    pub(crate) fn new(entrance: &'static str, limits: &Limits) -> Self {
        let per_address = limits.unauthenticated_connections_per_address;
        Self { configured: true, ..Self::fixed(entrance, limits.connections, per_address) }
    }

    /// Bounds that cannot be set.
    #[must_use]
    pub(crate) fn fixed(entrance: &'static str, connections: usize, per_address: usize) -> Self {
        Self {
            entrance,
            configured: false,
            connections,
            per_address,
            open: Arc::default(),
            addresses: Counts::default(),
            accounts: Counts::default(),
            complaints: Arc::default(),
        }
    }

    /// Counts one more connection; `None`, and a line in the log, if it is one too many.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Option<Admitted> {
        let (open, before) = OpenGuard::take(&self.open);
        if before >= self.connections {
            self.complain(Full::Connections, self.connections, peer, "");
            return None;
        }
        let Some(address) = self.addresses.take(site(peer.ip()), self.per_address) else {
            self.complain(Full::Address, self.per_address, peer, "");
            return None;
        };
        Some(Admitted { _open: open, address })
    }

    /// Counts one more connection of `account`, at most `limit`; `None`, and a line in the log, if it is one too many.
    pub(crate) fn admit_account(
        &self,
        account: &str,
        limit: usize,
        peer: SocketAddr,
    ) -> Option<Slot<String>> {
        let slot = self.accounts.take(account.to_owned(), limit);
        if slot.is_none() {
            self.complain(Full::Account, limit, peer, account);
        }
        slot
    }

    fn complain(&self, full: Full, limit: usize, peer: SocketAddr, account: &str) {
        let [connections, address, of_account] = &*self.complaints;
        let complaint = match full {
            Full::Connections => connections,
            Full::Address => address,
            Full::Account => of_account,
        };
        if let Some(unsaid) = complaint.may_be_said(Instant::now()) {
            let (entrance, (why, key)) = (self.entrance, full.words());
            let key = if self.configured { key } else { "" };
            tracing::warn!(entrance, %peer, account, why, limit, key, unsaid, "a connection was refused");
        }
    }
}

/// Serves the connections of a socket that are admitted, each in a task of its own, until `stop` turns true; then waits for
/// those that there are.
pub(crate) async fn serve_admitted<F: Future<Output = ()> + Send + 'static>(
    mut socket: ReadySocket,
    admission: &Admission,
    mut stop: watch::Receiver<bool>,
    mut serve: impl FnMut(TcpStream, SocketAddr, Admitted) -> F,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            // Connections that have ended are let go of.
            Some(_) = connections.join_next() => continue,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(admitted) = admission.admit(peer) {
                    connections.spawn(serve(stream, peer, admitted));
                }
            }
            Err(error) => {
                // Out of descriptors, or a connection that was gone before it was accepted: breathe, go on.
                let entrance = admission.entrance;
                tracing::warn!(entrance, %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// A place among the connections, and among those of its address until somebody signs in. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _open: OpenGuard,
    address: Slot<IpAddr>,
}

impl Admitted {
    /// Somebody has signed in: the connection no longer counts against its address.
    pub(crate) fn signed_in(&self) {
        self.address.release();
    }
}

/// When a bound was last spoken of, and how often it was not since.
#[derive(Debug, Default)]
struct Complaint(Mutex<(Option<Instant>, u64)>);

impl Complaint {
    /// How many were left unsaid before, if this one may be said.
    fn may_be_said(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            *unsaid = unsaid.saturating_add(1);
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

/// Counts connections of each of many.
#[derive(Debug)]
struct Counts<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    /// Counts one more of `key`, unless there are `limit`.
    fn take(&self, key: K, limit: usize) -> Option<Slot<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&key).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        counts.insert(key.clone(), count + 1);
        Some(Slot { counts: self.clone(), key, held: AtomicBool::new(true) })
    }
}

/// One connection that is counted; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<K: Clone + Eq + Hash> {
    counts: Counts<K>,
    key: K,
    held: AtomicBool,
}

impl<K: Clone + Eq + Hash> Slot<K> {
    /// Whose it is.
    pub(crate) const fn key(&self) -> &K {
        &self.key
    }

    /// Gives it back before it is dropped.
    fn release(&self) {
        if self.held.swap(false, Ordering::Relaxed) {
            let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = counts.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&self.key);
                }
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        self.release();
    }
}

/// One connection of all; given back when dropped.
#[derive(Debug)]
struct OpenGuard(Arc<AtomicUsize>);

impl OpenGuard {
    /// One more, and how many there were before.
    fn take(open: &Arc<AtomicUsize>) -> (Self, usize) {
        (Self(Arc::clone(open)), open.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is counted as one address: with IPv6 the network of 64 bits, any address of which a single host can take.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 40_000)
    }

    #[test]
    fn hosts_of_one_ipv6_network_count_as_one_address() {
        let admission = Admission::fixed("test", 10, 1);
        let place = admission.admit(peer("2001:db8:1:2::1"));
        assert!(place.is_some());
        assert!(admission.admit(peer("2001:db8:1:2:ffff::9")).is_none());
        assert!(admission.admit(peer("2001:db8:1:3::1")).is_some());
        drop(place);
        let place = admission.admit(peer("::ffff:192.0.2.1"));
        assert!(admission.admit(peer("192.0.2.1")).is_none(), "the same host");
        assert!(admission.admit(peer("192.0.2.2")).is_some());
        drop(place);
    }

    #[test]
    fn addresses_are_counted_until_somebody_signs_in() {
        let admission = Admission::fixed("test", 3, 1);
        let first = admission.admit(peer("127.0.0.1")).unwrap();
        assert!(admission.admit(peer("127.0.0.1")).is_none());
        first.signed_in();
        let second = admission.admit(peer("127.0.0.1")).unwrap();
        first.signed_in();
        assert!(admission.admit(peer("127.0.0.1")).is_none(), "signing in twice frees one place only");
        let third = admission.admit(peer("127.0.0.2"));
        assert!(third.is_some());
        assert!(admission.admit(peer("127.0.0.3")).is_none(), "three in all");
        drop((first, second, third));
        assert!(admission.addresses.0.lock().unwrap().is_empty());
        assert_eq!(admission.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn accounts_are_counted_apart() {
        let admission = Admission::fixed("test", 10, 10);
        let take = |account| admission.admit_account(account, 2, peer("127.0.0.1"));
        let held = [take("alice"), take("alice"), take("bob")];
        assert!(held.iter().all(Option::is_some) && take("alice").is_none());
        drop(held);
        assert!(take("alice").is_some() && admission.accounts.0.lock().unwrap().is_empty());
    }

    #[test]
    fn one_bound_is_spoken_of_once_a_minute() {
        let (complaint, begun) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.may_be_said(begun), Some(0));
        assert_eq!(complaint.may_be_said(begun + Duration::from_secs(1)), None);
        assert_eq!(complaint.may_be_said(begun + Duration::from_secs(59)), None);
        assert_eq!(complaint.may_be_said(begun + QUIET), Some(2), "and how often it was not");
        assert_eq!(complaint.may_be_said(begun + QUIET * 2), Some(0));
    }
}
