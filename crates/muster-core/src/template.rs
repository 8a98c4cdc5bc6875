//! Templates: the blueprint of a certificate, with a revision and permissions.
//!
//! The text form is TOML, the same that `muster template` writes and reads. Keys that we do not know are refused,
//! so that a misspelt rule cannot silently be no rule.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::identity::{AccountName, Principal, PrincipalKind, Sid};
use crate::names::NameAttribute;
use crate::oid::Oid;
use crate::request::KeyAlgorithm;
use crate::time::UnixTime;

pub mod access;
mod check;

pub use access::{AccessEffect, AccessEntry, AccessRight};

/// Extended key usages that templates name by word (RFC 5280 4.2.1.12 and Microsoft's).
pub mod eku {
    /// TLS client, Windows logon by certificate where the directory maps it.
    pub const CLIENT_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.2";
    /// TLS server.
    pub const SERVER_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.1";
    /// Code signing.
    pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
    /// S/MIME.
    pub const EMAIL_PROTECTION: &str = "1.3.6.1.5.5.7.3.4";
    /// Time stamping.
    pub const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
    /// OCSP signing.
    pub const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
    /// IKE intermediate.
    pub const IPSEC_IKE: &str = "1.3.6.1.5.5.8.2.2";
    /// Windows smart-card logon.
    pub const SMARTCARD_LOGON: &str = "1.3.6.1.4.1.311.20.2.2";
    /// PKINIT client.
    pub const PKINIT_CLIENT: &str = "1.3.6.1.5.2.3.4";
    /// PKINIT KDC.
    pub const KDC_AUTHENTICATION: &str = "1.3.6.1.5.2.3.5";
    /// Enrollment agent.
    pub const ENROLLMENT_AGENT: &str = "1.3.6.1.4.1.311.20.2.1";
    /// CA exchange certificate.
    pub const CA_EXCHANGE: &str = "1.3.6.1.4.1.311.21.5";
    /// Any purpose.
    pub const ANY: &str = "2.5.29.37.0";
    /// Any purpose, as an application policy of Windows.
    pub const ANY_APPLICATION_POLICY: &str = "1.3.6.1.4.1.311.10.12.1";
    /// Key recovery agent.
    pub const KEY_RECOVERY_AGENT: &str = "1.3.6.1.4.1.311.21.6";
    /// Qualified subordination: signs requests of other CAs.
    pub const QUALIFIED_SUBORDINATION: &str = "1.3.6.1.4.1.311.10.3.10";
    /// Encrypting file system.
    pub const FILE_ENCRYPTION: &str = "1.3.6.1.4.1.311.10.3.4";
}

/// Bits of the key usage extension that a template may ask for (RFC 5280 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUsage {
    /// digitalSignature.
    DigitalSignature,
    /// nonRepudiation (contentCommitment).
    NonRepudiation,
    /// keyEncipherment; RSA keys only, dropped for others.
    KeyEncipherment,
    /// dataEncipherment; RSA keys only, dropped for others.
    DataEncipherment,
    /// keyAgreement; EC keys only, dropped for others.
    KeyAgreement,
}

impl KeyUsage {
    /// Whether keys of this kind can do it: encipherment needs RSA, agreement needs a curve that agrees
    /// (RFC 3279 2.3.1, RFC 5480 3, RFC 8410 5).
    #[must_use]
    pub const fn fits(self, algorithm: KeyAlgorithm) -> bool {
        match self {
            Self::DigitalSignature | Self::NonRepudiation => true,
            Self::KeyEncipherment | Self::DataEncipherment => matches!(algorithm, KeyAlgorithm::Rsa),
            Self::KeyAgreement => {
                matches!(algorithm, KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521)
            }
        }
    }
}

/// Where subject and alternative names come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectSource {
    /// From the authenticated identity; what the request asks for is ignored.
    Identity,
    /// From the request, within the rules of [`SubjectRules`].
    Request,
}

/// What the common name is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommonNameFrom {
    /// The account's common name; the account's name if there is none that can stand in a subject.
    CommonName,
    /// The account's first host name.
    DnsName,
    /// The whole subject is the account's distinguished name in the directory (MS-WCCE 3.2.2.6.2.1.4.5.9).
    DirectoryPath,
    /// No common name: the subject is empty and the alternative names are critical.
    None,
}

/// An alternative name built from the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AltNameFrom {
    /// Every host name of the account.
    DnsNames,
    /// The account's e-mail address.
    Email,
    /// The account's user principal name.
    Upn,
    /// The objectGUID of the account in the directory.
    Guid,
    /// The DNS name of the account's domain; domain controllers alone can have it.
    DomainDns,
}

