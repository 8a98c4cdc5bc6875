//! `muster cert line` and `muster cert revoke --line`: the certificates that were had one with the other.

use muster_core::RequestId;
use muster_core::revocation::Reason;
use muster_core::{Serial, UnixTime};
use muster_store::LineMember;
use serde::Serialize;

use super::super::{Admin, now};
use crate::output::{Outcome, Output};

#[derive(Serialize)]
struct Line {
    /// The certificate that was asked about.
    serial: String,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    request: u32,
    /// The request whose certificate it was had with; none for the first.
    parent: Option<u32>,
    /// How: `first`, `renewal`, or `sign_in` for an enrollment that signed in with the certificate before.
    how: &'static str,
    serial: Option<String>,
    account: Option<String>,
    template: Option<String>,
    subject: Option<String>,
    issued: Option<String>,
    not_after: Option<String>,
    /// `valid`, `expired`, `being made`, or the reason for which it is revoked.
    state: &'static str,
    revoked: Option<String>,
    /// Certificates since the last sign-in by something else, and when that was.
    generation: u32,
    since: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo).
    key: Option<String>,
    submitted_by: String,
}

fn state(member: &LineMember, now: UnixTime) -> &'static str {
    match &member.certificate {
        None => "being made",
        Some(certificate) => match certificate.revocation {
            Some(revocation) => revocation.reason.as_str(),
            None if certificate.not_after < now => "expired",
            None => "valid",
        },
    }
}

impl Member {
    fn new(member: LineMember, now: UnixTime) -> Self {
        let state = state(&member, now);
        let hex = |key: [u8; 32]| key.iter().map(|octet| format!("{octet:02x}")).collect();
        let certificate = member.certificate;
        Self {
            request: member.id.number(),
            parent: member.parent.map(RequestId::number),
            how: match (member.parent, member.renewal) {
                (None, _) => "first",
                (Some(_), true) => "renewal",
                (Some(_), false) => "sign_in",
            },
            serial: certificate.as_ref().map(|c| c.serial.to_string()),
            account: certificate.as_ref().map(|c| c.account.to_string()),
            template: certificate.as_ref().map(|c| c.template.to_string()),
            subject: certificate.as_ref().map(|c| c.subject.clone()),
            issued: certificate.as_ref().map(|c| c.issued.to_string()),
            not_after: certificate.as_ref().map(|c| c.not_after.to_string()),
            state,
            revoked: certificate.and_then(|c| c.revocation).map(|r| r.at.to_string()),
            generation: member.generation,
            since: member.since.to_string(),
            key: member.key.map(hex),
            submitted_by: member.submitted_by,
        }
    }
}

/// How many certificates lie between a member and the first one.
fn depth(members: &[Member], of: &Member) -> usize {
    let (mut parent, mut depth) = (of.parent, 0);
    // A line is no deeper than it is long, whatever the rows say.
    while let Some(id) = parent
        && depth < members.len()
    {
        depth += 1;
        parent = members.iter().find(|member| member.request == id).and_then(|member| member.parent);
    }
    depth
}

/// A tree in the order in which it grew: children below their parent.
fn ordered(members: Vec<Member>) -> Vec<(usize, Member)> {
    let mut ids: Vec<u32> = Vec::new();
    for member in &members {
        let below = |id: &u32| {
            let mut at = Some(*id);
            std::iter::from_fn(|| {
                let here = at?;
                at = members.iter().find(|m| m.request == here).and_then(|m| m.parent);
                Some(here)
            })
            .take(members.len())
            .any(|ancestor| Some(ancestor) == member.parent)
        };
        let at = ids.iter().rposition(below).map_or(ids.len(), |at| at + 1);
        ids.insert(at, member.request);
    }
    let depths: Vec<usize> = members.iter().map(|member| depth(&members, member)).collect();
    let mut rows: Vec<(usize, Member)> = depths.into_iter().zip(members).collect();
    rows.sort_by_key(|(_, member)| ids.iter().position(|id| *id == member.request));
    rows
}

