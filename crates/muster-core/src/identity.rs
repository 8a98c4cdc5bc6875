//! Who asks: the principal that an authentication established, and how it was established.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::directory::DirectoryNames;
use crate::token::{TokenGrant, TokenId, TokenTrouble};

/// The name of an account, compared without regard to ASCII case.
///
/// A local account has 1 to 64 of `a-z 0-9 . _ - @ $ /`. An account of a directory has the domain before it, as in
/// `corp.example\alice`, and `%` with two hexadecimal digits for each octet that those characters lack; so no name is
/// both. Whoever holds a one-time token is called as the token is ([`TokenId`]), which no local account may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

/// The text cannot name an account or a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a name: use 1 to 64 of the characters a-z, 0-9, '.', '_', '-', '@', '$' and '/'")]
pub struct NameError(String);

impl AccountName {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account `sam` (its sAMAccountName) of a domain.
    #[must_use]
    pub fn of_directory(domain: &str, sam: &str) -> Self {
        let mut name = domain.to_ascii_lowercase();
        name.push('\\');
        for octet in sam.to_lowercase().bytes() {
            if is_plain(octet) {
                name.push(char::from(octet));
            } else {
                name.push_str(&format!("%{octet:02x}"));
            }
        }
        Self(name)
    }

    /// The identity of whoever holds a one-time token.
    #[must_use]
    pub fn of_token(id: &TokenId) -> Self {
        Self(id.as_str().to_owned())
    }

    /// The token that it is the holder of.
    #[must_use]
    pub fn token_id(&self) -> Option<TokenId> {
        if TokenId::is(&self.0) { self.0.parse().ok() } else { None }
    }

    /// Whether it can be an account of the store, and neither one of a directory nor the holder of a token.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !self.0.contains('\\') && !TokenId::is(&self.0)
    }

    /// What [`Self::of_directory`] made it of: the domain, and the account's name in lower case.
    #[must_use]
    pub fn directory_parts(&self) -> Option<(&str, String)> {
        let (domain, written) = self.0.split_once('\\')?;
        let mut octets = Vec::with_capacity(written.len());
        let mut rest = written.bytes();
        while let Some(octet) = rest.next() {
            octets.push(match octet {
                b'%' => {
                    let mut digit = || u8::try_from(char::from(rest.next()?).to_digit(16)?).ok();
                    digit()? << 4 | digit()?
                }
                plain => plain,
            });
        }
        Some((domain, String::from_utf8(octets).ok()?))
    }

    /// The name that stands for this service where a record needs an account: [`crate::policy::approve_own_service`].
    pub(crate) fn own_service() -> Self {
        Self("$muster".to_owned())
    }
}

impl FromStr for AccountName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |part: &str, longest| (1..=longest).contains(&part.len()) && part.bytes().all(is_plain);
        let valid = match text.split_once('\\') {
            None => plain(text, 64),
            Some((domain, account)) => plain(domain, 255) && plain(&account.replace('%', "-"), 255),
        };
        if valid {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(NameError(text.chars().take(64).collect()))
        }
    }
}

fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"._-@$/".contains(&octet)
}

impl TryFrom<String> for AccountName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a group of accounts; same characters and comparison as [`AccountName`].
pub type GroupName = AccountName;

/// A Windows security identifier in text form, `S-1-…`.
///
/// Only a directory gives one to a principal; a request never does ([ESC1, ESC9]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sid(String);

impl Sid {
    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a security identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a security identifier such as S-1-5-21-1111111111-2222222222-3333333333-1104")]
pub struct SidError(String);

impl TryFrom<String> for Sid {
    type Error = SidError;

    /// Reads `S-1-`, the authority below 2^48, and 1 to 15 numbers below 2^32 (MS-DTYP 2.4.2.1), all in the one way to
    /// write them: identifiers are compared as text.
    fn try_from(text: String) -> Result<Self, SidError> {
        let canonical = |arc: &str| {
            let digits = !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit());
            (digits && (arc == "0" || !arc.starts_with('0'))).then(|| arc.parse::<u64>().ok()).flatten()
        };
        let arcs: Option<Vec<u64>> =
            text.strip_prefix("S-1-").and_then(|rest| rest.split('-').take(17).map(canonical).collect());
        let well_formed = match arcs.as_deref() {
            Some([authority, rest @ ..]) => {
                *authority < 1 << 48
                    && (1..=15).contains(&rest.len())
                    && rest.iter().all(|arc| u32::try_from(*arc).is_ok())
            }
            Some([]) | None => false,
        };
        if well_formed { Ok(Self(text)) } else { Err(SidError(text.chars().take(64).collect())) }
    }
}

impl FromStr for Sid {
    type Err = SidError;

    fn from_str(text: &str) -> Result<Self, SidError> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Sid> for String {
    fn from(sid: Sid) -> Self {
        sid.0
    }
}

/// Whether a principal is a person or a machine; a template is for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person or a service that acts for one.
    User,
    /// A machine.
    Computer,
}

