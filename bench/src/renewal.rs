//! Renewals beside first enrollments, and whole lines revoked in a store of many certificates.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use der::{Decode, Encode};
use muster_ca::SigningAlgorithm;
use muster_client::SystemRandom;
use muster_core::audit::Actor;
use muster_core::revocation::Reason;
use muster_core::{Clock, Method, Serial};
use muster_server::clock::SystemClock;
use muster_testkit::Key;
use rustls_pki_types::PrivateKeyDer;
use x509_cert::Certificate;

use crate::Arguments;
use crate::installation::{Installation, TEMPLATE};
use crate::load::{self, Mode};
use crate::measure::{median, micros};
use crate::message::{self, Login, Service};
use crate::process::Server;
use crate::report::{Results, Verdict};
use crate::scenario::{Medians, Scenario};
use crate::suite::{WARN, say};
use crate::wire::Target;

const CLIENTS: usize = 64;
/// Server CPU of a renewal over that of an enrollment with a client certificate, at most.
const TARGET: f64 = 1.5;
/// Certificates in a line that is revoked.
const LINE: usize = 100;

/// Measures both.
pub(crate) async fn measure(
    arguments: &Arguments,
    folder: &std::path::Path,
    results: &mut Results,
) -> Result<()> {
    renewals(arguments, folder, results).await?;
    lines(arguments, folder, results).await
}

/// A certificate and its key.
struct Holder {
    certificate: Vec<u8>,
    key: Key,
}

impl Holder {
    fn target(&self, installation: &Installation) -> Result<Target> {
        let key = PrivateKeyDer::try_from(self.key.pkcs8()).map_err(anyhow::Error::msg)?;
        let (address, ca) = (installation.certificate_address()?, installation.ca_certificate());
        Target::showing(address, &ca, self.certificate.clone(), key)
    }

    fn serial(&self) -> Result<Vec<u8>> {
        let certificate = Certificate::from_der(&self.certificate)?;
        Ok(certificate.tbs_certificate().serial_number().as_bytes().to_vec())
    }
}

fn keys(count: usize) -> Vec<Key> {
    (0..count).map(|_| Key::generate()).collect()
}

/// Issue messages for first enrollments with these keys.
fn first(service: &Service, keys: &[Key]) -> Result<Vec<Vec<u8>>> {
    let random = SystemRandom::new();
    keys.iter().map(|key| service.issue(key.request(TEMPLATE), &random)).collect()
}

/// Issue messages that renew each of these certificates with one of these keys.
fn next(service: &Service, old: &[Holder], keys: &[Key]) -> Result<Vec<Vec<u8>>> {
    let random = SystemRandom::new();
    let renewal = |(old, key): (&Holder, &Key)| key.renewal(TEMPLATE, &old.certificate, &old.key);
    old.iter().zip(keys).map(|pair| service.issue(renewal(pair), &random)).collect()
}

/// Which certificate is for which key: each must be for one of them, and none may be left over.
fn held(keys: Vec<Key>, certificates: Vec<Vec<u8>>) -> Result<Vec<Holder>> {
    let mut keys: HashMap<Vec<u8>, Key> = keys.into_iter().map(|key| (key.spki().to_vec(), key)).collect();
    let mut serials = HashSet::new();
    let mut holders = Vec::new();
    for certificate in certificates {
        let parsed = Certificate::from_der(&certificate).context("not a certificate")?;
        let public_key = parsed.tbs_certificate().subject_public_key_info().to_der()?;
        let key = keys.remove(&public_key).context("a certificate for another key, or a second one")?;
        let holder = Holder { certificate, key };
        ensure!(serials.insert(holder.serial()?), "a serial number came twice");
        holders.push(holder);
    }
    ensure!(keys.is_empty(), "{} requests brought no certificate", keys.len());
    Ok(holders)
}

/// First certificates, by password.
async fn enroll(server: &Server, installation: &Installation, count: usize) -> Result<Vec<Holder>> {
    let keys = keys(count);
    let requests = first(&installation.enrollment, &keys)?;
    let target = std::slice::from_ref(&server.target);
    let run =
        load::run(target, server.pid(), CLIENTS, Mode::KeepAlive, requests, message::certificate).await?;
    held(keys, run.answers)
}

/// What a load does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// First enrollments, signed in by one certificate.
    Enrollment,
    /// A certificate each signs the request, and a password signs in.
    ByPassword,
    /// A certificate each signs the request and signs in.
    KeyBased,
}

