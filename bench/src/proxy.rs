//! A TCP proxy between the connector and an authority. It counts what takes long over a distance, makes a distance, and
//! breaks connections.
//!
//! It stands on the address that is dialled, with the ports of the authority, which has another address of this machine:
//! so it needs to understand nothing of what says on which port to go on, and that may be sealed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use muster_rpc::{pdu, wcce};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// `PTYPE` of a call (C706 12.6.4.9).
const REQUEST: u8 = 0;
/// Octets of its head, up to and with the number of the operation.
const REQUEST_HEAD: usize = 24;
/// The operations that ask for a certificate: `CertServerRequest`, and `Request2` of an object. What else is called on these
/// connections has other numbers.
const OPERATIONS: [u16; 2] = [wcce::CERT_SERVER_REQUEST, wcce::REQUEST2];
/// The connection of one in so many requests is cut, when it is wanted.
pub(crate) const CUT: usize = 10;

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections.
    pub(crate) connections: usize,
    /// Times that something was sent and then something came back. Messages that are sent one after the other without
    /// waiting are one.
    pub(crate) round_trips: usize,
    /// Calls for certificates that a client has sent whole.
    pub(crate) calls: usize,
    /// Those of them that were let through.
    pub(crate) passed: usize,
    /// Connections that were cut.
    pub(crate) cut: usize,
}

impl Counts {
    /// What was counted after `earlier`.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            round_trips: self.round_trips - earlier.round_trips,
            calls: self.calls - earlier.calls,
            passed: self.passed - earlier.passed,
            cut: self.cut - earlier.cut,
        }
    }
}

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Before the call is let through.
    Call,
    /// Before the answer is let through.
    Answer,
    /// Within the answer.
    HalfAnswer,
}

#[derive(Debug, Default)]
struct Shared {
    counts: Mutex<Counts>,
    round_trip_ms: AtomicU64,
    cuts: AtomicBool,
    turn: AtomicUsize,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the connection of this call is to be cut, and where; the places take turns.
    fn fate(&self) -> Option<Cut> {
        if !self.cuts.load(Ordering::Relaxed) {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        if !turn.is_multiple_of(CUT) {
            return None;
        }
        [Cut::Call, Cut::Answer, Cut::HalfAnswer].into_iter().cycle().nth(turn / CUT % 3)
    }
}

/// It carries as long as this lives.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    _listeners: JoinSet<()>,
}

impl Proxy {
    /// Listens on these ports of `here` for the same ports of `there`; the last one of them is that of the authority, whose
    /// calls are counted.
    pub(crate) async fn start(here: IpAddr, there: IpAddr, ports: &[u16]) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut listeners = JoinSet::new();
        for &port in ports {
            let listener = TcpListener::bind((here, port)).await.context("the proxy cannot listen")?;
            let frames = Frames { other: ports.last() != Some(&port), ..Frames::default() };
            listeners.spawn(accept(listener, SocketAddr::new(there, port), Arc::clone(&shared), frames));
        }
        Ok(Self { shared, _listeners: listeners })
    }

    /// What has passed until now.
    pub(crate) fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New connections take so many milliseconds for a round trip, the handshake of TCP among them.
    pub(crate) fn set_round_trip(&self, milliseconds: u64) {
        self.shared.round_trip_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// From now on the connection of each tenth call is cut.
    pub(crate) fn cut(&self, whether: bool) {
        self.shared.cuts.store(whether, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>, frames: Frames) {
    let mut lines = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        // What breaks is noticed at both ends.
        lines.spawn(carry(client, target, Arc::clone(&shared), frames.clone()));
        while lines.try_join_next().is_some() {}
    }
}

/// What both directions of a connection know of each other.
#[derive(Debug, Default)]
struct Line {
    /// Whether the client has sent something after the last answer.
    asked: bool,
    doomed: Option<Cut>,
}

type Queue = mpsc::UnboundedSender<(Instant, Vec<u8>)>;

async fn carry(client: TcpStream, target: SocketAddr, shared: Arc<Shared>, frames: Frames) -> io::Result<()> {
    let opened = Instant::now();
    let server = TcpStream::connect(target).await?;
    shared.count(|counts| counts.connections += 1);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let round_trip = Duration::from_millis(shared.round_trip_ms.load(Ordering::Relaxed));
    let line = Mutex::new(Line::default());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, upwards) = mpsc::unbounded_channel();
    let (down, downwards) = mpsc::unbounded_channel();
    // The first of the directions to end, after it has delivered everything, ends the other.
    tokio::select! {
        ended = async {
            let asks = asks(from_client, up, &shared, &line, opened, round_trip, frames);
            tokio::join!(asks, deliver(to_server, upwards))
        } => ended.0.and(ended.1),
        ended = async {
            tokio::join!(answers(from_server, down, &shared, &line, round_trip / 2), deliver(to_client, downwards))
        } => ended.0.and(ended.1),
    }
}

