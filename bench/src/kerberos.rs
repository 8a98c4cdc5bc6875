//! Tickets: enrollment with them beside other ways to sign in, what accepting one costs alone, and policies of an
//! Active Directory for somebody in many groups.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muster_ca::SigningAlgorithm;
use muster_client::key::KeyType;
use muster_core::Method;
use muster_gss::{
    AcceptorSettings, ChannelBinding, Credential, Framing, Gss, InitiatorSettings, ReplayCache, Step,
};
use muster_testkit::{kdc, peers};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::Arguments;
use crate::adcs;
use crate::installation::Installation;
use crate::load::Mode;
use crate::measure::{self, count, median, micros};
use crate::message::{self, Login, Requester, Service};
use crate::process::Server;
use crate::report::{Results, Verdict};
use crate::scenario::Scenario;
use crate::suite::{WARN, say};
use crate::wire::Target;
use crate::world::{self, World, run};

/// Templates that the directory publishes, as in issue and target: the caller is in 500 groups.
const TEMPLATES: usize = 200;
/// Milliseconds of processor time that an answer with that many may take.
const POLICY_TARGET: f64 = 5.0;

/// Measures in the world that this process was started in.
pub(crate) async fn measure(
    arguments: &Arguments,
    folder: &Path,
    world: World,
    requester: &Requester,
    results: &mut Results,
) -> Result<()> {
    let installation = Installation::create(&folder.join("kerberos"), SigningAlgorithm::P256).await?;
    match world {
        World::Realm => in_realm(arguments, &installation, requester, results).await,
        World::Directory => in_directory(arguments, &installation, results).await,
        World::Authority => adcs::measure(arguments, &installation, requester, results).await,
    }
}

/// Somebody's tickets for a service, bound to its certificate.
#[derive(Clone)]
pub(crate) struct Tickets {
    credential: Credential,
    host: String,
    binding: ChannelBinding,
}

impl Tickets {
    /// From a cache, for `HTTP/host`.
    fn of(cache: &str, host: &str, installation: &Installation) -> Result<Self> {
        let credential = Gss::load()?.credential(&muster_gss::Login::Cache(cache.to_owned()))?;
        let shown = CertificateDer::from_pem_file(installation.server_certificate().0)?;
        let binding = ChannelBinding::tls_server_end_point(&shown)?;
        Ok(Self { credential, host: host.to_owned(), binding })
    }

    /// A token that was not used yet.
    pub(crate) fn token(&self) -> Result<Vec<u8>> {
        let settings = InitiatorSettings {
            class: "HTTP".to_owned(),
            host: self.host.clone(),
            binding: Some(self.binding.clone()),
            mutual: true,
            sealing: false,
            framing: Framing::Negotiate,
        };
        match self.credential.initiator(settings)?.step(None)? {
            Step::Continue(token) => Ok(token),
            Step::Done(token) => token.context("no token"),
        }
    }
}