/// An account as the authenticator found it: the only source of names in certificates, unless a template says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The account.
    pub name: AccountName,
    /// Person or machine.
    pub kind: PrincipalKind,
    /// Groups, nested ones included.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// The name for the subject's common name; the account's name where it is absent.
    #[serde(default)]
    pub common_name: Option<String>,
    /// Verified e-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// User principal name.
    #[serde(default)]
    pub upn: Option<String>,
    /// Host names that belong to this account, the first one being its own; lower case.
    #[serde(default)]
    pub dns_names: Vec<String>,
    /// Security identifier, when a directory vouches for one.
    #[serde(default)]
    pub sid: Option<Sid>,
    /// The whole token, when a directory vouches for it: [`Self::sid`], every group, Everyone and the like.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sids: BTreeSet<Sid>,
    /// What else a directory says; absent for local accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Box<DirectoryNames>>,
    /// What the one-time token is good for, of whoever holds one; never read from anywhere but the token's row.
    #[serde(skip)]
    pub token: Option<Box<TokenGrant>>,
}

impl Principal {
    /// An account with a name and nothing else.
    #[must_use]
    pub const fn named(name: AccountName, kind: PrincipalKind) -> Self {
        Self {
            name,
            kind,
            groups: BTreeSet::new(),
            common_name: None,
            email: None,
            upn: None,
            dns_names: Vec::new(),
            sid: None,
            sids: BTreeSet::new(),
            directory: None,
            token: None,
        }
    }
}

/// How a caller proved who it is (MS-XCEP 3.1.4.1.3.6 `clientAuthentication`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// WS-Security UsernameToken in the message, inside TLS.
    UsernamePassword,
    /// A certificate in the TLS handshake.
    ClientCertificate,
    /// A Kerberos ticket in the HTTP header `Authorization: Negotiate`, bound to the TLS connection.
    Kerberos,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::UsernamePassword, Self::ClientCertificate, Self::Kerberos];

    /// A word for logs and audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsernamePassword => "username_password",
            Self::ClientCertificate => "client_certificate",
            Self::Kerberos => "kerberos",
        }
    }
}

/// An authenticated caller.
///
/// `muster-server::auth` makes it from evidence that it verified, and hands it out only together with the
/// message that the evidence covers. There is no default and no anonymous caller.
#[derive(Clone, Debug)]
pub struct Caller {
    principal: Principal,
    method: Method,
    certificate: Option<Vec<u8>>,
    spent: Option<TokenTrouble>,
}

impl Caller {
    /// States that `principal` was authenticated by `method`. To be called by authenticators only.
    #[must_use]
    pub const fn authenticated(principal: Principal, method: Method) -> Self {
        Self { principal, method, certificate: None, spent: None }
    }

    /// The same with the certificate (DER) of the TLS handshake.
    #[must_use]
    pub fn with_certificate(mut self, der: Vec<u8>) -> Self {
        self.certificate = Some(der);
        self
    }

    /// The same for the holder of a token that is good for no further enrollment; what it got, it may still fetch.
    #[must_use]
    pub const fn with_spent_token(mut self, trouble: Option<TokenTrouble>) -> Self {
        self.spent = trouble;
        self
    }

    /// Why the caller's token is good for no further enrollment.
    #[must_use]
    pub const fn spent(&self) -> Option<TokenTrouble> {
        self.spent
    }

    /// The account.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// How it authenticated.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The certificate of the TLS handshake, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_fold_case_and_refuse_separators() {
        assert_eq!("Alice".parse::<AccountName>().map(String::from), Ok("alice".to_owned()));
        for text in ["", "a b", "\\b", "a\\", "a\\b\\c", "ä", "a\n", "a%20", &"x".repeat(65)] {
            assert!(text.parse::<AccountName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn accounts_of_a_directory_are_never_local_ones() {
        let name = AccountName::of_directory("Corp.Example", "Jürgen Maß");
        assert_eq!(name.as_str(), "corp.example\\j%c3%bcrgen%20ma%c3%9f");
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        assert!(!name.is_local());
        assert_eq!(name.directory_parts(), Some(("corp.example", "jürgen maß".to_owned())));
        assert!("alice@corp.example".parse::<AccountName>().unwrap().is_local());
    }

    #[test]
    fn security_identifiers_are_checked() {
        assert!(Sid::try_from("S-1-5-21-1-2-3-1104".to_owned()).is_ok());
        for text in [
            "",
            "S-1-",
            "S-1-5",
            "S-2-5-18",
            "S-1-5-x",
            "S-1-5--1",
            "S-1-5-+21",
            "S-1-5-021",
            "S-1-5-4294967296",
            "S-1-281474976710656-1",
            &format!("S-1-5{}", "-1".repeat(16)),
        ] {
            assert!(Sid::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
