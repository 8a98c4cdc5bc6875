//! The rule that decides a request. Pure: everything it looks at is handed in, and nothing else can approve.
//!
//! The order of the checks follows MS-WCCE 3.2.2.6.2.1; where the specification would allow what is known today as
//! an attack, the stricter rule is in docs/divergences.md.

mod forward;
mod renewal;
mod subject;

use crate::agent::Agency;
use crate::identity::{AccountName, Method, Principal, Sid};
use crate::names::{self, AltName, SubjectName};
use crate::oid::Oid;
use crate::refusal::Refusal;
use crate::request::{KeyAlgorithm, PublicKey, RequestForm, RequestedTemplate, Submission};
use crate::template::{KeyUsage, SubjectSource, Template, eku};
use crate::time::UnixTime;
use crate::token::TokenGrant;
use renewal::Holders;

pub use forward::{ForwardCircumstances, Forwardable, forward};
pub use renewal::{ForeignCertificate, LEAST_INTERVAL, LinePlace, Renewed};

/// The code of a renewal that waits for an officer because its certificate was renewed before with another key.
pub const FORK_CODE: &str = "RENEW_FORK";

/// Certificates begin this many seconds before they are issued, for clients whose clocks are slow.
pub const BACKDATE_SECONDS: i64 = 600;

/// What the store knows of a certificate that a renewal presents; looked up by its serial number and equal to it
/// octet by octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCertificate {
    /// The account that it was issued to.
    pub account: AccountName,
    /// The template that it was issued from.
    pub template: Oid,
    /// Begin of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// Revoked or on hold, now.
    pub revoked: bool,
    /// On hold, now.
    pub on_hold: bool,
}

/// What an officer said about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nothing yet.
    NotGiven,
    /// An officer approved this very request.
    Given,
}

/// Facts about the circumstances of a request, gathered by the service.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// How the caller authenticated, and with which certificate.
    pub method: Method,
    /// DER of the certificate of the TLS handshake.
    pub tls_certificate: Option<&'a [u8]>,
    /// The endpoint accepts renewals only.
    pub renewal_only: bool,
    /// At this endpoint a certificate alone renews: whoever holds one needs no permission to enroll, where the template
    /// says so too.
    pub key_based: bool,
    /// For a renewal: what is known of the certificate that signed it; `None` if it is not one of ours.
    pub renewed: Option<&'a Renewed>,
    /// For a request on behalf of somebody: by whom it may be made.
    pub agency: Option<&'a Agency>,
    /// The key is on the list of keys that may never be used again.
    pub key_blocked: bool,
    /// What an officer said.
    pub approval: Approval,
    /// End of the CA certificate.
    pub ca_not_after: UnixTime,
    /// The present instant.
    pub now: UnixTime,
}

/// What a certificate will say, except what the CA adds: serial number, issuer, key identifiers, addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateContents {
    /// The subject; may be empty if there are alternative names.
    pub subject: SubjectName,
    /// Alternative names.
    pub alternatives: Vec<AltName>,
    /// Begin of validity.
    pub not_before: UnixTime,
    /// End of validity, the last second included.
    pub not_after: UnixTime,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The kind of key; decides which usage bits make sense.
    pub key_algorithm: KeyAlgorithm,
    /// Key usage bits that fit the kind of key.
    pub usage: Vec<KeyUsage>,
    /// Extended key usages, also written as application policies (1.3.6.1.4.1.311.21.10).
    pub eku: Vec<Oid>,
    /// Certificate policies.
    pub policies: Vec<Oid>,
    /// Template identifier and revision (1.3.6.1.4.1.311.21.7).
    pub template: (Oid, u32, u32),
    /// The authenticated principal's security identifier (1.3.6.1.4.1.311.25.2).
    pub sid: Option<Sid>,
}