/// Enrollment with tickets beside passwords and certificates.
async fn in_realm(
    arguments: &Arguments,
    installation: &Installation,
    requester: &Requester,
    results: &mut Results,
) -> Result<()> {
    let realm = world::realm()?;
    let keytab = realm.path(world::KEYTAB);
    installation.accept_tickets(kdc::REALM, &keytab, "HTTP/localhost", "")?;
    installation.add_account(&format!("{}@{}", world::PRINCIPAL, kdc::REALM.to_lowercase())).await?;
    let server = Server::muster(&arguments.muster, installation, WARN)?;
    let cache = format!("FILE:{}", realm.path(&format!("cc-{}", world::PRINCIPAL)).display());
    let tickets = Tickets::of(&cache, "localhost", installation)?;

    // The certificate that signs in is one that the password got.
    let request = requester.issue(&installation.enrollment, crate::installation::TEMPLATE, 1)?.concat();
    let mut connection = server.target.connect().await?;
    let certificate = message::certificate(connection.exchange(&request).await?)?;
    let ca = installation.ca_certificate();
    let showing =
        Target::showing(installation.certificate_address()?, &ca, certificate, requester.key().to_tls())?;
    let of = |method, login| installation.services(method, login).map(|(_, enrollment)| enrollment);
    let logins = [
        ("password", server.target.clone(), installation.enrollment.clone()),
        ("client certificate", showing, of(Method::ClientCertificate, Login::Certificate)?),
        ("Kerberos ticket", server.target.clone(), of(Method::Kerberos, Login::Ticket(tickets.clone()))?),
    ];
    let mut loads = Vec::new();
    for (mode, words, clients, number) in [
        (Mode::KeepAlive, "keep-alive, 64 clients", 64, 12_000),
        (Mode::NewConnection, "a new connection each, 8 clients", 8, 2_500),
    ] {
        for (login, target, service) in &logins {
            let name = format!("enrollment by {login}, {words}");
            let scenario = Scenario::new(name, clients, mode, arguments.requests(number));
            loads.push((scenario, target, service));
        }
    }
    let mut floors = Vec::new();
    for _ in 0..arguments.runs() {
        say("tickets");
        floors.push(accept_alone(&realm, &tickets, arguments.requests(4_000))?);
        for (scenario, target, service) in &mut loads {
            scenario.enroll_at(&server, target, service, requester).await?;
        }
    }
    server.stop()?;
    results.others.extend(loads.iter().map(|(scenario, _, _)| scenario.medians()));
    let alone = median(&floors);
    results
        .singles
        .push(("accept a ticket by GSSAPI, in a loop, replay cache on".to_owned(), format!("{alone:.1} µs")));
    if let [password, _, ticket, ..] = results.others.as_slice() {
        let more = ticket.server_cpu - password.server_cpu;
        let what = "server CPU of an enrollment by ticket over one by password, 64 clients";
        results.singles.push((what.to_owned(), format!("{more:+.1} µs")));
    }
    Ok(())
}

/// Microseconds of one core for accepting a ticket, with nothing around it.
fn accept_alone(realm: &kdc::Kdc, tickets: &Tickets, rounds: usize) -> Result<f64> {
    let acceptor = Gss::load()?.acceptor(&AcceptorSettings {
        keytab: realm.path(world::KEYTAB),
        services: vec!["HTTP/localhost".parse()?],
        replay_cache: ReplayCache::File(realm.path("floor.rcache")),
    })?;
    let tokens = (0..rounds).map(|_| tickets.token()).collect::<Result<Vec<_>>>()?;
    let bindings = [tickets.binding.clone()];
    let before = measure::thread_cpu()?;
    for token in &tokens {
        black_box(acceptor.accept(token, &bindings)?);
    }
    Ok(micros(measure::thread_cpu()?.saturating_sub(before)) / count(rounds))
}

