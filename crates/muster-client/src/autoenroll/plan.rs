//! What autoenrollment has to do: the policies on one side, what the folder holds on the other. Pure: asks nobody and
//! changes nothing.

use std::fmt;

use muster_proto::soap::DateTime;
use muster_proto::xcep::{EnrollmentFlags, GeneralFlags};

use super::folder::{CertificateFolder, Held, Slot, Under};
use crate::enrollment::Status;
use crate::group_policy::Autoenrollment;
use crate::policy::{Policy, Template, TemplateError};

/// For whom templates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Those for machines.
    Machine,
    /// Those for persons.
    User,
}

/// What is to be considered besides policy and folder.
pub struct Conditions<'a> {
    /// The time.
    pub now: DateTime,
    /// What group policy allows.
    pub allowed: Autoenrollment,
    /// Only templates of this kind.
    pub kind: Option<Kind>,
    /// Whether names are at hand for a template that takes them from the request.
    pub has_names: &'a dyn Fn(&str) -> bool,
}

impl fmt::Debug for Conditions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conditions").field("now", &self.now).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// One template or certificate, and what to do about it.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// Its name in the folder.
    pub name: String,
    /// The policy and the template; none if no policy has it any more.
    pub template: Option<(&'a Policy, Template<'a>)>,
    /// What is there.
    pub slot: Option<&'a Slot>,
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for a certificate.
    Enroll,
    /// Renew the certificate with its key as proof.
    Renew,
    /// Go on with the request that is under way.
    Fetch,
    /// Nothing.
    Leave,
}

/// Why something is to be done, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no certificate.
    Missing,
    /// The certificate has expired.
    Expired(DateTime),
    /// Certificate or key cannot be used.
    Unusable(String),
    /// The template asks all holders to enroll again.
    Revision {
        /// Major revision of the certificate's template.
        held: u32,
        /// Major revision now.
        now: u32,
    },
    /// The certificate is of a CA that does not issue the template any more.
    OtherCa(String),
    /// The time of renewal has come.
    Due(DateTime),
    /// A request waits for a decision, or its outcome is not known.
    UnderWay,
    /// The certificate is good, until then.
    Good(DateTime),
    /// The policy does not allow unattended enrollment any more.
    NotPermitted,
    /// No policy has the template any more.
    NotInPolicy,
    /// Another template replaces this one.
    Superseded(String),
    /// The template takes the names from the request, and none are known.
    NoNames,
    /// This client cannot enroll for the template.
    Obstacle(TemplateError),
    /// The template is for machines, or for persons, and the others are wanted.
    OtherKind,
    /// The template is not to be renewed unattended.
    NoAutoRenewal,
    /// Group policy does not allow it.
    GroupPolicy,
    /// The policy names addresses for renewals alone, and there is nothing to renew.
    RenewalOnly,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no certificate"),
            Self::Expired(when) => write!(f, "the certificate expired at {when}"),
            Self::Unusable(why) => f.write_str(why),
            Self::Revision { held, now } => {
                write!(f, "the template went from major revision {held} to {now}")
            }
            Self::OtherCa(issuer) => write!(f, "{issuer} does not issue the template any more"),
            Self::Due(since) => write!(f, "renewal is due since {since}"),
            Self::UnderWay => f.write_str("a request is under way"),
            Self::Good(until) => write!(f, "not due before {until}"),
            Self::NotPermitted => f.write_str("the policy does not allow unattended enrollment"),
            Self::NotInPolicy => f.write_str("no policy has the template"),
            Self::Superseded(by) => write!(f, "template {by} replaces it"),
            Self::NoNames => {
                f.write_str("the template takes the names from the request, and none are configured")
            }
            Self::Obstacle(error) => error.fmt(f),
            Self::OtherKind => f.write_str("the template is of the other kind"),
            Self::NoAutoRenewal => f.write_str("the template is not to be renewed unattended"),
            Self::GroupPolicy => f.write_str("group policy does not allow it"),
            Self::RenewalOnly => f.write_str("the policy names addresses for renewals alone"),
        }
    }
}