async fn renewals(arguments: &Arguments, folder: &std::path::Path, results: &mut Results) -> Result<()> {
    let installation = Installation::create(&folder.join("renewal"), SigningAlgorithm::P256).await?;
    let key_based = installation.renew_by_certificate().await?;
    let (_, by_certificate) = installation.services(Method::ClientCertificate, Login::Certificate)?;
    let server = Server::muster(&arguments.muster, &installation, WARN)?;
    let alice = enroll(&server, &installation, 1).await?;
    let showing = alice.first().context("no certificate")?.target(&installation)?;
    let mut loads: Vec<(Kind, Scenario)> = [
        (Kind::Enrollment, "enrollment by client certificate, keep-alive", Mode::KeepAlive, 6_000),
        (Kind::ByPassword, "renewal, a certificate each, password, keep-alive", Mode::KeepAlive, 6_000),
        (
            Kind::Enrollment,
            "enrollment by client certificate, a new connection each",
            Mode::NewConnection,
            2_000,
        ),
        (
            Kind::KeyBased,
            "key-based renewal, a certificate each, a new connection each",
            Mode::NewConnection,
            2_000,
        ),
    ]
    .into_iter()
    .map(|(kind, words, mode, number)| {
        let name = format!("{words}, {CLIENTS} clients");
        (kind, Scenario::new(name, CLIENTS, mode, arguments.requests(number)))
    })
    .collect();
    for _ in 0..arguments.runs() {
        say("renewals");
        for (kind, scenario) in &mut loads {
            let keys = keys(scenario.requests);
            let old = match kind {
                Kind::Enrollment => Vec::new(),
                Kind::ByPassword | Kind::KeyBased => enroll(&server, &installation, keys.len()).await?,
            };
            let (targets, requests) = match kind {
                Kind::Enrollment => (vec![showing.clone()], first(&by_certificate, &keys)?),
                Kind::ByPassword => {
                    (vec![server.target.clone()], next(&installation.enrollment, &old, &keys)?)
                }
                Kind::KeyBased => {
                    let targets = old.iter().map(|old| old.target(&installation)).collect::<Result<_>>()?;
                    (targets, next(&key_based, &old, &keys)?)
                }
            };
            let answers = scenario.load(&server, &targets, requests, message::certificate).await?;
            held(keys, answers)?;
        }
    }
    server.stop()?;
    let medians: Vec<Medians> = loads.iter().map(|(_, scenario)| scenario.medians()).collect();
    if let [kept, password, new, key_based] = medians.as_slice() {
        for (what, over, under) in [
            ("renewal over enrollment with a client certificate, keep-alive", password, kept),
            ("key-based renewal over the same, a new connection each", key_based, new),
        ] {
            let ratio = over.server_cpu / under.server_cpu;
            results.verdicts.push(Verdict {
                what: format!("server CPU, {what}"),
                target: format!("≤ {TARGET:.1}"),
                value: format!("{ratio:.2}"),
                met: ratio <= TARGET,
            });
        }
    }
    results.others.extend(medians);
    Ok(())
}

/// A line of so many certificates, each renewed with the one before; the first one's serial number.
async fn line(server: &Server, installation: &Installation) -> Result<Serial> {
    let mut current = enroll(server, installation, 1).await?;
    let serial = current.first().context("no certificate")?.serial()?;
    let mut connection = server.target.connect().await?;
    for _ in 1..LINE {
        let key = keys(1);
        let request = next(&installation.enrollment, &current, &key)?.concat();
        let certificate = message::certificate(connection.exchange(&request).await?)?;
        current = held(key, vec![certificate])?;
    }
    Serial::from_bytes(&serial).context("a serial number that is not ours")
}

/// Lines revoked by a call of the store and by the command, while the server runs.
async fn lines(arguments: &Arguments, folder: &std::path::Path, results: &mut Results) -> Result<()> {
    let (size, words) = if arguments.quick { (10_000, "10 000") } else { (1_000_000, "1 000 000") };
    say(&format!("lines of {LINE} among {words} certificates"));
    let installation = Installation::create(&folder.join("lines"), SigningAlgorithm::P256).await?;
    installation.fill(size).await?;
    let server = Server::muster(&arguments.muster, &installation, WARN)?;
    let store = installation.store()?;
    let (mut call, mut command) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs() {
        let serial = line(&server, &installation).await?;
        let officer = Actor::Officer("bench".to_owned());
        let began = Instant::now();
        let done = store.revoke_line(serial, Reason::KeyCompromise, officer, SystemClock.now()).await?;
        call.push(micros(began.elapsed()) / 1e3);
        ensure!(done.revoked.len() == LINE && done.keys == LINE, "{done:?}");

        let serial = line(&server, &installation).await?;
        let mut revoke = Command::new(&arguments.muster);
        revoke.arg("cert").arg("--config").arg(&installation.config).args(["revoke", "--line"]);
        revoke.args([&serial.to_string(), "--reason", "keyCompromise"]);
        let began = Instant::now();
        let output = revoke.output()?;
        command.push(micros(began.elapsed()) / 1e3);
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{told}");
        let members = store.line(serial).await?;
        let dead = |member: &&muster_store::LineMember| {
            member.certificate.as_ref().is_some_and(|certificate| certificate.revocation.is_some())
        };
        ensure!(members.iter().filter(dead).count() == LINE, "{told}");
    }
    server.stop()?;
    for (what, times) in [
        ("the store's transaction", call),
        ("`muster cert revoke --line`, with the new revocation list", command),
    ] {
        let what = format!("revoke a line of {LINE} among {words} certificates: {what}");
        results.singles.push((what, format!("{:.0} ms", median(&times))));
    }
    Ok(())
}
