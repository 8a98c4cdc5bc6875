//! The rule for a request that another CA is to decide: whether it may be passed on at all.
//!
//! That CA has a policy of its own, so what is its business is not looked at here: approval, lifetime, and the names
//! that it builds from the identity; those are compared when the certificate is there. What is looked at is what makes a
//! certificate dangerous whoever signs it, and that the caller has the right to ask. Only [`forward`] makes a
//! [`Forwardable`], and nothing else is ever sent.

use super::renewal::ForeignCertificate;
use super::{Right, check_request, renewal, subject};
use crate::directory::HostNameDoubt;
use crate::forwarding::{AccountNames, Expected, ExpectedNames, ExpectedSid, IdentityMode};
use crate::identity::{AccountName, Method, Principal, Sid};
use crate::names::SubjectName;
use crate::refusal::Refusal;
use crate::request::{RequestForm, Submission};
use crate::template::{AltNameFrom, SubjectSource, Template};
use crate::time::UnixTime;

/// Facts about the circumstances of a request that is to be passed on, gathered by the service.
#[derive(Clone, Copy, Debug)]
pub struct ForwardCircumstances<'a> {
    /// In whose name the CA is asked, at this endpoint.
    pub identity: IdentityMode,
    /// How the caller authenticated, and with which certificate.
    pub method: Method,
    /// DER of the certificate of the TLS handshake.
    pub tls_certificate: Option<&'a [u8]>,
    /// The endpoint accepts renewals only.
    pub renewal_only: bool,
    /// At this endpoint a certificate alone renews: whoever holds one needs no permission to enroll, where the template
    /// says so too.
    pub key_based: bool,
    /// For a renewal: the certificate that signed it; `None` if that CA did not sign it.
    pub renewed: Option<&'a ForeignCertificate>,
    /// The key is on the list of keys that may never be used again.
    pub key_blocked: bool,
    /// The present instant.
    pub now: UnixTime,
}

/// A request that may be passed on to a CA that is not ours, and what its certificate must be like. Made by [`forward`]
/// alone; consumed by [`Forwardable::record`].
///
/// ```compile_fail,E0451
/// # use muster_core::forwarding::{Expected, IdentityMode};
/// # use muster_core::identity::AccountName;
/// # use muster_core::policy::Forwardable;
/// fn by_hand(request: Vec<u8>, requester: AccountName, expected: Expected) -> Forwardable {
///     Forwardable { request, requester, identity: IdentityMode::Delegate, expected }
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use muster_core::policy::Forwardable;
/// fn copy(forwardable: &Forwardable) -> Forwardable {
///     Forwardable::clone(forwardable)
/// }
/// ```
#[derive(Debug)]
#[must_use = "what is not recorded is never sent"]
pub struct Forwardable {
    request: Vec<u8>,
    requester: AccountName,
    identity: IdentityMode,
    expected: Expected,
}

impl Forwardable {
    /// What the certificate must be like.
    #[must_use]
    pub const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The account that the certificate is for.
    #[must_use]
    pub const fn requester(&self) -> &AccountName {
        &self.requester
    }

    /// In whose name the CA is asked.
    #[must_use]
    pub const fn identity(&self) -> IdentityMode {
        self.identity
    }

    /// The request as received.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Everything, for [`crate::forwarding`] alone.
    pub(crate) fn into_parts(self) -> (Vec<u8>, AccountName, IdentityMode, Expected) {
        (self.request, self.requester, self.identity, self.expected)
    }
}

