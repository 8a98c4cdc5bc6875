//! Accounts of the domain: found by any of their names, with all their groups, and whether they may log on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use muster_core::Principal;
use muster_core::directory::ObjectGuid;
use muster_core::identity::{AccountName, PrincipalKind, Sid};
use muster_core::time::UnixTime;
use tokio::time::Instant;

use crate::account_names::AccountFacts;
use crate::directory::Directory;
use crate::ldap::{Entry, Filter, LdapError, Root, Search};
use crate::{guard, sid};

const ATTRIBUTES: &[&str] = &[
    "objectClass",
    "objectGUID",
    "objectSid",
    "sAMAccountName",
    "userPrincipalName",
    "cn",
    "mail",
    "dNSHostName",
    "servicePrincipalName",
    "userAccountControl",
    "accountExpires",
    "msDS-User-Account-Control-Computed",
    "pwdLastSet",
    "tokenGroups",
];

/// `ADS_UF_ACCOUNTDISABLE` (MS-ADTS 2.2.16).
const DISABLED: u32 = 0x2;
/// `ADS_UF_LOCKOUT`, which only the constructed attribute shows (MS-ADTS 3.1.1.4.5.17).
const LOCKED: i64 = 0x10;
/// Most groups of one account that are read; Windows puts at most 1,010 into a token.
const MAX_GROUPS: usize = 4_096;
/// Most objects with one host name that are counted; more than one is as bad as any number.
const MAX_HOLDERS: usize = 16;

/// By what an account is looked up. Text is compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccountKey {
    /// objectSid.
    Sid(Sid),
    /// userPrincipalName; also the implicit one, account name and DNS name of the domain (MS-ADTS 5.1.1.1.1).
    Upn(String),
    /// sAMAccountName.
    SamAccount {
        /// The name, with the `$` of a computer.
        name: String,
        /// Its domain, DNS or NetBIOS name.
        domain: String,
    },
    /// dNSHostName of a computer.
    DnsName(String),
}

impl AccountKey {
    /// The same in lower case, so that it is found whatever case it is written in.
    fn folded(&self) -> Self {
        match self {
            Self::Sid(sid) => Self::Sid(sid.clone()),
            Self::Upn(name) => Self::Upn(name.to_lowercase()),
            Self::SamAccount { name, domain } => {
                Self::SamAccount { name: name.to_lowercase(), domain: domain.to_ascii_lowercase() }
            }
            Self::DnsName(name) => Self::DnsName(name.to_ascii_lowercase()),
        }
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sid(sid) => write!(f, "{sid}"),
            Self::Upn(name) | Self::DnsName(name) => f.write_str(name),
            Self::SamAccount { name, domain } => write!(f, "{domain}\\{name}"),
        }
    }
}

/// One account as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryAccount {
    /// Names, identifier and groups.
    pub facts: AccountFacts,
    /// When it ends to be valid.
    pub expires: Option<UnixTime>,
    /// Too many wrong passwords, and the time of the lockout is not over.
    pub locked: bool,
    /// pwdLastSet, as written: a change of the password changes it.
    pub password_set: Option<i64>,
}

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// An administrator disabled it.
    #[error("the account is disabled")]
    Disabled,
    /// It was valid until then.
    #[error("the account expired at {0}")]
    Expired(UnixTime),
    /// Too many wrong passwords.
    #[error("the account is locked after wrong passwords")]
    Locked,
}

