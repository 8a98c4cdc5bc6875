//! What a caller can be delegated by: from what it authenticated with to an identity in which an authority of AD CS is
//! called.
//!
//! Only kept where an endpoint delegates ([`IdentityMode::Delegate`]); elsewhere a ticket is looked at and a password
//! compared, and that is all. A ticket for us is evidence that the KDC accepts (S4U2Proxy); a password gets the caller's
//! own tickets; whoever shows a certificate has nothing that the KDC knows, so that we have to say who it is (S4U2Self).
//!
//! No KDC is asked here: the authority's connector does when it has to open a connection. Whose account the directory does
//! not let be delegated is told apart before, because a KDC refuses without saying why, and some refuse too little.

use std::sync::Arc;

use muster_adcs::Identity;
use muster_core::Method;

use muster_gss::{Credential, Gss, InitiateError, Login, same_account};
use muster_relay::UpstreamIdentity;
use zeroize::Zeroizing;

use super::kerberos::KerberosError;
use crate::config::{Backend, Endpoint, IdentityMode, OwnAccount, Settings};
use crate::fault::{AuthError, DelegationError, ServiceError, Unavailable};
use crate::identities::Delegable;

/// What a caller can be delegated by.
#[derive(Clone)]
pub(crate) enum Delegation {
    /// Its ticket for this service.
    Ticket {
        /// `alice@CORP.EXAMPLE`.
        principal: String,
        /// For nothing but what the directory lets this service delegate to.
        credential: Credential,
    },
    /// Its password.
    Password {
        /// `alice@CORP.EXAMPLE`.
        principal: String,
        /// In clear, and wiped when the message has been answered.
        password: Arc<Zeroizing<String>>,
    },
    /// A certificate that was mapped to an account of a directory.
    Mapped {
        /// `alice@CORP.EXAMPLE`.
        principal: String,
        /// This service's own, which says who the caller is.
        own: Credential,
    },
    /// Nothing.
    None(NoDelegation),
}

/// Why a caller cannot be delegated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoDelegation {
    /// The endpoint does not delegate.
    NotAsked,
    /// The directory, or what the caller is, forbids it.
    Refused(DelegationError),
    /// What the KDC said to the caller's ticket.
    Ticket(InitiateError),
}

impl NoDelegation {
    fn to_error(&self) -> ServiceError {
        match self {
            Self::NotAsked => ServiceError::Internal("this endpoint does not delegate".to_owned()),
            Self::Refused(why) => why.clone().into(),
            Self::Ticket(error) => no_ticket(Method::Kerberos, error),
        }
    }
}

impl std::fmt::Debug for Delegation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ticket { principal, .. } => write!(f, "Ticket({principal})"),
            Self::Password { principal, .. } => write!(f, "Password({principal})"),
            Self::Mapped { principal, .. } => write!(f, "Mapped({principal})"),
            Self::None(why) => write!(f, "None({why:?})"),
        }
    }
}

impl Delegation {
    pub(super) const fn refused(why: DelegationError) -> Self {
        Self::None(NoDelegation::Refused(why))
    }

    /// A caller with a ticket. `account` is what a directory says of it, if one knows it.
    pub(super) fn of_ticket(
        principal: &muster_gss::Principal,
        credential: Result<Credential, InitiateError>,
        account: Option<&Delegable>,
    ) -> Self {
        match (account.and_then(|account| account.trouble.clone()), credential) {
            (Some(why), _) => Self::refused(why),
            (None, Ok(credential)) => Self::Ticket { principal: principal.to_string(), credential },
            (None, Err(error)) => Self::None(NoDelegation::Ticket(error)),
        }
    }

    /// A caller whose password a KDC has found to be right. Nobody's permission is needed for it.
    pub(super) fn of_password(principal: &muster_gss::Principal, password: &str) -> Self {
        let password = Arc::new(Zeroizing::new(password.to_owned()));
        Self::Password { principal: principal.to_string(), password }
    }

    /// A caller whose password was compared here, for a service that compares it again. A one-time token is for this
    /// installation alone.
    pub(super) fn of_own_password(principal: &muster_core::identity::Principal, password: &str) -> Self {
        if principal.token.is_some() {
            return Self::refused(DelegationError::Local);
        }
        let password = Arc::new(Zeroizing::new(password.to_owned()));
        Self::Password { principal: principal.name.to_string(), password }
    }

    /// A caller whose certificate is mapped to an account; `None` is one of this installation.
    pub(super) fn of_certificate(account: Option<Delegable>, own: &Own) -> Self {
        match account {
            None => Self::refused(DelegationError::Local),
            Some(Delegable { trouble: Some(why), .. }) => Self::refused(why),
            Some(Delegable { principal, trouble: None }) => {
                Self::Mapped { principal, own: own.credential.clone() }
            }
        }
    }

