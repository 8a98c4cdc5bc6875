//! The connector to AD CS as a program uses it: so many requests in flight, each submitted once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muster_adcs::{Adcs, AdcsError, Answer, Expected, Identity, Method, Settings, Submission};
use muster_gss::{Gss, Login};
use muster_rpc::wcce::{Form, RequestAttributes, RequestFlags};
use muster_testkit::kdc;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::task::JoinSet;

use crate::installation::{CA_NAME, Installation, TEMPLATE};
use crate::measure::{self, count, median, micros};
use crate::message::{Counter, Requester};
use crate::world;

/// Both ways to ask, and what they are called.
pub(crate) const METHODS: [(Method, &str); 2] = [(Method::Passage, "MS-ICPR"), (Method::Object, "DCOM")];

/// Whom the connector asks, and in whose name.
pub(crate) struct Authority {
    issuer: Vec<u8>,
    mapper: u16,
    identity: Identity,
    /// The names of the template in a certificate.
    template: Vec<String>,
}

impl Authority {
    /// That of an installation; in the name of the user whose tickets are in this cache.
    pub(crate) async fn new(installation: &Installation, mapper: u16, cache: String) -> Result<Self> {
        let issuer = CertificateDer::from_pem_file(installation.ca_certificate())?.to_vec();
        let stored = installation.store()?.template(TEMPLATE).await?.context("no template")?;
        let oid = stored.template.oid.context("a template without an identifier")?;
        let template = vec![TEMPLATE.to_owned(), oid.to_string()];
        let credential = Gss::load()?.credential(&Login::Cache(cache))?;
        let identity = Identity::new(&format!("{}@{}", world::PRINCIPAL, kdc::REALM), credential);
        Ok(Self { issuer, mapper, identity, template })
    }

    /// A connector that has nothing connected.
    pub(crate) fn connector(&self, method: Method, connections: usize) -> Result<Arc<Adcs>> {
        let mut settings = Settings::new("localhost", CA_NAME.parse()?, vec![self.issuer.clone()]);
        settings.mapper_port = self.mapper;
        settings.method = method;
        settings.max_connections = connections;
        Ok(Arc::new(Adcs::new(settings)))
    }

    /// Submits one request; how long that took.
    pub(crate) async fn enroll(&self, adcs: &Adcs, requester: &Requester) -> Result<Duration> {
        let submission = self.submission(requester)?;
        let began = Instant::now();
        let answer = adcs.submit(&self.identity, &submission).await;
        let took = began.elapsed();
        certificate(&answer)?;
        Ok(took)
    }

    /// Submits so many different requests, `in_flight` of them at a time.
    pub(crate) async fn enroll_all(
        &self,
        adcs: &Arc<Adcs>,
        requester: &Requester,
        requests: usize,
        in_flight: usize,
    ) -> Result<Flood> {
        let submissions = (0..requests).map(|_| self.submission(requester)).collect::<Result<Vec<_>>>()?;
        let (submissions, next) = (Arc::new(submissions), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for _ in 0..in_flight {
            let (adcs, identity) = (Arc::clone(adcs), self.identity.clone());
            let (submissions, next) = (Arc::clone(&submissions), Arc::clone(&next));
            tasks.spawn(async move {
                let mut done = Vec::new();
                while let Some(submission) = submissions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let answer = adcs.submit(&identity, submission).await;
                    done.push((answer, began.elapsed()));
                }
                done
            });
        }
        let done = tasks.join_all().await.into_iter().flatten();
        let took = began.elapsed();
        let (answers, mut times): (Vec<_>, Vec<_>) = done.unzip();
        times.sort_unstable();
        ensure!(answers.len() == requests, "{} answers to {requests} requests", answers.len());
        Ok(Flood { answers, times, took })
    }

    fn submission(&self, requester: &Requester) -> Result<Submission> {
        let (public_key, template) = (requester.public_key().to_vec(), self.template.clone());
        Ok(Submission {
            request: requester.pkcs10(TEMPLATE)?,
            flags: RequestFlags { form: Form::Pkcs10, full_response: true, on_behalf: false },
            attributes: RequestAttributes::NONE.with_template(TEMPLATE.parse()?),
            expected: Expected { public_key, template, sid: None },
        })
    }
}

/// The certificate of an answer that has one.
pub(crate) fn certificate(answer: &Result<Answer, AdcsError>) -> Result<&[u8]> {
    match answer {
        Ok(Answer::Issued { issued, .. }) => {
            ensure!(!issued.response.is_empty(), "an answer without CMC full response");
            Ok(&issued.certificate)
        }
        other => anyhow::bail!("no certificate in the answer: {other:?}"),
    }
}

/// What came of many requests.
pub(crate) struct Flood {
    pub(crate) answers: Vec<Result<Answer, AdcsError>>,
    /// Sorted.
    times: Vec<Duration>,
    took: Duration,
}

/// Figures of one run.
struct Run {
    per_second: f64,
    p50: f64,
    p99: f64,
    server_cpu: f64,
    own_cpu: f64,
}

/// A load of the connector, and what was measured of it.
pub(crate) struct Load {
    pub(crate) name: String,
    adcs: Arc<Adcs>,
    requests: usize,
    in_flight: usize,
    runs: Vec<Run>,
}

/// Medians over the runs.
pub(crate) struct Medians {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) server_cpu: f64,
    pub(crate) own_cpu: f64,
}

impl Load {
    pub(crate) fn new(name: String, adcs: Arc<Adcs>, requests: usize, in_flight: usize) -> Self {
        Self { name, adcs, requests: requests.max(2 * in_flight), in_flight, runs: Vec::new() }
    }

    /// One run, after a few that do not count; every request must be answered with a certificate of its own.
    pub(crate) async fn run(
        &mut self,
        authority: &Authority,
        requester: &Requester,
        server: u32,
    ) -> Result<()> {
        authority.enroll_all(&self.adcs, requester, 2 * self.in_flight, self.in_flight).await?;
        let own = std::process::id();
        let before = [measure::process_cpu(server)?, measure::process_cpu(own)?];
        let flood = authority.enroll_all(&self.adcs, requester, self.requests, self.in_flight).await?;
        let after = [measure::process_cpu(server)?, measure::process_cpu(own)?];
        let mut counter = Counter::new(requester.public_key());
        for answer in &flood.answers {
            counter.add(certificate(answer).with_context(|| self.name.clone())?)?;
        }
        ensure!(counter.count() == self.requests, "{} certificates", counter.count());
        let number = count(self.requests);
        let [server_cpu, own_cpu] = [0, 1].map(|at: usize| {
            let of = |both: &[Duration; 2]| both.get(at).copied().unwrap_or_default();
            micros(of(&after).saturating_sub(of(&before))) / number
        });
        self.runs.push(Run {
            per_second: number / flood.took.as_secs_f64(),
            p50: micros(measure::percentile(&flood.times, 50)) / 1e3,
            p99: micros(measure::percentile(&flood.times, 99)) / 1e3,
            server_cpu,
            own_cpu,
        });
        Ok(())
    }

    /// Medians of what was measured.
    pub(crate) fn medians(&self) -> Medians {
        let of = |value: fn(&Run) -> f64| median(&self.runs.iter().map(value).collect::<Vec<_>>());
        Medians {
            per_second: of(|run| run.per_second),
            p50: of(|run| run.p50),
            p99: of(|run| run.p99),
            server_cpu: of(|run| run.server_cpu),
            own_cpu: of(|run| run.own_cpu),
        }
    }
}