impl DirectoryAccount {
    /// Whether it may be used at `now`.
    ///
    /// # Errors
    /// [`NotUsable`].
    pub fn usable(&self, now: UnixTime) -> Result<(), NotUsable> {
        if self.facts.user_account_control & DISABLED != 0 {
            return Err(NotUsable::Disabled);
        }
        match self.expires {
            Some(end) if end <= now => Err(NotUsable::Expired(end)),
            Some(_) | None if self.locked => Err(NotUsable::Locked),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether it is a domain controller.
    #[must_use]
    pub const fn is_domain_controller(&self) -> bool {
        guard::is_domain_controller(self.facts.user_account_control)
    }

    /// The account as policy sees it.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.facts.principal()
    }
}

/// Why an account cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Several accounts have this name, so that it names none.
    #[error("several accounts have the name '{0}'")]
    Ambiguous(String),
    /// The directory is away, or does not answer as it should.
    #[error(transparent)]
    Directory(#[from] LdapError),
}

impl Directory {
    /// The account of this name; `None` if this domain has none. Answered from memory as long as the directory says
    /// that nothing changed, and for a short while (`away`) when it says nothing.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn account(&self, key: &AccountKey) -> Result<Option<Arc<DirectoryAccount>>, AccountError> {
        let key = key.folded();
        let (mark, known) = {
            let mut cache = self.cache();
            if let Some(account) = cache.warm(&key, Instant::now()) {
                return Ok(Some(account));
            }
            (cache.mark(), cache.unconfirmed(&key, Instant::now()))
        };
        tracing::debug!(%key, "an account is asked of the directory");
        if let Some(known) = known
            && self.is_unchanged(&known).await
        {
            self.cache().confirm(&known.facts.sid, mark);
            return Ok(Some(known));
        }
        match self.read_account(&key).await {
            Ok(Some(account)) => {
                let account = Arc::new(account);
                self.cache().insert(&key, &account, mark, Instant::now());
                Ok(Some(account))
            }
            Ok(None) => {
                self.cache().forget(&key);
                Ok(None)
            }
            Err(AccountError::Directory(error)) if !error.is_answer() => {
                let recent = self.cache().recent(&key, Instant::now());
                recent.map(Some).ok_or(AccountError::Directory(error))
            }
            Err(error) => {
                self.cache().forget(&key);
                Err(error)
            }
        }
    }

    /// Whether an account that has not been seen to change is still there, in the same groups: neither shows where
    /// deleted objects cannot be seen. One question instead of all; if it fails, all of them are asked.
    async fn is_unchanged(&self, account: &DirectoryAccount) -> bool {
        let Some(guid) = account.facts.object_guid else { return false };
        let search = Search::object(format!("<GUID={guid}>"), &["tokenGroups"]);
        let Ok(Some(entry)) = self.accounts_client().object(search).await else { return false };
        groups(&entry).is_ok_and(|groups| groups == account.facts.groups)
    }

