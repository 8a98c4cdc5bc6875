//! What can go wrong between us and a directory, as sentences for `muster ad check` and the log.

use muster_gss::InitiateError;

use super::ber::BerError;
use super::message::{Outcome, ResultCode};

/// Why the directory did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LdapError {
    /// No server is known: none configured, none found by DNS.
    #[error("no domain controller is known: {0}")]
    NoServer(String),
    /// The server's name has no address, or nothing listens there.
    #[error("{server} cannot be reached: {cause}")]
    Connect {
        /// The server.
        server: String,
        /// The system's words.
        cause: String,
    },
    /// The TLS handshake failed, or the server's certificate is not trusted.
    #[error("TLS with {server} failed: {cause}")]
    Tls {
        /// The server.
        server: String,
        /// The TLS library's words.
        cause: String,
    },
    /// A file of the configuration cannot be used.
    #[error("{file}: {cause}")]
    File {
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
    /// No Kerberos ticket for the server, or it does not accept ours.
    #[error("Kerberos with {server} failed: {cause}")]
    Kerberos {
        /// The server.
        server: String,
        /// Why.
        cause: InitiateError,
    },
    /// The Kerberos library is not installed.
    #[error("{0}")]
    KerberosMissing(String),
    /// The server does not offer encryption with the Kerberos key, and nothing weaker is used.
    #[error("{server} does not offer to seal the connection with the Kerberos key")]
    NoSealing {
        /// The server.
        server: String,
    },
    /// The server does not accept name and password, or the ticket.
    #[error("{server} refused the bind: {} ({})", .outcome.code, explain(.outcome))]
    Bind {
        /// The server.
        server: String,
        /// Its answer.
        outcome: Outcome,
    },
    /// The server is not a domain controller.
    #[error("{server} is not an Active Directory domain controller: its root entry has no {missing}")]
    NotActiveDirectory {
        /// The server.
        server: String,
        /// The attribute that is not there.
        missing: &'static str,
    },
    /// The server is a domain controller of another domain.
    #[error("{server} serves {found}, not {expected}")]
    OtherDomain {
        /// The server.
        server: String,
        /// Its naming context.
        found: String,
        /// The one that the configuration names.
        expected: String,
    },
    /// No answer in time.
    #[error("{server} did not answer within {seconds} s")]
    TimedOut {
        /// The server.
        server: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The connection ended.
    #[error("{server} closed the connection")]
    Closed {
        /// The server.
        server: String,
    },
    /// The server said that it ends the connection (RFC 4511 4.4.1).
    #[error("{server} ended the session: {} ({})", .outcome.code, .outcome.message)]
    Disconnected {
        /// The server.
        server: String,
        /// Its notice.
        outcome: Outcome,
    },
    /// The server sent what LDAP does not allow.
    #[error("{server} sent what LDAP does not allow: {cause}")]
    Malformed {
        /// The server.
        server: String,
        /// What is wrong.
        cause: BerError,
    },
    /// The server answered something else than was asked.
    #[error("{server} gave an answer that does not belong to the question")]
    OutOfPlace {
        /// The server.
        server: String,
    },
    /// A sealed message that cannot be opened: changed or out of order.
    #[error("a sealed message of {server} cannot be opened: {cause}")]
    Unseal {
        /// The server.
        server: String,
        /// The Kerberos library's words.
        cause: String,
    },
    /// The answer is larger than is read.
    #[error("an answer of {server} is too large: more than {limit} {unit}")]
    TooLarge {
        /// The server.
        server: String,
        /// The limit.
        limit: usize,
        /// Octets or entries.
        unit: &'static str,
    },
    /// The directory refused the operation.
    #[error("the directory refused: {} ({})", .0.code, explain(.0))]
    Refused(Outcome),
    /// The object is with another server, which is not asked.
    #[error("the directory refers to {}, which is not asked", .0.join(", "))]
    Referral(Vec<String>),
    /// An attribute that must be there is not, or cannot be read.
    #[error("{dn} has no readable {attribute}")]
    Attribute {
        /// The object.
        dn: String,
        /// The attribute.
        attribute: &'static str,
    },
}

impl LdapError {
    /// The error of an operation that ended with `outcome`.
    pub(crate) fn from_outcome(outcome: Outcome) -> Self {
        if outcome.code == ResultCode::REFERRAL {
            Self::Referral(outcome.referrals)
        } else {
            Self::Refused(outcome)
        }
    }

    /// The directory answered: the connection is in order, the question was not.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Referral(_) | Self::Attribute { .. })
    }

    /// The directory has no such object.
    #[must_use]
    pub fn is_no_such_object(&self) -> bool {
        matches!(self, Self::Refused(outcome) if outcome.code == ResultCode::NO_SUCH_OBJECT)
    }
}

/// The server's words, or what the Windows error in them means (MS-ERREF 2.2, as `data 52e`).
fn explain(outcome: &Outcome) -> String {
    let meaning = outcome.message.split("data ").nth(1).and_then(|rest| {
        Some(match rest.split([',', ' ']).next()? {
            "525" => "no such account",
            "52e" => "wrong name or password",
            "530" => "not at this time of day",
            "531" => "not from this computer",
            "532" => "the password has expired",
            "533" => "the account is disabled",
            "701" => "the account has expired",
            "773" => "the password must be changed first",
            "775" => "the account is locked",
            "80090346" => "the channel binding is missing or wrong",
            _ => return None,
        })
    });
    match meaning {
        Some(meaning) => meaning.to_owned(),
        None if outcome.message.is_empty() => "no explanation".to_owned(),
        None => outcome.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_error_in_the_diagnostic_is_explained() {
        let outcome = Outcome {
            code: ResultCode::INVALID_CREDENTIALS,
            message:
                "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v4563"
                    .to_owned(),
            referrals: Vec::new(),
        };
        let error = LdapError::Bind { server: "dc1.corp.test".to_owned(), outcome };
        assert_eq!(
            error.to_string(),
            "dc1.corp.test refused the bind: invalidCredentials (the account is disabled)"
        );
    }
}
