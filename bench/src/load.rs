//! The load: so many clients that send requests made beforehand, one after the other, until none is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::measure::{self, count, micros};
use crate::wire::{Connection, Target};

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Keeps it; it is open before the clock starts.
    KeepAlive,
    /// Opens one for each request, with a whole handshake.
    NewConnection,
}

/// What is taken out of an answer while the clock runs; the rest is done afterwards.
pub(crate) type Parse = fn(&[u8]) -> Result<Vec<u8>>;

/// One run.
pub(crate) struct Run {
    /// What was taken out of each answer.
    pub(crate) answers: Vec<Vec<u8>>,
    /// Requests in a second.
    pub(crate) per_second: f64,
    /// Half of the requests took no longer, in milliseconds.
    pub(crate) p50: f64,
    /// 99 of 100 requests took no longer, in milliseconds.
    pub(crate) p99: f64,
    /// Processor time of the server for one request, in microseconds.
    pub(crate) server_cpu: f64,
}

/// Sends all requests by `clients` clients to the server with this process number. With several targets, which are the
/// server as different callers see it, connections that are kept take turns, and so do the requests of those that are
/// not.
pub(crate) async fn run(
    targets: &[Target],
    server: u32,
    clients: usize,
    mode: Mode,
    requests: Vec<Vec<u8>>,
    parse: Parse,
) -> Result<Run> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(clients + 1));
    let targets: Arc<[Target]> = targets.into();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let client = Client { targets: Arc::clone(&targets), number, mode, parse };
        tasks.spawn(client.run(Arc::clone(&requests), Arc::clone(&next), Arc::clone(&start)));
    }
    start.wait().await;
    let cpu = measure::process_cpu(server)?;
    let began = Instant::now();
    let (mut answers, mut times) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        for (answer, time) in done?? {
            answers.push(answer);
            times.push(time);
        }
    }
    let took = began.elapsed();
    let cpu = measure::process_cpu(server)?.saturating_sub(cpu);
    ensure!(answers.len() == requests.len(), "{} answers to {} requests", answers.len(), requests.len());
    times.sort_unstable();
    let number = count(answers.len());
    Ok(Run {
        answers,
        per_second: number / took.as_secs_f64(),
        p50: micros(measure::percentile(&times, 50)) / 1e3,
        p99: micros(measure::percentile(&times, 99)) / 1e3,
        server_cpu: micros(cpu) / number,
    })
}

struct Client {
    targets: Arc<[Target]>,
    number: usize,
    mode: Mode,
    parse: Parse,
}

impl Client {
    async fn connect(&self, number: usize) -> Result<Connection> {
        let target = self.targets.iter().cycle().nth(number % self.targets.len().max(1));
        target.context("no target")?.connect().await.context("cannot connect")
    }

    async fn run(
        self,
        requests: Arc<Vec<Vec<u8>>>,
        next: Arc<AtomicUsize>,
        start: Arc<Barrier>,
    ) -> Result<Vec<(Vec<u8>, Duration)>> {
        let mut kept = match self.mode {
            Mode::KeepAlive => Some(self.connect(self.number).await),
            Mode::NewConnection => None,
        };
        // All must get here, whatever becomes of them, or the others would wait for ever.
        start.wait().await;
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = requests.get(number) else { break };
            let began = Instant::now();
            let mut fresh: Option<Connection> = None;
            let connection = match &mut kept {
                Some(Ok(connection)) => connection,
                Some(Err(_)) => break,
                None => fresh.insert(self.connect(number).await?),
            };
            let answer = (self.parse)(connection.exchange(request).await?)?;
            done.push((answer, began.elapsed()));
        }
        match kept {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(done),
        }
    }
}