/// The client's words.
async fn asks(
    mut from: OwnedReadHalf,
    queue: Queue,
    shared: &Shared,
    line: &Mutex<Line>,
    opened: Instant,
    round_trip: Duration,
    mut frames: Frames,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        let octets = buffer.get(..length).unwrap_or_default();
        if octets.is_empty() {
            return Ok(());
        }
        let calls = frames.calls(octets);
        let fate = if calls > 0 { shared.fate() } else { None };
        let passed = if fate == Some(Cut::Call) { 0 } else { calls };
        shared.count(|counts| {
            counts.calls += calls;
            counts.passed += passed;
            counts.cut += usize::from(fate.is_some());
        });
        if fate == Some(Cut::Call) {
            return Ok(());
        }
        {
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            line.asked = true;
            line.doomed = fate;
        }
        // Over a distance the client would have begun only after the handshake.
        let begins = Instant::now().max(opened + round_trip);
        if queue.send((begins + round_trip / 2, octets.to_vec())).is_err() {
            return Ok(());
        }
    }
}

/// The server's words.
async fn answers(
    mut from: OwnedReadHalf,
    queue: Queue,
    shared: &Shared,
    line: &Mutex<Line>,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        let octets = buffer.get(..length).unwrap_or_default();
        let (asked, doomed) = {
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut line.asked), line.doomed)
        };
        if octets.is_empty() || doomed == Some(Cut::Answer) {
            return Ok(());
        }
        shared.count(|counts| counts.round_trips += usize::from(asked));
        let passed = if doomed.is_some() { octets.get(..length / 2).unwrap_or_default() } else { octets };
        if queue.send((Instant::now() + delay, passed.to_vec())).is_err() || doomed.is_some() {
            return Ok(());
        }
    }
}

/// Writes what is queued, each at its time.
async fn deliver(
    mut to: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
) -> io::Result<()> {
    while let Some((at, octets)) = queue.recv().await {
        if at > Instant::now() {
            sleep_until(at).await;
        }
        to.write_all(&octets).await?;
    }
    Ok(())
}

/// Finds the calls for certificates in a stream of messages, whose heads are not sealed.
#[derive(Clone, Debug, Default)]
struct Frames {
    head: Vec<u8>,
    rest: usize,
    /// This is something else.
    other: bool,
}

