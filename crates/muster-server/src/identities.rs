//! From a name that an authentication proved to the account that it is: of the store, or of a directory.
//!
//! An account of a directory is found by its security identifier wherever the evidence has one; names are for people.
//! Every look-up asks whether the account may be used now, and costs the directory nothing as long as nothing changed.

use std::sync::Arc;

use muster_core::identity::{AccountName, Principal, Sid};
use muster_core::{Clock, Method};
use muster_directory::{
    AccountError, AccountFacts, AccountKey, Directory, DirectoryAccount, DirectorySettings,
};
use muster_gss::Pac;

use crate::accounts::Accounts;
use crate::config::{DirectoryDomain, Settings};
use crate::fault::{AuthError, DelegationError, ServiceError, Unavailable};

/// `ADS_UF_NOT_DELEGATED` of userAccountControl (MS-ADTS 2.2.16).
const NOT_DELEGATED: u32 = 0x10_0000;
/// The end of the identifier of Protected Users, of every domain (MS-DTYP 2.4.2.4).
const PROTECTED_USERS: &str = "-525";

/// A domain, and the connection to it.
#[derive(Clone)]
pub(crate) struct Domain {
    pub(crate) settings: DirectoryDomain,
    pub(crate) directory: Arc<Directory>,
}

/// An account of a directory, and whether others may act for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delegable {
    /// `alice@CORP.EXAMPLE`.
    pub(crate) principal: String,
    /// Why not.
    pub(crate) trouble: Option<DelegationError>,
}

impl Delegable {
    fn new(facts: &AccountFacts, principal: &Principal, realm: &str) -> Self {
        let is_protected = |sid: &Sid| {
            let sid = sid.as_str();
            sid.starts_with("S-1-5-21-") && sid.ends_with(PROTECTED_USERS)
        };
        let trouble = if facts.user_account_control & NOT_DELEGATED != 0 {
            Some(DelegationError::Sensitive)
        } else if principal.sids.iter().chain(&facts.groups).any(is_protected) {
            Some(DelegationError::Protected)
        } else {
            None
        };
        Self { principal: format!("{}@{realm}", facts.sam_account_name), trouble }
    }
}

/// Connects to the configured domains; the connections are made and kept in the background.
#[must_use]
pub(crate) fn connect(settings: &Settings, clock: &Arc<dyn Clock>) -> Vec<Domain> {
    let start = |configured: &DirectoryDomain| {
        let state_file = settings.data_dir.join(format!("directory-{}.json", configured.domain));
        let how = DirectorySettings {
            state_file: configured.templates.then_some(state_file),
            ..DirectorySettings::new(configured.ldap.clone())
        };
        Domain { settings: configured.clone(), directory: Directory::start(how, Arc::clone(clock)) }
    };
    settings.directories.iter().map(start).collect()
}

/// The accounts of the store and of every configured domain.
pub(crate) struct Identities {
    accounts: Arc<Accounts>,
    domains: Vec<Domain>,
    clock: Arc<dyn Clock>,
}

impl Identities {
    /// Over the accounts of a store and of domains.
    #[must_use]
    pub(crate) const fn new(accounts: Arc<Accounts>, domains: Vec<Domain>, clock: Arc<dyn Clock>) -> Self {
        Self { accounts, domains, clock }
    }

    /// DNS name and short name of each domain whose directory has told it.
    pub(crate) fn short_names(&self) -> Vec<(String, String)> {
        let known = |domain: &Domain| Some((domain.settings.domain.to_string(), domain.netbios_name()?));
        self.domains.iter().filter_map(known).collect()
    }

