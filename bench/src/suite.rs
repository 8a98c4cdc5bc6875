//! The parts of the run, one after the other. Loads of one part take turns, so that what else the machine does meets
//! all of them.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use muster_ca::SigningAlgorithm;

use crate::Arguments;
use crate::floor::{self, Floor};
use crate::installation::{Installation, TEMPLATE};
use crate::kerberos;
use crate::load::Mode;
use crate::measure::{self, median, micros};
use crate::message::Requester;
use crate::neighbour;
use crate::process::Server;
use crate::renewal;
use crate::report::{Authority, Neighbour, Results, Stored};
use crate::scenario::{Scenario, warm_up};

const CLIENTS: [usize; 4] = [1, 8, 64, 256];
/// What is logged: problems alone, or as a service has it.
pub(crate) const WARN: &str = "warn";
const INFO: &str = "info";

/// Measures everything.
pub(crate) async fn run(arguments: &Arguments, folder: &Path) -> Result<Results> {
    let requester = Requester::new()?;
    let mut results = Results { load_before: measure::load_average(), ..Results::default() };
    match arguments.inside {
        Some(world) => kerberos::measure(arguments, folder, world, &requester, &mut results).await?,
        None => everywhere(arguments, folder, &requester, &mut results).await?,
    }
    results.password_ms = median(&(0..5).map(|_| floor::password()).collect::<Result<Vec<_>>>()?);
    results.load_after = measure::load_average();
    Ok(results)
}

/// What needs nothing but this machine.
async fn everywhere(
    arguments: &Arguments,
    folder: &Path,
    requester: &Requester,
    results: &mut Results,
) -> Result<()> {
    for algorithm in [SigningAlgorithm::P256, SigningAlgorithm::Rsa2048] {
        if arguments.wants(algorithm.as_str()) {
            say(&format!("enrollments with a CA of {algorithm}"));
            results.authorities.push(authority(arguments, folder, algorithm, requester).await?);
        }
    }
    if arguments.wants("stored") {
        stored(arguments, folder, requester, results).await?;
    }
    if arguments.wants("policies") {
        say("policies");
        policies(arguments, folder, results).await?;
    }
    if arguments.wants("renewal") {
        renewal::measure(arguments, folder, results).await?;
    }
    if arguments.wants("cfssl") {
        say("cfssl");
        // What goes wrong there takes nothing away from what was measured here.
        let measured = cfssl(arguments, folder, requester).await;
        results.neighbour =
            measured.unwrap_or_else(|error| Neighbour::NotRun(format!("cfssl failed: {error:#}")));
    }
    Ok(())
}

pub(crate) fn say(what: &str) {
    eprintln!("measuring {what} …");
}

async fn authority(
    arguments: &Arguments,
    folder: &Path,
    algorithm: SigningAlgorithm,
    requester: &Requester,
) -> Result<Authority> {
    let installation = Installation::create(&folder.join(algorithm.as_str()), algorithm).await?;
    // About as long for each of them.
    let (kept, new) = match algorithm {
        SigningAlgorithm::P256 => ([2_500, 8_000, 12_000, 12_000], [800, 2_500, 2_500, 2_500]),
        SigningAlgorithm::Rsa2048
        | SigningAlgorithm::Rsa3072
        | SigningAlgorithm::Rsa4096
        | SigningAlgorithm::P384
        | SigningAlgorithm::Ed25519 => ([1_000, 3_000, 4_000, 4_000], [400, 1_200, 1_200, 1_200]),
    };
    let mut scenarios = Vec::new();
    for (mode, words, requests) in
        [(Mode::KeepAlive, "keep-alive", kept), (Mode::NewConnection, "a new connection each", new)]
    {
        for (clients, number) in CLIENTS.into_iter().zip(requests) {
            let name = format!("{algorithm} CA, {words}, {clients} {}", plural(clients, "client"));
            scenarios.push(Scenario::new(name, clients, mode, arguments.requests(number)));
        }
    }
    scenarios.retain(|scenario| scenario.name.contains(&arguments.load));
    let mut floors = Vec::new();
    let server = Server::muster(&arguments.muster, &installation, WARN)?;
    for _ in 0..arguments.runs() {
        floors.push(floor::measure(algorithm, if arguments.quick { 100 } else { 4_000 })?);
        for scenario in &mut scenarios {
            scenario.enroll(&server, &installation, requester).await?;
        }
    }
    server.stop()?;
    let name = format!("{algorithm} CA, keep-alive, 64 clients, a log line for each request");
    let mut logging = Scenario::new(name, 64, Mode::KeepAlive, arguments.requests(kept[2]));
    let server = Server::muster(&arguments.muster, &installation, INFO)?;
    for _ in 0..if logging.name.contains(&arguments.load) { arguments.runs() } else { 0 } {
        logging.enroll(&server, &installation, requester).await?;
    }
    server.stop()?;
    scenarios.push(logging);
    let of = |value: fn(&Floor) -> f64| median(&floors.iter().map(value).collect::<Vec<_>>());
    Ok(Authority {
        algorithm,
        floor: Floor { certificate: of(|f| f.certificate), response: of(|f| f.response) },
        scenarios: scenarios.iter().map(Scenario::medians).collect(),
    })
}

