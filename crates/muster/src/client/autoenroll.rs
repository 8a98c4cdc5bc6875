//! `muster autoenroll`: brings a folder of certificates to what the policies want, unattended.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use muster_client::Clock as _;
use muster_client::autoenroll::{
    Action, CertificateFolder, Conditions, Held, Kind, Record, Slot, Step, plan,
};
use muster_client::enrollment::Enrollment;
use muster_client::failover::Candidate;
use muster_client::group_policy::{Autoenrollment, Scope};
use muster_client::key::PrivateKey;
use muster_client::policy::{self, Policy};
use muster_client::request::{Old, RequestedNames};
use muster_client::tls::ClientIdentity;
use serde::{Deserialize, Serialize};

use super::config::{ClientConfig, usual_store};
use super::enroll::{generate, prepare, remark};
use super::failure::{ClientFailure, Kind as FailureKind, PENDING};
use super::options::{CacheOptions, Connection, Context, SignIn};
use super::report::Steps;
use super::run::{Ending, Following, run as run_enrollment};
use super::sources::Sources;
use crate::output::Output;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 everything is as the policies want it, 1 failed on this machine (a file, a key, \
                  the hook, or another run is at work), 2 wrong usage, 3 a service refused, 4 a request is pending, \
                  5 no endpoint could be reached, 6 it is not known whether a service acted. Of several, the first of \
                  1, 6, 3, 5, 4."
)]
pub(crate) struct Autoenroll {
    /// Folder of the certificates (default: /var/lib/muster-autoenroll for root, muster/certificates in your data
    /// folder otherwise).
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Configuration file (default: /etc/muster/client.toml for root, muster/client.toml in your configuration folder
    /// otherwise, if it is there).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only templates for machines, or for users.
    #[arg(long, value_name = "KIND")]
    kind: Option<KindOption>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Shell command to run once after something has changed. MUSTER_CHANGED holds the names, MUSTER_STORE the folder.
    #[arg(long, value_name = "COMMAND")]
    after: Option<String>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    connection: Connection,
}

/// The kind of templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KindOption {
    /// Templates for computers.
    Machine,
    /// Templates for persons.
    User,
}

impl KindOption {
    const fn kind(self) -> Kind {
        match self {
            Self::Machine => Kind::Machine,
            Self::User => Kind::User,
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    dry_run: bool,
    policies: Vec<PolicyReport>,
    certificates: Vec<StepReport>,
    /// Names whose certificate changed.
    changed: Vec<String>,
    /// What the hook failed with.
    hook_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct PolicyReport {
    policy_id: Option<String>,
    source: Option<String>,
    freshness: Option<&'static str>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct StepReport {
    name: String,
    template: String,
    action: &'static str,
    reason: String,
    /// `done`, `pending`, `failed`, or what the failure's exit code says; none if nothing was to be done.
    outcome: Option<&'static str>,
    error: Option<String>,
    hint: Option<String>,
    request_id: Option<String>,
    /// The certificate in use.
    certificate: Option<PathBuf>,
    not_after: Option<String>,
}

/// What came of a run, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Fine,
    Pending,
    Unreachable,
    Refused,
    Unknown,
    Failed,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Pending => "pending",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }

    const fn of(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Failed | FailureKind::Usage => Self::Failed,
            FailureKind::Refused => Self::Refused,
            FailureKind::Unreachable => Self::Unreachable,
            FailureKind::Unknown => Self::Unknown,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Pending => PENDING,
            Self::Unreachable => FailureKind::Unreachable.code(),
            Self::Refused => FailureKind::Refused.code(),
            Self::Unknown => FailureKind::Unknown.code(),
            Self::Failed => FailureKind::Failed.code(),
        }
    }
}

/// One run.
struct Run<'a> {
    folder: CertificateFolder,
    config: &'a ClientConfig,
    connection: &'a Connection,
    sign_in: SignIn,
    context: Context,
    output: Output,
}