/// A request whose outcome is not known is given up after this many seconds: so long does a server answer the same
/// octets with the same certificate.
const UNKNOWN_LIFETIME: i64 = 86_400;
/// A request that waits for an officer is given up after this many seconds, 90 days.
const PENDING_LIFETIME: i64 = 90 * 86_400;

/// Says what to do about each template that the policies allow to be enrolled for unattended, and about everything in
/// the folder.
#[must_use]
pub fn plan<'a>(policies: &'a [Policy], slots: &'a [Slot], conditions: &Conditions<'_>) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut names: Vec<Slot> = slots.to_vec();
    for policy in policies {
        let id = &policy.answer.response.policy_id;
        for template in policy.templates() {
            let slot = slots.iter().find(|slot| slot.record.is_of(id, template));
            // Several policies may have the same template.
            let seen = steps.iter().any(|step| match (slot, step.slot) {
                (Some(ours), Some(theirs)) => ours.name == theirs.name,
                (_, _) => step.template.is_some_and(|(_, t)| t.oid().is_some() && t.oid() == template.oid()),
            });
            // Where there are renewals alone, what was never had is not asked for.
            let offered = template.attributes().permission.auto_enroll && template.takes_first_enrollments();
            if seen || (slot.is_none() && !offered) {
                continue;
            }
            let (action, reason) = decide(policy, template, slot, slots, conditions);
            let name = match slot {
                Some(slot) => slot.name.clone(),
                None => CertificateFolder::new_name(template.name(), &names),
            };
            if slot.is_none() {
                let record = super::Record::new(id, template);
                names.push(Slot { name: name.clone(), record, held: None, under: None });
            }
            steps.push(Step { name, template: Some((policy, template)), slot, action, reason });
        }
    }
    for slot in slots {
        if steps.iter().any(|step| step.slot.is_some_and(|seen| seen.name == slot.name)) {
            continue;
        }
        let waits = slot.under.as_ref().is_some_and(|under| goes_on(under, conditions.now));
        let (action, reason) = if waits && conditions.allowed.fetches() {
            (Action::Fetch, Reason::UnderWay)
        } else {
            (Action::Leave, Reason::NotInPolicy)
        };
        steps.push(Step { name: slot.name.clone(), template: None, slot: Some(slot), action, reason });
    }
    steps
}

fn decide(
    policy: &Policy,
    template: Template<'_>,
    slot: Option<&Slot>,
    slots: &[Slot],
    conditions: &Conditions<'_>,
) -> (Action, Reason) {
    let leave = |reason| (Action::Leave, reason);
    if conditions.kind.is_some_and(|kind| kind != kind_of(template)) {
        return leave(Reason::OtherKind);
    }
    if let Some(under) = slot.and_then(|slot| slot.under.as_ref())
        && goes_on(under, conditions.now)
    {
        let allowed = conditions.allowed.fetches();
        return if allowed { (Action::Fetch, Reason::UnderWay) } else { leave(Reason::GroupPolicy) };
    }
    if !template.attributes().permission.auto_enroll {
        return leave(Reason::NotPermitted);
    }
    let held = slot.and_then(|slot| slot.held.as_ref());
    if let Some(by) = superseded(policy, template, held.is_some(), slots, conditions) {
        return leave(Reason::Superseded(by));
    }
    let (action, reason) = match held {
        None => (Action::Enroll, Reason::Missing),
        Some(held) => judge(template, held, conditions.now),
    };
    let allowed = match action {
        Action::Enroll => conditions.allowed.enrolls(),
        Action::Renew => conditions.allowed.renews(),
        Action::Fetch | Action::Leave => true,
    };
    if !allowed {
        return leave(Reason::GroupPolicy);
    }
    match action {
        Action::Fetch | Action::Leave => return (action, reason),
        Action::Enroll if !template.takes_first_enrollments() => return leave(Reason::RenewalOnly),
        Action::Enroll if template.subject_from_request() && !(conditions.has_names)(template.name()) => {
            return leave(Reason::NoNames);
        }
        Action::Enroll | Action::Renew => {}
    }
    match template.check(action == Action::Renew) {
        Ok(()) => (action, reason),
        Err(error) => leave(Reason::Obstacle(error)),
    }
}