fn plural(number: usize, noun: &str) -> String {
    if number == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// Certificates that are stored already: cost, memory, start.
async fn stored(
    arguments: &Arguments,
    folder: &Path,
    requester: &Requester,
    results: &mut Results,
) -> Result<()> {
    let sizes: &[(u32, &str)] = if arguments.quick {
        &[(1_000, "1 000"), (10_000, "10 000")]
    } else {
        &[(10_000, "10 000"), (100_000, "100 000"), (1_000_000, "1 000 000")]
    };
    let mut servers = Vec::new();
    for &(size, words) in sizes {
        say(&format!("a store of {words} certificates"));
        let directory = folder.join(format!("stored-{size}"));
        let installation = Installation::create(&directory, SigningAlgorithm::P256).await?;
        installation.fill(size).await?;
        // The first start makes the services' certificate; later ones find it.
        Server::muster(&arguments.muster, &installation, WARN)?.stop()?;
        let server = Server::muster(&arguments.muster, &installation, WARN)?;
        let name = format!("p256 CA, keep-alive, 64 clients, {words} certificates stored");
        let scenario = Scenario::new(name, 64, Mode::KeepAlive, arguments.requests(12_000));
        servers.push((size, installation, server, scenario));
    }
    let (mut sign_in, mut peaks) = (Vec::new(), Vec::new());
    for run in 0..arguments.runs() {
        for (_, installation, server, scenario) in &mut servers {
            if run == 0 {
                warm_up(&server.target, &installation.enrollment, requester).await?;
                sign_in.push(measure::peak_memory(server.pid())?);
                measure::forget_peak(server.pid())?;
            }
            scenario.enroll(server, installation, requester).await?;
        }
    }
    let mut last = None;
    for (size, installation, server, scenario) in servers {
        peaks.push(measure::peak_memory(server.pid())?);
        server.stop()?;
        results.stored.push(Stored { size, medians: scenario.medians() });
        last = Some(installation);
    }
    results.peak_memory = peaks.last().copied();
    results.peak_memory_sign_in = sign_in.last().copied();
    if let Some(installation) = last {
        say("start");
        start(arguments, &installation, results).await?;
    }
    Ok(())
}

/// From the start of the process to the first answer, and to the first answer that needed a password.
async fn start(arguments: &Arguments, installation: &Installation, results: &mut Results) -> Result<()> {
    let (mut first, mut signed_in) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs() {
        let began = Instant::now();
        let server = Server::muster(&arguments.muster, installation, WARN)?;
        let mut connection = server.target.connect().await?;
        connection.exchange(&installation.policy.probe()).await?;
        first.push(micros(began.elapsed()) / 1e3);
        connection.exchange(&installation.policy.get_policies()?).await?;
        signed_in.push(micros(began.elapsed()) / 1e3);
        server.stop()?;
    }
    results.start_ms = Some((median(&first), median(&signed_in)));
    Ok(())
}

async fn policies(arguments: &Arguments, folder: &Path, results: &mut Results) -> Result<()> {
    for (templates, number) in [(10, 8_000), (200, 1_500)] {
        let directory = folder.join(format!("policies-{templates}"));
        let installation = Installation::create(&directory, SigningAlgorithm::P256).await?;
        installation.offer_templates(templates).await?;
        let server = Server::muster(&arguments.muster, &installation, WARN)?;
        let name = format!("GetPolicies, {templates} templates, keep-alive, 64 clients");
        let mut scenario = Scenario::new(name, 64, Mode::KeepAlive, arguments.requests(number));
        for _ in 0..arguments.runs() {
            scenario.get_policies(&server, &installation.policy, templates).await?;
        }
        server.stop()?;
        results.policies.push(scenario.medians());
    }
    Ok(())
}

async fn cfssl(arguments: &Arguments, folder: &Path, requester: &Requester) -> Result<Neighbour> {
    if !neighbour::is_installed() {
        return Ok(Neighbour::NotRun("cfssl is not installed (Debian: apt install golang-cfssl)".to_owned()));
    }
    let installation = Installation::create(&folder.join("beside-cfssl"), SigningAlgorithm::P256).await?;
    // Its start makes the certificate that cfssl shows.
    Server::muster(&arguments.muster, &installation, WARN)?.stop()?;
    let server = neighbour::start(&installation)?;
    let mut scenarios: Vec<Scenario> = [(1, 600), (64, 1_200)]
        .into_iter()
        .map(|(clients, number)| {
            let name = format!(
                "cfssl serve with SQLite, P-256, keep-alive, {clients} {}",
                plural(clients, "client")
            );
            Scenario::new(name, clients, Mode::KeepAlive, arguments.requests(number))
        })
        .collect();
    let mut expected = 0;
    for _ in 0..arguments.runs() {
        for scenario in &mut scenarios {
            let requests = neighbour::requests(requester, TEMPLATE, scenario.requests)?;
            expected += requests.len();
            scenario.run(&server, &server.target, requester, requests, neighbour::certificate).await?;
        }
    }
    let stored = neighbour::stored(&installation)?;
    ensure!(stored == expected, "cfssl stored {stored} of {expected} certificates");
    server.stop()?;
    Ok(Neighbour::Run(scenarios.iter().map(Scenario::medians).collect()))
}