/// Rules about names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRules {
    /// Identity or request.
    pub source: SubjectSource,
    /// Source `identity`: what the common name is.
    #[serde(default = "default_common_name")]
    pub common_name: CommonNameFrom,
    /// Source `identity`: which alternative names are built.
    #[serde(default)]
    pub alternatives: BTreeSet<AltNameFrom>,
    /// Source `identity`: whether the account's e-mail address stands in the subject.
    #[serde(default, skip_serializing_if = "is_false")]
    pub email: bool,
    /// Whether certificates may carry the host names of domain controllers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub domain_controllers: bool,
    /// Certificates of a CA that is not ours do not carry the security identifier (CT_FLAG_NO_SECURITY_EXTENSION). Those
    /// of ours always do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub without_sid: bool,
    /// Source `request`: host names that may be asked for. `own` means those of the account; `host.example` that
    /// name; `.lab.example` every name below; `*.lab.example` that wildcard; `any` every host name, with approval.
    #[serde(default)]
    pub allow_dns: Vec<String>,
    /// Source `request`: whether the account's own e-mail address may be asked for.
    #[serde(default)]
    pub allow_own_email: bool,
    /// Source `request`: IP addresses that may be asked for, as addresses or prefixes (`10.1.0.0/16`).
    #[serde(default)]
    pub allow_ip: Vec<String>,
    /// Source `request`: subject attributes besides the common name that are copied; `email` only if it is the
    /// account's own.
    #[serde(default)]
    pub allow_attributes: BTreeSet<NameAttribute>,
    /// Subject attributes that every certificate carries, most significant first, such as
    /// `[["country", "DE"], ["organization", "Example"]]`.
    #[serde(default)]
    pub fixed: Vec<(NameAttribute, String)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

const fn default_common_name() -> CommonNameFrom {
    CommonNameFrom::CommonName
}

/// Rules about keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRules {
    /// Algorithms accepted, the one that clients should prefer first.
    pub algorithms: Vec<KeyAlgorithm>,
    /// Smallest RSA modulus, in bits.
    #[serde(default = "default_rsa_bits")]
    pub minimum_rsa_bits: u32,
    /// Tells Windows to mark the private key as exportable.
    #[serde(default)]
    pub exportable: bool,
    /// Key usage bits.
    pub usage: BTreeSet<KeyUsage>,
}

const fn default_rsa_bits() -> u32 {
    2048
}

/// How long certificates live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidityRules {
    /// Lifetime in days.
    pub days: u32,
    /// Hours beside the days.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hours: u32,
    /// Clients renew this many days before the end.
    pub renew_before_days: u32,
    /// Hours beside these days.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renew_before_hours: u32,
}

impl ValidityRules {
    /// Lifetime in seconds.
    #[must_use]
    pub fn lifetime_seconds(&self) -> u64 {
        u64::from(self.days) * 86_400 + u64::from(self.hours) * 3_600
    }

    /// How many seconds before the end clients renew.
    #[must_use]
    pub fn renewal_seconds(&self) -> u64 {
        u64::from(self.renew_before_days) * 86_400 + u64::from(self.renew_before_hours) * 3_600
    }

    /// The last second of a certificate that is issued at `now`.
    #[must_use]
    pub fn end(&self, now: UnixTime) -> UnixTime {
        now.plus(i64::try_from(self.lifetime_seconds()).unwrap_or(i64::MAX) - 1)
    }
}

/// What has to happen before a certificate is issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuanceRules {
    /// An officer has to approve a first enrollment.
    #[serde(default)]
    pub approval: bool,
    /// A renewal needs no new approval. With names from the request that holds where an officer approved the enrollment
    /// that it goes back to.
    #[serde(default)]
    pub renewal_without_approval: bool,
    /// Signatures of enrollment agents that a request must carry.
    #[serde(default)]
    pub signatures: u32,
    /// Extended key usages that their certificates must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "none_one_or_more")]
    pub signature_eku: Vec<Oid>,
    /// Certificate policies that their certificates must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signature_policies: Vec<Oid>,
}

/// Rows of earlier versions have null or a single identifier here.
fn none_one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Oid>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(Oid),
        More(Vec<Oid>),
    }
    Ok(match Option::<Written>::deserialize(from)? {
        None => Vec::new(),
        Some(Written::One(oid)) => vec![oid],
        Some(Written::More(oids)) => oids,
    })
}

