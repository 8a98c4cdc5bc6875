//! Every reason for which policy refuses, with the sentence that the requester reads.
//!
//! Rules for the sentences: what was refused, why, what to do; at most 200 characters; nothing about other users,
//! templates or requests. The HRESULT that goes with each is in `muster-server::fault`, in one exhaustive match.

use crate::directory::HostNameDoubt;
use crate::request::RequestId;
use crate::time::UnixTime;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No template is named anywhere in the request.
    #[error(
        "The request names no template; add the certificate template extension or a CertificateTemplate attribute."
    )]
    NoTemplate,
    /// Two different templates are named.
    #[error("The request names two different templates; create a new request.")]
    TemplateConflict,
    /// Unknown, not offered here, or not allowed: the caller cannot tell which.
    #[error(
        "You are not allowed to enroll for this template, or it is not offered here; ask for permission to enroll."
    )]
    TemplateDenied,
    /// The request wants a later revision than there is.
    #[error(
        "The request asks for a newer revision of the template than this service has; fetch the policy again."
    )]
    TemplateVersion,
    /// Key algorithm not in the template.
    #[error("The template does not take keys of the kind {0}; create a key of a kind that it lists.")]
    KeyAlgorithm(&'static str),
    /// Key too small.
    #[error(
        "The public key was refused: {bits} bits are too short, the template asks for {minimum}; create a new key."
    )]
    KeyTooShort {
        /// Bits of the key.
        bits: u32,
        /// Bits asked for.
        minimum: u32,
    },
    /// The key was reported as compromised.
    #[error("This public key was reported as compromised and can never be used again; create a new key.")]
    KeyBlocked,
    /// The account lacks a host name that the template needs.
    #[error(
        "The account has no host name, or not a valid one, but this template needs it; have the account corrected."
    )]
    DnsNameMissing,
    /// The account lacks an e-mail address that the template needs.
    #[error(
        "The account has no e-mail address, or not a valid one, but this template needs it; have the account corrected."
    )]
    EmailMissing,
    /// The account lacks a user principal name that the template needs.
    #[error(
        "The account has no user principal name, or not a valid one, but this template needs it; have the account corrected."
    )]
    UpnMissing,
    /// The directory has a host name for the account, but it may be somebody else's.
    #[error(
        "The account's host name in the directory was not used, because {0}; have the account corrected."
    )]
    HostNameDoubtful(HostNameDoubt),
    /// The account is a domain controller and the template is not for such, or the other way round.
    #[error("Host names of domain controllers are only for templates made for them; use such a template.")]
    DomainController,
    /// The account lacks a path that can stand in a subject.
    #[error(
        "The account has no path in a directory, or not one that can stand in a subject, but this template needs it; have the account corrected."
    )]
    DirectoryPathMissing,
    /// The account lacks the identifier of a directory object.
    #[error(
        "The account has no identifier (objectGUID) in a directory, but this template needs it; use an account of the directory."
    )]
    GuidMissing,
    /// The request needs the signature of an enrollment agent.
    #[error("This template needs the signature of an enrollment agent; have an agent enroll on your behalf.")]
    SignatureRequired,
    /// Fewer agents than the template asks for have signed.
    #[error(
        "The request has {have} signatures of enrollment agents that may sign it, but the template needs {needed}."
    )]
    SignatureCount {
        /// Signatures of different agents within their limits.
        have: u32,
        /// Signatures asked for.
        needed: u32,
    },
    /// They have, but with certificates of other purposes or policies.
    #[error(
        "The certificates of the enrollment agents lack a purpose or a policy that the template needs; sign with others."
    )]
    SignatureRejected,
    /// The signer's certificate is not one of ours.
    #[error("The enrollment agent's certificate was not issued by this service; sign with one that was.")]
    AgentUnknown,
    /// It has expired or is not valid yet.
    #[error("The enrollment agent's certificate is not valid now ({0}); renew it.")]
    AgentExpired(UnixTime),
    /// It was revoked or is on hold.
    #[error("The enrollment agent's certificate has been revoked; ask your administrator.")]
    AgentRevoked,
    /// It is for other purposes.
    #[error(
        "The certificate that signed for another account is not that of an enrollment agent; sign with one that is."
    )]
    AgentPurpose,
    /// The agent's certificate is of another account than the one that signed in.
    #[error(
        "The request was signed by another account's agent than the one that signed in; sign in as the agent."
    )]
    AgentNotCaller,
    /// No limit covers agent, template and requester.
    #[error(
        "This enrollment agent may not enroll for this account with this template; have the agent's limits widened."
    )]
    AgentLimits,
    /// Agents are not made by agents.
    #[error(
        "Certificates of enrollment agents are not issued on behalf of others; let the requester enroll itself."
    )]
    AgentTemplate,
    /// The account named is unknown or may not be used.
    #[error("There is no account of the name in the request, or it is disabled; correct the name.")]
    RequesterUnknown,
    /// The request asks for a name outside the rules.
    #[error(
        "The request asks for the name {0}, which does not belong to the account; leave it out, or have it added to the account."
    )]
    NameNotAllowed(String),
    /// The request asks for no name although it must.
    #[error(
        "This template takes its names from the request, but the request has none; add a subject alternative name."
    )]
    NameMissing,
    /// The request carries a SID that is not the authenticated one.
    #[error("The request carries a security identifier; the server sets it itself, so remove it.")]
    SidInRequest,
    /// The request asks to become a CA.
    #[error(
        "The request asks for a CA certificate, which no template gives; remove basic constraints and keyCertSign."
    )]
    CaRequested,
    /// A form that this endpoint or this version does not serve.
    #[error("Requests on behalf of others are not accepted here; let the requester enroll itself.")]
    OnBehalfOf,
    /// A first enrollment at a renewal-only address.
    #[error("This address accepts renewals only; enroll at another address of the enrollment policy.")]
    RenewalOnly,
    /// The certificate to be renewed is not one of ours.
    #[error("The certificate to be renewed was not issued by this service; enroll anew.")]
    RenewalUnknown,
    /// It belongs to somebody else.
    #[error("The certificate to be renewed belongs to another account; enroll anew.")]
    RenewalForeign,
    /// Somebody signed besides the old and the new key.
    #[error(
        "The renewal is signed by somebody else besides the certificate to be renewed; leave that signature out."
    )]
    RenewalCosigned,
    /// It begins later.
    #[error("The certificate to be renewed is not valid before {0}; check the clocks and try again then.")]
    RenewalNotYetValid(UnixTime),
    /// It has expired.
    #[error("The certificate to be renewed expired on {0}; enroll anew with another sign-in method.")]
    RenewalExpired(UnixTime),
    /// It is on hold.
    #[error("The certificate to be renewed is on hold; ask your administrator to release it.")]
    RenewalOnHold,
    /// It was revoked.
    #[error("The certificate to be renewed has been revoked; ask your administrator.")]
    RenewalRevoked,
    /// The account has another security identifier than the certificate.
    #[error(
        "The account of the certificate to be renewed was replaced by another one of the same name; enroll anew."
    )]
    RenewalReplaced,
    /// The template does not, or no longer, let a certificate alone renew.
    #[error(
        "This template does not allow key-based renewal; renew at another address of the enrollment policy."
    )]
    RenewalKeyBased,
    /// It asks for other names.
    #[error(
        "A renewal keeps the names of its certificate, but this one asks for others ({0}); enroll anew for those."
    )]
    RenewalNames(String),
    /// Too early in the life of the certificate.
    #[error("The certificate can be renewed from {0} on; try again then.")]
    RenewalTooEarly(UnixTime),
    /// Renewed too often since the account last signed in with something else.
    #[error(
        "The certificate was renewed {0} times, the most that the template allows; enroll anew with another sign-in method."
    )]
    RenewalLimit(u32),
    /// Too long ago that the account signed in with something else.
    #[error(
        "The certificate goes back to an enrollment of {0}, longer ago than the template allows; enroll anew with another sign-in method."
    )]
    RenewalAge(UnixTime),
    /// The template wants a new key.
    #[error("The renewal has the key of the certificate to be renewed; create a new key.")]
    RenewalNewKey,
    /// The template wants the same key.
    #[error("This template renews with the same key, but the renewal has another one; keep the key.")]
    RenewalSameKey,
    /// It was issued from another template.
    #[error(
        "The certificate to be renewed was issued from another template; renew with that template or enroll anew."
    )]
    RenewalTemplate,
    /// The renewal signer differs from the certificate of the TLS connection.
    #[error(
        "The certificate of the connection is not the one that signed the renewal; use the same for both."
    )]
    RenewalSigner,
    /// A token is used for another form of request than it is good for.
    #[error(
        "A token is for one enrollment with its password, and its certificate for renewing itself; ask for another token."
    )]
    TokenForm,
    /// The request asks for a name that the token does not have.
    #[error("The token is not for the name {0}; leave it out, or ask for a token with this name.")]
    TokenName(String),
    /// The template has changed since the token was made.
    #[error("The template no longer gives the names of this token; ask for another token.")]
    TokenTemplate,
    /// As many requests of the account wait for an officer as may.
    #[error(
        "The account has {0} requests that wait for an officer, the most that it may have; wait until some are decided."
    )]
    TooManyPending(u32),
    /// An officer said no.
    #[error("Request {id} was denied by an officer: {comment}")]
    DeniedByOfficer {
        /// The request.
        id: RequestId,
        /// What the officer wrote.
        comment: String,
    },
    /// Policy said no when the request came; asked about later.
    #[error("Request {id} was refused: {sentence}")]
    DeniedBefore {
        /// The request.
        id: RequestId,
        /// What the requester read then.
        sentence: String,
    },
    /// The CA certificate ends so soon that clients would renew the certificate at once.
    #[error(
        "The CA certificate ends on {0}, too soon for this template; the administrator has to renew the CA."
    )]
    CaExpiring(UnixTime),
}

