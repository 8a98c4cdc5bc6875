//! The connector to AD CS: round trips, distance, many requests at once, broken connections. The authority is our own
//! server for MS-ICPR and MS-WCCE in front of the embedded CA, in a process of its own; that the connector is right is
//! for tests against others to judge.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muster_adcs::Method;
use muster_ca::SigningAlgorithm;
use muster_store::{Disposition, RequestFilter};
use muster_testkit::{kdc, ports};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::Arguments;
use crate::connector::{Authority, Load, METHODS, certificate};
use crate::floor;
use crate::installation::Installation;
use crate::load::Mode;
use crate::measure::{count, median, micros};
use crate::message::{Counter, Requester};
use crate::process::Server;
use crate::proxy::{CUT, Counts, Proxy};
use crate::report::{Results, Verdict};
use crate::scenario::Scenario;
use crate::suite::{WARN, say};
use crate::table::Table;
use crate::world;

/// The address that the connector dials.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The authority's, while the proxy has the other.
const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Milliseconds of a round trip.
const DISTANCES: [u64; 3] = [0, 10, 50];
/// Round trips that a distance may add by the clock, which is not exact to the last.
const ADDED: f64 = 1.05;
/// Connections of a connector, as it has them by itself.
const CONNECTIONS: usize = 64;

/// Measures in a realm with the services of an authority.
pub(crate) async fn measure(
    arguments: &Arguments,
    installation: &Installation,
    requester: &Requester,
    results: &mut Results,
) -> Result<()> {
    let realm = world::realm()?;
    let keytab = realm.path(world::KEYTAB);
    installation.accept_tickets(kdc::REALM, &keytab, "HTTP/localhost", "")?;
    installation.add_account(&format!("{}@{}", world::PRINCIPAL, kdc::REALM.to_lowercase())).await?;
    let mapper = ports::three();
    let [requests, echo] = [1, 2].map(|offset| mapper.saturating_add(offset));
    let cache = format!("FILE:{}", realm.path(&format!("cc-{}", world::PRINCIPAL)).display());

    installation.answer_rpc(kdc::REALM, BEHIND, [mapper, requests])?;
    let server = start(arguments, installation, [BEHIND.into(), BEHIND.into()], [mapper, requests])?;
    let authority = Authority::new(installation, mapper, cache).await?;
    let _echo = echo_at(SocketAddr::new(BEHIND.into(), echo)).await?;
    let proxy = Proxy::start(HERE.into(), BEHIND.into(), &[mapper, echo, requests]).await?;
    say("round trips of the connector to AD CS");
    distances(arguments, &authority, requester, &proxy, SocketAddr::new(HERE.into(), echo), results).await?;
    say("connections that are cut");
    for (method, name) in METHODS {
        cuts(arguments, installation, &authority, requester, &proxy, (method, name), results).await?;
    }
    drop(proxy);
    server.stop()?;

    installation.answer_rpc(kdc::REALM, HERE, [mapper, requests])?;
    let server = start(arguments, installation, [HERE.into(), HERE.into()], [mapper, requests])?;
    say("enrollments by the connector to AD CS");
    throughput(arguments, installation, &authority, requester, &server, results).await?;
    server.stop()
}