/// A request that policy allows, for one key and one set of contents. Made in this module alone; consumed by
/// [`crate::issuance::prepare`].
///
/// Nobody else can make one, or make two out of one:
///
/// ```compile_fail,E0451
/// # use muster_core::identity::AccountName;
/// # use muster_core::policy::{Approved, CertificateContents};
/// fn by_hand(contents: CertificateContents, requester: AccountName) -> Approved {
///     Approved { contents, requester }
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use muster_core::policy::Approved;
/// fn copy(approved: &Approved) -> Approved {
///     Approved::clone(approved)
/// }
/// ```
///
/// ```compile_fail,E0616
/// # use muster_core::names::SubjectName;
/// # use muster_core::policy::Approved;
/// fn rename(approved: &mut Approved) {
///     approved.contents.subject = SubjectName::common_name("administrator");
/// }
/// ```
#[derive(Debug)]
pub struct Approved {
    contents: CertificateContents,
    requester: AccountName,
}

impl Approved {
    /// What the certificate will say.
    #[must_use]
    pub const fn contents(&self) -> &CertificateContents {
        &self.contents
    }

    /// The account that the certificate is for.
    #[must_use]
    pub const fn requester(&self) -> &AccountName {
        &self.requester
    }
}

/// The outcome of [`decide`].
#[derive(Debug)]
pub enum Decision {
    /// To be issued now.
    Issue(Box<Approved>),
    /// An officer has to look at it first.
    Pend,
    /// An officer has to look at it first: the certificate was renewed before with another key, so somebody may have a
    /// copy of its key.
    Forked,
    /// Refused.
    Deny(Refusal),
}

/// By what right a template is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// The permission to enroll.
    Enroll,
    /// A certificate of the template, at an endpoint for key-based renewal.
    Certificate,
}

impl Right {
    /// The right that a request of this form claims; `key_based` says whether the endpoint renews by certificate alone.
    #[must_use]
    pub const fn claimed(form: &RequestForm, key_based: bool) -> Self {
        match form {
            RequestForm::Renewal { .. } if key_based => Self::Certificate,
            RequestForm::Renewal { .. }
            | RequestForm::Pkcs10
            | RequestForm::CmcFull
            | RequestForm::OnBehalfOf { .. } => Self::Enroll,
        }
    }

    fn covers(self, template: &Template, principal: &Principal) -> bool {
        match self {
            Self::Enroll => template.permission(principal).enroll,
            // Whether the template allows it is said by a refusal of its own, to the holder of a certificate.
            Self::Certificate => template.may_renew(principal),
        }
    }
}

/// Finds the one template that a request names and that `principal` may have by `right`.
///
/// `catalog` are the templates that this CA offers. Templates that `principal` may not have are treated as if
/// they were not there, so that no mixture of names tells which of them exist.
///
/// # Errors
/// [`Refusal::NoTemplate`], [`Refusal::TemplateConflict`], [`Refusal::TemplateDenied`] (unknown and forbidden look
/// alike), [`Refusal::TemplateVersion`].
pub fn authorize<'t>(
    principal: &Principal,
    catalog: &'t [Template],
    requested: &RequestedTemplate,
    right: Right,
) -> Result<&'t Template, Refusal> {
    let find = |named: &dyn Fn(&Template) -> bool| {
        catalog.iter().find(|template| named(template)).filter(|t| right.covers(t, principal))
    };
    let by_name = requested.names.iter().map(|name| find(&|t| t.name.eq_ignore_ascii_case(name)));
    let by_oid = requested.identifiers.iter().map(|(oid, ..)| find(&|t| t.oid.as_ref() == Some(oid)));
    let candidates: Vec<Option<&Template>> = by_name.chain(by_oid).collect();
    let template = match candidates.iter().flatten().next() {
        None if candidates.is_empty() => return Err(Refusal::NoTemplate),
        None => return Err(Refusal::TemplateDenied),
        Some(template) => *template,
    };
    if candidates.iter().any(|other| !other.is_some_and(|other| std::ptr::eq(other, template))) {
        return Err(Refusal::TemplateConflict);
    }
    for (_, major, minor) in &requested.identifiers {
        let newer = major.is_some_and(|m| m > template.major)
            || (major.is_none_or(|m| m == template.major) && minor.is_some_and(|m| m > template.minor));
        if newer {
            return Err(Refusal::TemplateVersion);
        }
    }
    Ok(template)
}

