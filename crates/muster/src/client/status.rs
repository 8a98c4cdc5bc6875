//! `muster status`: looks, and changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use muster_client::Endpoint;
use muster_client::enrollment::{Enrollment, Progress, Status as Stage};
use muster_client::status::{RequestStatus, request_status};
use serde::Serialize;

use super::failure::{ClientFailure, Kind, PENDING};
use super::options::Connection;
use super::report::{CertificateReport, Steps};
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The state file of the request.
    #[arg(long, value_name = "FILE", required_unless_present = "request_id")]
    state: Option<PathBuf>,
    /// The CA's number of the request, if there is no state file.
    #[arg(long, value_name = "NUMBER", requires = "url", conflicts_with = "state")]
    request_id: Option<String>,
    /// URL of the enrollment service (CES) that has the request.
    #[arg(long, value_name = "URL", requires = "request_id")]
    url: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    request_id: Option<String>,
    endpoint: String,
    message: String,
    certificate: Option<CertificateReport>,
    /// Whether the certificate was checked against the CA of the policy and the key of the request.
    verified: bool,
}

pub(crate) async fn run(arguments: Status, output: Output) -> Result<ExitCode, ClientFailure> {
    let context = arguments.connection.open(None)?;
    let steps = Steps::new(output);
    steps.now("asking for the decision");
    let report = match (arguments.state, arguments.request_id, arguments.url) {
        (Some(state), _, _) => {
            let mut enrollment = Enrollment::load(&state)?;
            if enrollment.status != Stage::Pending {
                return Err(ClientFailure::new(
                    Kind::Unknown,
                    "it is not known whether the service has the request",
                    format!("send it again with: muster enroll --resume --state {}", state.display()),
                )
                .with_state(state.display()));
            }
            let progress = enrollment.query(context.session()).await?;
            let endpoint = enrollment.target().map(|target| target.url.clone()).unwrap_or_default();
            let (status, certificate) = match progress {
                Progress::Issued(issued) => ("issued", Some(CertificateReport::new(&issued.certificate))),
                Progress::Pending => ("pending", None),
            };
            let verified = certificate.is_some();
            let Enrollment { request_id, message, .. } = enrollment;
            if verified {
                output.note(format_args!(
                    "hint: fetch it with: muster enroll --resume --state {}",
                    state.display()
                ));
            }
            Report { status, request_id, endpoint, message, certificate, verified }
        }
        (None, Some(request_id), Some(url)) => {
            let endpoint: Endpoint = url.parse()?;
            let (status, message, certificate) =
                match request_status(context.session(), &endpoint, &request_id).await? {
                    RequestStatus::Pending { message } => ("pending", message, None),
                    RequestStatus::Issued { message, certificate } => {
                        ("issued", message, Some(CertificateReport::new(&certificate)))
                    }
                };
            let endpoint = endpoint.to_string();
            Report { status, request_id: Some(request_id), endpoint, message, certificate, verified: false }
        }
        (None, _, _) => {
            return Err(ClientFailure::usage(
                "--state or --request-id is needed",
                "see muster status --help",
            ));
        }
    };
    drop(steps);
    output.value(&report, || {
        let id = report.request_id.as_deref().unwrap_or("(without number)");
        let mut text = format!("request {id} is {}: {}\n", report.status, report.message);
        if let Some(certificate) = &report.certificate {
            text.push_str(&certificate.lines());
        }
        text
    })?;
    Ok(if report.status == "pending" { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
}
