//! A digest of exactly what a template says, so that an officer's consent to a danger covers nothing else.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use muster_core::Template;
use muster_core::template::{AccessEffect, AccessRight};
use serde::{Deserialize, Serialize};

use crate::entry::RawEntry;
use crate::finding::{Effect, Finding};

/// Every attribute that means something in a template, in lower case; what a domain controller changes by itself
/// (`whenChanged`, `uSNChanged`) is not among them. The access list counts in its evaluated form: controllers
/// rewrite the octets.
const ATTRIBUTES: [&str; 26] = [
    "cn",
    "displayname",
    "flags",
    "mspki-cert-template-oid",
    "mspki-certificate-application-policy",
    "mspki-certificate-name-flag",
    "mspki-certificate-policy",
    "mspki-enrollment-flag",
    "mspki-minimal-key-size",
    "mspki-private-key-flag",
    "mspki-ra-application-policies",
    "mspki-ra-policies",
    "mspki-ra-signature",
    "mspki-supersede-templates",
    "mspki-template-minor-revision",
    "mspki-template-schema-version",
    "pkicriticalextensions",
    "pkidefaultcsps",
    "pkidefaultkeyspec",
    "pkienrollmentaccess",
    "pkiexpirationperiod",
    "pkiextendedkeyusage",
    "pkikeyusage",
    "pkimaxissuingdepth",
    "pkioverlapperiod",
    "revision",
];

/// SHA-256, shown as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(entry: &RawEntry, template: &Template, findings: &[Finding]) -> Self {
        let mut context = Context::new(&SHA256);
        for attribute in ATTRIBUTES {
            // A directory returns several values in any order.
            let mut values: Vec<&[u8]> = entry.values(attribute).iter().map(Vec::as_slice).collect();
            values.sort_unstable();
            count(&mut context, values.len());
            values.into_iter().for_each(|value| text(&mut context, value));
        }
        let access = template.permissions.access.as_deref().unwrap_or_default();
        count(&mut context, access.len());
        for entry in access {
            let effect = match entry.effect {
                AccessEffect::Allow => "allow",
                AccessEffect::Deny => "deny",
            };
            let right = match entry.right {
                AccessRight::Enroll => "enroll",
                AccessRight::AutoEnroll => "auto_enroll",
                AccessRight::Both => "both",
            };
            [effect, right, entry.sid.as_str()].iter().for_each(|part| text(&mut context, part.as_bytes()));
        }
        let dangers = findings.iter().filter(|finding| finding.effect == Effect::NeedsAcceptance);
        dangers.for_each(|danger| text(&mut context, danger.sentence.as_bytes()));
        Self::finish(context)
    }

    /// That of the same content with one more remark.
    pub(super) fn with(&self, finding: &Finding) -> Self {
        let mut context = Context::new(&SHA256);
        [self.0.as_str(), &finding.about, &finding.sentence]
            .iter()
            .for_each(|part| text(&mut context, part.as_bytes()));
        Self::finish(context)
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn finish(context: Context) -> Self {
        Self(context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect())
    }
}

fn count(context: &mut Context, number: usize) {
    context.update(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
}

/// With its length in front, so that no two lists of texts are the same octets.
fn text(context: &mut Context, octets: &[u8]) {
    count(context, octets.len());
    context.update(octets);
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fits { Ok(Self(text)) } else { Err("a fingerprint has 64 hexadecimal digits".to_owned()) }
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