    /// The configured domains.
    #[must_use]
    pub(crate) fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The domain of this realm.
    #[must_use]
    pub(crate) fn realm(&self, realm: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.settings.realm == realm)
    }

    /// The account behind a ticket: of the domain whose realm it is, by the identifier and with the groups that the KDC
    /// vouches for; else the local account called `name@realm`, all in lower case.
    ///
    /// # Errors
    /// [`AuthError::TicketAccount`] if there is none or it may not be used, [`Unavailable::Directory`] if that cannot be
    /// told.
    pub(crate) async fn of_ticket(
        &self,
        principal: &muster_gss::Principal,
        pac: Option<&Pac>,
    ) -> Result<Principal, ServiceError> {
        let shown = || principal.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
        let none = || AuthError::TicketAccount(shown());
        let found = match self.realm(&principal.realm) {
            Some(domain) => domain.of_pac(pac.ok_or_else(none)?, &*self.clock).await?,
            None => self.local(&principal.to_string().parse().map_err(|_| none())?).await?,
        };
        Ok(found.ok_or_else(none)?)
    }

    /// The account of the store.
    ///
    /// # Errors
    /// [`Unavailable::Store`].
    pub(crate) async fn local(&self, name: &AccountName) -> Result<Option<Principal>, ServiceError> {
        let account = self.accounts.get(name).await?.filter(|account| account.enabled);
        Ok(account.map(|account| account.principal.clone()))
    }

    /// The account of this name, as records have it. With `sid`, only if that is its identifier: a name may have been
    /// given to somebody else since.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) async fn named(
        &self,
        name: &AccountName,
        sid: Option<&Sid>,
    ) -> Result<Option<Principal>, ServiceError> {
        if let Some(id) = name.token_id() {
            return Ok(self.accounts.token(&id).await?.and_then(|token| token.principal()));
        }
        let Some((domain, account)) = name.directory_parts() else { return self.local(name).await };
        let Some(found) = self.domains.iter().find(|known| known.settings.domain == domain) else {
            return Ok(None);
        };
        let key = AccountKey::SamAccount { name: account, domain: domain.to_owned() };
        let principal = found.account(&key, &*self.clock).await?;
        Ok(principal.filter(|principal| sid.is_none() || principal.sid.as_ref() == sid))
    }

    /// The account that an enrollment agent names, `alice`, `CORP\\alice` or `alice@corp.example`; `None` as well if it
    /// may not be used.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) async fn requester(&self, written: &str) -> Result<Option<Principal>, ServiceError> {
        let called = |domain: &&Domain, name: &str| {
            name.eq_ignore_ascii_case(&domain.settings.domain)
                || name.eq_ignore_ascii_case(&domain.settings.realm)
                || domain.netbios_name().is_some_and(|short| name.eq_ignore_ascii_case(&short))
        };
        if let Some((domain, name)) = written.split_once('\\') {
            let Some(found) = self.domains.iter().find(|known| called(known, domain)) else {
                return Ok(None);
            };
            let domain = found.settings.domain.clone();
            return found
                .account(&AccountKey::SamAccount { name: name.to_owned(), domain }, &*self.clock)
                .await;
        }
        if let Some((_, suffix)) = written.rsplit_once('@') {
            let has_suffix = |domain: &&Domain| {
                called(domain, suffix)
                    || domain.settings.upn_suffixes.iter().any(|own| own.eq_ignore_ascii_case(suffix))
            };
            if let Some(found) = self.domains.iter().find(has_suffix) {
                return found.account(&AccountKey::Upn(written.to_owned()), &*self.clock).await;
            }
        }
        match written.parse::<AccountName>() {
            Ok(name) if name.is_local() => self.local(&name).await,
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// The account that a certificate of another CA is mapped to.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) async fn mapped(
        &self,
        domain: &str,
        key: &AccountKey,
    ) -> Result<Option<Principal>, ServiceError> {
        match self.domains.iter().find(|known| known.settings.domain == domain) {
            Some(domain) => domain.account(key, &*self.clock).await,
            None => Ok(None),
        }
    }

    /// The sAMAccountName, in lower case, of whoever has this user principal name.
    ///
    /// # Errors
    /// [`Unavailable::Directory`].
    pub(crate) async fn account_name(
        &self,
        domain: &Domain,
        upn: &str,
    ) -> Result<Option<String>, ServiceError> {
        let account = domain.usable(&AccountKey::Upn(upn.to_owned()), &*self.clock).await?;
        Ok(account.map(|account| account.facts.sam_account_name.to_lowercase()))
    }

    /// When the password of an account of a directory was set; `None` for others.
    ///
    /// # Errors
    /// [`Unavailable::Directory`].
    pub(crate) async fn password_set(&self, principal: &Principal) -> Result<Option<i64>, ServiceError> {
        let Some((domain, _)) = principal.name.directory_parts() else { return Ok(None) };
        let domain = self.domains.iter().find(|known| known.settings.domain == domain);
        let (Some(domain), Some(sid)) = (domain, &principal.sid) else { return Ok(None) };
        let account = domain.usable(&AccountKey::Sid(sid.clone()), &*self.clock).await?;
        Ok(account.and_then(|account| account.password_set))
    }

    /// Whether others may act for an account; `None` for those that are in no directory.
    ///
    /// # Errors
    /// [`Unavailable::Directory`].
    pub(crate) async fn delegable(&self, principal: &Principal) -> Result<Option<Delegable>, ServiceError> {
        let Some((domain, _)) = principal.name.directory_parts() else { return Ok(None) };
        let domain = self.domains.iter().find(|known| known.settings.domain == domain);
        let (Some(domain), Some(sid)) = (domain, &principal.sid) else { return Ok(None) };
        let account = domain.usable(&AccountKey::Sid(sid.clone()), &*self.clock).await?;
        Ok(account.map(|account| Delegable::new(&account.facts, principal, &domain.settings.realm)))
    }

    /// Whether a caller may still be what it was a moment ago.
    ///
    /// # Errors
    /// [`AuthError`] if not, [`Unavailable`] if that cannot be told.
    pub(crate) async fn check(&self, principal: &Principal, method: Method) -> Result<(), ServiceError> {
        let now = self.named(&principal.name, principal.sid.as_ref()).await?;
        let same = match now {
            // The groups of a ticket are those of the KDC, not those of the directory.
            Some(found) if principal.directory.is_some() => found.kind == principal.kind,
            Some(found) => found == *principal,
            None => false,
        };
        match method {
            _ if same => Ok(()),
            Method::UsernamePassword => Err(AuthError::BadCredentials.into()),
            Method::ClientCertificate => Err(AuthError::CertificateUnknown.into()),
            Method::Kerberos => Err(AuthError::TicketAccount(principal.name.to_string()).into()),
        }
    }
}