/// Shows the line of a certificate.
pub(super) async fn show(serial: Serial, admin: &Admin, output: Output) -> Outcome {
    let at = now();
    let members = admin.store.line(serial).await?;
    let members: Vec<Member> = members.into_iter().map(|member| Member::new(member, at)).collect();
    if output.json {
        let line = Line { serial: serial.to_string(), members };
        return output.value(&line, String::new);
    }
    let rows = ordered(members);
    let short = |text: &str| text.chars().take(16).collect::<String>();
    output.table(
        &rows,
        &["REQUEST", "CERTIFICATE", "ACCOUNT", "NOT AFTER", "STATE", "KEY"],
        |(depth, row)| {
            let mark = match row.how {
                "first" => "",
                "renewal" => "└ renewed: ",
                _ => "└ signed in: ",
            };
            let asked = row.serial.as_deref() == Some(&serial.to_string());
            vec![
                row.request.to_string(),
                format!(
                    "{}{mark}{}{}",
                    "  ".repeat(depth.saturating_sub(1)),
                    row.serial.as_deref().unwrap_or("(being made)"),
                    if asked { " *" } else { "" }
                ),
                row.account.clone().unwrap_or_default(),
                row.not_after.clone().unwrap_or_default(),
                row.state.to_owned(),
                row.key.as_deref().map(short).unwrap_or_default(),
            ]
        },
    )
}

#[derive(Serialize)]
struct Report {
    revoked: Vec<String>,
    revoked_before: Vec<String>,
    given_up: Vec<u32>,
    keys_blocked: usize,
    crl_number: u64,
}

/// Revokes a whole line.
pub(super) async fn revoke(serial: Serial, reason: Reason, admin: &Admin, output: Output) -> Outcome {
    let done = admin.store.revoke_line(serial, reason, admin.actor(), now()).await?;
    // The list is made here and now, so that it is there whether the service runs or not.
    let number = muster_server::publish_now(&admin.settings, &admin.store).await?;
    let texts = |serials: &[Serial]| serials.iter().map(ToString::to_string).collect::<Vec<_>>();
    let report = Report {
        revoked: texts(&done.revoked),
        revoked_before: texts(&done.before),
        given_up: done.given_up.iter().map(|id| id.number()).collect(),
        keys_blocked: done.keys,
        crl_number: number,
    };
    output.value(&report, || {
        let mut text = format!(
            "{} certificates are revoked ({reason}), {} were before; revocation list {number} names them\n",
            report.revoked.len(),
            report.revoked_before.len()
        );
        if !report.given_up.is_empty() {
            text.push_str(&format!(
                "{} requests were about to get a certificate and do not\n",
                report.given_up.len()
            ));
        }
        text.push_str(&format!("{} keys are never accepted again", report.keys_blocked));
        text
    })
}

/// After one certificate was revoked: those that were had with it live on.
pub(super) async fn warn_of_others(serial: Serial, admin: &Admin, output: Output) -> Outcome {
    let at = now();
    let line = admin.store.line(serial).await?;
    let Some(own) = serial.request_id() else { return Ok(()) };
    let mut later = vec![own];
    let mut alive = Vec::new();
    // In the order of their making, so a parent comes before its children.
    for member in &line {
        if member.parent.is_some_and(|parent| later.contains(&parent)) {
            later.push(member.id);
            if matches!(state(member, at), "valid" | "being made") {
                alive.push(member);
            }
        }
    }
    if alive.is_empty() {
        return Ok(());
    }
    output.note(format_args!(
        "warning: {} later certificates of its line are still valid; whoever had its key can have theirs:",
        alive.len()
    ));
    for member in alive {
        let name = member.certificate.as_ref().map_or_else(
            || format!("request {} (being made)", member.id),
            |certificate| format!("{} (request {}, {})", certificate.serial, member.id, certificate.subject),
        );
        output.note(format_args!("  {name}, asked for by {}", member.submitted_by));
    }
    output.note(format_args!("hint: revoke them all with 'muster cert revoke --line {serial} --reason …'"));
    Ok(())
}