pub(crate) async fn run(mut arguments: Autoenroll, output: Output) -> Result<ExitCode, ClientFailure> {
    let config = ClientConfig::load(arguments.config.as_deref())?;
    config.complete(&mut arguments.connection);
    let store = arguments.store.clone().or_else(|| config.store.clone()).or_else(usual_store);
    let store = store
        .ok_or_else(|| ClientFailure::usage("there is no usual folder here", "name one with --store"))?;
    let kind = arguments.kind.or(config.kind);
    let group =
        arguments.sources.group_policy(&config, kind.map_or(Scope::Machine, KindOption::scope), output)?;
    let allowed = group.as_ref().map_or(Autoenrollment::ALL, |group| group.allowed);

    let folder = CertificateFolder::new(store.clone());
    let lock = if arguments.dry_run { None } else { Some(lock(&folder)?) };
    let random = muster_client::SystemRandom::new();
    if lock.is_some() {
        for name in folder.recover(&random)? {
            folder.mark_changed(&name, &random)?;
        }
    }
    let slots = folder.read()?;
    let sign_in = arguments.connection.sign_in()?;
    let own = if sign_in.is_empty() { identity(&slots) } else { None };
    let context = arguments.connection.open_as(own, sign_in.clone())?;
    let sources = arguments.sources.policies(&config, group, &context)?;
    let run = Run { folder, config: &config, connection: &arguments.connection, sign_in, context, output };

    let steps = Steps::new(output);
    steps.now("asking for the policy");
    let (policies, policy_reports, mut verdict) = run.policies(sources, &arguments.cache).await;
    let has_names = |template: &str| config.has_names(template);
    let conditions = Conditions {
        now: run.context.clock.now(),
        allowed,
        kind: kind.map(KindOption::kind),
        has_names: &has_names,
    };
    let mut certificates = Vec::new();
    for step in plan(&policies, &slots, &conditions) {
        let mut report = StepReport::new(&step);
        if !arguments.dry_run && step.action != Action::Leave {
            steps.now(format!("{} {}", report.action, step.name));
            let after = match run.carry_out(&step, &steps, &mut report).await {
                Ok(after) => after,
                Err(failure) => report.failed(&failure),
            };
            verdict = verdict.max(after);
        }
        certificates.push(report);
    }
    drop(steps);
    let changed = if arguments.dry_run { Vec::new() } else { run.folder.changed() };
    let after = arguments.after.as_ref().or(config.after.as_ref());
    let hook_error = if changed.is_empty() { None } else { run.hook(after, &store, &changed).await };
    if hook_error.is_some() {
        verdict = Verdict::Failed;
    }
    drop(lock);
    let report = Report {
        status: verdict.name(),
        dry_run: arguments.dry_run,
        policies: policy_reports,
        certificates,
        changed,
        hook_error,
    };
    report.print(output)?;
    Ok(ExitCode::from(verdict.code()))
}

fn lock(folder: &CertificateFolder) -> Result<muster_client::autoenroll::folder::Lock, ClientFailure> {
    folder.lock()?.ok_or_else(|| {
        ClientFailure::failed("another run is at work on the same folder", "wait until it has ended")
    })
}

/// The certificate of the folder that is good for longest, for TLS where nothing else is given.
fn identity(slots: &[Slot]) -> Option<ClientIdentity> {
    let end = |held: &&Held| held.certificate.as_ref().ok().map(|certificate| certificate.not_after());
    slots.iter().filter_map(|slot| slot.held.as_ref()).max_by_key(end).and_then(own)
}

fn own(held: &Held) -> Option<ClientIdentity> {
    let certificate = held.certificate.as_ref().ok()?;
    let key = PrivateKey::from_file(&held.key_file).ok()?;
    Some(ClientIdentity::new(vec![certificate.to_tls()], key.to_tls()))
}