/// Whether a request of `principal` for `template`, which [`super::authorize`] returned, may be passed on; the permission
/// is looked at again.
///
/// # Errors
/// The refusal of the first check that fails. Holders of one-time tokens are refused as if they had no permission: their
/// names are in no directory that the other CA could know.
pub fn forward(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &ForwardCircumstances<'_>,
) -> Result<Forwardable, Refusal> {
    let allowed = Right::claimed(&submission.form, circumstances.key_based).covers(template, principal);
    if !allowed || principal.token.is_some() {
        return Err(Refusal::TemplateDenied);
    }
    let renewals_only = match circumstances.identity {
        IdentityMode::RenewOnBehalf => true,
        IdentityMode::Delegate | IdentityMode::RegistrationAuthority => circumstances.renewal_only,
    };
    let renewed = match &submission.form {
        RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. } if renewals_only => {
            return Err(Refusal::RenewalOnly);
        }
        RequestForm::Pkcs10 | RequestForm::CmcFull => None,
        RequestForm::Renewal { old_certificate, extra_signers } => {
            let (old, extra) = (old_certificate, *extra_signers);
            Some(renewal::check_foreign(principal, template, submission, old, extra, circumstances)?)
        }
        RequestForm::OnBehalfOf { .. } => return Err(Refusal::OnBehalfOf),
    };
    // Whether the first enrollment had its signatures is known to that CA alone, and asked there.
    let signed_before = renewed.is_some() && template.issuance.renewal_without_approval;
    // The registration authority signs what it passes on.
    let signatures = match circumstances.identity {
        IdentityMode::RegistrationAuthority => 1,
        IdentityMode::Delegate | IdentityMode::RenewOnBehalf => 0,
    };
    if template.issuance.signatures > signatures && !signed_before {
        return Err(Refusal::SignatureRequired);
    }
    check_request(principal, template, submission, circumstances.key_blocked)?;
    match template.subject.source {
        SubjectSource::Identity => {}
        SubjectSource::Request => {
            let kept = renewed.map_or(&submission.names, |old| &old.names);
            subject::of_request(principal, template, kept)?;
        }
    }
    Ok(Forwardable {
        request: submission.raw.clone(),
        requester: principal.name.clone(),
        identity: circumstances.identity,
        expected: Expected {
            spki: submission.key.spki.clone(),
            template_name: template.name.clone(),
            template_oid: template.oid.clone(),
            sid: expected_sid(principal, template, circumstances, renewed),
            names: expected_names(principal, template, submission, circumstances, renewed),
        },
    })
}

/// The security identifier that the certificate must have: a CA of Active Directory puts it into what it builds from an
/// account unless the template says not to, and not into what takes its names from the request. Nobody else's may stand
/// there in any case.
fn expected_sid(
    principal: &Principal,
    template: &Template,
    circumstances: &ForwardCircumstances<'_>,
    renewed: Option<&ForeignCertificate>,
) -> ExpectedSid {
    let own = principal.sid.as_ref().map(|sid| sid.as_str().to_owned());
    // The certificate alone says whose the next one is.
    let whose = match renewed {
        Some(old) if circumstances.key_based => old.sid.clone(),
        Some(_) | None => own,
    };
    let rule = match template.subject.source {
        SubjectSource::Identity if !template.subject.without_sid => ExpectedSid::Demanded,
        SubjectSource::Identity | SubjectSource::Request => ExpectedSid::IfAny,
    };
    whose.map_or(ExpectedSid::NotCompared, rule)
}

/// The names that the certificate may have.
fn expected_names(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &ForwardCircumstances<'_>,
    renewed: Option<&ForeignCertificate>,
) -> ExpectedNames {
    match template.subject.source {
        SubjectSource::Request => {
            let asked = [Some(&submission.names), renewed.map(|old| &old.names)];
            let (mut subject, mut alternatives) = (SubjectName(template.subject.fixed.clone()), Vec::new());
            for names in asked.into_iter().flatten() {
                subject.0.extend(names.subject.0.iter().cloned());
                alternatives.extend(names.alternatives.iter().cloned());
            }
            ExpectedNames::Asked { subject, alternatives }
        }
        SubjectSource::Identity => {
            let own = principal.sid.as_ref().map(Sid::as_str);
            let of_another = renewed.is_some_and(|old| circumstances.key_based && old.sid.as_deref() != own);
            match account_names(principal, template) {
                Some(names) if !of_another => ExpectedNames::Account(Box::new(names)),
                Some(_) | None => ExpectedNames::NotCompared,
            }
        }
    }
}

/// What a CA of the account's directory can have built names from (MS-WCCE 3.2.2.6.2.1.4.5.9); `None` of accounts of no
/// directory.
fn account_names(principal: &Principal, template: &Template) -> Option<AccountNames> {
    let directory = principal.directory.as_deref()?;
    let mut upns: Vec<String> = principal.upn.iter().cloned().collect();
    // What an account has that has none.
    if let Some((domain, account)) = principal.name.directory_parts() {
        upns.push(format!("{account}@{domain}"));
    }
    upns.extend(directory.service_principal_names.iter().cloned());
    let mut hosts = principal.dns_names.clone();
    let of_domain =
        directory.domain_controller && template.subject.alternatives.contains(&AltNameFrom::DomainDns);
    if of_domain {
        hosts.extend(directory.domain_dns.clone());
    }
    Some(AccountNames {
        upns,
        hosts,
        emails: principal.email.iter().cloned().collect(),
        upn_known: principal.upn.is_some(),
        email_known: principal.email.is_some(),
        host_known: directory.host_name_doubt != Some(HostNameDoubt::Malformed),
        short_host: of_domain,
    })
}
