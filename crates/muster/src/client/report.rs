//! What the client shows while it works and when it is done.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use muster_client::answer::IssuedCertificate;
use muster_client::certificate::Certificate;
use muster_client::enrollment::{Enrollment, OutputFiles};
use serde::Serialize;

use super::failure::{ClientFailure, PENDING};
use crate::output::Output;

/// What is going on, on a terminal; nothing elsewhere.
pub(crate) struct Steps(Option<ProgressBar>);

impl Steps {
    pub(crate) fn new(output: Output) -> Self {
        if output.json || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        // The template is a constant that is known to parse; without it the default style serves.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    pub(crate) fn now(&self, what: impl Into<String>) {
        if let Some(bar) = &self.0 {
            bar.set_message(what.into());
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A certificate, for --json and for people.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateReport {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) not_before: String,
    pub(crate) not_after: String,
}

impl CertificateReport {
    pub(crate) fn new(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
        }
    }

    pub(crate) fn lines(&self) -> String {
        format!(
            "subject      {}\nissuer       {}\nserial       {}\nvalid        {} to {}\n",
            if self.subject.is_empty() { "(empty)" } else { &self.subject },
            self.issuer,
            self.serial,
            self.not_before,
            self.not_after,
        )
    }
}

#[derive(Debug, Serialize)]
struct IssuedReport<'a> {
    status: &'static str,
    template: &'a str,
    endpoint: &'a str,
    request_id: Option<&'a str>,
    message: &'a str,
    certificate: CertificateReport,
    files: FilesReport<'a>,
    /// SHA-1 was part of a signature on the way.
    sha1: bool,
}

#[derive(Debug, Serialize)]
struct FilesReport<'a> {
    certificate: &'a Path,
    key: &'a Path,
    chain: Option<&'a Path>,
    full_chain: Option<&'a Path>,
    pkcs12: Option<&'a Path>,
}

/// Prints that a certificate is there.
pub(crate) fn issued(
    output: Output,
    enrollment: &Enrollment,
    issued: &IssuedCertificate,
    pkcs12: Option<&Path>,
) -> Result<ExitCode, ClientFailure> {
    let OutputFiles { key, certificate, chain, full_chain, .. } = &enrollment.files;
    if issued.sha1 {
        output.note("warning: the CA signs with SHA-1, which others may not accept");
    }
    let report = IssuedReport {
        status: "issued",
        template: &enrollment.template,
        endpoint: enrollment.target().map_or("", |target| &target.url),
        request_id: issued.request_id.as_deref(),
        message: &issued.message,
        certificate: CertificateReport::new(&issued.certificate),
        files: FilesReport {
            certificate,
            key,
            chain: chain.as_deref(),
            full_chain: full_chain.as_deref(),
            pkcs12,
        },
        sha1: issued.sha1,
    };
    output.value(&report, || {
        let mut text = report.certificate.lines();
        text.push_str(&format!("certificate  {}\nkey          {}\n", certificate.display(), key.display()));
        for (name, file) in
            [("chain", chain.as_deref()), ("full chain", full_chain.as_deref()), ("PKCS#12", pkcs12)]
        {
            if let Some(file) = file {
                text.push_str(&format!("{name:<11}  {}\n", file.display()));
            }
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Serialize)]
struct PendingReport<'a> {
    status: &'static str,
    template: &'a str,
    endpoint: &'a str,
    request_id: Option<&'a str>,
    message: &'a str,
    state: &'a Path,
}

/// Prints that a decision is awaited.
pub(crate) fn pending(
    output: Output,
    enrollment: &Enrollment,
    state: &Path,
) -> Result<ExitCode, ClientFailure> {
    let report = PendingReport {
        status: "pending",
        template: &enrollment.template,
        endpoint: enrollment.target().map_or("", |target| &target.url),
        request_id: enrollment.request_id.as_deref(),
        message: &enrollment.message,
        state,
    };
    output.value(&report, || {
        format!(
            "request {} is pending: {}\nstate        {}",
            report.request_id.unwrap_or("(without number)"),
            report.message,
            state.display()
        )
    })?;
    output.note(format_args!("hint: continue with: muster enroll --resume --state {}", state.display()));
    Ok(ExitCode::from(PENDING))
}