impl Frames {
    /// How many calls have their last fragment begin in these octets.
    fn calls(&mut self, mut octets: &[u8]) -> usize {
        let mut calls = 0;
        while !octets.is_empty() && !self.other {
            let is_request = self.head.get(2) == Some(&REQUEST);
            let head = if is_request { REQUEST_HEAD } else { pdu::HEADER };
            let wanted = if self.rest > 0 { self.rest } else { head.saturating_sub(self.head.len()) };
            let (taken, after) = octets.split_at_checked(wanted.max(1)).unwrap_or((octets, &[]));
            octets = after;
            if self.rest > 0 {
                self.rest -= taken.len();
                continue;
            }
            self.head.extend_from_slice(taken);
            let Ok(Some(length)) = pdu::frame_length(&self.head) else {
                self.other = self.head.len() >= pdu::HEADER;
                continue;
            };
            match self.head.as_slice() {
                [_, _, REQUEST, flags, .., low, high] if self.head.len() == REQUEST_HEAD => {
                    let asks = OPERATIONS.contains(&u16::from_le_bytes([*low, *high]));
                    calls += usize::from(asks && flags & pdu::LAST != 0);
                    self.rest = length.saturating_sub(REQUEST_HEAD);
                    self.head.clear();
                }
                [_, _, kind, ..] if *kind != REQUEST && self.head.len() == pdu::HEADER => {
                    self.rest = length.saturating_sub(pdu::HEADER);
                    self.head.clear();
                }
                _ => {}
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A message with this kind and these flags, as long as this after its first sixteen octets; of a call, for this
    /// operation.
    fn message(kind: u8, flags: u8, body: u8, operation: u8) -> Vec<u8> {
        let mut octets = vec![5, 0, kind, flags, 0x10, 0, 0, 0, 16 + body, 0, 0, 0, 1, 0, 0, 0];
        if body >= 8 {
            octets.extend([0xAA, 0, 0, 0, 1, 0, operation, 0]);
        }
        octets.resize(16 + usize::from(body), 0xAA);
        octets
    }

    #[test]
    fn calls_are_found_however_the_octets_come() {
        let all = [
            message(11, 3, 40, 0),
            message(16, 3, 0, 0),
            message(0, 1, 8, 6),
            message(0, 2, 8, 6),
            message(0, 3, 30, 0),
            message(0, 3, 30, 5),
        ]
        .concat();
        for size in 1..all.len() {
            let mut frames = Frames::default();
            let found: usize = all.chunks(size).map(|chunk| frames.calls(chunk)).sum();
            assert_eq!(found, 2, "{size}");
        }
        assert_eq!(Frames::default().calls(&[0; 100]), 0);
    }

    /// A server that sends everything back.
    async fn echo() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn round_trips_are_counted_delayed_and_cut() {
        let (listener, address) = echo().await;
        let echoing = tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = peer.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let proxy = Proxy::start(here, address.ip(), &[address.port()]).await.unwrap();
        proxy.set_round_trip(40);
        let began = Instant::now();
        let mut stream = TcpStream::connect((here, address.port())).await.unwrap();
        let mut answer = [0; 24];
        for _ in 0..2 {
            // Two writes without an answer between them are one way.
            stream.write_all(&message(0, 3, 8, 0)[..20]).await.unwrap();
            stream.write_all(&message(0, 3, 8, 0)[20..]).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
        }
        // The handshake and two round trips.
        assert!((120..1000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        let counts = proxy.counts();
        assert_eq!((counts.connections, counts.calls, counts.passed, counts.cut), (1, 2, 2, 0));
        assert!((2..=4).contains(&counts.round_trips), "{counts:?}");

        proxy.set_round_trip(0);
        proxy.cut(true);
        let mut ends = Vec::new();
        for _ in 0..3 * CUT {
            let mut stream = TcpStream::connect((here, address.port())).await.unwrap();
            stream.write_all(&message(0, 3, 8, 0)).await.unwrap();
            let mut answer = Vec::new();
            let mut one = [0; 64];
            while answer.len() < 24 {
                match stream.read(&mut one).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => answer.extend_from_slice(&one[..length]),
                }
            }
            if answer.len() < 24 {
                ends.push(answer.len());
            }
        }
        ends.sort_unstable();
        assert_eq!(ends, [0, 0, 12]);
        let counts = proxy.counts().since(counts);
        assert_eq!((counts.calls, counts.passed, counts.cut), (30, 29, 3));
        echoing.abort();
    }
}
