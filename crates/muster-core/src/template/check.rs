//! What a template must be before it can be used: every value in its range, no rule without effect.
//! Dangerous combinations of good values are in [`crate::risk`].

use super::{CommonNameFrom, IpPrefix, SubjectSource, Template, TemplateError, eku};
use crate::names::{self, NameAttribute};
use crate::time::UnixTime;

/// Signatures of agents that a template can ask for: requests have room for few.
const MOST_SIGNATURES: u32 = 4;

impl Template {
    /// Checks every value, then the combinations that are known to be attacked.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TemplateError> {
        if !is_template_name(&self.name) {
            return self.wrong("name", "must be 1 to 64 letters, digits, '_' or '-'");
        }
        if self.permissions.access.is_some() {
            return self.wrong(
                "permissions.access",
                "is for templates in a directory: use enroll, auto_enroll and deny",
            );
        }
        if let Some(name) = self.supersedes.iter().find(|name| !is_template_name(name)) {
            return self.not_superseded(name);
        }
        self.check_values()?;
        crate::risk::check(self)?;
        Ok(())
    }

    /// The part of [`Template::check`] that holds for templates of a directory as well: their names may have inner
    /// spaces, dots and brackets, they may be dangerous (which is then a question to an officer), and have an access
    /// list.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_values(&self) -> Result<(), TemplateError> {
        if !is_directory_template_name(&self.name) {
            return self.wrong(
                "name",
                "must be 1 to 64 letters, digits, '_', '-', '.', '(', ')' or spaces between them",
            );
        }
        if ["ca", "subca", "crossca"].iter().any(|n| self.name.eq_ignore_ascii_case(n)) {
            return self
                .wrong("name", "must not be CA, SubCA or CrossCA: Windows gives these names a meaning");
        }
        let display_name_ok = (1..=128).contains(&self.display_name.chars().count())
            && self.display_name.trim() == self.display_name
            && !self.display_name.chars().any(|c| c.is_control() || names::is_invisible(c));
        if !display_name_ok {
            return self.wrong("display_name", "must have 1 to 128 visible characters");
        }
        if self.major == 0 {
            return self.wrong("major", "must be at least 1");
        }
        if let Some(name) = self
            .supersedes
            .iter()
            .find(|name| !is_directory_template_name(name) || name.eq_ignore_ascii_case(&self.name))
        {
            return self.not_superseded(name);
        }
        if self.eku.is_empty() {
            return self.wrong(
                "eku",
                "must name at least one purpose: a certificate without one is good for any (ESC2)",
            );
        }
        let lifetime = self.validity.lifetime_seconds();
        if !(3_600..=3_650 * 86_400).contains(&lifetime) || self.validity.hours > 23 {
            return self.wrong("validity.days", "must be 1 to 3650");
        }
        let renewal = self.validity.renewal_seconds();
        if renewal == 0 || renewal >= lifetime || self.validity.renew_before_hours > 23 {
            return self
                .wrong("validity.renew_before_days", "must be at least 1 and less than validity.days");
        }
        if self.issuance.signatures > MOST_SIGNATURES {
            return self.wrong("issuance.signatures", format!("must be at most {MOST_SIGNATURES}"));
        }
        self.check_key()?;
        self.check_renewal()?;
        self.check_subject()?;
        self.check_request_rules()?;
        Ok(())
    }

    /// Whether certificates of this template, issued at `now`, would live as long as it says. To be asked when the
    /// template is published; later, when the CA nears its end, certificates are shortened.
    ///
    /// # Errors
    /// [`TemplateError::Value`] that says how many days are left.
    pub fn check_lifetime(&self, now: UnixTime, ca_not_after: UnixTime) -> Result<(), TemplateError> {
        if self.validity.end(now) <= ca_not_after {
            return Ok(());
        }
        let left = ca_not_after.since(now).max(0) / 86_400;
        self.wrong(
            "validity.days",
            format!("goes beyond the CA certificate, which ends on {ca_not_after}: use at most {left}, or renew the CA"),
        )
    }

    fn check_key(&self) -> Result<(), TemplateError> {
        if self.key.algorithms.is_empty() {
            return self.wrong("key.algorithms", "must name at least one of rsa, p256, p384, p521, ed25519");
        }
        if !matches!(self.key.minimum_rsa_bits, 2048 | 3072 | 4096) {
            return self.wrong("key.minimum_rsa_bits", "must be 2048, 3072 or 4096");
        }
        if self.key.usage.is_empty() {
            return self.wrong("key.usage", "must name at least one usage, such as digital_signature");
        }
        let useless = |algorithm| !self.key.usage.iter().any(|usage| usage.fits(algorithm));
        if let Some(algorithm) = self.key.algorithms.iter().copied().find(|algorithm| useless(*algorithm)) {
            let algorithm = algorithm.as_str();
            return self.wrong(
                "key.usage",
                format!("leaves nothing to do for {algorithm} keys: add digital_signature, or take {algorithm} out of key.algorithms"),
            );
        }
        Ok(())
    }

    fn check_renewal(&self) -> Result<(), TemplateError> {
        let rules = &self.renewal;
        if !(1..=100).contains(&rules.window_percent) {
            return self.wrong("renewal.window_percent", "must be 1 to 100");
        }
        if rules.max_generations > 1_000_000 {
            return self.wrong("renewal.max_generations", "must be at most 1000000; 0 sets no limit");
        }
        if rules.max_age_days > 36_500 {
            return self.wrong("renewal.max_age_days", "must be at most 36500; 0 sets no limit");
        }
        Ok(())
    }

    /// Fixed attributes, and names built from the identity.
    fn check_subject(&self) -> Result<(), TemplateError> {
        let rules = &self.subject;
        for (attribute, value) in &rules.fixed {
            if matches!(attribute, NameAttribute::CommonName | NameAttribute::Email) {
                return self.wrong(
                    "subject.fixed",
                    format!("cannot have {}: one name for all holders is nobody's", attribute.short()),
                );
            }
            if !names::is_attribute_value(*attribute, value) {
                let short = attribute.short();
                return self.wrong(
                    "subject.fixed",
                    format!(
                        "cannot use '{}' for {short}: write 1 to 64 visible characters, two capitals for C",
                        names::shorten(value)
                    ),
                );
            }
        }
        if rules.source == SubjectSource::Request {
            return Ok(());
        }
        if rules.common_name == CommonNameFrom::DirectoryPath && !rules.fixed.is_empty() {
            return self
                .wrong("subject.fixed", "must be empty: the path in the directory is the whole subject");
        }
        if rules.common_name == CommonNameFrom::None && rules.alternatives.is_empty() && !rules.email {
            return self.wrong(
                "subject.alternatives",
                "must not be empty without a common name: nobody is named then",
            );
        }
        let names_hosts = rules.alternatives.contains(&super::AltNameFrom::DnsNames);
        if self.has_eku(eku::SERVER_AUTHENTICATION) && !names_hosts {
            return self.wrong(
                "subject.alternatives",
                "must have dns_names: TLS clients look for a server's name there, and old ones take any common name for it",
            );
        }
        Ok(())
    }

    /// What may be asked for, and that each rule has an effect.
    fn check_request_rules(&self) -> Result<(), TemplateError> {
        let rules = &self.subject;
        let without_effect = match rules.source {
            SubjectSource::Request if !rules.alternatives.is_empty() => {
                Some(("subject.alternatives", "identity"))
            }
            SubjectSource::Request if rules.email => Some(("subject.email", "identity")),
            SubjectSource::Request => None,
            SubjectSource::Identity if !rules.allow_dns.is_empty() => Some(("subject.allow_dns", "request")),
            SubjectSource::Identity if rules.allow_own_email => Some(("subject.allow_own_email", "request")),
            SubjectSource::Identity if !rules.allow_ip.is_empty() => Some(("subject.allow_ip", "request")),
            SubjectSource::Identity if !rules.allow_attributes.is_empty() => {
                Some(("subject.allow_attributes", "request"))
            }
            SubjectSource::Identity => None,
        };
        if let Some((key, source)) = without_effect {
            return self.wrong(key, format!("is for subject.source = \"{source}\" only: remove it"));
        }
        if rules.allow_dns.iter().any(|pattern| pattern == "any") && !self.issuance.approval {
            return self.wrong("subject.allow_dns", "may have any only with issuance.approval = true");
        }
        for pattern in &rules.allow_dns {
            let host = pattern.strip_prefix('.').unwrap_or(pattern);
            if pattern != "own" && pattern != "any" && !names::is_host_name(host, !pattern.starts_with('.')) {
                return self.wrong(
                    "subject.allow_dns",
                    format!(
                        "does not understand '{}': write own, any, host.example, .lab.example or *.lab.example",
                        names::shorten(pattern)
                    ),
                );
            }
        }
        for prefix in &rules.allow_ip {
            if IpPrefix::parse(prefix).is_none() {
                return self.wrong(
                    "subject.allow_ip",
                    format!(
                        "does not understand '{}': write an address or a prefix such as 10.1.0.0/16",
                        names::shorten(prefix)
                    ),
                );
            }
        }
        if rules.allow_attributes.contains(&NameAttribute::CommonName) {
            return self.wrong(
                "subject.allow_attributes",
                "cannot have common_name: it always follows the rules for host names and accounts",
            );
        }
        Ok(())
    }

    fn not_superseded(&self, name: &str) -> Result<(), TemplateError> {
        self.wrong(
            "supersedes",
            format!("cannot have '{}': write names of other templates", names::shorten(name)),
        )
    }

    fn wrong(&self, key: &'static str, problem: impl Into<String>) -> Result<(), TemplateError> {
        Err(TemplateError::Value { template: names::shorten(&self.name), key, problem: problem.into() })
    }
}

/// What a directory calls its templates; names that need escaping anywhere are left to it.
fn is_directory_template_name(name: &str) -> bool {
    let name_ok = |b: u8| b.is_ascii_alphanumeric() || b"_-.() ".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(name_ok) && name.trim() == name
}

fn is_template_name(name: &str) -> bool {
    let name_ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(name_ok)
}