/// Starts the server and waits until it answers at the ports for RPC.
fn start(
    arguments: &Arguments,
    installation: &Installation,
    addresses: [IpAddr; 2],
    ports: [u16; 2],
) -> Result<Server> {
    let server = Server::muster(&arguments.muster, installation, WARN)?;
    let began = Instant::now();
    for (address, port) in addresses.into_iter().zip(ports) {
        while TcpStream::connect((address, port)).is_err() {
            if began.elapsed() > Duration::from_secs(20) {
                bail!("nobody listens on port {port}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(server)
}

/// Sends everything back: what the proxy alone costs.
async fn echo_at(address: SocketAddr) -> Result<tokio::task::JoinSet<()>> {
    let listener = TcpListener::bind(address).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let (mut from, mut to) = peer.split();
            // Whoever asks has gone.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    Ok(tasks)
}

/// Milliseconds of an exchange through the proxy with nothing behind it.
async fn echo_time(address: SocketAddr, times: usize) -> Result<f64> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut took = Vec::new();
    for _ in 0..=times {
        let began = Instant::now();
        stream.write_all(&[0; 1024]).await?;
        stream.read_exact(&mut [0; 1024]).await?;
        took.push(micros(began.elapsed()) / 1e3);
    }
    // The first has waited for the handshake.
    Ok(median(took.get(1..).unwrap_or_default()))
}

/// What was seen of one kind of enrollment.
#[derive(Default)]
struct Seen {
    counts: Vec<Counts>,
    /// Milliseconds, at each of the distances.
    times: [Vec<f64>; 3],
}

impl Seen {
    fn mean(&self, of: fn(&Counts) -> usize) -> f64 {
        count(self.counts.iter().map(of).sum()) / count(self.counts.len())
    }

    fn row(&self, name: &str) -> Vec<String> {
        let mut cells = vec![name.to_owned()];
        let columns: [fn(&Counts) -> usize; 2] = [|counts| counts.connections, |counts| counts.round_trips];
        for of in columns {
            let mean = self.mean(of);
            cells.push(if mean.fract() == 0.0 { format!("{mean:.0}") } else { format!("{mean:.2}") });
        }
        cells.extend(self.times.iter().map(|times| format!("{:.2}", median(times))));
        cells
    }

    /// What the last distance adds to the first, in such of the echo.
    fn added(&self, echo: &[f64]) -> Option<f64> {
        let more = |times: &[f64]| Some(times.last()? - times.first()?);
        Some(more(&self.times.each_ref().map(|times| median(times)))? / more(echo)?)
    }
}

/// Round trips, counted, and what they cost at each distance.
async fn distances(
    arguments: &Arguments,
    authority: &Authority,
    requester: &Requester,
    proxy: &Proxy,
    echo: SocketAddr,
    results: &mut Results,
) -> Result<()> {
    let distances = DISTANCES.map(|milliseconds| format!("p50 ms at {milliseconds} ms"));
    let mut head = vec!["Enrollment", "connections", "round trips"];
    head.extend(distances.iter().map(String::as_str));
    let mut table = Table::new(&head);
    let (colds, warms) = (arguments.requests(20).max(3), arguments.requests(20).max(5));
    let mut echoes = DISTANCES.map(|_| Vec::new());
    let mut seen = METHODS.map(|_| [Seen::default(), Seen::default()]);
    // Echo, distances and methods take turns, so that what else the machine does meets all of them.
    for _ in 0..colds {
        for (at, milliseconds) in DISTANCES.into_iter().enumerate() {
            proxy.set_round_trip(milliseconds);
            echoes.get_mut(at).context("no distance")?.push(echo_time(echo, warms).await?);
            for ((method, _), [cold, warm]) in METHODS.into_iter().zip(&mut seen) {
                let adcs = authority.connector(method, CONNECTIONS)?;
                for number in 0..=warms {
                    let before = proxy.counts();
                    let took = micros(authority.enroll(&adcs, requester).await?) / 1e3;
                    let kind = if number == 0 { &mut *cold } else { &mut *warm };
                    kind.counts.push(proxy.counts().since(before));
                    kind.times.get_mut(at).context("no distance")?.push(took);
                }
                adcs.close().await;
            }
        }
    }
    let echoes = echoes.map(|times| median(&times));
    let mut verdicts = Vec::new();
    for ((_, name), [cold, warm]) in METHODS.into_iter().zip(&seen) {
        table.row(cold.row(&format!("{name}, the first of a connection")));
        table.row(warm.row(&format!("{name}, the next ones")));
        let trips = warm.mean(|counts| counts.round_trips);
        let worst = warm.counts.iter().map(|counts| counts.round_trips).max().unwrap_or(0);
        verdicts.push(Verdict {
            what: format!(
                "round trips of an enrollment on a warm connection, {name}, at most and in the mean"
            ),
            target: "1".to_owned(),
            value: format!("{worst}, {trips:.2}"),
            met: worst == 1,
        });
        let added = warm.added(&echoes).context("no distance")?;
        verdicts.push(Verdict {
            what: format!("time that a distance of 50 ms adds to it, in round trips, {name}"),
            target: format!("≤ {ADDED}"),
            value: format!("{added:.2}"),
            met: added <= ADDED,
        });
    }
    let mut cells = ["none: an echo in the place of the authority", "0", "1"].map(str::to_owned).to_vec();
    cells.extend(echoes.iter().map(|time| format!("{time:.2}")));
    table.row(cells);
    proxy.set_round_trip(0);
    results.tables.push(table);
    results.verdicts.extend(verdicts);
    Ok(())
}

/// The connection of each tenth request is cut. What the authority has issued is compared with what the connector knows.
async fn cuts(
    arguments: &Arguments,
    installation: &Installation,
    authority: &Authority,
    requester: &Requester,
    proxy: &Proxy,
    (method, name): (Method, &str),
    results: &mut Results,
) -> Result<()> {
    let requests = arguments.requests(2_000);
    let adcs = authority.connector(method, CONNECTIONS)?;
    let before = (issued(installation).await?, proxy.counts());
    proxy.cut(true);
    let flood = authority.enroll_all(&adcs, requester, requests, CONNECTIONS).await?;
    proxy.cut(false);
    adcs.close().await;
    let counts = proxy.counts().since(before.1);
    // What was under way when its connection broke is written down soon after.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let theirs = issued(installation).await?.saturating_sub(before.0);
    let mut counter = Counter::new(requester.public_key());
    let (mut unknown, mut others) = (0, 0);
    for answer in &flood.answers {
        match answer {
            Err(error) if error.may_have_been_submitted() => unknown += 1,
            Err(_) => others += 1,
            Ok(_) => counter.add(certificate(answer)?)?,
        }
    }
    let ours = counter.count();
    results.singles.push((
        format!("{name}, {requests} requests, the connection of each {CUT}th cut"),
        format!(
            "{ours} delivered, {unknown} unknown, {others} not submitted; {} calls, {} of them got through; {theirs} issued",
            counts.calls, counts.passed
        ),
    ));
    ensure!(unknown > 0 && counts.cut > 0, "nothing was cut");
    for (what, value) in [
        ("calls beside one for each request that was submitted", counts.calls.abs_diff(ours + unknown)),
        ("certificates issued beside one for each call that got through", theirs.abs_diff(counts.passed)),
        ("certificates issued that are neither delivered nor unknown", theirs.saturating_sub(ours + unknown)),
        ("certificates delivered that were not issued", ours.saturating_sub(theirs)),
    ] {
        results.verdicts.push(Verdict {
            what: format!("{what}, {name}"),
            target: "0".to_owned(),
            value: value.to_string(),
            met: value == 0,
        });
    }
    Ok(())
}

/// How many certificates the authority has issued.
async fn issued(installation: &Installation) -> Result<usize> {
    const PAGE: u32 = 5_000;
    let store = installation.store()?;
    let (mut number, mut before) = (0, None);
    loop {
        let filter = RequestFilter {
            disposition: Some(Disposition::Issued),
            before,
            limit: PAGE,
            ..RequestFilter::default()
        };
        let page = store.requests(filter).await?;
        let Some(last) = page.last() else { return Ok(number) };
        number += page.len();
        before = Some(last.id);
    }
}

/// Enrollments in a second, beside the same enrollments asked of the same process over HTTPS.
async fn throughput(
    arguments: &Arguments,
    installation: &Installation,
    authority: &Authority,
    requester: &Requester,
    server: &Server,
    results: &mut Results,
) -> Result<()> {
    let mut loads = Vec::new();
    for (method, name) in METHODS {
        for (in_flight, connections, number) in
            [(1, 64, 1_500), (8, 64, 5_000), (64, 64, 8_000), (256, 64, 8_000), (256, 16, 8_000)]
        {
            let words = format!("{name}, {in_flight} in flight, at most {connections} connections");
            let adcs = authority.connector(method, connections)?;
            loads.push(Load::new(words, adcs, arguments.requests(number), in_flight));
        }
    }
    let mut direct: Vec<Scenario> = [(1, 1_500), (64, 8_000)]
        .into_iter()
        .map(|(clients, number)| {
            let name = format!("directly: over HTTPS with a password, keep-alive, {clients} in flight");
            Scenario::new(name, clients, Mode::KeepAlive, arguments.requests(number))
        })
        .collect();
    let mut floors = Vec::new();
    for _ in 0..arguments.runs() {
        let rounds = if arguments.quick { 100 } else { 4_000 };
        floors.push(floor::measure(SigningAlgorithm::P256, rounds)?.response);
        for scenario in &mut direct {
            scenario.enroll(server, installation, requester).await?;
        }
        for load in &mut loads {
            load.run(authority, requester, server.pid()).await?;
        }
    }
    let floor = median(&floors);
    let mut table = Table::new(&[
        "Load",
        "per second",
        "p50 ms",
        "p99 ms",
        "server CPU µs",
        "connector CPU µs",
        "both × WSTEP floor",
    ]);
    for scenario in &direct {
        let medians = scenario.medians();
        table.row(vec![
            medians.name,
            format!("{:.0}", medians.per_second),
            format!("{:.2}", medians.p50),
            format!("{:.2}", medians.p99),
            format!("{:.0}", medians.server_cpu),
            String::new(),
            format!("{:.2}", medians.server_cpu / floor),
        ]);
    }
    for load in &loads {
        let medians = load.medians();
        table.row(vec![
            load.name.clone(),
            format!("{:.0}", medians.per_second),
            format!("{:.2}", medians.p50),
            format!("{:.2}", medians.p99),
            format!("{:.0}", medians.server_cpu),
            format!("{:.0}", medians.own_cpu),
            format!("{:.2}", (medians.server_cpu + medians.own_cpu) / floor),
        ]);
    }
    results.tables.push(table);
    let what =
        "WSTEP floor, p256 CA: verify a P-256 request + sign the certificate + sign the CMC full response";
    results.singles.push((what.to_owned(), format!("{floor:.1} µs")));
    Ok(())
}
