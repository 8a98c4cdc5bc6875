//! Asks a directory each second whether anything changed, so that nothing in memory is older than that.
//!
//! Every change of a domain controller has a number (MS-ADTS 3.1.1.1.9). When the highest one has moved, the objects
//! with a higher number than the last one seen are read: their accounts are forgotten; if one of them is a group, all
//! accounts are; if one of them is a template or CA, these are read again.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use muster_core::identity::Sid;
use tokio::time::Instant;

use crate::directory::Directory;
use crate::ldap::{Entry, Filter, LdapError, Search, Session, State};
use crate::sid;

/// More changed objects at once than this are not looked at one by one.
const MANY: usize = 1_000;

/// Classes whose objects are templates, CAs and their names.
const ENROLLMENT: [&str; 3] = ["pKICertificateTemplate", "pKIEnrollmentService", "msPKI-Enterprise-Oid"];

/// The controller and database whose numbers were seen last: those of another one mean something else.
#[derive(PartialEq, Eq)]
struct Numbering {
    service: String,
    invocation: Vec<u8>,
}

pub(crate) async fn run(directory: Weak<Directory>) {
    let mut seen: Option<(u64, Numbering)> = None;
    let mut refreshed: Option<Instant> = None;
    let Some(mut state) = directory.upgrade().map(|directory| directory.client().watch()) else { return };
    loop {
        let pause = {
            let Some(directory) = directory.upgrade() else { return };
            if let State::Connected(session) = directory.client().state() {
                let due = refreshed.is_none_or(|at| at.elapsed() >= directory.settings().refresh);
                match look(&directory, &session, &mut seen, due).await {
                    Ok(true) => refreshed = Some(Instant::now()),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "changes of the directory cannot be read"),
                }
            }
            directory.settings().poll
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = state.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// One look; true if templates and CAs have been read.
async fn look(
    directory: &Arc<Directory>,
    session: &Session,
    seen: &mut Option<(u64, Numbering)>,
    due: bool,
) -> Result<bool, LdapError> {
    let numbering =
        Numbering { service: session.root.service.clone(), invocation: session.root.invocation.clone() };
    let first = match seen {
        Some((number, _)) if *number == session.number => false,
        // The same database after a broken connection: what changed meanwhile has a number like everything else.
        Some((number, before)) if *before == numbering && !numbering.invocation.is_empty() => {
            *number = session.number;
            false
        }
        Some(_) | None => true,
    };
    let newest = newest(directory, session).await?;
    let mut templates = first || due;
    let now = Instant::now();
    if first {
        *seen = Some((session.number, numbering));
        let mut cache = directory.cache();
        cache.set_sees_deletions(session.root.deleted_visible);
        cache.clear(newest, now);
    } else {
        templates |= compare(directory, newest, now).await?;
    }
    if templates {
        directory.live().refresh(directory, session).await?;
    }
    Ok(templates)
}

async fn newest(directory: &Directory, session: &Session) -> Result<i64, LdapError> {
    let root = directory.client().object(Search::object("", &["highestCommittedUSN"])).await?;
    root.as_ref().and_then(|root| root.number("highestCommittedUSN")).ok_or_else(|| {
        LdapError::NotActiveDirectory { server: session.server.to_string(), missing: "highestCommittedUSN" }
    })
}

/// Forgets what changed up to `newest`; true if a template or CA did.
async fn compare(directory: &Directory, newest: i64, now: Instant) -> Result<bool, LdapError> {
    let last = directory.cache().usn();
    if newest == last {
        directory.cache().unchanged(now);
        return Ok(false);
    }
    if newest < last {
        directory.cache().clear(newest, now);
        return Ok(true);
    }
    let mut classes = vec![Filter::text("objectClass", "user"), Filter::text("objectClass", "group")];
    classes.extend(ENROLLMENT.map(|class| Filter::text("objectClass", class)));
    let filter = Filter::And(vec![
        Filter::AtLeast("uSNChanged", last.saturating_add(1).to_string().into_bytes()),
        Filter::Or(classes),
    ]);
    let search = Search::forest(filter, &["objectSid", "objectGUID", "objectClass"], MANY);
    let changed = match directory.client().search(Search { deleted: true, ..search }).await {
        Ok(changed) => changed,
        Err(LdapError::TooLarge { .. }) => {
            tracing::info!(
                "more than {MANY} objects of the directory changed at once; all accounts are read again"
            );
            directory.cache().clear(newest, now);
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let classes: BTreeSet<String> =
        changed.iter().flat_map(|entry| entry.texts("objectClass")).map(str::to_ascii_lowercase).collect();
    let mut cache = directory.cache();
    if classes.contains("group") {
        cache.clear(newest, now);
    } else {
        cache.changed(changed.iter().map(|entry| (own(entry), entry.value("objectGUID"))), newest, now);
    }
    Ok(ENROLLMENT.iter().any(|class| classes.contains(&class.to_ascii_lowercase())))
}

fn own(entry: &Entry) -> Option<Sid> {
    sid::from_octets(entry.value("objectSid")?).ok()
}