/// What a certificate needs by itself.
fn judge(template: Template<'_>, held: &Held, now: DateTime) -> (Action, Reason) {
    let certificate = match &held.certificate {
        Ok(certificate) => certificate,
        Err(why) => return (Action::Enroll, Reason::Unusable(why.clone())),
    };
    let (not_after, major) = (certificate.not_after(), template.attributes().revision.major_revision);
    if not_after <= now {
        return (Action::Enroll, Reason::Expired(not_after));
    }
    if held.major < major {
        return (Action::Enroll, Reason::Revision { held: held.major, now: major });
    }
    let ahead = template.attributes().certificate_validity.renewal_period_seconds;
    let from = not_after.unix().saturating_sub(i64::try_from(ahead).unwrap_or(i64::MAX));
    let from = DateTime::from_unix(from);
    if now < from {
        return (Action::Leave, Reason::Good(from));
    }
    if template.attributes().enrollment_flags.is_some_and(|f| f.contains(EnrollmentFlags::SKIP_AUTO_RENEWAL))
    {
        return (Action::Leave, Reason::NoAutoRenewal);
    }
    // A CA knows its own certificates; another one would refuse the renewal.
    let issues = |der: &[u8]| {
        crate::certificate::Certificate::from_der(der).is_ok_and(|ca| ca.subject() == certificate.issuer())
    };
    if template.cas().any(|ca| issues(&ca.certificate)) {
        (Action::Renew, Reason::Due(from))
    } else {
        (Action::Enroll, Reason::OtherCa(certificate.issuer()))
    }
}

/// The template that replaces this one, if that one can be had: then nothing is asked for under this one any more. As
/// long as there is no certificate of the new one, an old certificate is kept alive.
fn superseded(
    policy: &Policy,
    template: Template<'_>,
    held: bool,
    slots: &[Slot],
    conditions: &Conditions<'_>,
) -> Option<String> {
    let names = |by: Template<'_>, what: Template<'_>| {
        by.attributes().superseded_policies.iter().any(|name| name.eq_ignore_ascii_case(what.name()))
    };
    let mut others = policy.templates().filter(|other| {
        names(*other, template)
            && !names(template, *other)
            && other.attributes().permission.auto_enroll
            && conditions.kind.is_none_or(|kind| kind == kind_of(*other))
            && (!other.subject_from_request() || (conditions.has_names)(other.name()))
            && other.check(false).is_ok()
    });
    let id = &policy.answer.response.policy_id;
    let is_there = |other: Template<'_>| {
        let slot = slots.iter().find(|slot| slot.record.is_of(id, other));
        let held = slot.and_then(|slot| slot.held.as_ref());
        held.and_then(|held| held.certificate.as_ref().ok()).is_some_and(|c| c.not_after() > conditions.now)
    };
    others.find(|other| !held || is_there(*other)).map(|other| other.name().to_owned())
}

/// The kind of accounts that a template is for.
#[must_use]
pub fn kind_of(template: Template<'_>) -> Kind {
    let flags = template.attributes().general_flags.unwrap_or_default();
    if flags.contains(GeneralFlags::MACHINE_TYPE) { Kind::Machine } else { Kind::User }
}

/// Whether it is worth going on with a request.
fn goes_on(under: &Under, now: DateTime) -> bool {
    let lifetime = match under.status {
        Status::Prepared | Status::Unknown => UNKNOWN_LIFETIME,
        Status::Pending => PENDING_LIFETIME,
    };
    under.started.is_some_and(|started| now.unix().saturating_sub(started) < lifetime)
}
