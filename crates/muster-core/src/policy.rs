//! The rule that decides a request. Pure: everything it looks at is handed in, and nothing else can approve.
//!
//! The order of the checks follows MS-WCCE 3.2.2.6.2.1; where the specification would allow what is known today as
//! an attack, the stricter rule is in docs/divergences.md.

use crate::identity::{AccountName, Method, Principal, Sid};
use crate::names::{self, AltName, NameAttribute, SubjectName};
use crate::oid::Oid;
use crate::refusal::Refusal;
use crate::request::{KeyAlgorithm, PublicKey, RequestForm, RequestedNames, RequestedTemplate, Submission};
use crate::template::{AltNameFrom, CommonNameFrom, IpPrefix, KeyUsage, SubjectSource, Template, eku};
use crate::time::UnixTime;

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
    /// For a renewal: what the store knows of the certificate that signed it.
    pub renewed: Option<&'a KnownCertificate>,
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
    /// Refused.
    Deny(Refusal),
}

/// Finds the one template that a request names and that `principal` may enroll for.
///
/// `catalog` are the templates that this CA offers.
///
/// # Errors
/// [`Refusal::NoTemplate`], [`Refusal::TemplateConflict`], [`Refusal::TemplateDenied`] (unknown and forbidden look
/// alike), [`Refusal::TemplateVersion`].
pub fn authorize<'t>(
    principal: &Principal,
    catalog: &'t [Template],
    requested: &RequestedTemplate,
) -> Result<&'t Template, Refusal> {
    let by_name =
        requested.names.iter().map(|name| catalog.iter().find(|t| t.name.eq_ignore_ascii_case(name)));
    let by_oid =
        requested.identifiers.iter().map(|(oid, ..)| catalog.iter().find(|t| t.oid.as_ref() == Some(oid)));
    let mut chosen: Option<&Template> = None;
    let mut named = false;
    for candidate in by_name.chain(by_oid) {
        named = true;
        let candidate = candidate.ok_or(Refusal::TemplateDenied)?;
        match chosen {
            Some(template) if template.name != candidate.name => return Err(Refusal::TemplateConflict),
            Some(_) => {}
            None => chosen = Some(candidate),
        }
    }
    let Some(template) = chosen else {
        return Err(if named { Refusal::TemplateDenied } else { Refusal::NoTemplate });
    };
    if !template.permission(principal).enroll {
        return Err(Refusal::TemplateDenied);
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

/// Decides a request of `principal` for `template`, which [`authorize`] returned.
#[must_use]
pub fn decide(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &Circumstances<'_>,
) -> Decision {
    match examine(principal, template, submission, circumstances) {
        Err(refusal) => Decision::Deny(refusal),
        Ok((renewal, contents)) => {
            let waived = renewal && template.issuance.renewal_without_approval;
            let needed = template.issuance.approval && !waived;
            match circumstances.approval {
                Approval::NotGiven if needed => Decision::Pend,
                Approval::NotGiven | Approval::Given => {
                    Decision::Issue(Box::new(Approved { contents, requester: principal.name.clone() }))
                }
            }
        }
    }
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
            AltName::Email(_) | AltName::Uri(_) | AltName::Upn(_) => false,
        };
        if !allowed {
            return Err(Refusal::NameNotAllowed(shorten(&name.to_string())));
        }
    }
    let common_name = match names.first().ok_or(Refusal::NameMissing)? {
        AltName::Ip(address) => address.to_string(),
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

/// Every check that does not depend on an officer. Returns whether it is a renewal, and the contents.
fn examine(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &Circumstances<'_>,
) -> Result<(bool, CertificateContents), Refusal> {
    let renewal = match &submission.form {
        RequestForm::Pkcs10 | RequestForm::CmcFull if circumstances.renewal_only => {
            return Err(Refusal::RenewalOnly);
        }
        RequestForm::Pkcs10 | RequestForm::CmcFull => false,
        RequestForm::Renewal { old_certificate } => {
            check_renewal(principal, template, old_certificate, circumstances)?;
            true
        }
        RequestForm::OnBehalfOf { .. } => return Err(Refusal::OnBehalfOf),
    };
    check_key(template, &submission.key, circumstances.key_blocked)?;
    if submission.names.wants_ca {
        return Err(Refusal::CaRequested);
    }
    let own_sid = principal.sid.as_ref().map(Sid::as_str);
    if submission.names.sids.iter().any(|sid| Some(sid.as_str()) != own_sid) {
        return Err(Refusal::SidInRequest);
    }
    let (subject, alternatives) = match template.subject.source {
        SubjectSource::Identity => names_of_identity(principal, template)?,
        SubjectSource::Request => names_of_request(principal, template, &submission.names)?,
    };
    let not_before = circumstances.now.plus(-BACKDATE_SECONDS);
    let not_after = circumstances.now.plus(i64::from(template.validity.days) * 86_400 - 1);
    if not_after > circumstances.ca_not_after {
        return Err(Refusal::CaExpiring(circumstances.ca_not_after));
    }
    // A template in the catalog always has an identifier: the store gives it one when it is added.
    let oid = template.oid.clone().ok_or(Refusal::TemplateDenied)?;
    Ok((
        renewal,
        CertificateContents {
            subject,
            alternatives,
            not_before,
            not_after,
            spki: submission.key.spki.clone(),
            key_algorithm: submission.key.algorithm,
            usage: usage_for(template, submission.key.algorithm),
            eku: template.eku.clone(),
            policies: template.policies.clone(),
            template: (oid, template.major, template.minor),
            sid: principal.sid.clone(),
        },
    ))
}

fn check_renewal(
    principal: &Principal,
    template: &Template,
    old_certificate: &[u8],
    circumstances: &Circumstances<'_>,
) -> Result<(), Refusal> {
    match circumstances.method {
        Method::ClientCertificate if circumstances.tls_certificate != Some(old_certificate) => {
            return Err(Refusal::RenewalSigner);
        }
        Method::ClientCertificate | Method::UsernamePassword => {}
    }
    let known = circumstances.renewed.ok_or(Refusal::RenewalUnknown)?;
    if known.account != principal.name {
        return Err(Refusal::RenewalForeign);
    }
    if known.revoked {
        return Err(Refusal::RenewalRevoked);
    }
    if circumstances.now > known.not_after || circumstances.now < known.not_before {
        return Err(Refusal::RenewalExpired(known.not_after));
    }
    if Some(&known.template) != template.oid.as_ref() {
        return Err(Refusal::RenewalTemplate);
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

/// Usage bits that fit the kind of key: encipherment needs RSA, agreement needs a curve that agrees
/// (RFC 3279 2.3.1, RFC 5480 3, RFC 8410 5).
fn usage_for(template: &Template, algorithm: KeyAlgorithm) -> Vec<KeyUsage> {
    template
        .key
        .usage
        .iter()
        .copied()
        .filter(|usage| match usage {
            KeyUsage::DigitalSignature | KeyUsage::NonRepudiation => true,
            KeyUsage::KeyEncipherment | KeyUsage::DataEncipherment => algorithm == KeyAlgorithm::Rsa,
            KeyUsage::KeyAgreement => {
                matches!(algorithm, KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521)
            }
        })
        .collect()
}

/// Names from the authenticated identity (MS-WCCE 3.2.2.6.2.1.4.5.9); what was asked for does not matter.
fn names_of_identity(
    principal: &Principal,
    template: &Template,
) -> Result<(SubjectName, Vec<AltName>), Refusal> {
    let dns_name = principal.dns_names.first();
    let common_name = match template.subject.common_name {
        CommonNameFrom::CommonName => {
            Some(principal.common_name.clone().unwrap_or_else(|| principal.name.to_string()))
        }
        CommonNameFrom::DnsName => Some(dns_name.cloned().ok_or(Refusal::DnsNameMissing)?),
        CommonNameFrom::None => None,
    };
    // RFC 5280 limits a common name to 64 characters; a longer host name stands among the alternatives alone.
    let common_name = common_name.filter(|name| names::is_subject_text(name));
    let mut alternatives = Vec::new();
    for wanted in &template.subject.alternatives {
        match wanted {
            AltNameFrom::DnsNames if principal.dns_names.is_empty() => return Err(Refusal::DnsNameMissing),
            AltNameFrom::DnsNames => {
                alternatives.extend(principal.dns_names.iter().cloned().map(AltName::Dns));
            }
            AltNameFrom::Email => {
                alternatives.push(AltName::Email(principal.email.clone().ok_or(Refusal::EmailMissing)?));
            }
            AltNameFrom::Upn => {
                alternatives.push(AltName::Upn(principal.upn.clone().ok_or(Refusal::UpnMissing)?));
            }
        }
    }
    let subject = with_fixed(template, common_name);
    if subject.0.is_empty() && alternatives.is_empty() {
        return Err(Refusal::NameMissing);
    }
    Ok((subject, alternatives))
}

/// Names from the request, each of them within the template's rules.
fn names_of_request(
    principal: &Principal,
    template: &Template,
    requested: &RequestedNames,
) -> Result<(SubjectName, Vec<AltName>), Refusal> {
    let refuse = |name: &dyn std::fmt::Display| Err(Refusal::NameNotAllowed(shorten(&name.to_string())));
    let rules = &template.subject;
    if let Some(unknown) = requested.unknown_alternatives.first() {
        return refuse(unknown);
    }
    if let Some(unknown) = requested.unknown_subject_attributes.first() {
        return refuse(unknown);
    }
    for alternative in &requested.alternatives {
        let allowed = match alternative {
            AltName::Dns(name) => dns_allowed(principal, &rules.allow_dns, name),
            AltName::Email(address) => {
                rules.allow_own_email && principal.email.as_ref() == Some(address) && names::is_email(address)
            }
            AltName::Ip(address) => {
                rules.allow_ip.iter().any(|p| IpPrefix::parse(p).is_some_and(|p| p.contains(*address)))
            }
            AltName::Uri(_) | AltName::Upn(_) => false,
        };
        if !allowed {
            return refuse(alternative);
        }
    }
    let mut common_name = None;
    let mut copied = Vec::new();
    for (attribute, value) in &requested.subject.0 {
        let text_ok = names::is_subject_text(value);
        match attribute {
            // The common name is one of the names that were checked above, or the account's own.
            NameAttribute::CommonName => {
                let checked = requested.alternatives.iter().any(|a| match a {
                    AltName::Dns(name) => *name == value.to_ascii_lowercase(),
                    AltName::Email(address) => address == value,
                    AltName::Ip(address) => address.to_string() == *value,
                    AltName::Uri(_) | AltName::Upn(_) => false,
                });
                let own = principal.common_name.as_ref() == Some(value)
                    || principal.name.as_str() == value
                    || dns_allowed(principal, &rules.allow_dns, &value.to_ascii_lowercase());
                if !text_ok || common_name.is_some() || !(checked || own) {
                    return refuse(&format_args!("CN={value}"));
                }
                common_name = Some(value.clone());
            }
            NameAttribute::Organization
            | NameAttribute::OrganizationalUnit
            | NameAttribute::Locality
            | NameAttribute::State
            | NameAttribute::Country
            | NameAttribute::DomainComponent
            | NameAttribute::Email
            | NameAttribute::SerialNumber => {
                if !text_ok || !rules.allow_attributes.contains(attribute) {
                    return refuse(&format_args!("{}={value}", attribute.short()));
                }
                copied.push((*attribute, value.clone()));
            }
        }
    }
    let mut alternatives = requested.alternatives.clone();
    // Clients that write a host name into the common name alone still get a certificate that TLS accepts.
    if alternatives.is_empty()
        && let Some(name) = common_name.as_ref().map(|n| n.to_ascii_lowercase())
        && dns_allowed(principal, &rules.allow_dns, &name)
    {
        alternatives.push(AltName::Dns(name));
    }
    if alternatives.is_empty() && common_name.is_none() {
        return Err(Refusal::NameMissing);
    }
    let mut subject = SubjectName(template.subject.fixed.clone());
    subject.0.extend(copied.into_iter().filter(|(a, _)| !template.subject.fixed.iter().any(|(f, _)| f == a)));
    subject.0.extend(common_name.map(|name| (NameAttribute::CommonName, name)));
    Ok((subject, alternatives))
}

fn with_fixed(template: &Template, common_name: Option<String>) -> SubjectName {
    let mut subject = SubjectName(template.subject.fixed.clone());
    subject.0.extend(common_name.map(|name| (NameAttribute::CommonName, name)));
    subject
}

fn dns_allowed(principal: &Principal, rules: &[String], name: &str) -> bool {
    let wildcard = name.starts_with("*.");
    names::is_host_name(name, wildcard)
        && rules.iter().any(|rule| match rule.as_str() {
            "own" => principal.dns_names.iter().any(|own| own == name),
            suffix if suffix.starts_with('.') => {
                !wildcard && name.ends_with(suffix) && name.len() > suffix.len()
            }
            exact => exact == name,
        })
}

/// Refusals quote what was asked for, but not more than a line of it.
fn shorten(text: &str) -> String {
    let printable: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match printable.char_indices().nth(80) {
        Some((cut, _)) => format!("{}…", printable.get(..cut).unwrap_or_default()),
        None => printable,
    }
}