/// What is asked of a renewal beside what is asked of an enrollment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalRules {
    /// Where an endpoint for key-based renewal asks, a certificate of this template is enough: its holder needs no
    /// permission to enroll.
    pub key_based: bool,
    /// Whether a renewal brings a new key.
    pub key: RenewalKey,
    /// At addresses for renewals, a certificate alone renews within this last part of its life, in percent, or within
    /// `validity.renew_before_days` where that is longer. 100: at any time.
    pub window_percent: u32,
    /// There, so often after a sign-in with something else than a certificate; 0: as often as they like.
    pub max_generations: u32,
    /// There, for so many days after such a sign-in; 0: for ever.
    pub max_age_days: u32,
}

impl RenewalRules {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RenewalRules {
    fn default() -> Self {
        Self {
            key_based: false,
            key: RenewalKey::New,
            window_percent: 20,
            max_generations: 8,
            max_age_days: 3 * 365,
        }
    }
}

/// Which key a renewal brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenewalKey {
    /// A new one.
    #[default]
    New,
    /// That of the certificate to be renewed.
    Same,
    /// Either.
    Any,
}

/// Who may do what. Deny wins over allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// May ask for a certificate.
    #[serde(default)]
    pub enroll: Vec<Grantee>,
    /// May be told to ask by itself; of use only with `enroll`.
    #[serde(default)]
    pub auto_enroll: Vec<Grantee>,
    /// May not, whatever else is said.
    #[serde(default)]
    pub deny: Vec<Grantee>,
    /// The ordered list of a template that lives in a directory. Where there is one it alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Vec<AccessEntry>>,
}

/// A group, an account, or everybody who authenticated, in one permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grantee {
    /// `group:NAME`.
    Group(AccountName),
    /// `account:NAME`.
    Account(AccountName),
    /// `sid:S-1-5-…`: an account or group of a directory.
    Sid(Sid),
    /// `authenticated`: every account.
    Authenticated,
}

impl Grantee {
    pub(crate) fn covers(&self, principal: &Principal) -> bool {
        match self {
            Self::Group(name) => principal.groups.contains(name),
            Self::Account(name) => principal.name == *name,
            Self::Sid(sid) => principal.sids.contains(sid) || principal.sid.as_ref() == Some(sid),
            Self::Authenticated => true,
        }
    }
}

impl TryFrom<String> for Grantee {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let name = |n: &str| n.parse::<AccountName>().map_err(|e| e.to_string());
        match text.split_once(':') {
            Some(("group", n)) => name(n).map(Self::Group),
            Some(("account", n)) => name(n).map(Self::Account),
            Some(("sid", n)) => {
                n.parse().map(Self::Sid).map_err(|e: crate::identity::SidError| e.to_string())
            }
            None if text == "authenticated" => Ok(Self::Authenticated),
            Some(_) | None => Err(format!(
                "'{text}' grants nothing: write group:NAME, account:NAME, sid:S-1-… or authenticated"
            )),
        }
    }
}

impl From<Grantee> for String {
    fn from(grantee: Grantee) -> Self {
        match grantee {
            Grantee::Group(n) => format!("group:{n}"),
            Grantee::Account(n) => format!("account:{n}"),
            Grantee::Sid(sid) => format!("sid:{sid}"),
            Grantee::Authenticated => "authenticated".to_owned(),
        }
    }
}

/// A template as the administrator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The name in requests (`CertificateTemplate:`), 1 to 64 of `A-Z a-z 0-9 _ -`; compared without regard to case.
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// The identifier (1.3.6.1.4.1.311.21.7); given by the store when the template is first added.
    #[serde(default)]
    pub oid: Option<Oid>,
    /// Major revision, 100 for a new template. A request for a later revision is refused.
    #[serde(default = "default_major")]
    pub major: u32,
    /// Minor revision; the store raises it with every change.
    #[serde(default)]
    pub minor: u32,
    /// For users or for computers.
    pub kind: PrincipalKind,
    /// Extended key usages, never empty.
    pub eku: Vec<Oid>,
    /// Certificate policies put into every certificate.
    #[serde(default)]
    pub policies: Vec<Oid>,
    /// Templates that this one replaces, by name.
    #[serde(default)]
    pub supersedes: Vec<String>,
    /// Names.
    pub subject: SubjectRules,
    /// Keys.
    pub key: KeyRules,
    /// Lifetime.
    pub validity: ValidityRules,
    /// Approval and signatures.
    #[serde(default)]
    pub issuance: IssuanceRules,
    /// Renewal.
    #[serde(default, skip_serializing_if = "RenewalRules::is_default")]
    pub renewal: RenewalRules,
    /// Who may enroll.
    #[serde(default)]
    pub permissions: Permissions,
}