    /// The identity to call an authority in. It asks the KDC when it is used, where that may block: what the KDC says then
    /// is for [`no_ticket`].
    ///
    /// # Errors
    /// [`ServiceError::Delegation`] if the caller cannot be delegated, [`ServiceError::Unavailable`] if that cannot be
    /// told now.
    pub(crate) fn identity(&self) -> Result<Identity, ServiceError> {
        match self {
            Self::Ticket { principal, credential } => Ok(Identity::new(principal, credential.clone())),
            Self::Password { principal, password } => {
                let (principal, password) = (principal.clone(), Arc::clone(password));
                Ok(Identity::on_demand(&principal.clone(), move || {
                    let (principal, password) = (principal.clone(), Zeroizing::clone(&password));
                    let gss =
                        Gss::load().map_err(|missing| InitiateError::NoCredential(missing.to_string()))?;
                    gss.credential(&Login::Password { principal, password })
                }))
            }
            Self::Mapped { principal, own } => {
                let (user, own) = (principal.clone(), own.clone());
                Ok(Identity::on_demand(principal, move || own.impersonate(&user)))
            }
            Self::None(why) => Err(why.to_error()),
        }
    }

    /// The identity to ask another enrollment service in. Asks the KDC about a caller with a certificate.
    ///
    /// # Errors
    /// As [`Self::identity`], and what the KDC says.
    pub(crate) async fn upstream(&self) -> Result<UpstreamIdentity, ServiceError> {
        match self {
            Self::Ticket { principal, credential } => {
                Ok(UpstreamIdentity::Kerberos { name: principal.clone(), credential: credential.clone() })
            }
            Self::Password { principal, password } => Ok(UpstreamIdentity::Password {
                name: principal.clone(),
                secret: muster_relay::Password::new(password.as_str().to_owned()),
            }),
            Self::Mapped { principal, own } => {
                let (user, own) = (principal.clone(), own.clone());
                let asked = tokio::task::spawn_blocking(move || own.impersonate(&user)).await;
                let credential = asked.map_err(|error| ServiceError::Internal(error.to_string()))?;
                let credential = credential.map_err(|error| no_ticket(Method::ClientCertificate, &error))?;
                Ok(UpstreamIdentity::Kerberos { name: principal.clone(), credential })
            }
            Self::None(why) => Err(why.to_error()),
        }
    }
}

/// Why no ticket in the name of a caller, who authenticated by `method`, could be had for an authority.
pub(crate) fn no_ticket(method: Method, error: &InitiateError) -> ServiceError {
    match error {
        // The password was right a moment ago, or minutes ago if it was remembered.
        InitiateError::WrongKey | InitiateError::AccountRefused(_) if method == Method::UsernamePassword => {
            AuthError::BadCredentials.into()
        }
        InitiateError::NotDelegated(why) => DelegationError::NotPermitted(why.clone()).into(),
        // Another node may fare better.
        InitiateError::KdcUnreachable(_) | InitiateError::ClockSkew | InitiateError::NoCredential(_) => {
            Unavailable::Kerberos(error.to_string()).into()
        }
        InitiateError::WrongKey
        | InitiateError::AccountRefused(_)
        | InitiateError::Expired
        | InitiateError::UnknownAccount
        | InitiateError::UnknownService(_)
        | InitiateError::NotProven(_)
        | InitiateError::Rejected
        | InitiateError::OtherMechanism
        | InitiateError::Malformed(_)
        | InitiateError::OutOfOrder
        | InitiateError::NotSealed
        | InitiateError::Library(_) => DelegationError::NoTicket(error.to_string()).into(),
    }
}

/// An account of this service, to act for callers with.
pub(super) struct Own {
    pub(super) realm: String,
    pub(super) credential: Credential,
}

/// The accounts of this service for the CAs to which callers are delegated, by the CA's name.
#[derive(Default)]
pub(super) struct Owns {
    accounts: Vec<(Arc<str>, Arc<Own>)>,
    /// The CAs behind other enrollment services.
    relays: Vec<Arc<str>>,
}