/// Decides a request of `principal` for `template`, which [`authorize`] returned; the permission is looked at again.
///
/// A certificate never outlives the CA: its end is moved to the end of the CA certificate where that comes first
/// (MS-WCCE 3.2.2.6.2.1.4.5.9), unless so little is left that clients would renew at once and for ever
/// ([`Refusal::CaExpiring`]). That a template fits the CA is asked when it is published:
/// [`Template::check_lifetime`].
#[must_use]
pub fn decide(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &Circumstances<'_>,
) -> Decision {
    match examine(principal, template, submission, circumstances) {
        Err(refusal) => Decision::Deny(refusal),
        Ok((holders, contents)) => {
            let approved_before = holders.is_some() && is_approved_before(template, circumstances);
            let needed = template.issuance.approval && !approved_before;
            match circumstances.approval {
                Approval::NotGiven if holders == Some(Holders::Two) => Decision::Forked,
                Approval::NotGiven if needed => Decision::Pend,
                Approval::NotGiven | Approval::Given => {
                    Decision::Issue(Box::new(Approved { contents, requester: principal.name.clone() }))
                }
            }
        }
    }
}

/// The names that a certificate of `template` would have for the holder of a one-time token; asked when the token is
/// made, by the rules that decide when it is used.
///
/// # Errors
/// What the template does not allow, or lacks.
pub fn names_for_token(
    principal: &Principal,
    token: &TokenGrant,
    template: &Template,
) -> Result<(SubjectName, Vec<AltName>), Refusal> {
    subject::of_token(principal, token, template)
}

/// Name of the internal template of [`approve_own_service`]; it is in no catalog, so nobody can ask for it.
pub const OWN_SERVICE_TEMPLATE: &str = "MusterServer";

/// Days that a certificate of [`approve_own_service`] lives, unless the CA ends before.
pub const OWN_SERVICE_DAYS: i64 = 90;

/// Approves a TLS certificate for this service itself.
///
/// [`decide`] cannot: there is no account behind the service, and whoever runs it holds the CA's key already. So
/// this needs no permission, and therefore can make little: server authentication and nothing else, host names and
/// addresses and nothing else, for 90 days and not beyond the CA. It is called with names from the configuration,
/// never with anything from a request.
///
/// `spki` is a P-256 key (DER) that the service made. `localhost` is allowed beside what
/// [`names::is_host_name`] allows. The first name becomes the common name if it is short enough.
///
/// # Errors
/// [`Refusal::NameMissing`], [`Refusal::NameNotAllowed`], [`Refusal::CaExpiring`].
pub fn approve_own_service(
    names: &[AltName],
    spki: Vec<u8>,
    template: Oid,
    now: UnixTime,
    ca_not_after: UnixTime,
) -> Result<Approved, Refusal> {
    for name in names {
        let allowed = match name {
            AltName::Dns(host) => host == "localhost" || names::is_host_name(host, false),
            AltName::Ip(_) => true,
            AltName::Email(_) | AltName::Uri(_) | AltName::Upn(_) | AltName::Guid(_) => false,
        };
        if !allowed {
            return Err(Refusal::NameNotAllowed(names::shorten(&name.to_string())));
        }
    }
    let common_name = match names.first().ok_or(Refusal::NameMissing)? {
        AltName::Ip(address) => address.to_string(),
        AltName::Guid(guid) => guid.to_string(),
        AltName::Dns(text) | AltName::Email(text) | AltName::Uri(text) | AltName::Upn(text) => text.clone(),
    };
    if ca_not_after <= now {
        return Err(Refusal::CaExpiring(ca_not_after));
    }
    let purpose = eku::SERVER_AUTHENTICATION.parse().map_err(|_| Refusal::TemplateDenied)?;
    let contents = CertificateContents {
        subject: if names::is_subject_text(&common_name) {
            SubjectName::common_name(common_name)
        } else {
            SubjectName::default()
        },
        alternatives: names.to_vec(),
        not_before: now.plus(-BACKDATE_SECONDS),
        not_after: now.plus(OWN_SERVICE_DAYS * 86_400 - 1).min(ca_not_after),
        spki,
        key_algorithm: KeyAlgorithm::P256,
        usage: vec![KeyUsage::DigitalSignature],
        eku: vec![purpose],
        policies: Vec::new(),
        template: (template, 100, 0),
        sid: None,
    };
    Ok(Approved { contents, requester: AccountName::own_service() })
}

