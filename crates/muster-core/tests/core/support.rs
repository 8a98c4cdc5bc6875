//! Principals, templates and requests that the tests change one thing at a time.

use muster_core::identity::{Method, PrincipalKind};
use muster_core::names::{AltName, NameAttribute, SubjectName};
use muster_core::policy::{Approval, CertificateContents, Circumstances, decide};
use muster_core::request::{KeyAlgorithm, PublicKey, RequestForm, RequestedNames, RequestedTemplate};
use muster_core::{Approved, Decision, Oid, Principal, Refusal, Submission, Template, UnixTime, defaults};

pub(crate) const NOW: UnixTime = UnixTime(1_795_408_903);
pub(crate) const DAY: i64 = 86_400;
pub(crate) const OWN_SID: &str = "S-1-5-21-1-2-3-1104";

pub(crate) fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

pub(crate) fn alice() -> Principal {
    Principal {
        name: "alice".parse().unwrap(),
        kind: PrincipalKind::User,
        groups: ["users".parse().unwrap()].into(),
        common_name: Some("Alice Example".to_owned()),
        email: Some("alice@lab.example".to_owned()),
        upn: Some("alice@corp.lab.example".to_owned()),
        dns_names: Vec::new(),
        sid: Some(OWN_SID.to_owned().try_into().unwrap()),
        sids: [].into(),
        directory: None,
        token: None,
    }
}

pub(crate) fn web01() -> Principal {
    Principal {
        name: "web01$".parse().unwrap(),
        kind: PrincipalKind::Computer,
        groups: ["computers".parse().unwrap()].into(),
        common_name: None,
        email: None,
        upn: None,
        dns_names: vec!["web01.lab.example".to_owned(), "www.lab.example".to_owned()],
        sid: None,
        sids: [].into(),
        directory: None,
        token: None,
    }
}

/// The default templates as a store would offer them: each with an identifier.
pub(crate) fn catalog() -> Vec<Template> {
    let mut templates = defaults::templates().unwrap();
    for (template, number) in templates.iter_mut().zip(1u32..) {
        template.oid = Some(oid("1.3.6.1.4.1.311.21.8.1").child(&[number]));
    }
    templates
}

pub(crate) fn template(name: &str) -> Template {
    catalog().into_iter().find(|t| t.name == name).unwrap()
}

/// A template after a change that [`Template::check`] accepts.
pub(crate) fn changed(name: &str, change: impl FnOnce(&mut Template)) -> Template {
    let mut template = template(name);
    change(&mut template);
    template.check().unwrap();
    template
}

pub(crate) fn key() -> PublicKey {
    PublicKey { spki: b"a P-256 key".to_vec(), algorithm: KeyAlgorithm::P256, bits: 256 }
}

pub(crate) fn rsa(bits: u32) -> PublicKey {
    PublicKey { spki: b"an RSA key".to_vec(), algorithm: KeyAlgorithm::Rsa, bits }
}

/// A first enrollment that asks for no name.
pub(crate) fn plain() -> Submission {
    Submission {
        form: RequestForm::Pkcs10,
        template: RequestedTemplate::default(),
        key: key(),
        names: RequestedNames::default(),
        sha1_signature: false,
        raw: b"the request".to_vec(),
    }
}

/// A first enrollment that asks for these names.
pub(crate) fn asking(names: RequestedNames) -> Submission {
    Submission { names, ..plain() }
}

pub(crate) fn cn(value: &str) -> RequestedNames {
    subject(&[(NameAttribute::CommonName, value)])
}

pub(crate) fn dns(names: &[&str]) -> RequestedNames {
    alternatives(names.iter().map(|name| AltName::Dns((*name).to_owned())).collect())
}

pub(crate) fn subject(attributes: &[(NameAttribute, &str)]) -> RequestedNames {
    let attributes = attributes.iter().map(|(attribute, value)| (*attribute, (*value).to_owned()));
    RequestedNames { subject: SubjectName(attributes.collect()), ..RequestedNames::default() }
}

pub(crate) fn alternatives(alternatives: Vec<AltName>) -> RequestedNames {
    RequestedNames { alternatives, ..RequestedNames::default() }
}

/// A good day: password over TLS, an ordinary address, a CA with years to live.
pub(crate) fn good_day() -> Circumstances<'static> {
    Circumstances {
        agency: None,
        method: Method::UsernamePassword,
        tls_certificate: None,
        renewal_only: false,
        key_based: false,
        renewed: None,
        key_blocked: false,
        approval: Approval::NotGiven,
        ca_not_after: NOW.plus(3_650 * DAY),
        now: NOW,
    }
}

/// What [`decide`] said, in a form to compare.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Issue(Box<CertificateContents>),
    Pend,
    Forked,
    Deny(Refusal),
}

impl Outcome {
    /// The code of the refusal; what else it was otherwise.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Issue(_) => "issued",
            Self::Pend => "pending",
            Self::Forked => "forked",
            Self::Deny(refusal) => refusal.code(),
        }
    }

    #[track_caller]
    pub(crate) fn issued(self) -> CertificateContents {
        match self {
            Self::Issue(contents) => *contents,
            Self::Pend | Self::Forked | Self::Deny(_) => panic!("not issued: {self:?}"),
        }
    }
}

pub(crate) fn outcome_in(
    principal: &Principal,
    template: &Template,
    submission: &Submission,
    circumstances: &Circumstances<'_>,
) -> Outcome {
    match decide(principal, template, submission, circumstances) {
        Decision::Issue(approved) => {
            assert_eq!(*approved.requester(), principal.name);
            Outcome::Issue(Box::new(approved.contents().clone()))
        }
        Decision::Pend => Outcome::Pend,
        Decision::Forked => Outcome::Forked,
        Decision::Deny(refusal) => Outcome::Deny(refusal),
    }
}

pub(crate) fn outcome(principal: &Principal, template: &Template, submission: &Submission) -> Outcome {
    outcome_in(principal, template, submission, &good_day())
}

pub(crate) fn approved(principal: &Principal, template: &Template, submission: &Submission) -> Approved {
    match decide(principal, template, submission, &good_day()) {
        Decision::Issue(approved) => *approved,
        Decision::Pend | Decision::Forked | Decision::Deny(_) => panic!("not issued"),
    }
}

/// The names of a certificate as one line, for tables: `CN=… | DNS:…, DNS:…`.
pub(crate) fn names(contents: &CertificateContents) -> String {
    let alternatives: Vec<String> = contents.alternatives.iter().map(ToString::to_string).collect();
    format!("{} | {}", contents.subject, alternatives.join(", "))
}
