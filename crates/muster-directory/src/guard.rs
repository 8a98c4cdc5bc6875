//! When a name that the directory has for an account may stand in a certificate.
//!
//! Whoever may create computers may write a dNSHostName of their choice (CVE-2022-26923), and names that look like
//! others have been accepted as names of their own (CVE-2026-25177). So a host name needs three witnesses, and every
//! name has to be plain.

use muster_core::directory::HostNameDoubt;
use muster_core::names::{is_host_name, is_subject_text};
use unicode_normalization::is_nfkc;

/// What the directory says about one dNSHostName.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostEvidence<'a> {
    /// dNSHostName, as written.
    pub dns_host_name: &'a str,
    /// How many objects of the forest have this dNSHostName; the account itself is one.
    pub holders: usize,
    /// sAMAccountName, with its `$`.
    pub sam_account_name: &'a str,
    /// DNS name of the account's domain.
    pub domain_dns: &'a str,
    /// servicePrincipalName.
    pub service_principal_names: &'a [String],
}

/// The host name in lower case, if it is the account's own beyond doubt: exactly one object has it, and it is the
/// host of one of the account's service principal names or the account's name in its domain.
///
/// # Errors
/// [`HostNameDoubt`].
pub fn host_name(evidence: &HostEvidence<'_>) -> Result<String, HostNameDoubt> {
    let name = evidence.dns_host_name.to_ascii_lowercase();
    if !is_host_name(&name, false) {
        return Err(HostNameDoubt::Malformed);
    }
    if evidence.holders != 1 {
        return Err(HostNameDoubt::Shared);
    }
    let account = evidence.sam_account_name.strip_suffix('$').unwrap_or(evidence.sam_account_name);
    let own = format!("{account}.{}", evidence.domain_dns).to_ascii_lowercase();
    let mut hosts = evidence.service_principal_names.iter().filter_map(|name| spn_host(name));
    if own == name || hosts.any(|host| host.eq_ignore_ascii_case(&name)) {
        Ok(name)
    } else {
        Err(HostNameDoubt::Foreign)
    }
}

/// The host of a service principal name `class/host[:port][/name]` (MS-ADTS 5.1.1.4), as written.
#[must_use]
pub fn spn_host(name: &str) -> Option<&str> {
    let mut parts = name.split('/');
    let (Some(class), Some(instance)) = (parts.next(), parts.next()) else { return None };
    let host = instance.split(':').next().unwrap_or_default();
    (!class.is_empty() && !host.is_empty() && host.is_ascii()).then_some(host)
}

/// Whether text is what compatibility normalization (NFKC) leaves: wide, mathematical or composed look-alikes of
/// letters are not.
#[must_use]
pub fn is_stable(text: &str) -> bool {
    is_nfkc(text)
}

/// Whether text may stand as a name of a person or thing in a subject.
#[must_use]
pub fn is_plain_subject_text(text: &str) -> bool {
    is_subject_text(text) && is_stable(text)
}

/// Whether userAccountControl says domain controller: SERVER_TRUST_ACCOUNT, or PARTIAL_SECRETS_ACCOUNT for those
/// that are read-only (MS-ADTS 2.2.16).
#[must_use]
pub const fn is_domain_controller(user_account_control: u32) -> bool {
    user_account_control & (0x2000 | 0x0400_0000) != 0
}