impl Run<'_> {
    /// Asks for every policy; one that cannot be had does not keep the others from being followed.
    async fn policies(
        &self,
        sources: Vec<Vec<Candidate>>,
        cache: &CacheOptions,
    ) -> (Vec<Policy>, Vec<PolicyReport>, Verdict) {
        let kept = cache.open_or(self.config.cache_dir.as_ref());
        let (mut policies, mut reports, mut verdict) = (Vec::new(), Vec::new(), Verdict::Fine);
        for servers in sources {
            match policy::fetch_from(self.context.session(), servers, kept.as_ref(), cache.refresh).await {
                Ok(policy) => {
                    remark(self.output, &policy);
                    reports.push(PolicyReport {
                        policy_id: Some(policy.answer.response.policy_id.clone()),
                        source: Some(policy.source.to_string()),
                        freshness: Some(policy.freshness.name()),
                        error: None,
                    });
                    policies.push(policy);
                }
                Err(error) => {
                    let failure = ClientFailure::from(error);
                    verdict = verdict.max(Verdict::of(failure.kind()));
                    reports.push(PolicyReport {
                        policy_id: None,
                        source: None,
                        freshness: None,
                        error: Some(failure.lines()),
                    });
                }
            }
        }
        (policies, reports, verdict)
    }

    async fn carry_out(
        &self,
        step: &Step<'_>,
        steps: &Steps,
        report: &mut StepReport,
    ) -> Result<Verdict, ClientFailure> {
        let held = step.slot.and_then(|slot| slot.held.as_ref());
        let renewing = held.filter(|_| step.action == Action::Renew);
        let under = step.slot.and_then(|slot| slot.under.as_ref());
        // With nothing else to show, a renewal shows its own certificate.
        let own_context = match renewing.and_then(own) {
            Some(identity) if self.sign_in.is_empty() && self.connection.client_cert.is_none() => {
                Some(self.connection.open_as(Some(identity), self.sign_in.clone())?)
            }
            Some(_) | None => None,
        };
        let context = own_context.as_ref().unwrap_or(&self.context);
        let (enrollment, state) = match (step.action, under) {
            (Action::Fetch, Some(under)) => (Enrollment::load(&under.state)?, under.state.clone()),
            (_, _) => self.prepare(step, renewing, context).await?,
        };
        let mut enrollment = enrollment;
        let following = Following::nothing();
        let ending = run_enrollment(&mut enrollment, &state, context, &following, None, steps).await;
        report.request_id.clone_from(&enrollment.request_id);
        match ending {
            Ok(Ending::Issued(issued)) => {
                self.folder.mark_changed(&step.name, &context.random)?;
                self.folder.install(&step.name, &context.random)?;
                report.outcome = Some("done");
                report.certificate = Some(self.folder.certificate_file(&step.name));
                report.not_after = Some(issued.certificate.not_after().to_string());
                Ok(Verdict::Fine)
            }
            Ok(Ending::Pending) => {
                report.outcome = Some("pending");
                Ok(Verdict::Pending)
            }
            Err(failure) => {
                if self.folder.is_done(&step.name) {
                    self.folder.give_up(&step.name)?;
                }
                Err(failure)
            }
        }
    }

    /// Key and request, kept in the folder before anything is sent.
    async fn prepare(
        &self,
        step: &Step<'_>,
        renewing: Option<&Held>,
        context: &Context,
    ) -> Result<(Enrollment, PathBuf), ClientFailure> {
        let defect =
            || ClientFailure::failed("there is nothing to ask for", "this is a defect; please report it");
        let (policy, template) = step.template.ok_or_else(defect)?;
        let old = match renewing {
            Some(held) => Some((
                held.certificate.as_ref().map_err(|_| defect())?,
                PrivateKey::from_file(&held.key_file)?,
            )),
            None => None,
        };
        let names = match &old {
            Some((certificate, _)) => RequestedNames::of(certificate).map_err(|error| {
                ClientFailure::failed(format!("names of the certificate: {error}"), "enroll anew instead")
            })?,
            None => self.config.names(template.name())?,
        };
        let new_key = match &old {
            Some(_) if template.renewal_keeps_key() => None,
            Some(_) | None => Some(generate(template.key_type()?).await?),
        };
        let key = new_key.as_ref().or(old.as_ref().map(|(_, key)| key)).ok_or_else(defect)?;
        let record = Record::new(&policy.answer.response.policy_id, template);
        let (outputs, state) = self.folder.begin(&step.name, &record, key, &context.random)?;
        let proof = old.as_ref().map(|(certificate, key)| Old { certificate, key });
        let prepared = prepare(template, key, &names, proof, false, outputs, context);
        if prepared.is_err() {
            self.folder.give_up(&step.name)?;
        }
        Ok((prepared?, state))
    }

    /// Runs the hook; what it failed with. The note that it has to run goes only when it was well.
    async fn hook(
        &self,
        command: Option<&String>,
        store: &std::path::Path,
        changed: &[String],
    ) -> Option<String> {
        let Some(command) = command else {
            self.folder.clear_changed();
            return None;
        };
        let mut hook = std::process::Command::new("sh");
        hook.args(["-c", command]).env("MUSTER_CHANGED", changed.join(" ")).env("MUSTER_STORE", store);
        // Standard output belongs to the result.
        hook.stdin(std::process::Stdio::null()).stdout(std::io::stderr());
        match tokio::task::spawn_blocking(move || hook.status()).await {
            Ok(Ok(status)) if status.success() => {
                self.folder.clear_changed();
                None
            }
            Ok(Ok(status)) => Some(format!("{command}: {status}")),
            Ok(Err(error)) => Some(format!("{command}: {error}")),
            Err(error) => Some(format!("{command}: {error}")),
        }
    }
}

