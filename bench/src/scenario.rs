//! One line of the table: the same load several times, and the medians.

use anyhow::{Result, ensure};

use crate::installation::{Installation, TEMPLATE};
use crate::load::{self, Mode, Run};
use crate::measure::median;
use crate::message::{self, Counter, Requester, Service};
use crate::process::Server;
use crate::wire::Target;

/// A load and what came of it so far.
pub(crate) struct Scenario {
    /// For the table.
    pub(crate) name: String,
    /// Clients at the same time.
    pub(crate) clients: usize,
    /// What they do with connections.
    pub(crate) mode: Mode,
    /// Requests in a run.
    pub(crate) requests: usize,
    runs: Vec<Run>,
}

/// Medians over the runs.
#[derive(Clone, Debug)]
pub(crate) struct Medians {
    pub(crate) name: String,
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) server_cpu: f64,
}

impl Scenario {
    pub(crate) fn new(name: String, clients: usize, mode: Mode, requests: usize) -> Self {
        Self { name, clients, mode, requests: requests.max(2 * clients), runs: Vec::new() }
    }

    /// One run of enrollments, after a few that do not count.
    pub(crate) async fn enroll(
        &mut self,
        server: &Server,
        installation: &Installation,
        requester: &Requester,
    ) -> Result<()> {
        self.enroll_at(server, &server.target, &installation.enrollment, requester).await
    }

    /// The same with another service of the server, perhaps on another port.
    pub(crate) async fn enroll_at(
        &mut self,
        server: &Server,
        target: &Target,
        service: &Service,
        requester: &Requester,
    ) -> Result<()> {
        warm_up(target, service, requester).await?;
        let requests = requester.issue(service, TEMPLATE, self.requests)?;
        self.run(server, target, requester, requests, message::certificate).await
    }

    /// One run of other requests that are answered with certificates.
    pub(crate) async fn run(
        &mut self,
        server: &Server,
        target: &Target,
        requester: &Requester,
        requests: Vec<Vec<u8>>,
        parse: load::Parse,
    ) -> Result<()> {
        let expected = requests.len();
        let mut counter = Counter::new(requester.public_key());
        for certificate in self.load(server, std::slice::from_ref(target), requests, parse).await? {
            counter.add(&certificate)?;
        }
        ensure!(counter.count() == expected, "{} certificates for {expected} requests", counter.count());
        Ok(())
    }

    /// One run of requests by several callers; what was taken out of the answers is still to be looked at.
    pub(crate) async fn load(
        &mut self,
        server: &Server,
        targets: &[Target],
        requests: Vec<Vec<u8>>,
        parse: load::Parse,
    ) -> Result<Vec<Vec<u8>>> {
        let mut run = load::run(targets, server.pid(), self.clients, self.mode, requests, parse).await?;
        let answers = std::mem::take(&mut run.answers);
        self.runs.push(run);
        Ok(answers)
    }

    /// One run of GetPolicies; each answer must offer so many templates.
    pub(crate) async fn get_policies(
        &mut self,
        server: &Server,
        service: &Service,
        templates: usize,
    ) -> Result<()> {
        let mut connection = server.target.connect().await?;
        let offered = message::templates(connection.exchange(&service.get_policies()?).await?)?;
        ensure!(offered == templates, "{offered} templates offered, {templates} expected");
        let requests = (0..self.requests).map(|_| service.get_policies()).collect::<Result<_>>()?;
        let run = load::run(
            std::slice::from_ref(&server.target),
            server.pid(),
            self.clients,
            self.mode,
            requests,
            |answer| {
                let complete = answer.ends_with(b"</s:Envelope>");
                ensure!(complete, "a policy answer is cut off");
                Ok(Vec::new())
            },
        );
        self.runs.push(run.await?);
        Ok(())
    }

    /// Medians of what was measured.
    pub(crate) fn medians(&self) -> Medians {
        let of = |value: fn(&Run) -> f64| median(&self.runs.iter().map(value).collect::<Vec<_>>());
        Medians {
            name: self.name.clone(),
            per_second: of(|run| run.per_second),
            p50: of(|run| run.p50),
            p99: of(|run| run.p99),
            server_cpu: of(|run| run.server_cpu),
        }
    }
}

/// Signs in, so that the password is remembered, and warms caches up.
pub(crate) async fn warm_up(target: &Target, service: &Service, requester: &Requester) -> Result<()> {
    const REQUESTS: usize = 50;
    let mut connection = target.connect().await?;
    for request in requester.issue(service, TEMPLATE, REQUESTS)? {
        message::certificate(connection.exchange(&request).await?)?;
    }
    Ok(())
}
