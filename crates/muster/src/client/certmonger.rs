//! `muster certmonger-submit`: a helper for certmonger, which asks in environment variables and reads standard output.
//!
//! certmonger makes the key and the request and keeps the cookie; so nothing is kept here but policies. Its exit codes
//! are its own:
//!
//! | Code | Means | Standard output |
//! |---|---|---|
//! | 0 | done | the certificate, or what was asked for |
//! | 2 | refused | why |
//! | 3 | no service could be reached | why |
//! | 4 | not configured well enough to ask | what is missing |
//! | 5 | ask again later | seconds, then the cookie |
//! | 6 | operation not supported | |

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use muster_client::Clock as _;
use muster_client::certificate::Certificate;
use muster_client::enrollment::{Enrollment, EnrollmentError, OutputFiles, Progress, Status};
use muster_client::failover::OnUnknown;
use muster_client::group_policy::Scope;
use muster_client::policy::{self, Policy, TemplateError};
use muster_client::request::ForeignRequest;
use muster_client::session::ServiceError;

use super::config::ClientConfig;
use super::enroll::targets;
use super::failure::{ClientFailure, Kind};
use super::options::{CacheOptions, Connection, Context};
use super::sources::Sources;
use crate::output::Output;

#[derive(Debug, Args)]
#[command(
    after_help = "certmonger runs it as: getcert add-ca -c NAME -e 'muster certmonger-submit …'. It asks in the \
                  environment: CERTMONGER_OPERATION, CERTMONGER_CSR, CERTMONGER_CA_PROFILE (the template), \
                  CERTMONGER_CA_COOKIE. Exit codes are certmonger's: 0 done, 2 refused, 3 no service could be reached, \
                  4 not configured, 5 ask again later, 6 operation not supported."
)]
pub(crate) struct CertmongerSubmit {
    /// Configuration file (default: /etc/muster/client.toml for root, muster/client.toml in your configuration folder
    /// otherwise, if it is there).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seconds after which certmonger is to ask again for a pending request.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    poll: u32,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    connection: Connection,
}

const REFUSED: u8 = 2;
const UNREACHABLE: u8 = 3;
const UNCONFIGURED: u8 = 4;
const LATER: u8 = 5;
const UNSUPPORTED: u8 = 6;

/// What there is to print, and the exit code.
struct Said(u8, String);

pub(crate) async fn run(arguments: CertmongerSubmit, output: Output) -> Result<ExitCode, ClientFailure> {
    let operation = variable("CERTMONGER_OPERATION").unwrap_or_else(|| "SUBMIT".to_owned());
    let Said(code, text) = match operate(&operation, arguments, output).await {
        Ok(said) => said,
        // certmonger shows what it reads from standard output.
        Err(failure) => Said(code_of(&failure), with_hint(&failure)),
    };
    if !text.is_empty() {
        output.line(text.trim_end())?;
    }
    Ok(ExitCode::from(code))
}

async fn operate(
    operation: &str,
    arguments: CertmongerSubmit,
    output: Output,
) -> Result<Said, ClientFailure> {
    match operation {
        "IDENTIFY" => Ok(Said(0, concat!("muster ", env!("CARGO_PKG_VERSION")).to_owned())),
        "GET-NEW-REQUEST-REQUIREMENTS" | "GET-RENEW-REQUEST-REQUIREMENTS" => {
            Ok(Said(0, "CERTMONGER_CA_PROFILE".to_owned()))
        }
        // Policies have no such thing.
        "GET-DEFAULT-TEMPLATE" => Ok(Said(0, String::new())),
        "SUBMIT" => {
            let helper = Helper::open(arguments, output)?;
            helper.submit().await
        }
        "POLL" => {
            let helper = Helper::open(arguments, output)?;
            helper.poll().await
        }
        "GET-SUPPORTED-TEMPLATES" => {
            let helper = Helper::open(arguments, output)?;
            Ok(Said(0, templates(&helper.policies().await?)))
        }
        "FETCH-ROOTS" => {
            let helper = Helper::open(arguments, output)?;
            Ok(Said(0, roots(&helper.policies().await?)))
        }
        _ => Ok(Said(UNSUPPORTED, String::new())),
    }
}

struct Helper {
    arguments: CertmongerSubmit,
    config: ClientConfig,
    context: Context,
    output: Output,
}

impl Helper {
    fn open(mut arguments: CertmongerSubmit, output: Output) -> Result<Self, ClientFailure> {
        let config = ClientConfig::load(arguments.config.as_deref())?;
        config.complete(&mut arguments.connection);
        let context = arguments.connection.open(None)?;
        Ok(Self { arguments, config, context, output })
    }

    /// All policies that can be had; fails if none can.
    async fn policies(&self) -> Result<Vec<Policy>, ClientFailure> {
        let CertmongerSubmit { sources, cache, .. } = &self.arguments;
        let group = sources.group_policy(&self.config, Scope::Machine, self.output)?;
        let kept = cache.open_or(self.config.cache_dir.as_ref());
        let mut policies = Vec::new();
        let mut failure = None;
        for servers in sources.policies(&self.config, group, &self.context)? {
            match policy::fetch_from(self.context.session(), servers, kept.as_ref(), cache.refresh).await {
                Ok(policy) => policies.push(policy),
                Err(error) => failure = failure.or(Some(ClientFailure::from(error))),
            }
        }
        match failure {
            Some(failure) if policies.is_empty() => Err(failure),
            Some(_) | None => Ok(policies),
        }
    }