const fn default_major() -> u32 {
    100
}

/// What one caller may do with one template (MS-XCEP 3.1.4.1.3.21 `permission`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// May ask.
    pub enroll: bool,
    /// May ask unattended.
    pub auto_enroll: bool,
}

/// Why a template cannot be used as it is written. One sentence, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is not TOML of this shape.
    #[error("{0}")]
    Syntax(String),
    /// A value is outside its range.
    #[error("template '{template}': {key} {problem}")]
    Value {
        /// The template.
        template: String,
        /// The key in the TOML text.
        key: &'static str,
        /// What is wrong with its value, and what to write.
        problem: String,
    },
    /// The combination of settings is one that is attacked; see [`crate::risk`].
    #[error(transparent)]
    Risky(#[from] crate::risk::Risk),
}

impl Template {
    /// Identifier and revision, `1.3.6.1.4.1.311.21.8.1.2 100.4`: two templates that have it in common are the same
    /// rules.
    #[must_use]
    pub fn revision(&self) -> String {
        let oid = self.oid.as_ref().map(Oid::as_str).unwrap_or_default();
        format!("{oid} {}.{}", self.major, self.minor)
    }

    /// Reads a template and checks it: syntax, values, then dangers.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, TemplateError> {
        let template: Self = toml::from_str(text).map_err(|e| TemplateError::Syntax(e.to_string()))?;
        template.check()?;
        Ok(template)
    }

    /// Writes the template as [`Template::from_toml`] reads it.
    ///
    /// # Errors
    /// Never for a template that was read; the writer's error otherwise.
    pub fn to_toml(&self) -> Result<String, TemplateError> {
        toml::to_string_pretty(self).map_err(|e| TemplateError::Syntax(e.to_string()))
    }

    /// What `principal` may do. The kind of the account must fit as well: a template for computers is not for users.
    #[must_use]
    pub fn permission(&self, principal: &Principal) -> Permission {
        // An officer named the template when the token was made.
        if let Some(token) = &principal.token {
            let enroll = principal.kind == self.kind && self.oid.as_ref() == Some(&token.template);
            return Permission { enroll, auto_enroll: enroll };
        }
        let any = |list: &[Grantee]| list.iter().any(|g| g.covers(principal));
        let (enroll, auto_enroll) = match &self.permissions.access {
            Some(list) => {
                let granted = |right| access::is_granted(list, right, &principal.sids);
                (granted(AccessRight::Enroll), granted(AccessRight::AutoEnroll))
            }
            None => (
                any(&self.permissions.enroll) && !any(&self.permissions.deny),
                any(&self.permissions.auto_enroll),
            ),
        };
        let enroll = principal.kind == self.kind && enroll;
        Permission { enroll, auto_enroll: enroll && auto_enroll }
    }

    /// Whether `principal` may renew by a certificate alone, where template and endpoint allow it: the permission to
    /// enroll is not needed, but nobody may have taken it away from `principal` expressly.
    #[must_use]
    pub fn may_renew(&self, principal: &Principal) -> bool {
        // What a token was made for is all that it can renew.
        if principal.token.is_some() {
            return self.permission(principal).enroll;
        }
        let denied = match &self.permissions.access {
            Some(list) => access::is_denied(list, AccessRight::Enroll, &principal.sids),
            None => self.permissions.deny.iter().any(|grantee| grantee.covers(principal)),
        };
        principal.kind == self.kind && !denied
    }

    /// Whether the template has this extended key usage.
    #[must_use]
    pub fn has_eku(&self, oid: &str) -> bool {
        self.eku.iter().any(|e| e.as_str() == oid)
    }
}

/// An IP address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IpPrefix {
    address: std::net::IpAddr,
    bits: u32,
}

impl IpPrefix {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((_, bits)) if !bits.bytes().all(|b| b.is_ascii_digit()) => return None,
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse::<u32>().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let width = if matches!(address, std::net::IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    pub(crate) fn contains(self, other: std::net::IpAddr) -> bool {
        match (self.address, other) {
            (std::net::IpAddr::V4(a), std::net::IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits
            }
            (std::net::IpAddr::V6(a), std::net::IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits
            }
            (std::net::IpAddr::V4(_), std::net::IpAddr::V6(_))
            | (std::net::IpAddr::V6(_), std::net::IpAddr::V4(_)) => false,
        }
    }
}
