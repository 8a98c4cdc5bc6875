//! `muster audit …`

use clap::Subcommand;
use muster_core::RequestId;
use muster_store::{AuditFilter, AuditRecord};
use serde::Serialize;

use super::Admin;
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List records, newest first.
    List {
        /// Only about this request.
        #[arg(long)]
        request: Option<RequestId>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Verify that no record was changed, removed or inserted.
    Verify,
}

#[derive(Serialize)]
struct Row {
    sequence: u64,
    at: String,
    actor: String,
    action: String,
    object: Option<String>,
    template: Option<String>,
    request: Option<u32>,
    serial: Option<String>,
    outcome: String,
}

impl From<AuditRecord> for Row {
    fn from(record: AuditRecord) -> Self {
        Self {
            sequence: record.sequence,
            at: record.at.to_string(),
            actor: record.actor,
            action: record.action,
            object: record.object,
            template: record.template,
            request: record.request.map(RequestId::number),
            serial: record.serial.map(|s| s.to_string()),
            outcome: record.outcome,
        }
    }
}

pub(crate) async fn run(command: Audit, admin: &Admin, output: Output) -> Outcome {
    match command {
        Audit::List { request, limit } => {
            let filter = AuditFilter { request, limit, ..AuditFilter::default() };
            let rows: Vec<Row> = admin.store.audit_list(filter).await?.into_iter().map(Row::from).collect();
            output.table(&rows, &["#", "AT", "ACTOR", "ACTION", "REQUEST", "OBJECT", "OUTCOME"], |row| {
                vec![
                    row.sequence.to_string(),
                    row.at.clone(),
                    row.actor.clone(),
                    row.action.clone(),
                    row.request.map(|r| r.to_string()).unwrap_or_default(),
                    row.object
                        .clone()
                        .or_else(|| row.template.clone())
                        .unwrap_or_default()
                        .chars()
                        .take(24)
                        .collect(),
                    row.outcome.clone(),
                ]
            })
        }
        Audit::Verify => {
            #[derive(Serialize)]
            struct Report {
                records: u64,
                head: String,
                faults: Vec<String>,
            }
            let report = admin.store.audit_verify().await?;
            let report = Report {
                records: report.records,
                head: report.head.hash.iter().map(|b| format!("{b:02x}")).collect(),
                faults: report.faults.iter().map(ToString::to_string).collect(),
            };
            output.value(&report, || format!("{} records, head {}", report.records, report.head))?;
            match report.faults.first() {
                None => Ok(()),
                Some(first) => Err(Failure::new(format_args!("the audit log was tampered with: {first}"))
                    .hint(format_args!("{} faults in all; --json lists them", report.faults.len()))),
            }
        }
    }
}
