//! `muster request …`: the officer's view.

use clap::Subcommand;
use muster_core::RequestId;
use muster_store::{Disposition, RequestFilter, RequestSummary};
use serde::Serialize;

use super::{Admin, now};
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    /// List requests, newest first.
    List {
        /// Only those with this disposition: pending, approved, signing, issued, denied, failed; of requests that another
        /// CA decides also submitting, under_submission, unknown.
        #[arg(long)]
        disposition: Option<Disposition>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show everything about a request: who asked for what, and what became of it.
    Show {
        /// Its number.
        id: RequestId,
    },
    /// Approve a pending request; the client gets the certificate when it asks next.
    Approve {
        /// Its number.
        id: RequestId,
    },
    /// Deny a pending request.
    Deny {
        /// Its number.
        id: RequestId,
        /// What the requester reads.
        #[arg(long)]
        comment: String,
    },
}

#[derive(Serialize)]
struct Row {
    id: u32,
    received: String,
    requester: String,
    method: &'static str,
    form: String,
    template: Option<String>,
    endpoint: String,
    disposition: &'static str,
    code: Option<String>,
    message: Option<String>,
    /// The CA that it was passed on to, if that is not the embedded one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    /// That CA's own number of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_request_id: Option<u32>,
    officer: Option<String>,
    comment: Option<String>,
    /// Identifier and revision of the template that the officer approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submitted_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asks_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    /// In whose name the other CA was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<String>,
    /// The other CA's number of the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    hresult: Option<String>,
}

impl From<RequestSummary> for Row {
    fn from(row: RequestSummary) -> Self {
        let (officer, comment, approved_for) =
            row.decision.map_or((None, None, None), |d| (Some(d.officer), d.comment, d.approved_for));
        let (ca, ca_request_id) =
            row.forwarded_to.map_or((None, None), |to| (Some(to.ca), to.backend_request_id));
        Self {
            id: row.id.number(),
            received: row.received.to_string(),
            requester: row.requester.to_string(),
            method: row.method.as_str(),
            form: row.form,
            template: row.template,
            endpoint: row.endpoint,
            disposition: row.disposition.as_str(),
            code: row.code,
            message: row.message,
            ca,
            ca_request_id,
            officer,
            comment,
            approved_for,
            submitted_by: None,
            asks_for: None,
            serial: None,
            identity: None,
            sent: None,
            answered: None,
            hresult: None,
        }
    }
}

pub(crate) async fn run(command: Request, admin: &Admin, output: Output) -> Outcome {
    let store = &admin.store;
    match command {
        Request::List { disposition, limit } => {
            let filter = RequestFilter { disposition, limit, ..RequestFilter::default() };
            let rows: Vec<Row> = store.requests(filter).await?.into_iter().map(Row::from).collect();
            output.table(
                &rows,
                &["ID", "RECEIVED", "REQUESTER", "TEMPLATE", "DISPOSITION", "REASON", "CA"],
                |row| {
                    let number = row.ca_request_id.map(|number| format!(" {number}")).unwrap_or_default();
                    vec![
                        row.id.to_string(),
                        row.received.clone(),
                        row.requester.clone(),
                        row.template.clone().unwrap_or_default(),
                        row.disposition.to_owned(),
                        row.code.clone().unwrap_or_default(),
                        row.ca.as_ref().map(|ca| format!("{ca}{number}")).unwrap_or_default(),
                    ]
                },
            )
        }
        Request::Show { id } => {
            let request = store.request(id).await?.ok_or_else(|| unknown(id))?;
            let mut row = Row::from(request.summary);
            row.submitted_by = Some(request.submitted_by);
            row.asks_for = muster_server::describe_request(&request.raw);
            row.serial = request.certificate.map(|(serial, _)| serial.to_string());
            if let Some(forwarding) = request.forwarding {
                row.identity = Some(forwarding.identity.as_str());
                row.sent = Some(forwarding.sent.to_string());
                row.answered = forwarding.settled.map(|at| at.to_string());
                row.hresult = forwarding.hresult.map(|number| format!("{number:#010X}"));
            }
            output.value(&row, || toml::to_string(&row).unwrap_or_default())
        }
        Request::Approve { id } => {
            let revision = store.approve(id, admin.officer.clone(), now()).await?;
            let revision = revision.as_deref().and_then(|revision| revision.rsplit(' ').next());
            let template =
                revision.map_or_else(String::new, |r| format!(" for revision {r} of its template"));
            output.note(format_args!(
                "request {id} is approved{template}; the client gets its certificate when it asks next"
            ));
            Ok(())
        }
        Request::Deny { id, comment } => {
            store.deny(id, admin.officer.clone(), comment, now()).await?;
            output.note(format_args!("request {id} is denied"));
            Ok(())
        }
    }
}

fn unknown(id: RequestId) -> Failure {
    Failure::new(format_args!("there is no request {id}")).hint("'muster request list' shows the newest")
}
