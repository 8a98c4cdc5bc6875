//! `muster adcs requests --unknown` and `settle`: requests of ours whose call broke, and what became of them.
//!
//! Such a request is never sent again by itself. An authority whose database may be read says whether it has the request's
//! key; an administrator writes down what came of it.

use std::collections::BTreeMap;

use clap::Args;
use muster_adcs::{Answer, Expected, Found, RequestState, check_reply};
use muster_core::RequestId;
use muster_core::forwarding::{self, Outcome as Became, Settlement};
use muster_server::check_names;
use muster_store::{Disposition, ForwardedFilter, ForwardedRequest, Forwarding};
use serde::Serialize;

use super::{Authority, choose};
use crate::admin::{Admin, now};
use crate::output::{Failure, Outcome, Output};

/// Before the time at which we wrote a request down, by the authority's clock: clocks differ by five minutes at most, or
/// there would have been no ticket.
const CLOCKS: i64 = 600;
/// CRYPT_E_REVOKED.
const REVOKED: u32 = 0x8009_2010;

#[derive(Debug, Args)]
pub(super) struct Settle {
    /// Our number of the request.
    id: RequestId,
    /// The authority has it, under this number of its own; what became of it there is looked up.
    #[arg(long, value_name = "NUMBER", required_unless_present = "not_submitted")]
    issued: Option<u32>,
    /// The authority did not get it: the same request may be sent again.
    #[arg(long, conflicts_with = "issued")]
    not_submitted: bool,
}

#[derive(Serialize)]
struct Row {
    id: u32,
    ca: String,
    requester: String,
    template: Option<String>,
    sent: String,
    message: Option<String>,
    /// The authority's own numbers of requests with the same key.
    ca_request_ids: Vec<u32>,
    at_the_authority: String,
}

pub(super) async fn unknown(admin: &Admin, ca: Option<&str>, as_me: bool, output: Output) -> Outcome {
    let filter = ForwardedFilter {
        disposition: Some(Disposition::Unknown),
        ca: ca.map(str::to_owned),
        ..ForwardedFilter::default()
    };
    let waiting = admin.store.forwarded(filter).await?;
    let mut authorities: BTreeMap<String, Result<Authority, String>> = BTreeMap::new();
    let mut rows = Vec::new();
    for request in waiting {
        let name = request.forwarding.ca.clone();
        let authority = authorities.entry(name.clone()).or_insert_with(|| {
            let known = choose(&admin.settings, Some(&name)).and_then(|ca| Authority::of(ca, as_me));
            known.map_err(|failure| failure.into_parts().0)
        });
        let (numbers, there) = match authority {
            Err(why) => (Vec::new(), why.clone()),
            Ok(authority) => looked_up(authority, &request.forwarding).await,
        };
        rows.push(row(request, numbers, there));
    }
    output.table(&rows, &["ID", "CA", "REQUESTER", "TEMPLATE", "SENT", "AT THE AUTHORITY"], |row| {
        vec![
            row.id.to_string(),
            row.ca.clone(),
            row.requester.clone(),
            row.template.clone().unwrap_or_default(),
            row.sent.clone(),
            row.at_the_authority.clone(),
        ]
    })?;
    if !rows.is_empty() && !output.json {
        output.note(
            "'muster adcs settle ID --issued NUMBER' or '--not-submitted' writes down what became of one",
        );
    }
    Ok(())
}

fn row(request: ForwardedRequest, ca_request_ids: Vec<u32>, at_the_authority: String) -> Row {
    let ForwardedRequest { summary, forwarding } = request;
    Row {
        id: summary.id.number(),
        ca: forwarding.ca,
        requester: summary.requester.to_string(),
        template: summary.template,
        sent: forwarding.sent.to_string(),
        message: summary.message,
        ca_request_ids,
        at_the_authority,
    }
}

