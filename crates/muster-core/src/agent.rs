//! Enrollment agents: accounts that enroll for others, within limits that an officer wrote down (MS-WCCE 3.2.2.6.2.1.2).
//!
//! A request on behalf of somebody is decided for the account that it names, as if that account had asked: its
//! permissions, its names, its security identifier. Before that, [`Agency::establish`] looks at whoever signed and
//! sent it. Nothing else makes an [`Agency`], and without one no such request is approved:
//!
//! ```compile_fail,E0451
//! # use muster_core::Oid;
//! # use muster_core::agent::Agency;
//! # use muster_core::identity::AccountName;
//! fn by_hand(agent: AccountName, subject: AccountName, template: Oid) -> Agency {
//!     Agency { agent, subject, template, signatures: 1 }
//! }
//! ```

use std::collections::BTreeSet;

use crate::identity::{AccountName, Caller, Principal, Sid};
use crate::oid::Oid;
use crate::policy::KnownCertificate;
use crate::refusal::Refusal;
use crate::template::{Grantee, Template, eku};
use crate::time::UnixTime;

/// What an agent may do: enroll these accounts with this template. Without one it may do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentLimit {
    /// The agent's account.
    pub agent: AccountName,
    /// Name of the template, compared without regard to case.
    pub template: String,
    /// For whom. Never [`Grantee::Authenticated`].
    pub subjects: Grantee,
}

/// What is known of a certificate that signed a request beside the requester's key; the signature was verified.
#[derive(Clone, Debug)]
pub struct Signer {
    /// What the store knows of it; `None` if it is not one of ours, octet by octet.
    pub known: Option<KnownCertificate>,
    /// Whether its account may be used now.
    pub enabled: bool,
    /// Its extended key usages.
    pub purposes: Vec<Oid>,
    /// Its certificate policies.
    pub policies: Vec<Oid>,
    /// The limits of its account.
    pub limits: Vec<AgentLimit>,
}

/// The agent of a request: who signed its name for another account, and signed in. Made by [`Agent::check`] alone.
#[derive(Debug)]
pub struct Agent<'a> {
    name: AccountName,
    signer: &'a Signer,
}

impl<'a> Agent<'a> {
    /// Whether the certificate that named the requester makes `caller` an agent, now. Asked before the requester is
    /// looked up, so that nobody else learns who has an account.
    ///
    /// # Errors
    /// [`Refusal::TokenForm`], [`Refusal::AgentUnknown`], [`Refusal::AgentRevoked`], [`Refusal::AgentExpired`],
    /// [`Refusal::AgentPurpose`], [`Refusal::AgentNotCaller`], [`Refusal::AgentLimits`] for one without any.
    pub fn check(caller: &Caller, signer: &'a Signer, now: UnixTime) -> Result<Self, Refusal> {
        if caller.principal().token.is_some() {
            return Err(Refusal::TokenForm);
        }
        let known = signer.valid(now)?;
        if !signer.purposes.iter().any(|purpose| purpose.as_str() == eku::ENROLLMENT_AGENT) {
            return Err(Refusal::AgentPurpose);
        }
        if known.account != caller.principal().name {
            return Err(Refusal::AgentNotCaller);
        }
        if !signer.enabled || signer.limits.is_empty() {
            return Err(Refusal::AgentLimits);
        }
        Ok(Self { name: known.account.clone(), signer })
    }
}

/// Proof that an agent may enroll one account with one template, and how many signatures the request has for it.
#[derive(Debug)]
pub struct Agency {
    agent: AccountName,
    subject: AccountName,
    template: Oid,
    signatures: u32,
}

