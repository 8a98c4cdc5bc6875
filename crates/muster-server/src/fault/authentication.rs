//! Why a caller is nobody here, in a sentence for the caller and a word for the log. What is answered with it stands in
//! `fault.rs`, with every other error.

use muster_core::UnixTime;
use muster_core::token::TokenTrouble;
use muster_gss::Refused;

/// Why a caller was not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No UsernameToken.
    #[error(
        "This address needs a user name and a password in the message; configure the client to send them."
    )]
    PasswordMissing,
    /// Wrong name, wrong password, disabled or locked account: one answer for all.
    #[error("The user name or password is not correct, or the account is temporarily locked.")]
    BadCredentials,
    /// The same of a token, whatever is wrong with it; the log line tells.
    #[error("{}", Self::BadCredentials)]
    Token(TokenTrouble),
    /// The Timestamp has run out or lies ahead.
    #[error("The message is too old or its clock is wrong; correct the time and try again.")]
    Timestamp,
    /// The handshake had no client certificate.
    #[error(
        "This address needs a client certificate in the TLS handshake; configure the client to send one."
    )]
    CertificateMissing,
    /// No ticket in the header.
    #[error(
        "This address needs a Kerberos ticket (Authorization: Negotiate); configure the client to send one, and \
         check that it has one for this host."
    )]
    NegotiateMissing,
    /// The ticket was not accepted.
    #[error("The Kerberos ticket was refused: {0}.")]
    Ticket(#[from] Refused),
    /// The ticket is good, and there is no account for whom it names.
    #[error("There is no account here for {0}, or it is disabled; ask your administrator.")]
    TicketAccount(String),
    /// A connection of RPC that is not authenticated and protected as it must be.
    #[error("The connection was refused: {0}.")]
    Rpc(String),
    /// Not one of ours, or of an account that is gone.
    #[error("This certificate was not issued by this service, or its account may not use it any more.")]
    CertificateUnknown,
    /// Without the purpose client authentication.
    #[error("This certificate is not for client authentication; use one of another template.")]
    CertificatePurpose,
    /// Begins later.
    #[error("This certificate is not valid before {0}; check the clocks and try again then.")]
    CertificateNotYetValid(UnixTime),
    /// Expired.
    #[error("This certificate expired on {0}; enroll again with another sign-in method.")]
    CertificateExpired(UnixTime),
    /// On hold.
    #[error("This certificate is on hold; ask your administrator to release it.")]
    CertificateOnHold,
    /// Revoked.
    #[error("This certificate has been revoked; ask your administrator.")]
    CertificateRevoked,
}

impl AuthError {
    /// A stable word for logs and audit records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PasswordMissing => "PASSWORD_MISSING",
            Self::BadCredentials => "BAD_CREDENTIALS",
            Self::Token(trouble) => trouble.code(),
            Self::Timestamp => "TIMESTAMP",
            Self::CertificateMissing => "CERT_MISSING",
            Self::NegotiateMissing => "NEGOTIATE_MISSING",
            Self::Ticket(refused) => ticket_code(refused),
            Self::TicketAccount(_) => "TICKET_ACCOUNT",
            Self::Rpc(_) => "RPC_REFUSED",
            Self::CertificateUnknown => "CERT_UNKNOWN",
            Self::CertificatePurpose => "CERT_PURPOSE",
            Self::CertificateNotYetValid(_) => "CERT_NOT_YET_VALID",
            Self::CertificateExpired(_) => "CERT_EXPIRED",
            Self::CertificateOnHold => "CERT_ON_HOLD",
            Self::CertificateRevoked => "CERT_REVOKED",
        }
    }
}

const fn ticket_code(refused: &Refused) -> &'static str {
    match refused {
        Refused::Ntlm => "NTLM_REFUSED",
        Refused::TooLong(_)
        | Refused::Malformed(_)
        | Refused::OtherMechanism(_)
        | Refused::AnotherLeg
        | Refused::NotAnApReq => "TICKET_MALFORMED",
        Refused::WeakEncryption(_) => "TICKET_WEAK",
        Refused::WrongService(_) => "TICKET_SERVICE",
        Refused::WrongKey { .. } => "TICKET_KEY",
        Refused::Expired | Refused::NotYetValid | Refused::ClockSkew => "TICKET_TIME",
        Refused::Replay => "TICKET_REPLAY",
        Refused::NoChannelBinding | Refused::WrongChannelBinding => "CHANNEL_BINDING",
        Refused::PacNotVerified | Refused::Pac(_) => "TICKET_PAC",
        Refused::Library(_) => "TICKET_LIBRARY",
        Refused::NoKey { .. } | Refused::ReplayCache(_) => "KERBEROS",
    }
}
