//! A password, checked by the KDC; and the KDC, checked by our own key.
//!
//! An initial ticket alone proves little: whoever answers in place of the KDC knows the password that it invents.
//! So a ticket for our own service is got with it, and accepted with our keytab, which no false KDC can make.

use crate::acceptor::{Acceptor, Refused};
use crate::ffi::{Context, Cred, Initiation, Name, NameForm};
use crate::pac::Pac;
use crate::principal::Principal;
use crate::status::{Cause, Status};

/// Passwords of directories have at most 256 characters.
const MAX_PASSWORD: usize = 1_024;

/// Whose password it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A name in a realm, `alice` in `CORP.EXAMPLE`: the name must not have an `@`.
    Principal {
        /// `alice`.
        name: String,
        /// Upper-case in Active Directory.
        realm: String,
    },
    /// A user principal name, such as `alice@example.com` where the domain is `corp.example`; the KDC of `realm` is
    /// asked who that is.
    Enterprise {
        /// `alice@example.com`.
        upn: String,
        /// The realm to ask.
        realm: String,
    },
}

/// A password that was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it is.
    pub principal: Principal,
    /// What the directory says about the user; from a KDC without PAC, nothing.
    pub pac: Option<Pac>,
}

/// A password that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Unknown user, wrong password, or none.
    #[error("user name or password is wrong")]
    Wrong,
    /// A name that cannot be one, or one of a realm that is not served.
    #[error("the name is not that of a user of a configured realm")]
    NotOurRealm,
    /// The account is disabled, locked, expired, or outside of its logon hours; the KDC does not say which.
    #[error("the account is disabled, locked or expired")]
    AccountRefused,
    /// The password was once right, but has expired or has to be changed first.
    #[error("the password has expired or has to be changed")]
    PasswordExpired,
    /// No KDC answers, or none can be found.
    #[error("no KDC can be reached: {0}")]
    KdcUnreachable(String),
    /// The clocks differ.
    #[error("the clocks of this machine and the KDC differ by more than Kerberos permits")]
    ClockSkew,
    /// The KDC has not got our key: it is a false one, or the keytab is old.
    #[error("the KDC did not prove its identity: {0}")]
    KdcNotProven(Refused),
    /// The KDC does not know our service.
    #[error("the KDC does not know {0}: is its name (SPN) registered?")]
    UnknownService(String),
    /// Anything else that the library says.
    #[error("the Kerberos library failed: {0}")]
    Library(Status),
}

impl Acceptor {
    /// Checks a password. `realms` are those whose users may come; the user must be in one of them, also where
    /// the KDC finds out in which.
    ///
    /// Each call is one attempt at the directory's lock-out counter if the password is wrong. Blocks on the network:
    /// up to half a minute, if KDCs do not answer.
    ///
    /// # Errors
    /// See [`PasswordRefused`].
    pub fn verify_password(
        &self,
        account: &Account,
        password: &str,
        realms: &[String],
    ) -> Result<Verified, PasswordRefused> {
        // An empty password is not a password: some directories take it as "nobody".
        if password.is_empty() || password.len() > MAX_PASSWORD || password.contains('\0') {
            return Err(PasswordRefused::Wrong);
        }
        let (text, form, realm) = account.text().ok_or(PasswordRefused::NotOurRealm)?;
        if !realms.iter().any(|ours| ours == realm) {
            return Err(PasswordRefused::NotOurRealm);
        }
        let service = self.principal_near(realm).ok_or(PasswordRefused::NotOurRealm)?;
        let token = self.own_ticket(&text, form, password, service)?;
        let accepted = self.accept_own(&token).map_err(|refused| {
            let skew = refused == Refused::ClockSkew;
            if skew { PasswordRefused::ClockSkew } else { PasswordRefused::KdcNotProven(refused) }
        })?;
        if !realms.contains(&accepted.principal.realm) {
            return Err(PasswordRefused::NotOurRealm);
        }
        if let Account::Principal { name, realm } = account
            && (*realm != accepted.principal.realm || !name.eq_ignore_ascii_case(&accepted.principal.name))
        {
            return Err(PasswordRefused::NotOurRealm);
        }
        Ok(Verified { principal: accepted.principal, pac: accepted.pac })
    }

    /// A token for a service of ours, got with a password.
    fn own_ticket(
        &self,
        account: &str,
        form: NameForm,
        password: &str,
        service: &str,
    ) -> Result<Vec<u8>, PasswordRefused> {
        let account = Name::import(self.api(), account, form)?;
        let credential = Cred::with_password(self.api(), &account, password)?;
        let target = Name::import(self.api(), service, NameForm::Principal)?;
        let how = Initiation { credential: &credential, target: &target, flags: 0, bindings: None };
        Ok(Context::new(self.api()).initiate(&how, None)?.token)
    }
}

impl From<Status> for PasswordRefused {
    fn from(status: Status) -> Self {
        match status.cause() {
            Cause::Integrity | Cause::PreauthenticationFailed | Cause::ClientUnknown => Self::Wrong,
            Cause::ClientRevoked | Cause::Policy | Cause::NotYetValid | Cause::Expired => {
                Self::AccountRefused
            }
            Cause::PasswordExpired => Self::PasswordExpired,
            Cause::KdcUnreachable | Cause::RealmUnknown => Self::KdcUnreachable(status.to_string()),
            Cause::WrongRealm => Self::NotOurRealm,
            Cause::Skew => Self::ClockSkew,
            Cause::ServiceUnknown => Self::UnknownService(status.to_string()),
            Cause::KeyVersion
            | Cause::NoKey
            | Cause::NotUs
            | Cause::Replay
            | Cause::ReplayCache
            | Cause::Bindings
            | Cause::Damaged
            | Cause::Encryption
            | Cause::Transited
            | Cause::Address
            | Cause::AnotherLeg
            | Cause::NotMutual
            | Cause::NotPermitted
            | Cause::NoCredential
            | Cause::Configuration
            | Cause::Other => Self::Library(status),
        }
    }
}

impl Account {
    /// The name for the library, and the realm that is asked. `None` if it would be read as something else.
    fn text(&self) -> Option<(String, NameForm, &str)> {
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= 256 && !text.contains(['@', '\\', '/', '\0', '\n', '\r', '\t'])
        };
        match self {
            Self::Principal { name, realm } => (plain(name) && plain(realm))
                .then(|| (format!("{name}@{realm}"), NameForm::Principal, realm.as_str())),
            Self::Enterprise { upn, realm } => {
                let (user, suffix) = upn.split_once('@')?;
                (plain(user) && plain(suffix) && plain(realm))
                    .then(|| (format!("{user}@{suffix}@{realm}"), NameForm::Enterprise, realm.as_str()))
            }
        }
    }
}