    async fn submit(&self) -> Result<Said, ClientFailure> {
        let request = variable("CERTMONGER_CSR").ok_or_else(|| {
            ClientFailure::usage(
                "CERTMONGER_CSR holds no request",
                "this command is run by certmonger: getcert add-ca",
            )
        })?;
        let request = ForeignRequest::from_pem(&request)
            .map_err(|error| ClientFailure::new(Kind::Refused, error, ""))?;
        let wanted = variable("CERTMONGER_CA_PROFILE").ok_or_else(|| {
            ClientFailure::usage("the request names no template", "name one with: getcert request -T NAME")
        })?;
        let policies = self.policies().await?;
        let found = policies.iter().find_map(|policy| policy.template(&wanted).ok());
        let template = match (found, policies.first()) {
            (Some(template), _) => template,
            (None, Some(policy)) => policy.template(&wanted).map_err(refused)?,
            (None, None) => return Err(ServiceError::NoEndpoint.into()),
        };
        template.check(false).map_err(refused)?;
        let targets = targets(template, false, &self.context)?;
        let nowhere = PathBuf::new();
        let files = OutputFiles {
            key: nowhere.clone(),
            new_key: None,
            certificate: nowhere,
            chain: None,
            full_chain: None,
        };
        let now = self.context.clock.now();
        let (token, key) = (request.token(), request.public_key());
        let enrollment =
            Enrollment::new(&token, key, template.name(), &targets, files, now, &self.context.random);
        self.go_on(enrollment).await
    }

    async fn poll(&self) -> Result<Said, ClientFailure> {
        let cookie = variable("CERTMONGER_CA_COOKIE");
        let decoded = cookie.as_deref().and_then(|cookie| BASE64.decode(cookie.trim()).ok());
        let enrollment = decoded.and_then(|content| Enrollment::parse(&content).ok());
        let enrollment = enrollment.ok_or_else(|| {
            ClientFailure::new(
                Kind::Refused,
                "CERTMONGER_CA_COOKIE is none of this helper",
                "submit the request again: getcert resubmit",
            )
        })?;
        self.go_on(enrollment).await
    }

    /// Sends the request, or asks what became of it.
    async fn go_on(&self, mut enrollment: Enrollment) -> Result<Said, ClientFailure> {
        let session = self.context.session();
        let progress = match enrollment.status {
            Status::Prepared | Status::Unknown => enrollment.submit(session, OnUnknown::Stop).await,
            Status::Pending => enrollment.query(session).await,
        };
        match progress {
            Ok(Progress::Issued(issued)) => Ok(Said(0, issued.certificate.pem())),
            Ok(Progress::Pending) => self.later(&enrollment),
            // The very same octets are sent again, which the service answers with what it issued then.
            Err(EnrollmentError::Service(ServiceError::OutcomeUnknown(_))) => self.later(&enrollment),
            Err(EnrollmentError::Service(ServiceError::Unreachable(_)))
                if enrollment.status == Status::Pending =>
            {
                self.later(&enrollment)
            }
            Err(error) => {
                let is_final = error.is_final();
                let failure = ClientFailure::from(error);
                if is_final { Err(failure) } else { Ok(Said(UNREACHABLE, with_hint(&failure))) }
            }
        }
    }

    fn later(&self, enrollment: &Enrollment) -> Result<Said, ClientFailure> {
        let content = serde_json::to_vec(enrollment)
            .map_err(|error| ClientFailure::failed(error, "this is a defect; please report it"))?;
        Ok(Said(LATER, format!("{}\n{}", self.arguments.poll, BASE64.encode(content))))
    }
}

/// Asking again will not help.
fn refused(error: TemplateError) -> ClientFailure {
    ClientFailure::new(Kind::Refused, &error, error.hint())
}

/// Names of the templates that can be enrolled for, one a line.
fn templates(policies: &[Policy]) -> String {
    let all = policies.iter().flat_map(Policy::templates).filter(|template| template.check(false).is_ok());
    let mut names: Vec<&str> = all.map(|template| template.name()).collect();
    names.sort_unstable();
    names.dedup();
    names.join("\n")
}

/// Roots, then after an empty line other roots (there are none), then after another one the rest of the chain; each a
/// nickname and PEM.
fn roots(policies: &[Policy]) -> String {
    let mut all: Vec<Certificate> = Vec::new();
    for ca in policies.iter().flat_map(|policy| &policy.answer.cas) {
        match Certificate::from_der(&ca.certificate) {
            Ok(found) if !all.contains(&found) => all.push(found),
            Ok(_) | Err(_) => {}
        }
    }
    let (roots, chain): (Vec<_>, Vec<_>) = all.iter().partition(|ca| ca.is_self_issued());
    let text = |certificates: Vec<&Certificate>| {
        certificates.iter().map(|ca| format!("{}\n{}", ca.subject(), ca.pem())).collect::<String>()
    };
    format!("{}\n\n{}", text(roots), text(chain))
}

/// A variable that is there and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

const fn code_of(failure: &ClientFailure) -> u8 {
    match failure.kind() {
        Kind::Failed | Kind::Usage => UNCONFIGURED,
        Kind::Refused => REFUSED,
        Kind::Unreachable | Kind::Unknown => UNREACHABLE,
    }
}

fn with_hint(failure: &ClientFailure) -> String {
    match failure.hint() {
        Some(hint) => format!("{}\nhint: {hint}", failure.lines()),
        None => failure.lines(),
    }
}
