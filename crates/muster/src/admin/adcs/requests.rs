//! `muster adcs templates`, `requests`, `approve`, `deny`, `revoke`: what the authority has, and what its officers do.

use clap::Args;
use muster_adcs::{Disposition, HResult, RequestRow, RevocationReason, Wanted};
use muster_core::UnixTime;
use muster_core::revocation::Reason;
use serde::Serialize;

use super::Authority;
use crate::admin::now;
use crate::output::{Failure, Outcome, Output};

#[derive(Debug, Args)]
pub(super) struct Requests {
    /// Only those that wait for an officer.
    #[arg(long)]
    pending: bool,
    /// The requests of this service whose call broke, with what the authority has of them.
    #[arg(long, conflicts_with = "pending")]
    pub(super) unknown: bool,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// Serial number, as 'muster adcs requests' shows it.
    serial: String,
    /// unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation or
    /// certificateHold.
    #[arg(long, default_value = "unspecified")]
    reason: Reason,
    /// End a hold: the certificate is valid again.
    #[arg(long, conflicts_with = "reason")]
    release: bool,
}

/// A request as it is printed.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) id: u32,
    submitted: Option<String>,
    requester: String,
    template: String,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    serial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    message: String,
}

impl From<RequestRow> for Row {
    fn from(row: RequestRow) -> Self {
        Self {
            id: row.id,
            submitted: row.submitted.map(|at| UnixTime(at).to_string()),
            requester: row.requester,
            template: row.template,
            state: row.state.map_or("unknown", muster_adcs::RequestState::word),
            serial: row.serial,
            status: row.status.map(|status| status.to_string()),
            message: row.message,
        }
    }
}

pub(super) async fn list(requests: &Requests, authority: &Authority, output: Output) -> Outcome {
    let failure = |error| authority.failure(&error);
    let mut officer = authority.connector.officer(&authority.identity).await.map_err(failure)?;
    let limit = usize::try_from(requests.limit)?;
    let listed = officer.requests(Wanted { pending: requests.pending, limit }).await;
    let rows: Vec<Row> = listed.map_err(failure)?.into_iter().map(Row::from).collect();
    officer.close().await;
    output.table(&rows, &["ID", "SUBMITTED", "REQUESTER", "TEMPLATE", "STATE", "SERIAL", "MESSAGE"], |row| {
        let words = [row.status.clone().unwrap_or_default(), row.message.clone()];
        vec![
            row.id.to_string(),
            row.submitted.clone().unwrap_or_default(),
            row.requester.clone(),
            row.template.clone(),
            row.state.to_owned(),
            row.serial.clone(),
            words.join(" ").trim().to_owned(),
        ]
    })
}

#[derive(Serialize)]
struct Template {
    name: String,
    oid: String,
}

pub(super) async fn templates(authority: &Authority, output: Output) -> Outcome {
    let failure = |error| authority.failure(&error);
    // Whoever may read can ask by the officers' interface, and whoever may request by that for requests.
    let mut officer = authority.connector.officer(&authority.identity).await.map_err(failure)?;
    let mut health = officer.health().await.map_err(failure)?;
    officer.close().await;
    if health.name.is_none() {
        health = authority.connector.health(&authority.identity).await.map_err(failure)?;
    }
    if health.name.is_none() {
        return Err(Failure::new(format_args!(
            "{} does not tell its templates to this account",
            authority.name
        ))
        .hint("give the account \"Read\" on the authority"));
    }
    let rows: Vec<Template> =
        health.templates.into_iter().map(|one| Template { name: one.name, oid: one.oid }).collect();
    output.table(&rows, &["NAME", "OID"], |row| vec![row.name.clone(), row.oid.clone()])
}

#[derive(Serialize)]
struct Decided {
    ca: String,
    id: u32,
    state: &'static str,
}

pub(super) async fn approve(id: u32, authority: &Authority, output: Output) -> Outcome {
    let failure = |error| authority.failure(&error);
    let mut officer = authority.connector.officer(&authority.identity).await.map_err(failure)?;
    let disposition = officer.approve(id).await.map_err(failure)?;
    officer.close().await;
    let refused = |why: &dyn std::fmt::Display| {
        Err(Failure::new(format_args!("{} did not issue request {id}: {why}", authority.name))
            .hint("'muster adcs requests' shows what it says of it"))
    };
    let state = match disposition {
        Disposition::Issued => "issued",
        Disposition::Pending => "pending",
        Disposition::Failed(HResult::PROPERTY_EMPTY) => return refused(&"it has no such request"),
        Disposition::Failed(HResult::BAD_REQUEST_STATUS) => {
            return refused(&"it does not wait for an officer");
        }
        Disposition::Failed(result) => return refused(&result),
        Disposition::Denied => return refused(&"its policy denied it"),
        Disposition::Revoked | Disposition::Foreign => return refused(&"it was revoked, or is another's"),
    };
    let decided = Decided { ca: authority.name.clone(), id, state };
    output.value(&decided, || match state {
        "issued" => format!("request {id} was issued by {}", authority.name),
        _ => format!("request {id} still waits at {}", authority.name),
    })
}

pub(super) async fn deny(id: u32, authority: &Authority, output: Output) -> Outcome {
    let failure = |error| authority.failure(&error);
    let mut officer = authority.connector.officer(&authority.identity).await.map_err(failure)?;
    officer.deny(id).await.map_err(failure)?;
    officer.close().await;
    let decided = Decided { ca: authority.name.clone(), id, state: "denied" };
    output.value(&decided, || format!("request {id} was denied at {}", authority.name))
}

#[derive(Serialize)]
struct Revoked {
    ca: String,
    serial: String,
    reason: &'static str,
}

pub(super) async fn revoke(revoke: &Revoke, authority: &Authority, output: Output) -> Outcome {
    let serial = serial(&revoke.serial)?;
    let reason = match revoke.reason {
        _ if revoke.release => RevocationReason::ReleaseFromHold,
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::CaCompromise => RevocationReason::CaCompromise,
        Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
        Reason::CertificateHold => RevocationReason::CertificateHold,
        Reason::PrivilegeWithdrawn => {
            return Err(Failure::new("AD CS does not know the reason privilegeWithdrawn")
                .hint("cessationOfOperation and affiliationChanged are the nearest"));
        }
    };
    let failure = |error| authority.failure(&error);
    let mut officer = authority.connector.officer(&authority.identity).await.map_err(failure)?;
    officer.revoke(&serial, reason, now().0).await.map_err(failure)?;
    officer.close().await;
    let word = if revoke.release { "release" } else { revoke.reason.as_str() };
    let revoked = Revoked { ca: authority.name.clone(), serial: serial.clone(), reason: word };
    output.value(&revoked, || {
        if revoke.release {
            format!(
                "certificate {serial} of {} is valid again; its next revocation list says so",
                authority.name
            )
        } else {
            format!(
                "certificate {serial} of {} is revoked ({word}); its next revocation list says so",
                authority.name
            )
        }
    })
}

/// The digits as the authority's database has them.
fn serial(text: &str) -> Outcome<String> {
    let digits: String = text.chars().filter(|character| !matches!(character, ':' | ' ')).collect();
    let digits = digits.to_ascii_lowercase();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    if digits.is_empty() || digits.len() > 62 || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Failure::new(format_args!("{text:?} is no serial number"))
            .hint("'muster adcs requests' shows them, in hexadecimal digits"));
    }
    Ok(digits.to_owned())
}