/// Name of the internal template of [`approve_exchange`]; it is in no catalog either.
pub const EXCHANGE_TEMPLATE: &str = "CAExchange";

/// Days that a certificate of [`approve_exchange`] lives (MS-WSTEP 4.1.2.2 shows about a week).
pub const EXCHANGE_DAYS: i64 = 7;

/// Approves the CA's key exchange certificate, which clients fetch to encrypt private keys for archival.
///
/// Like [`approve_own_service`] it needs no permission and can make one thing only: a certificate of the CA's own
/// name, for key encipherment, with the purpose *CA exchange*. `spki` is an RSA key (DER) that the service made.
///
/// # Errors
/// [`Refusal::CaExpiring`].
pub fn approve_exchange(
    ca_name: &str,
    spki: Vec<u8>,
    template: Oid,
    now: UnixTime,
    ca_not_after: UnixTime,
) -> Result<Approved, Refusal> {
    const SUFFIX: &str = "-Xchg";
    if ca_not_after <= now {
        return Err(Refusal::CaExpiring(ca_not_after));
    }
    let purpose = eku::CA_EXCHANGE.parse().map_err(|_| Refusal::TemplateDenied)?;
    let short: String = ca_name.chars().take(64 - SUFFIX.len()).collect();
    let contents = CertificateContents {
        subject: SubjectName::common_name(format!("{short}{SUFFIX}")),
        alternatives: Vec::new(),
        not_before: now.plus(-BACKDATE_SECONDS),
        not_after: now.plus(EXCHANGE_DAYS * 86_400 - 1).min(ca_not_after),
        spki,
        key_algorithm: KeyAlgorithm::Rsa,
        usage: vec![KeyUsage::KeyEncipherment],
        eku: vec![purpose],
        policies: Vec::new(),
        template: (template, 100, 0),
        sid: None,
    };
    Ok(Approved { contents, requester: AccountName::own_service() })
}

/// Whether a renewal needs neither an officer nor an agent again. Names cannot be swapped in it: they come from the
/// identity, or are those of the old certificate, which an officer has seen if the template asked for it then.
fn is_approved_before(template: &Template, circumstances: &Circumstances<'_>) -> bool {
    let seen = circumstances.renewed.is_some_and(|renewed| renewed.line.approved);
    template.issuance.renewal_without_approval && (template.subject.source == SubjectSource::Identity || seen)
}