/// The authority's numbers of requests with this key, and a sentence.
async fn looked_up(authority: &Authority, forwarding: &Forwarding) -> (Vec<u32>, String) {
    let since = forwarding.sent.0 - CLOCKS;
    match authority.connector.find(&authority.identity, &forwarding.expected.spki, since).await {
        Ok(Found::Found(rows)) => {
            let one = |row: &muster_adcs::RequestRow| {
                format!("{} as request {}", row.state.map_or("there", RequestState::word), row.id)
            };
            (rows.iter().map(|row| row.id).collect(), rows.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Ok(Found::NotFound) => (Vec::new(), "not there: it did not get it".to_owned()),
        Ok(Found::Untold(rows)) => {
            (Vec::new(), format!("not known: of {} requests since then it has kept no key", rows.len()))
        }
        Ok(Found::NotPermitted) => {
            (Vec::new(), "not known: the account may not read its database".to_owned())
        }
        Ok(Found::TooMany { looked_through }) => {
            (Vec::new(), format!("not known: not among the first {looked_through} requests since then"))
        }
        Err(error) => (Vec::new(), format!("not known: {error}")),
    }
}

#[derive(Serialize)]
struct Settled {
    id: u32,
    ca: String,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_request_id: Option<u32>,
}

pub(super) async fn run(settle: &Settle, admin: &Admin, as_me: bool, output: Output) -> Outcome {
    let id = settle.id;
    let request = admin.store.request(id).await?;
    let request = request.ok_or_else(|| Failure::new(format_args!("there is no request {id}")))?;
    let disposition = request.summary.disposition;
    let Some(forwarding) = request.forwarding.filter(|_| disposition == Disposition::Unknown) else {
        return Err(Failure::new(format_args!(
            "request {id} is {}: only of unknown ones can be said what became of them",
            disposition.as_str()
        ))
        .hint("'muster adcs requests --unknown' lists those"));
    };
    let authority = choose(&admin.settings, Some(&forwarding.ca)).and_then(|ca| Authority::of(ca, as_me));
    let outcome = match settle.issued {
        None => not_submitted(&authority, &forwarding, &admin.officer, output).await?,
        Some(number) => found(&authority?, &forwarding, number).await?,
    };
    let (word, ca_request_id) = match &outcome {
        Became::Issued { backend_id, .. } => ("issued", Some(*backend_id)),
        Became::UnderSubmission { backend_id, .. } => ("under_submission", Some(*backend_id)),
        Became::Denied { backend_id, .. } => ("denied", *backend_id),
        Became::NotSubmitted { .. } => ("failed", None),
        Became::Unknown { .. } | Became::Untrusted { .. } => ("unknown", None),
    };
    let settlement = Settlement { id, actor: admin.actor(), outcome, at: now() };
    admin.store.try_settle(settlement).await?;
    let settled = Settled { id: id.number(), ca: forwarding.ca.clone(), disposition: word, ca_request_id };
    output.value(&settled, || match ca_request_id {
        Some(number) => format!("request {id} is {word}: request {number} of {}", forwarding.ca),
        None => format!("request {id} is {word}: {} did not get it", forwarding.ca),
    })
}

/// Believed, unless the authority says otherwise.
async fn not_submitted(
    authority: &Outcome<Authority>,
    forwarding: &Forwarding,
    officer: &str,
    output: Output,
) -> Outcome<Became> {
    let why = format!("{officer} says that {} did not get it", forwarding.ca);
    let Ok(authority) = authority else {
        output.note("note: whether the authority has it could not be looked up");
        return Ok(Became::NotSubmitted { why });
    };
    let (numbers, there) = looked_up(authority, forwarding).await;
    if let [number, ..] = numbers.as_slice() {
        return Err(Failure::new(format_args!("{} has it: {there}", forwarding.ca))
            .hint(format_args!("settle it with --issued {number}")));
    }
    output.note(format_args!("note: at the authority: {there}"));
    Ok(Became::NotSubmitted { why })
}

/// What the authority's request of this number has become, if it is the same request.
async fn found(authority: &Authority, forwarding: &Forwarding, number: u32) -> Outcome<Became> {
    let wanted = &forwarding.expected;
    let expected = muster_server::expected(wanted);
    let (numbers, there) = looked_up(authority, forwarding).await;
    if !numbers.is_empty() && !numbers.contains(&number) {
        return Err(Failure::new(format_args!(
            "request {number} of {} is another one; this one is {there}",
            authority.name
        )));
    }
    // Only a certificate shows by itself whose request it is.
    let surely_ours = numbers.contains(&number);
    let doubt = || {
        Failure::new(format_args!(
            "whether request {number} of {} is this one cannot be told: {there}",
            authority.name
        ))
        .hint("give the account \"Read\" on the authority, or add --as-me with the ticket of somebody who has it")
    };
    match authority.connector.query(&authority.identity, number, true, &expected).await {
        Ok(Answer::Issued { issued, .. }) => {
            check_names(&issued.certificate, wanted)
                .map_err(|problem| not_this(authority, number, &problem))?;
            Ok(Became::Issued {
                backend_id: number,
                certificate: issued.certificate,
                response: issued.response,
            })
        }
        Ok(Answer::Pending { response, message, .. }) if surely_ours => {
            Ok(Became::UnderSubmission { backend_id: number, response, message })
        }
        Ok(Answer::Denied { reason, response, message, .. }) if surely_ours => Ok(Became::Denied {
            backend_id: Some(number),
            hresult: reason.map(|result| result.0),
            response,
            message,
        }),
        Ok(Answer::Revoked { .. }) if surely_ours => Ok(Became::Denied {
            backend_id: Some(number),
            hresult: Some(REVOKED),
            response: Vec::new(),
            message: "the certificate has been revoked".to_owned(),
        }),
        Err(error @ muster_adcs::AdcsError::Untrusted { .. }) => Err(authority.failure(&error)),
        // Others' requests are not shown to everybody; the database is, to whoever may read it.
        Ok(_) | Err(_) => {
            by_database(authority, wanted, &expected, number).await.unwrap_or_else(|| Err(doubt()))
        }
    }
}

fn not_this(authority: &Authority, number: u32, problem: &dyn std::fmt::Display) -> Failure {
    Failure::new(format_args!("request {number} of {} is not this one: {problem}", authority.name))
}

async fn by_database(
    authority: &Authority,
    wanted: &forwarding::Expected,
    expected: &Expected,
    number: u32,
) -> Option<Outcome<Became>> {
    let mut officer = authority.connector.officer(&authority.identity).await.ok()?;
    let (_, certificate) = officer.request(number).await.ok()??;
    officer.close().await;
    let certificate = certificate?;
    let checked =
        check_reply(&certificate, &authority.issuers, expected).map_err(|problem| problem.to_string());
    Some(match checked.and_then(|()| check_names(&certificate, wanted)) {
        Ok(()) => Ok(Became::Issued { backend_id: number, certificate, response: Vec::new() }),
        Err(problem) => Err(not_this(authority, number, &problem)),
    })
}