/// Policies with many templates for somebody in many groups, and what enrollment asks of the directory.
async fn in_directory(
    arguments: &Arguments,
    installation: &Installation,
    results: &mut Results,
) -> Result<()> {
    say("an Active Directory of 200 templates");
    let published = publish(installation)?;
    let keytabs = std::env::var("BED_KEYTABS").context("not started inside of tests/beds/ad")?;
    let copy = |name: &str| {
        let own = installation.directory.join(name);
        std::fs::copy(Path::new(&keytabs).join(name), &own).map(|_| own)
    };
    let service_keytab = copy("svc-ces.keytab")?;
    let domain = format!(
        "\n[directory.\"corp.test\"]\nservers = [\"dc1.corp.test\"]\naccount = \"svc-ces@CORP.TEST\"\nkeytab = {service_keytab:?}\n"
    );
    installation.accept_tickets("CORP.TEST", &copy("http.keytab")?, "HTTP/ces.corp.test", &domain)?;
    // Its event for each account that it asks for is what is counted.
    let server = Server::muster(&arguments.muster, installation, "warn,muster_directory=debug")?;
    let cache = sign_in(installation, "dave", "Passw0rd!dave")?;
    let tickets = Tickets::of(&cache, "ces.corp.test", installation)?;
    let (policy, enrollment) = installation.services(Method::Kerberos, Login::Ticket(tickets))?;
    until_offered(&server, &policy).await?;

    let name = format!("GetPolicies, {TEMPLATES} templates of a directory, caller in 500 groups, 64 clients");
    let mut policies = Scenario::new(name, 64, Mode::KeepAlive, arguments.requests(1_500));
    // These templates are for keys of RSA, whose signature has nothing random; but no two requests name one template.
    let requester = Requester::of(KeyType::Rsa2048)?;
    let (mut enrollments, mut asked) = (0, 0);
    for run in 0..arguments.runs() {
        let mut connection = server.target.connect().await?;
        let mut enroll = async |template: &str| {
            let request = requester.issue(&enrollment, template, 1)?.concat();
            message::certificate(connection.exchange(&request).await?)
        };
        let share = TEMPLATES / arguments.runs();
        let mut templates = published.iter().skip(run * share).take(share);
        // Warms the cache, which asks again after every change in the directory, such as a log-on.
        enroll(templates.next().context("no template")?).await.context("a first enrollment")?;
        let before = questions(installation)?;
        for template in templates {
            enroll(template).await?;
            enrollments += 1;
        }
        asked += questions(installation)? - before;
        policies.get_policies(&server, &policy, TEMPLATES).await?;
    }
    server.stop()?;
    let medians = policies.medians();
    let (cpu, what) = (medians.server_cpu / 1e3, "processor time of such an answer, ms");
    results.others.push(medians);
    results.verdicts.push(Verdict {
        what: what.to_owned(),
        target: format!("< {POLICY_TARGET}"),
        value: format!("{cpu:.2}"),
        met: cpu < POLICY_TARGET,
    });
    results.verdicts.push(Verdict {
        what: format!("accounts asked of the directory in {enrollments} enrollments by ticket, cache warm"),
        target: "0".to_owned(),
        value: asked.to_string(),
        met: asked == 0,
    });
    Ok(())
}

/// Adds the templates to the directory, and this CA that publishes them; their names.
fn publish(installation: &Installation) -> Result<Vec<String>> {
    let script = |name: &str| peers::script(&format!("../beds/ad/{name}")).display().to_string();
    let python = "/usr/bin/python3";
    let number = TEMPLATES.to_string();
    let ldif =
        run(python, &[&script("templates.py"), "DC=corp,DC=test", "S-1-5-21-1001-2001-3001", &number], b"")?;
    run("kinit", &["Administrator"], b"Passw0rd!test\n")?;
    run("ldapadd", &["-Q", "-Y", "GSSAPI", "-H", "ldap://dc1.corp.test"], &ldif)?;
    let names: Vec<String> = (0..TEMPLATES).map(|number| format!("Bulk{number:03}")).collect();
    let (directory, ca) = (script("directory.py"), installation.ca_certificate().display().to_string());
    let mut arguments = vec![directory.as_str(), "authority", "Bench", "ces.corp.test", &ca];
    arguments.extend(names.iter().map(String::as_str));
    run(python, &arguments, b"")?;
    Ok(names)
}

/// Gets a user's ticket; the name of the cache.
fn sign_in(installation: &Installation, user: &str, password: &str) -> Result<String> {
    let cache = format!("FILE:{}", installation.directory.join(format!("cc-{user}")).display());
    run("kinit", &["-c", &cache, user], format!("{password}\n").as_bytes())?;
    Ok(cache)
}

/// Waits until the server has read the templates.
async fn until_offered(server: &Server, policy: &Service) -> Result<()> {
    let began = Instant::now();
    let mut connection = server.target.connect().await?;
    loop {
        let offered = message::templates(connection.exchange(&policy.get_policies()?).await?)?;
        match offered {
            TEMPLATES => return Ok(()),
            _ if began.elapsed() > Duration::from_secs(60) => {
                bail!("{offered} of {TEMPLATES} templates are offered")
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// How many accounts the server has asked of the directory, by its log.
fn questions(installation: &Installation) -> Result<usize> {
    let log = std::fs::read_to_string(installation.directory.join("log"))?;
    ensure!(log.contains("an account is asked of the directory"), "the log does not tell of questions");
    Ok(log.lines().filter(|line| line.contains("an account is asked of the directory")).count())
}
