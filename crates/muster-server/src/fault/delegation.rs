//! Why a CA that is not of this installation cannot be asked in a caller's name. Apart from `fault.rs` for its length
//! only.

/// Why a caller who is authenticated cannot be delegated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// An account of the store.
    #[error(
        "Your account is one of this service alone, which the certification authority does not know; use an account of the directory."
    )]
    Local,
    /// userAccountControl has NOT_DELEGATED.
    #[error(
        "Your account is sensitive and cannot be delegated, so that nobody can enroll in its name; use an address that takes its password, or ask your administrator."
    )]
    Sensitive,
    /// A member of Protected Users.
    #[error(
        "Your account is one of the Protected Users, so that nobody can enroll in its name; use an address that takes its password, or ask your administrator."
    )]
    Protected,
    /// The ticket is for a service name of another account than the one that acts.
    #[error(
        "Your Kerberos ticket is for another realm than that of the account that asks the certification authority; use the name of this service in {0}."
    )]
    OtherRealm(String),
    /// The KDC refused; the text is for the log.
    #[error(
        "The directory does not permit this service to ask the certification authority in your name; ask your administrator."
    )]
    NotPermitted(String),
    /// No ticket, for another reason; the text is for the log.
    #[error(
        "No Kerberos ticket could be had in your name for the certification authority; ask your administrator to look into the log."
    )]
    NoTicket(String),
}

impl DelegationError {
    /// A stable word for logs and audit records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Local => "DELEGATION_LOCAL",
            Self::Sensitive => "DELEGATION_SENSITIVE",
            Self::Protected => "DELEGATION_PROTECTED",
            Self::OtherRealm(_) => "DELEGATION_REALM",
            Self::NotPermitted(_) => "DELEGATION_REFUSED",
            Self::NoTicket(_) => "DELEGATION_TICKET",
        }
    }

    /// What the log line says beyond the sentence.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::NotPermitted(why) | Self::NoTicket(why) => Some(why.clone()),
            Self::Local | Self::Sensitive | Self::Protected | Self::OtherRealm(_) => None,
        }
    }
}