impl StepReport {
    fn new(step: &Step<'_>) -> Self {
        let held = step.slot.and_then(|slot| slot.held.as_ref());
        let template = match (step.template, step.slot) {
            (Some((_, template)), _) => template.name().to_owned(),
            (None, Some(slot)) => slot.record.template.clone(),
            (None, None) => String::new(),
        };
        Self {
            name: step.name.clone(),
            template,
            action: match step.action {
                Action::Enroll => "enroll",
                Action::Renew => "renew",
                Action::Fetch => "fetch",
                Action::Leave => "leave",
            },
            reason: step.reason.to_string(),
            outcome: None,
            error: None,
            hint: None,
            request_id: None,
            certificate: held.map(|held| held.certificate_file.clone()),
            not_after: held
                .and_then(|held| held.certificate.as_ref().ok())
                .map(|certificate| certificate.not_after().to_string()),
        }
    }

    fn failed(&mut self, failure: &ClientFailure) -> Verdict {
        let verdict = Verdict::of(failure.kind());
        self.outcome = Some(verdict.name());
        self.error = Some(failure.lines());
        self.hint = failure.hint().map(str::to_owned);
        verdict
    }
}

impl Report {
    fn print(&self, output: Output) -> Result<(), ClientFailure> {
        if output.json {
            return Ok(output.value(self, String::new)?);
        }
        for error in self.policies.iter().filter_map(|policy| policy.error.as_ref()) {
            output.note(format_args!("error: {error}"));
        }
        if !self.certificates.is_empty() {
            output.table(
                &self.certificates,
                &["NAME", "TEMPLATE", "TO DO", "BECAUSE", "RESULT"],
                |step| {
                    let result = if self.dry_run { "" } else { step.outcome.unwrap_or("-") };
                    [&step.name, &step.template, step.action, &step.reason, result]
                        .map(str::to_owned)
                        .to_vec()
                },
            )?;
        }
        for step in &self.certificates {
            if let Some(error) = &step.error {
                output.note(format_args!("error: {}: {error}", step.name));
            }
            if let Some(hint) = &step.hint {
                output.note(format_args!("hint: {hint}"));
            }
        }
        if self.certificates.is_empty() && self.policies.iter().any(|policy| policy.error.is_none()) {
            output.line("no template is offered for unattended enrollment")?;
        }
        if let Some(error) = &self.hook_error {
            output.note(format_args!("error: the hook failed: {error}"));
            output.note("hint: it runs again with the next run");
        }
        Ok(())
    }
}
