//! Permissions as a directory keeps them: an ordered list of security identifiers that may or may not.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::identity::Sid;

/// Everyone.
pub const EVERYONE: &str = "S-1-1-0";
/// Authenticated Users.
pub const AUTHENTICATED_USERS: &str = "S-1-5-11";

/// One entry of an ordered access list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessEntry {
    /// May or may not.
    pub effect: AccessEffect,
    /// What.
    pub right: AccessRight,
    /// Who: an account or a group.
    pub sid: Sid,
}

/// What an entry does to those whom it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessEffect {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRight {
    /// Asking for a certificate.
    Enroll,
    /// Asking for one unattended.
    AutoEnroll,
    /// Both.
    Both,
}

impl AccessRight {
    /// Whether an entry with this right decides about `asked`, one of [`Self::Enroll`] and [`Self::AutoEnroll`].
    #[must_use]
    pub const fn covers(self, asked: Self) -> bool {
        matches!(
            (self, asked),
            (Self::Both, _) | (Self::Enroll, Self::Enroll) | (Self::AutoEnroll, Self::AutoEnroll)
        )
    }
}

/// Whether the holder of `token` has `right`: the first entry for it that names anybody in the token decides, and
/// where none does the answer is no (MS-ADTS 5.1.3.3.4).
#[must_use]
pub fn is_granted(list: &[AccessEntry], right: AccessRight, token: &BTreeSet<Sid>) -> bool {
    list.iter()
        .find(|entry| entry.right.covers(right) && token.contains(&entry.sid))
        .is_some_and(|entry| entry.effect == AccessEffect::Allow)
}

/// Whether the holder of `token` is denied `right` expressly: the first entry for it that names anybody in the token
/// says so.
#[must_use]
pub fn is_denied(list: &[AccessEntry], right: AccessRight, token: &BTreeSet<Sid>) -> bool {
    list.iter()
        .find(|entry| entry.right.covers(right) && token.contains(&entry.sid))
        .is_some_and(|entry| entry.effect == AccessEffect::Deny)
}

/// Whether nearly everybody in a domain has `sid` in the token: Everyone, Authenticated Users, the groups of all
/// users and computers.
#[must_use]
pub fn is_everybody(sid: &Sid) -> bool {
    let text = sid.as_str();
    let in_domain = |rid: &str| {
        text.starts_with("S-1-5-21-") && text.rsplit('-').next() == Some(rid) && text.split('-').count() == 8
    };
    // Domain Users, Domain Guests, Domain Computers; Users and Guests of the machine; Pre-Windows 2000 access.
    matches!(
        text,
        EVERYONE
            | AUTHENTICATED_USERS
            | "S-1-5-7"
            | "S-1-5-15"
            | "S-1-5-32-545"
            | "S-1-5-32-546"
            | "S-1-5-32-554"
    ) || ["513", "514", "515"].into_iter().any(in_domain)
}