impl Owns {
    /// Reads the keys that endpoints with delegation need; nothing without such endpoints.
    pub(super) fn load(settings: &Settings) -> Result<Self, KerberosError> {
        let mut owns = Self::default();
        for endpoint in settings.enrollment_endpoints.iter().filter(|e| is_delegating(e)) {
            let needs_own = match endpoint.method {
                Method::Kerberos | Method::ClientCertificate => true,
                Method::UsernamePassword => false,
            };
            let ca = settings.authorities.iter().find(|ca| ca.name == endpoint.ca);
            let Some(ca) = ca else { continue };
            if matches!(ca.backend, Backend::Relay(_)) {
                owns.relays.push(Arc::clone(&ca.name));
            }
            let Some(account) = ca.backend.account().filter(|_| needs_own) else { continue };
            let wrong = |problem: String| KerberosError::Account {
                ca: endpoint.ca.to_string(),
                account: account.principal.clone(),
                problem,
            };
            let (_, realm) = account.principal.rsplit_once('@').unwrap_or_default();
            if endpoint.method == Method::Kerberos {
                check_account(settings, realm, account).map_err(wrong)?;
            }
            if owns.of(&endpoint.ca).is_none() {
                let credential = Gss::load()?.service(&account.keytab, &account.principal);
                let credential = credential.map_err(|error| wrong(error.to_string()))?;
                let own = Own { realm: realm.to_owned(), credential };
                owns.accounts.push((Arc::clone(&endpoint.ca), Arc::new(own)));
            }
        }
        Ok(owns)
    }

    pub(super) fn of(&self, ca: &str) -> Option<&Arc<Own>> {
        self.accounts.iter().find(|(name, _)| **name == *ca).map(|(_, own)| own)
    }

    /// Whether passwords of accounts of this installation are passed on: another enrollment service may have the same
    /// accounts, and asks for the password itself.
    pub(super) fn passes_on(&self, ca: &str) -> bool {
        self.relays.iter().any(|name| **name == *ca)
    }
}

/// Whether what callers can be delegated by is kept at an endpoint.
pub(super) fn is_delegating(endpoint: &Endpoint) -> bool {
    endpoint.identity == Some(IdentityMode::Delegate)
}

/// A caller's ticket is evidence for the account that it is for: that must be the one that acts.
fn check_account(settings: &Settings, realm: &str, account: &OwnAccount) -> Result<(), String> {
    let Some(known) = settings.kerberos.iter().find(|known| known.name == realm) else {
        return Err(format!(
            "callers' tickets are for this account, so there must be a [kerberos.\"{realm}\"]"
        ));
    };
    for service in &known.services {
        let name = format!("{service}@{realm}");
        let same = same_account((&known.keytab, &name), (&account.keytab, &account.principal));
        if !same.map_err(|error| error.to_string())? {
            return Err(format!(
                "callers' tickets are for {name}, whose keys in {} are not those of this account in {}: with Kerberos, \
                 the account that asks the CA must be the one that has the service's name (SPN)",
                known.keytab.display(),
                account.keytab.display()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> muster_gss::Principal {
        muster_gss::Principal { name: "alice".to_owned(), realm: "CORP.TEST".to_owned() }
    }

    fn account(trouble: Option<DelegationError>) -> Delegable {
        Delegable { principal: "alice@CORP.TEST".to_owned(), trouble }
    }

    #[test]
    fn password_is_in_no_log() {
        let delegation = Delegation::of_password(&alice(), "Passw0rd!");
        assert_eq!(format!("{delegation:?}"), "Password(alice@CORP.TEST)");
        assert_eq!(delegation.identity().unwrap().name(), "alice@CORP.TEST");
    }

    #[test]
    fn what_the_directory_forbids_comes_before_what_the_kdc_says() {
        let refused = || Err(InitiateError::KdcUnreachable("down".to_owned()));
        let of = |account: Option<&Delegable>| {
            Delegation::of_ticket(&alice(), refused(), account).identity().map(drop).unwrap_err()
        };
        for trouble in [DelegationError::Sensitive, DelegationError::Protected] {
            assert_eq!(of(Some(&account(Some(trouble.clone())))), trouble.into());
        }
        for account in [None, Some(&account(None))] {
            assert!(matches!(of(account), ServiceError::Unavailable(Unavailable::Kerberos(_))));
        }
    }

    #[test]
    fn each_refusal_of_a_kdc_has_its_answer() {
        let code = |method, error: InitiateError| no_ticket(method, &error).code();
        let not_delegated = || InitiateError::NotDelegated(String::new());
        for method in Method::ALL {
            assert_eq!(code(method, not_delegated()), "DELEGATION_REFUSED");
            assert_eq!(code(method, InitiateError::KdcUnreachable(String::new())), "KERBEROS");
            assert_eq!(code(method, InitiateError::UnknownAccount), "DELEGATION_TICKET");
        }
        assert_eq!(code(Method::UsernamePassword, InitiateError::WrongKey), "BAD_CREDENTIALS");
        assert_eq!(code(Method::Kerberos, InitiateError::WrongKey), "DELEGATION_TICKET");
    }

    #[test]
    fn endpoint_without_delegation_keeps_nothing() {
        let none = Delegation::None(NoDelegation::NotAsked).identity().map(drop).unwrap_err();
        assert!(matches!(none, ServiceError::Internal(_)), "{none}");
    }
}