impl Agency {
    /// Whether `agent` may enroll `subject` with `template`, and whether the request has the signatures that the
    /// template asks for. `others` are the further signers; `subject_is_agent` says that there are limits for it too.
    ///
    /// # Errors
    /// [`Refusal::AgentTemplate`], [`Refusal::AgentLimits`], [`Refusal::SignatureCount`],
    /// [`Refusal::SignatureRejected`]; [`Refusal::TemplateDenied`] for a template without identifier.
    pub fn establish(
        agent: &Agent<'_>,
        others: &[Signer],
        subject: &Principal,
        subject_is_agent: bool,
        template: &Template,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        if template.has_eku(eku::ENROLLMENT_AGENT) {
            return Err(Refusal::AgentTemplate);
        }
        let covers = |signer: &Signer| {
            signer.limits.iter().any(|limit| limit.covers(subject, subject_is_agent, template))
        };
        if subject.token.is_some() || !covers(agent.signer) {
            return Err(Refusal::AgentLimits);
        }
        let rules = &template.issuance;
        // Whoever signs twice is one agent.
        let (mut signed, mut fit) = (BTreeSet::new(), BTreeSet::new());
        for signer in std::iter::once(agent.signer).chain(others) {
            let Ok(known) = signer.valid(now) else { continue };
            if !signer.enabled || !covers(signer) {
                continue;
            }
            signed.insert(&known.account);
            let purposes = rules.signature_eku.iter().all(|purpose| signer.purposes.contains(purpose));
            let policies = rules.signature_policies.iter().all(|policy| signer.policies.contains(policy));
            if purposes && policies {
                fit.insert(&known.account);
            }
        }
        let count = |set: &BTreeSet<&AccountName>| u32::try_from(set.len()).unwrap_or(u32::MAX);
        if count(&signed) < rules.signatures {
            return Err(Refusal::SignatureCount { have: count(&signed), needed: rules.signatures });
        }
        if count(&fit) < rules.signatures {
            return Err(Refusal::SignatureRejected);
        }
        Ok(Self {
            agent: agent.name.clone(),
            subject: subject.name.clone(),
            template: template.oid.clone().ok_or(Refusal::TemplateDenied)?,
            signatures: count(&fit),
        })
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &AccountName {
        &self.agent
    }

    /// Whether it is about this account and this template.
    pub(crate) fn is_for(&self, subject: &Principal, template: &Template) -> bool {
        self.subject == subject.name && template.oid.as_ref() == Some(&self.template)
    }

    /// Signatures that count, of different accounts.
    pub(crate) const fn signatures(&self) -> u32 {
        self.signatures
    }
}

impl Signer {
    /// What the store knows of the certificate, if it is valid now.
    fn valid(&self, now: UnixTime) -> Result<&KnownCertificate, Refusal> {
        let known = self.known.as_ref().ok_or(Refusal::AgentUnknown)?;
        if known.revoked {
            return Err(Refusal::AgentRevoked);
        }
        if now > known.not_after || now < known.not_before {
            return Err(Refusal::AgentExpired(known.not_after));
        }
        Ok(known)
    }
}

impl AgentLimit {
    /// A group is never meant to cover other agents and those who rule a domain: they are named one by one.
    fn covers(&self, subject: &Principal, subject_is_agent: bool, template: &Template) -> bool {
        let by_name = match &self.subjects {
            Grantee::Account(name) => subject.name == *name,
            Grantee::Sid(sid) => subject.sid.as_ref() == Some(sid),
            Grantee::Group(_) | Grantee::Authenticated => false,
        };
        let by_group = match &self.subjects {
            Grantee::Account(_) | Grantee::Authenticated => false,
            Grantee::Group(_) | Grantee::Sid(_) => self.subjects.covers(subject),
        };
        self.template.eq_ignore_ascii_case(&template.name)
            && (by_name || (by_group && !subject_is_agent && !is_privileged(subject)))
    }
}

/// Whether an account is in a group that rules a domain, a forest or its controllers (MS-DTYP 2.4.2.4).
#[must_use]
pub fn is_privileged(principal: &Principal) -> bool {
    // Enterprise Read-only Domain Controllers, Administrator, krbtgt, Domain Admins, Domain Controllers, Cert Publishers,
    // Schema Admins, Enterprise Admins, Group Policy Creator Owners.
    const IN_DOMAIN: [&str; 9] = ["498", "500", "502", "512", "516", "517", "518", "519", "520"];
    // Administrators; operators of accounts, servers, printers and backups; Enterprise Domain Controllers.
    const BUILT_IN: [&str; 6] =
        ["S-1-5-32-544", "S-1-5-32-548", "S-1-5-32-549", "S-1-5-32-550", "S-1-5-32-551", "S-1-5-9"];
    let rules = |sid: &Sid| {
        let text = sid.as_str();
        let rid = text.strip_prefix("S-1-5-21-").and_then(|rest| rest.rsplit('-').next());
        BUILT_IN.contains(&text) || rid.is_some_and(|rid| IN_DOMAIN.contains(&rid))
    };
    principal.directory.as_ref().is_some_and(|directory| directory.domain_controller)
        || principal.sids.iter().chain(&principal.sid).any(rules)
}