/// Every check that does not depend on an officer. Returns, for a renewal, who holds the certificate, and the contents.
fn examine(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &Circumstances<'_>,
) -> Result<(Option<Holders>, CertificateContents), Refusal> {
    if !Right::claimed(&submission.form, circumstances.key_based).covers(template, principal) {
        return Err(Refusal::TemplateDenied);
    }
    if principal.token.is_some() {
        TokenGrant::check_form(&submission.form, circumstances.method)?;
    }
    let holders = match &submission.form {
        RequestForm::Pkcs10 | RequestForm::CmcFull if circumstances.renewal_only => {
            return Err(Refusal::RenewalOnly);
        }
        RequestForm::Pkcs10 | RequestForm::CmcFull => None,
        RequestForm::Renewal { old_certificate, extra_signers } => {
            let (old, extra) = (old_certificate, *extra_signers);
            Some(renewal::check(principal, template, submission, old, extra, circumstances)?)
        }
        RequestForm::OnBehalfOf { .. } if circumstances.renewal_only => {
            return Err(Refusal::RenewalOnly);
        }
        RequestForm::OnBehalfOf { .. } => {
            if !circumstances.agency.is_some_and(|agency| agency.is_for(principal, template)) {
                return Err(Refusal::OnBehalfOf);
            }
            None
        }
    };
    let approved_before = holders.is_some() && is_approved_before(template, circumstances);
    let signatures = circumstances.agency.map_or(0, Agency::signatures);
    if template.issuance.signatures > signatures && !approved_before {
        return Err(Refusal::SignatureRequired);
    }
    check_request(principal, template, submission, circumstances.key_blocked)?;
    let (subject, alternatives) = match (&principal.token, template.subject.source) {
        (Some(token), _) => {
            token.check_names(&submission.names, &template.subject.fixed)?;
            subject::of_token(principal, token, template).map_err(|_| Refusal::TokenTemplate)?
        }
        (None, SubjectSource::Identity) => subject::of_identity(principal, template)?,
        (None, SubjectSource::Request) => {
            // A renewal keeps the names, as long as they are allowed.
            let kept = circumstances.renewed.filter(|_| holders.is_some()).map(|renewed| &renewed.names);
            subject::of_request(principal, template, kept.unwrap_or(&submission.names))?
        }
    };
    let not_before = circumstances.now.plus(-BACKDATE_SECONDS);
    let not_after = template.validity.end(circumstances.now).min(circumstances.ca_not_after);
    let renewal_seconds = i64::try_from(template.validity.renewal_seconds()).unwrap_or(i64::MAX);
    if not_after <= circumstances.now.plus(renewal_seconds) {
        return Err(Refusal::CaExpiring(circumstances.ca_not_after));
    }
    // A template in the catalog always has an identifier: the store gives it one when it is added.
    let oid = template.oid.clone().ok_or(Refusal::TemplateDenied)?;
    Ok((
        holders,
        CertificateContents {
            subject,
            alternatives,
            not_before,
            not_after,
            spki: submission.key.spki.clone(),
            key_algorithm: submission.key.algorithm,
            usage: template.key.usage.iter().copied().filter(|u| u.fits(submission.key.algorithm)).collect(),
            eku: template.eku.clone(),
            policies: template.policies.clone(),
            template: (oid, template.major, template.minor),
            sid: principal.sid.clone(),
        },
    ))
}

/// What no request may ask for, whoever is to answer it.
fn check_request(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    key_blocked: bool,
) -> Result<(), Refusal> {
    check_key(template, &submission.key, key_blocked)?;
    if submission.names.wants_ca {
        return Err(Refusal::CaRequested);
    }
    let own_sid = principal.sid.as_ref().map(Sid::as_str);
    if submission.names.sids.iter().any(|sid| Some(sid.as_str()) != own_sid) {
        return Err(Refusal::SidInRequest);
    }
    Ok(())
}

fn check_key(template: &Template, key: &PublicKey, blocked: bool) -> Result<(), Refusal> {
    if blocked {
        return Err(Refusal::KeyBlocked);
    }
    if !template.key.algorithms.contains(&key.algorithm) {
        return Err(Refusal::KeyAlgorithm(key.algorithm.as_str()));
    }
    let minimum = template.key.minimum_rsa_bits;
    if key.algorithm == KeyAlgorithm::Rsa && key.bits < minimum {
        return Err(Refusal::KeyTooShort { bits: key.bits, minimum });
    }
    Ok(())
}