    async fn read_account(&self, key: &AccountKey) -> Result<Option<DirectoryAccount>, AccountError> {
        let client = self.accounts_client();
        let session = client.session().await?;
        let Some(base) = self.locate(key, &session.root).await? else { return Ok(None) };
        // Groups are computed for one object at a time (MS-ADTS 3.1.1.4.5.19), so it is named.
        let Some(entry) = client.object(Search::object(base, ATTRIBUTES)).await? else { return Ok(None) };
        let Some(mut account) = parse(&entry, &self.settings().ldap.domain)? else { return Ok(None) };
        if let (Some(host), true) = (&account.facts.dns_host_name, session.root.whole_forest) {
            let holders = Search::forest(Filter::text("dNSHostName", host), &["objectGUID"], MAX_HOLDERS);
            account.facts.host_name_holders = match client.search(holders).await {
                Ok(holders) => holders.len(),
                Err(LdapError::TooLarge { limit, .. }) => limit,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Some(account))
    }

    /// The name under which the directory finds the object itself.
    async fn locate(&self, key: &AccountKey, root: &Root) -> Result<Option<String>, AccountError> {
        let filter = match key {
            AccountKey::Sid(sid) => return Ok(Some(format!("<SID={sid}>"))),
            AccountKey::Upn(name) => {
                let found = self.unique(key, Filter::text("userPrincipalName", name), root).await?;
                if found.is_some() {
                    return Ok(found);
                }
                match name.rsplit_once('@') {
                    Some((name, domain)) if self.is_domain(domain, root) => {
                        Filter::text("sAMAccountName", name)
                    }
                    Some(_) | None => return Ok(None),
                }
            }
            AccountKey::SamAccount { name, domain } => {
                if !self.is_domain(domain, root) {
                    return Ok(None);
                }
                Filter::text("sAMAccountName", name)
            }
            AccountKey::DnsName(name) => Filter::text("dNSHostName", name),
        };
        self.unique(key, filter, root).await
    }

    async fn unique(
        &self,
        key: &AccountKey,
        filter: Filter,
        root: &Root,
    ) -> Result<Option<String>, AccountError> {
        let filter = Filter::And(vec![Filter::text("objectClass", "user"), filter]);
        let search = Search::below(root.domain.clone(), filter, &["objectGUID"], 1);
        let mut found = match self.accounts_client().search(search).await {
            Ok(found) => found.into_iter(),
            Err(LdapError::TooLarge { .. }) => return Err(AccountError::Ambiguous(key.to_string())),
            Err(error) => return Err(error.into()),
        };
        let Some(entry) = found.next() else { return Ok(None) };
        Ok(Some(format!("<GUID={}>", guid(&entry)?)))
    }

    /// Whether `name` is this domain's DNS or NetBIOS name.
    fn is_domain(&self, name: &str, root: &Root) -> bool {
        name.eq_ignore_ascii_case(&self.settings().ldap.domain)
            || root.netbios.as_deref().is_some_and(|netbios| netbios.eq_ignore_ascii_case(name))
    }
}

fn missing(entry: &Entry, attribute: &'static str) -> LdapError {
    LdapError::Attribute { dn: entry.dn.clone(), attribute }
}

fn guid(entry: &Entry) -> Result<ObjectGuid, LdapError> {
    let octets = entry.value("objectGUID").and_then(|octets| <[u8; 16]>::try_from(octets).ok());
    octets.map(ObjectGuid).ok_or_else(|| missing(entry, "objectGUID"))
}

/// All groups of an account, nested ones and those of the domain included.
fn groups(entry: &Entry) -> Result<BTreeSet<Sid>, LdapError> {
    let mut groups = BTreeSet::new();
    for octets in entry.values("tokenGroups").take(MAX_GROUPS) {
        groups.insert(sid::from_octets(octets).map_err(|_| missing(entry, "tokenGroups"))?);
    }
    // Every account has a primary group; none means that we may not read them.
    if groups.is_empty() { Err(missing(entry, "tokenGroups")) } else { Ok(groups) }
}

/// The account that `entry` is; `None` if it is another kind of object.
fn parse(entry: &Entry, domain: &str) -> Result<Option<DirectoryAccount>, LdapError> {
    let is = |class: &str| entry.texts("objectClass").any(|found| found.eq_ignore_ascii_case(class));
    if !is("user") {
        return Ok(None);
    }
    let own = entry.value("objectSid").and_then(|octets| sid::from_octets(octets).ok());
    let own = own.ok_or_else(|| missing(entry, "objectSid"))?;
    let control = entry.number("userAccountControl").and_then(|value| i32::try_from(value).ok());
    let control = control.ok_or_else(|| missing(entry, "userAccountControl"))?.cast_unsigned();
    let sam = entry.text("sAMAccountName").ok_or_else(|| missing(entry, "sAMAccountName"))?.to_owned();
    let groups = groups(entry)?;
    let text = |attribute| entry.text(attribute).map(str::to_owned);
    let facts = AccountFacts {
        name: AccountName::of_directory(domain, &sam),
        kind: if is("computer") { PrincipalKind::Computer } else { PrincipalKind::User },
        distinguished_name: entry.dn.clone(),
        object_guid: Some(guid(entry)?),
        sid: own,
        groups,
        sam_account_name: sam,
        user_principal_name: text("userPrincipalName"),
        common_name: text("cn"),
        mail: text("mail"),
        dns_host_name: text("dNSHostName"),
        host_name_holders: 0,
        service_principal_names: entry.texts("servicePrincipalName").map(str::to_owned).collect(),
        user_account_control: control,
        domain_dns: domain.to_owned(),
    };
    let locked = entry.number("msDS-User-Account-Control-Computed").is_some_and(|bits| bits & LOCKED != 0);
    let (ends, password_set) = (expires(entry.number("accountExpires")), entry.number("pwdLastSet"));
    Ok(Some(DirectoryAccount { facts, expires: ends, locked, password_set }))
}

/// accountExpires: 100 ns since 1601; 0 and the largest number mean never (MS-ADA1 2.2).
fn expires(value: Option<i64>) -> Option<UnixTime> {
    let value = value.filter(|value| *value != 0 && *value != i64::MAX)?;
    Some(UnixTime(value / 10_000_000 - 11_644_473_600))
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