impl Refusal {
    /// A stable word for logs and audit records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoTemplate => "NO_TEMPLATE",
            Self::TemplateConflict => "TEMPLATE_CONFLICT",
            Self::TemplateDenied => "TEMPLATE_DENIED",
            Self::TemplateVersion => "TEMPLATE_VERSION",
            Self::KeyAlgorithm(_) => "KEY_ALGORITHM",
            Self::KeyTooShort { .. } => "KEY_TOO_SHORT",
            Self::KeyBlocked => "KEY_BLOCKED",
            Self::DnsNameMissing => "DNS_REQUIRED",
            Self::EmailMissing => "EMAIL_REQUIRED",
            Self::UpnMissing => "UPN_REQUIRED",
            Self::HostNameDoubtful(_) => "DNS_DOUBTFUL",
            Self::DomainController => "DC_NAME",
            Self::DirectoryPathMissing => "PATH_REQUIRED",
            Self::GuidMissing => "GUID_REQUIRED",
            Self::SignatureCount { .. } => "SIGNATURE_COUNT",
            Self::SignatureRejected => "SIGNATURE_REJECTED",
            Self::AgentUnknown => "AGENT_UNKNOWN",
            Self::AgentExpired(_) => "AGENT_EXPIRED",
            Self::AgentRevoked => "AGENT_REVOKED",
            Self::AgentPurpose => "AGENT_PURPOSE",
            Self::AgentNotCaller => "AGENT_NOT_CALLER",
            Self::AgentLimits => "AGENT_LIMITS",
            Self::AgentTemplate => "AGENT_TEMPLATE",
            Self::RequesterUnknown => "REQUESTER_UNKNOWN",
            Self::SignatureRequired => "SIGNATURE_REQUIRED",
            Self::NameNotAllowed(_) => "NAME_NOT_YOURS",
            Self::NameMissing => "NAME_MISSING",
            Self::SidInRequest => "SID_IN_REQUEST",
            Self::CaRequested => "CA_REQUESTED",
            Self::OnBehalfOf => "ON_BEHALF_OF",
            Self::RenewalOnly => "RENEWAL_ONLY",
            Self::RenewalUnknown => "RENEW_UNKNOWN",
            Self::RenewalForeign => "RENEW_FOREIGN",
            Self::RenewalCosigned => "RENEW_COSIGNED",
            Self::RenewalNotYetValid(_) => "RENEW_NOT_YET_VALID",
            Self::RenewalExpired(_) => "RENEW_EXPIRED",
            Self::RenewalOnHold => "RENEW_ON_HOLD",
            Self::RenewalRevoked => "RENEW_REVOKED",
            Self::RenewalReplaced => "RENEW_REPLACED",
            Self::RenewalKeyBased => "RENEW_KEY_BASED",
            Self::RenewalNames(_) => "RENEW_NAMES",
            Self::RenewalTooEarly(_) => "RENEW_TOO_EARLY",
            Self::RenewalLimit(_) => "RENEW_LIMIT",
            Self::RenewalAge(_) => "RENEW_AGE",
            Self::RenewalNewKey => "RENEW_NEW_KEY",
            Self::RenewalSameKey => "RENEW_KEY",
            Self::RenewalTemplate => "RENEW_TEMPLATE",
            Self::RenewalSigner => "RENEW_SIGNER",
            Self::TokenForm => "TOKEN_FORM",
            Self::TokenName(_) => "TOKEN_NAME",
            Self::TokenTemplate => "TOKEN_TEMPLATE",
            Self::TooManyPending(_) => "TOO_MANY_PENDING",
            Self::DeniedByOfficer { .. } => "DENIED",
            Self::DeniedBefore { .. } => "DENIED_BEFORE",
            Self::CaExpiring(_) => "CA_EXPIRY",
        }
    }
}
