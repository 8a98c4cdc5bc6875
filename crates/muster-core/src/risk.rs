//! Templates that are known to be attacked, refused in one sentence that names the danger.
//!
//! The names ESC1 to ESC17 are those of the public catalogue of attacks on certificate services; docs/threats.md
//! lists each with the place that stops it.

use crate::template::access::is_everybody;
use crate::template::{AccessEffect, Grantee, SubjectSource, Template, eku};

/// Purposes with which a certificate can authenticate its holder to a directory. Any purpose is refused before.
const AUTHENTICATION: [&str; 3] = [eku::CLIENT_AUTHENTICATION, eku::SMARTCARD_LOGON, eku::PKINIT_CLIENT];

/// A dangerous combination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Risk {
    /// The requester chooses the name in a certificate that can log in.
    #[error(
        "template '{0}' lets any of its enrollees choose the name in a logon certificate (ESC1): \
         build the subject from the identity, or set issuance.approval = true"
    )]
    ChosenLogonName(String),
    /// The certificate is good for every purpose.
    #[error("template '{0}' allows any purpose (ESC2): name the purposes it needs in eku")]
    AnyPurpose(String),
    /// The holder could enroll for others.
    #[error(
        "template '{0}' makes enrollment agents (ESC3): it needs issuance.approval = true, for renewals too, \
         names from the identity, and enroll for a group or accounts alone"
    )]
    EnrollmentAgent(String),
    /// The certificate would speak for the CA, the KDC or an authority of another kind.
    #[error(
        "template '{template}' has the purpose {purpose}, which no template may give: remove {oid} from eku"
    )]
    CaPurpose {
        /// The template.
        template: String,
        /// The purpose in words.
        purpose: &'static str,
        /// The purpose's identifier.
        oid: &'static str,
    },
    /// The requester chooses server names or addresses that are not its own.
    #[error(
        "template '{template}' lets its enrollees choose server names beyond their own ('{pattern}', ESC17): \
         remove the rule, or set issuance.approval = true"
    )]
    ChosenServerName {
        /// The template.
        template: String,
        /// The pattern that goes too far.
        pattern: String,
    },
    /// Everybody who has an account may enroll for names of their choice.
    #[error(
        "template '{0}' takes names from the request and is open to every account: \
         grant enroll to a group or to accounts"
    )]
    OpenToAll(String),
}

/// Looks for the combinations above.
///
/// # Errors
/// The first danger found.
pub fn check(template: &Template) -> Result<(), Risk> {
    let name = || template.name.clone();
    let any_purpose = template.has_eku(eku::ANY) || template.has_eku(eku::ANY_APPLICATION_POLICY);
    if any_purpose || template.eku.is_empty() {
        return Err(Risk::AnyPurpose(name()));
    }
    let guarded = template.issuance.approval
        && !template.issuance.renewal_without_approval
        && template.subject.source == SubjectSource::Identity
        && !open_to_all(template);
    if template.has_eku(eku::ENROLLMENT_AGENT) && !guarded {
        return Err(Risk::EnrollmentAgent(name()));
    }
    for (oid, purpose) in [
        (eku::OCSP_SIGNING, "OCSP signing"),
        (eku::CA_EXCHANGE, "CA exchange"),
        (eku::KDC_AUTHENTICATION, "KDC authentication"),
        (eku::TIME_STAMPING, "time stamping"),
        (eku::KEY_RECOVERY_AGENT, "key recovery agent"),
        (eku::QUALIFIED_SUBORDINATION, "qualified subordination"),
    ] {
        if template.has_eku(oid) {
            return Err(Risk::CaPurpose { template: name(), purpose, oid });
        }
    }
    match template.subject.source {
        SubjectSource::Identity => Ok(()),
        SubjectSource::Request if template.issuance.approval => Ok(()),
        SubjectSource::Request => {
            if AUTHENTICATION.iter().any(|oid| template.has_eku(oid)) {
                return Err(Risk::ChosenLogonName(name()));
            }
            if template.has_eku(eku::SERVER_AUTHENTICATION)
                && let Some(pattern) = template
                    .subject
                    .allow_dns
                    .iter()
                    .filter(|p| *p != "own")
                    .chain(&template.subject.allow_ip)
                    .next()
            {
                return Err(Risk::ChosenServerName { template: name(), pattern: pattern.clone() });
            }
            if open_to_all(template) {
                return Err(Risk::OpenToAll(name()));
            }
            Ok(())
        }
    }
}

/// Whether everybody, or nearly everybody, may enroll.
fn open_to_all(template: &Template) -> bool {
    let permissions = &template.permissions;
    match &permissions.access {
        Some(list) => {
            list.iter().any(|entry| entry.effect == AccessEffect::Allow && is_everybody(&entry.sid))
        }
        None => permissions.enroll.iter().any(|grantee| match grantee {
            Grantee::Authenticated => true,
            Grantee::Sid(sid) => is_everybody(sid),
            Grantee::Group(_) | Grantee::Account(_) => false,
        }),
    }
}