impl Domain {
    /// The short name, `CORP`, once the directory has told it.
    pub(crate) fn netbios_name(&self) -> Option<String> {
        self.directory.netbios_name()
    }

    /// The realm of the forest whose service name its users' tickets are for.
    pub(crate) fn forest_realm<'a>(&'a self, all: &'a Identities) -> &'a str {
        let forest = all.domains.iter().find(|domain| domain.settings.domain == self.settings.forest);
        &forest.unwrap_or(self).settings.realm
    }

    /// The account of a PAC, with its groups.
    async fn of_pac(&self, pac: &Pac, clock: &dyn Clock) -> Result<Option<Principal>, ServiceError> {
        let Ok(sid) = pac.user_sid.parse::<Sid>() else { return Ok(None) };
        let Some(account) = self.usable(&AccountKey::Sid(sid), clock).await? else { return Ok(None) };
        let groups = pac.group_sids.iter().map(|group| group.parse()).collect::<Result<_, _>>();
        let Ok(groups) = groups else { return Ok(None) };
        let mut facts = account.facts.clone();
        facts.groups = groups;
        Ok(Some(facts.principal()))
    }

    async fn account(&self, key: &AccountKey, clock: &dyn Clock) -> Result<Option<Principal>, ServiceError> {
        Ok(self.usable(key, clock).await?.map(|account| account.principal()))
    }

    async fn usable(
        &self,
        key: &AccountKey,
        clock: &dyn Clock,
    ) -> Result<Option<Arc<DirectoryAccount>>, ServiceError> {
        match self.directory.account(key).await {
            Ok(account) => Ok(account.filter(|account| match account.usable(clock.now()) {
                Ok(()) => true,
                Err(reason) => {
                    tracing::info!(account = %account.facts.name, %reason, "an account of the directory is not used");
                    false
                }
            })),
            Err(AccountError::Ambiguous(name)) => {
                tracing::warn!(name, "several accounts of the directory have this name, so that it names none");
                Ok(None)
            }
            Err(AccountError::Directory(error)) => Err(Unavailable::Directory(error.to_string()).into()),
        }
    }
}
