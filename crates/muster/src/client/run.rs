//! From a prepared enrollment to its end: what `enroll`, `renew` and `--resume` have in common.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use muster_client::answer::IssuedCertificate;
use muster_client::enrollment::{Enrollment, EnrollmentError, OutputFiles, Patience, Progress, Status};
use muster_client::failover::OnUnknown;
use muster_client::files::{self, Access, Existing};
use muster_client::key::PrivateKey;
use muster_client::pkcs12;

use super::failure::ClientFailure;
use super::options::{Context, ask, first_line};
use super::report::{self, Steps};
use crate::output::Output;

/// Options about what follows the request.
#[derive(Debug, Args)]
pub(crate) struct Following {
    /// Wait up to so many seconds for the decision about a pending request.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) wait: u64,
    /// If a server may have acted but did not answer, go on to the next. This can issue a second certificate.
    #[arg(long)]
    pub(crate) retry_unknown: bool,
    /// Also write key, certificate and chain as PKCS#12.
    #[arg(long, value_name = "FILE")]
    pub(crate) pkcs12: Option<PathBuf>,
    /// File with the password for the PKCS#12 file in its first line; otherwise it is asked for.
    #[arg(long, value_name = "FILE", requires = "pkcs12")]
    pub(crate) pkcs12_password_file: Option<PathBuf>,
    /// Replace files that exist, and give up an earlier request for them; renew a certificate before it is due.
    #[arg(long)]
    pub(crate) force: bool,
}

/// A PKCS#12 file to be written.
pub(crate) struct Bundle {
    file: PathBuf,
    password: String,
}

impl Following {
    /// One question, nothing else.
    pub(crate) const fn nothing() -> Self {
        Self { wait: 0, retry_unknown: false, pkcs12: None, pkcs12_password_file: None, force: false }
    }

    pub(crate) const fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Keep }
    }

    /// Gets the password before anything is asked for, so that nothing is issued in vain.
    pub(crate) fn bundle(&self, existing: Existing) -> Result<Option<Bundle>, ClientFailure> {
        let Some(file) = &self.pkcs12 else { return Ok(None) };
        files::check(file, existing)?;
        let password = match &self.pkcs12_password_file {
            Some(file) => first_line(file)?,
            None => ask("Password for the PKCS#12 file", true, "--pkcs12-password-file")?,
        };
        Ok(Some(Bundle { file: file.clone(), password }))
    }
}

/// How an enrollment ended without failing.
pub(crate) enum Ending {
    Issued(Box<IssuedCertificate>),
    Pending,
}

/// Fails if an earlier request for the same files is under way, unless it is to be given up.
pub(crate) fn check_state(state: &Path, force: bool) -> Result<(), ClientFailure> {
    if !state.exists() {
        return Ok(());
    }
    if !force {
        return Err(ClientFailure::failed(
            format!("an earlier request for the same files is under way ({})", state.display()),
            format!(
                "continue it with: muster enroll --resume --state {}; or give it up with --force",
                state.display()
            ),
        ));
    }
    if let Ok(earlier) = Enrollment::load(state) {
        earlier.files.discard();
    }
    remove(state);
    Ok(())
}

/// Writes a new key beside its final place.
pub(crate) fn keep_key(
    key: &PrivateKey,
    files: &OutputFiles,
    context: &Context,
) -> Result<(), ClientFailure> {
    if let Some(new) = &files.new_key {
        key.write(new, Existing::Replace, &context.random)?;
    }
    Ok(())
}

/// Sends the request or asks for its status, and keeps the state file true all the while.
pub(crate) async fn run(
    enrollment: &mut Enrollment,
    state: &Path,
    context: &Context,
    following: &Following,
    bundle: Option<&Bundle>,
    steps: &Steps,
) -> Result<Ending, ClientFailure> {
    enrollment.save(state, &context.random)?;
    let on_unknown = if following.retry_unknown { OnUnknown::GoOn } else { OnUnknown::Stop };
    let session = context.session();
    let mut progress = match enrollment.status {
        Status::Prepared | Status::Unknown => {
            steps.now("asking for the certificate");
            enrollment.submit(session, on_unknown).await
        }
        Status::Pending => {
            steps.now("asking for the decision");
            enrollment.query(session).await
        }
    };
    if matches!(progress, Ok(Progress::Pending)) && following.wait > 0 {
        enrollment.save(state, &context.random)?;
        let id = enrollment.request_id.clone().unwrap_or_default();
        steps.now(format!("request {id} is pending: waiting for the decision"));
        let patience = Patience::new(Duration::from_secs(following.wait));
        progress = enrollment.wait(session, patience).await;
    }
    match progress {
        Ok(Progress::Issued(issued)) => {
            // Should this end here, the certificate can be asked for by its number.
            enrollment.save(state, &context.random)?;
            finish(enrollment, &issued, context, bundle)?;
            remove(state);
            Ok(Ending::Issued(issued))
        }
        Ok(Progress::Pending) => {
            enrollment.save(state, &context.random)?;
            Ok(Ending::Pending)
        }
        Err(error) => Err(give_up(error, enrollment, state, context)),
    }
}

/// Removes what a request left behind that is done with; keeps what is needed to continue.
fn give_up(
    error: EnrollmentError,
    enrollment: &Enrollment,
    state: &Path,
    context: &Context,
) -> ClientFailure {
    // A server that cannot be reached now says nothing about a request that it has already.
    let unreachable = matches!(&error, EnrollmentError::Service(service) if !service.attempts().is_empty());
    if error.is_final() && !(unreachable && enrollment.status == Status::Pending) {
        enrollment.files.discard();
        remove(state);
        return error.into();
    }
    match enrollment.save(state, &context.random) {
        Ok(()) => ClientFailure::from(error).with_state(state.display()),
        Err(also) => {
            ClientFailure::failed(format!("{error}; and the state cannot be kept: {also}"), also.hint())
        }
    }
}

fn finish(
    enrollment: &Enrollment,
    issued: &IssuedCertificate,
    context: &Context,
    bundle: Option<&Bundle>,
) -> Result<(), ClientFailure> {
    if let Some(bundle) = bundle {
        let key = PrivateKey::from_file(enrollment.files.current_key())?;
        let IssuedCertificate { certificate, chain, .. } = issued;
        let content = pkcs12::encode(&key, certificate, chain, &bundle.password, &context.random)?;
        files::write(&bundle.file, &content, Access::Private, Existing::Replace, &context.random)?;
    }
    Ok(enrollment.files.install(issued, &context.random)?)
}

fn remove(file: &Path) {
    // If it is not there, all is well.
    let _ = std::fs::remove_file(file);
}

/// Runs and reports.
pub(crate) async fn run_and_report(
    mut enrollment: Enrollment,
    state: &Path,
    context: &Context,
    following: &Following,
    bundle: Option<Bundle>,
    output: Output,
) -> Result<ExitCode, ClientFailure> {
    let ending = {
        let steps = Steps::new(output);
        run(&mut enrollment, state, context, following, bundle.as_ref(), &steps).await?
    };
    match ending {
        Ending::Issued(issued) => {
            report::issued(output, &enrollment, &issued, bundle.as_ref().map(|b| b.file.as_path()))
        }
        Ending::Pending => report::pending(output, &enrollment, state),
    }
}

/// A file name with something behind it.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
