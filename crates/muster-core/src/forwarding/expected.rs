//! What a certificate of a CA that is not ours must be like, compared with what it is: that CA decides, and what it
//! decides is not trusted to be for whoever asked.
//!
//! The service looks at key, signature and template where it reads the answer; whose the names are is decided here.

use serde::{Deserialize, Serialize};

use crate::names::{self, AltName, NameAttribute, SubjectName};
use crate::oid::Oid;
use crate::request::RequestedNames;

/// Subject attributes in which a name stands that somebody could be taken for; such a one must be readable.
const PERSONAL: [(NameAttribute, &str); 2] =
    [(NameAttribute::CommonName, "2.5.4.3"), (NameAttribute::Email, "1.2.840.113549.1.9.1")];

/// What the certificate must be like, or it is not handed out: an answer of another CA is untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The key of the request, SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// The name of the template. The certificate names its template by this or by the identifier.
    pub template_name: String,
    /// The identifier of the template.
    pub template_oid: Option<Oid>,
    /// The security identifier.
    pub sid: ExpectedSid,
    /// The names.
    pub names: ExpectedNames,
}

/// Which security identifier (1.3.6.1.4.1.311.25.2) the certificate must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedSid {
    /// Not looked at: nobody here knows the account's.
    #[default]
    NotCompared,
    /// This one.
    Demanded(String),
    /// This one, if it has any.
    IfAny(String),
}

impl ExpectedSid {
    /// The one that must be there.
    #[must_use]
    pub fn demanded(&self) -> Option<&str> {
        match self {
            Self::Demanded(sid) => Some(sid),
            Self::NotCompared | Self::IfAny(_) => None,
        }
    }

    /// The only one that may be there; `None` if any may.
    const fn only(&self) -> Option<&String> {
        match self {
            Self::Demanded(sid) | Self::IfAny(sid) => Some(sid),
            Self::NotCompared => None,
        }
    }
}

/// Which names the certificate may have. It may always have fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectedNames {
    /// Not looked at: nobody here knows the account's.
    #[default]
    NotCompared,
    /// Those of a request: no other alternative name, common name or e-mail address. What else stands in the subject is
    /// that CA's.
    Asked {
        /// Attributes of the subject.
        subject: SubjectName,
        /// Alternative names.
        alternatives: Vec<AltName>,
    },
    /// Those of an account, as the directory has them: no other user principal name, host name or e-mail address.
    Account(Box<AccountNames>),
}

/// Names of an account that a CA of a directory builds certificates from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountNames {
    /// What may stand as user principal name, compared without case.
    pub upns: Vec<String>,
    /// Host names, compared without case.
    pub hosts: Vec<String>,
    /// E-mail addresses, compared without case.
    pub emails: Vec<String>,
    /// The account has a user principal name in `upns` that the directory says. Without one it may have one that is none
    /// for us, and so the certificate.
    pub upn_known: bool,
    /// The same of e-mail addresses.
    pub email_known: bool,
    /// The same of host names.
    pub host_known: bool,
    /// The short name of the domain may stand among the host names: those of domain controllers.
    pub short_host: bool,
}

/// A name that is not the one expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherName {
    /// It is not among those that were asked for.
    #[error("the certificate has the name {0}, which was not asked for")]
    NotAskedFor(String),
    /// The directory has another one for the account.
    #[error("the certificate has the name {0}, which is not the account's")]
    NotTheAccounts(String),
    /// It has another security identifier than the requester.
    #[error("the certificate has the security identifier {found}, the requester has {expected}")]
    Sid {
        /// What it says.
        found: String,
        /// Whose it should be.
        expected: String,
    },
}

impl Expected {
    /// Whether names and security identifier of a certificate are those of whoever asked.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_names(&self, found: &RequestedNames, sid: Option<&str>) -> Result<(), OtherName> {
        if self.sid.demanded().is_some() && sid.is_none() {
            return Err(other_sid("none", &self.sid));
        }
        let all = sid.into_iter().chain(found.sids.iter().map(String::as_str));
        for sid in all {
            if self.sid.only().is_some_and(|only| only != sid) {
                return Err(other_sid(sid, &self.sid));
            }
        }
        match &self.names {
            ExpectedNames::NotCompared => Ok(()),
            ExpectedNames::Asked { subject, alternatives } => check_asked(found, subject, alternatives),
            ExpectedNames::Account(account) => check_account(found, account),
        }
    }
}

fn other_sid(found: &str, expected: &ExpectedSid) -> OtherName {
    let expected = expected.only().cloned().unwrap_or_default();
    OtherName::Sid { found: names::shorten(found), expected }
}

fn check_asked(
    found: &RequestedNames,
    subject: &SubjectName,
    alternatives: &[AltName],
) -> Result<(), OtherName> {
    let other = |name: &str| Err(OtherName::NotAskedFor(names::shorten(name)));
    if let Some(unknown) = found.unknown_alternatives.first() {
        return other(unknown);
    }
    for name in &found.alternatives {
        // A host name that was asked for as common name may stand where TLS looks for it.
        let moved = match name {
            AltName::Dns(host) => {
                subject.values(NameAttribute::CommonName).any(|value| value.eq_ignore_ascii_case(host))
            }
            AltName::Email(_) | AltName::Ip(_) | AltName::Uri(_) | AltName::Upn(_) | AltName::Guid(_) => {
                false
            }
        };
        if !moved && !alternatives.contains(name) {
            return other(&name.to_string());
        }
    }
    for (attribute, dotted) in PERSONAL {
        let asked: Vec<&str> = subject.values(attribute).collect();
        if let Some(value) = found.subject.values(attribute).find(|value| !asked.contains(value)) {
            return other(&format!("{}={value}", attribute.short()));
        }
        if found.unknown_subject_attributes.iter().any(|unknown| unknown == dotted) {
            return other(&format!("{}, which cannot be read", attribute.short()));
        }
    }
    Ok(())
}

fn check_account(found: &RequestedNames, account: &AccountNames) -> Result<(), OtherName> {
    let is_one = |own: &[String], name: &str| own.iter().any(|own| own.eq_ignore_ascii_case(name));
    let email =
        |address: &str| is_one(&account.emails, address) || !account.email_known && !names::is_email(address);
    for name in &found.alternatives {
        let own = match name {
            AltName::Upn(upn) => is_one(&account.upns, upn) || !account.upn_known && !names::is_upn(upn),
            AltName::Dns(host) => {
                is_one(&account.hosts, host)
                    || account.short_host && !host.contains('.')
                    || !account.host_known && !names::is_host_name(host, true)
            }
            AltName::Email(address) => email(address),
            // Nothing is known here that they could be compared with.
            AltName::Ip(_) | AltName::Uri(_) | AltName::Guid(_) => true,
        };
        if !own {
            return Err(OtherName::NotTheAccounts(names::shorten(&name.to_string())));
        }
    }
    match found.subject.values(NameAttribute::Email).find(|address| !email(address)) {
        Some(address) => Err(OtherName::NotTheAccounts(names::shorten(&format!("E={address}")))),
        None => Ok(()),
    }
}
