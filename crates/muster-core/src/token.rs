//! One-time tokens: a user name and a password that an officer hands out for one template and for certain names.
//!
//! Whoever enrolls with a token becomes an identity of its own, which has the token's names and nothing else. With the
//! certificate that it got, that identity may renew this certificate, and may do nothing else.

use std::fmt;
use std::str::FromStr;

use crate::identity::{AccountName, Method, Principal, PrincipalKind};
use crate::names::{self, AltName, NameAttribute};
use crate::oid::Oid;
use crate::refusal::Refusal;
use crate::request::{RequestForm, RequestedNames};

/// What every identifier begins with.
const PREFIX: &str = "token-";
/// Characters after it, each of five bits.
const LENGTH: usize = 16;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The identifier of a token: `token-` and 16 of `a-z 2-7`. It is the user name, and the name of the identity behind
/// it; no account of the store can be called so. It is no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

impl TokenId {
    /// The identifier made of these random octets.
    #[must_use]
    pub fn from_random(octets: [u8; LENGTH]) -> Self {
        let letters =
            octets.iter().filter_map(|octet| ALPHABET.get(usize::from(octet & 31)).copied().map(char::from));
        Self(PREFIX.chars().chain(letters).collect())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text`, in lower case, is one.
    pub(crate) fn is(text: &str) -> bool {
        text.strip_prefix(PREFIX)
            .is_some_and(|rest| rest.len() == LENGTH && rest.bytes().all(|octet| ALPHABET.contains(&octet)))
    }
}

impl FromStr for TokenId {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let lower = text.to_ascii_lowercase();
        if Self::is(&lower) { Ok(Self(lower)) } else { Err(NotAToken) }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text does not name a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the user name of a token: token- and 16 of the characters a-z and 2-7")]
pub struct NotAToken;

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The one template.
    pub template: Oid,
    /// The names of the certificate: all of them, and no others.
    pub names: Vec<AltName>,
}

/// Why a token cannot be used. The outside learns nothing of it but that name or password are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenTrouble {
    /// There is none of this name.
    #[error("there is no such token")]
    Unknown,
    /// The password is not its.
    #[error("the password is not that of the token")]
    Secret,
    /// An officer revoked it.
    #[error("the token was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was used as often as it may be.
    #[error("the token was used before")]
    Used,
}

impl TokenTrouble {
    /// A stable word for logs and audit records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "TOKEN_UNKNOWN",
            Self::Secret => "TOKEN_SECRET",
            Self::Revoked => "TOKEN_REVOKED",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Used => "TOKEN_USED",
        }
    }
}

impl TokenGrant {
    /// The identity of whoever holds the token, or a certificate that was issued on it.
    #[must_use]
    pub fn principal(&self, id: &TokenId, kind: PrincipalKind) -> Principal {
        let mut principal = Principal::named(AccountName::of_token(id), kind);
        for name in &self.names {
            match name {
                AltName::Dns(host) => principal.dns_names.push(host.clone()),
                AltName::Email(address) => principal.email = Some(address.clone()),
                AltName::Upn(upn) => principal.upn = Some(upn.clone()),
                AltName::Ip(_) | AltName::Uri(_) | AltName::Guid(_) => {}
            }
        }
        principal.common_name = self.names.iter().map(plain).find(|name| names::is_subject_text(name));
        principal.token = Some(Box::new(self.clone()));
        principal
    }

    /// Which forms of requests a token, or a certificate issued on it, is good for.
    ///
    /// # Errors
    /// [`Refusal::TokenForm`].
    pub(crate) fn check_form(form: &RequestForm, method: Method) -> Result<(), Refusal> {
        match (form, method) {
            (RequestForm::Pkcs10 | RequestForm::CmcFull, Method::UsernamePassword)
            | (RequestForm::Renewal { .. }, Method::ClientCertificate) => Ok(()),
            (
                RequestForm::Pkcs10 | RequestForm::CmcFull | RequestForm::OnBehalfOf { .. },
                Method::ClientCertificate | Method::Kerberos,
            )
            | (
                RequestForm::Renewal { .. } | RequestForm::OnBehalfOf { .. },
                Method::UsernamePassword | Method::Kerberos,
            ) => Err(Refusal::TokenForm),
        }
    }

    /// Whether a request asks for nothing beyond the token's names.
    ///
    /// # Errors
    /// [`Refusal::TokenName`] with the first name that it does not have.
    pub(crate) fn check_names(
        &self,
        requested: &RequestedNames,
        fixed: &[(NameAttribute, String)],
    ) -> Result<(), Refusal> {
        let refuse = |name: &dyn fmt::Display| Err(Refusal::TokenName(names::shorten(&name.to_string())));
        if let Some(name) =
            requested.unknown_alternatives.iter().chain(&requested.unknown_subject_attributes).next()
        {
            return refuse(name);
        }
        if let Some(name) = requested.alternatives.iter().find(|name| !self.names.contains(name)) {
            return refuse(name);
        }
        for (attribute, value) in &requested.subject.0 {
            let own = match attribute {
                NameAttribute::CommonName => {
                    self.names.iter().any(|name| plain(name).eq_ignore_ascii_case(value))
                }
                NameAttribute::Email => self.names.contains(&AltName::Email(value.clone())),
                NameAttribute::Organization
                | NameAttribute::OrganizationalUnit
                | NameAttribute::Locality
                | NameAttribute::State
                | NameAttribute::Country
                | NameAttribute::DomainComponent
                | NameAttribute::SerialNumber => false,
            };
            if !own && !fixed.iter().any(|(a, v)| a == attribute && v == value) {
                return refuse(&format_args!("{}={value}", attribute.short()));
            }
        }
        Ok(())
    }
}

/// A name without its kind.
pub(crate) fn plain(name: &AltName) -> String {
    match name {
        AltName::Ip(address) => address.to_string(),
        AltName::Guid(guid) => guid.to_string(),
        AltName::Dns(text) | AltName::Email(text) | AltName::Uri(text) | AltName::Upn(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_made_and_read() {
        let id = TokenId::from_random([0, 1, 2, 3, 4, 5, 6, 7, 31, 30, 29, 28, 63, 95, 127, 255]);
        assert_eq!(id.as_str(), "token-abcdefgh76547777");
        assert_eq!("Token-ABCDEFGH76547777".parse(), Ok(id.clone()));
        assert_eq!(AccountName::of_token(&id).token_id(), Some(id));
        for text in
            ["token-", "token-abcdefgh7654777", "token-abcdefgh765477777", "token-abcdefgh76547718", "alice"]
        {
            assert_eq!(text.parse::<TokenId>(), Err(NotAToken), "{text}");
        }
    }

    #[test]
    fn identifier_is_no_local_account() {
        let name: AccountName = "token-abcdefgh76547777".parse().unwrap();
        assert!(!name.is_local());
        assert!(name.token_id().is_some());
        let near: AccountName = "token-abcdefgh7654777".parse().unwrap();
        assert!(near.is_local());
        assert_eq!(near.token_id(), None);
    }
}
