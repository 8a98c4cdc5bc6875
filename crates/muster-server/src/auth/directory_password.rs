//! User name and password against a directory: the KDC says whether the password is right, and a ticket for this very
//! service proves that it was the KDC.
//!
//! The directory locks an account after some wrong passwords, so that whoever can reach this service could lock
//! everybody out. Therefore an account is asked about only [`GUESSES`] times in [`GUESS_SECONDS`]; after that its passwords
//! are refused here. What was verified is remembered as for local accounts, until the account's password changes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use muster_core::{Caller, Method, UnixTime};
use muster_gss::{Account, Pac, PasswordRefused, Principal, Verified};
use tokio::sync::Semaphore;

use super::kerberos::Realms;
use crate::config::file;
use crate::fault::{AuthError, ServiceError, Unavailable};
use crate::identities::{Domain, Identities};

/// Wrong passwords of one account that are shown to the directory; below the five that administrators often allow.
const GUESSES: u32 = 4;
/// For so long; directories that lock accounts forget wrong passwords in half an hour.
const GUESS_SECONDS: i64 = 1_800;
/// Names and passwords remembered at most.
const MEMORY: usize = 20_000;
/// Longest password that is looked at, in bytes.
const LONGEST_PASSWORD: usize = 1024;
/// Locks that accounts share.
const SHARED: u64 = 256;

/// Verifies passwords of directories' users.
pub(super) struct DirectoryPasswords {
    identities: Arc<Identities>,
    realms: Arc<Realms>,
    verified: Mutex<HashMap<[u8; 32], Remembered>>,
    guesses: Mutex<HashMap<Account, Guesses>>,
    /// Held while a password of an account is tried; some accounts share one.
    alone: Vec<tokio::sync::Mutex<()>>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    key: Option<hmac::Key>,
    remember_seconds: i64,
}

/// A user name of a domain, in lower case.
pub(super) enum UserName {
    /// sAMAccountName.
    Account(String),
    /// userPrincipalName.
    Upn(String),
}

/// A verified password.
#[derive(Clone)]
struct Remembered {
    until: UnixTime,
    principal: Principal,
    pac: Option<Arc<Pac>>,
    /// When the account's password was set, as the directory says.
    password_set: Option<i64>,
}

/// Which of [`DirectoryPasswords::alone`] is an account's.
fn place(account: &Account) -> usize {
    let mut hasher = DefaultHasher::new();
    account.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARED).unwrap_or(0)
}

#[derive(Clone, Copy)]
struct Guesses {
    since: UnixTime,
    count: u32,
}

impl DirectoryPasswords {
    pub(super) fn new(identities: Arc<Identities>, realms: Arc<Realms>, limits: &file::Limits) -> Self {
        Self {
            identities,
            realms,
            verified: Mutex::default(),
            guesses: Mutex::default(),
            alone: (0..SHARED).map(|_| tokio::sync::Mutex::default()).collect(),
            running: Arc::new(Semaphore::new(limits.password_verifications)),
            waiting: Semaphore::new(limits.password_queue.max(1)),
            // Without randomness nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            remember_seconds: i64::try_from(limits.password_cache_seconds).unwrap_or(0),
        }
    }

    /// The domain that a user name belongs to, if it is one whose passwords are accepted: `CORP.EXAMPLE\alice`,
    /// `alice@corp.example`, or a user principal name with one of the domain's suffixes.
    pub(super) fn domain_of(&self, username: &str) -> Option<(&Domain, UserName)> {
        let by_name = |name: &str| {
            self.identities.domains().iter().find(|domain| {
                domain.settings.passwords
                    && (name.eq_ignore_ascii_case(&domain.settings.domain)
                        || name.eq_ignore_ascii_case(&domain.settings.realm)
                        || domain.netbios_name().is_some_and(|short| name.eq_ignore_ascii_case(&short)))
            })
        };
        if let Some((domain, name)) = username.split_once('\\') {
            let domain = by_name(domain)?;
            return Some((domain, UserName::Account(name.to_lowercase())));
        }
        let (name, suffix) = username.rsplit_once('@')?;
        if let Some(domain) = by_name(suffix) {
            return Some((domain, UserName::Account(name.to_lowercase())));
        }
        let has_suffix = |domain: &&Domain| {
            domain.settings.passwords
                && domain.settings.upn_suffixes.iter().any(|own| own.eq_ignore_ascii_case(suffix))
        };
        let domain = self.identities.domains().iter().find(has_suffix)?;
        Some((domain, UserName::Upn(username.to_lowercase())))
    }

    /// The caller, and its name for Kerberos.
    pub(super) async fn verify(
        &self,
        domain: &Domain,
        name: UserName,
        password: &str,
        now: UnixTime,
    ) -> Result<(Caller, Principal), ServiceError> {
        if password.is_empty() || password.len() > LONGEST_PASSWORD {
            return Err(AuthError::BadCredentials.into());
        }
        let name = match name {
            UserName::Account(name) => name,
            // Nobody has it: the KDC says so of this name, too, and takes as long for it.
            UserName::Upn(upn) => {
                self.identities.account_name(domain, &upn).await?.unwrap_or(upn.replace('@', "-"))
            }
        };
        let account = Account::Principal { name, realm: domain.settings.realm.clone() };
        let fingerprint = self.fingerprint(&account, password);
        if let Some(known) = self.known(fingerprint, now).await? {
            return Ok(known);
        }
        self.check_guesses(&account, now)?;
        let _place = self.waiting.try_acquire().map_err(|_| Unavailable::Busy)?;
        // One after the other for each account: guesses that come at once are counted before the next is tried, and a right
        // password that comes many times at once is tried once.
        let alone = self.alone.get(place(&account)).ok_or(Unavailable::Busy)?;
        let _alone = alone.lock().await;
        if let Some(known) = self.known(fingerprint, now).await? {
            return Ok(known);
        }
        self.check_guesses(&account, now)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Unavailable::Busy)?;
        let (realms, forest) = (Arc::clone(&self.realms), domain.forest_realm(&self.identities).to_owned());
        let trusted = forest != domain.settings.realm;
        let client_realms = vec![domain.settings.realm.clone()];
        let (asked, secret) = (account.clone(), zeroize::Zeroizing::new(password.to_owned()));
        // Waits for the network, so it has a thread of its own, which holds the turn until it is done.
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let acceptor = realms.acceptor(&forest).ok_or(PasswordRefused::NotOurRealm)?;
            acceptor.verify_password(&asked, &secret, &client_realms)
        });
        let verified = verified
            .await
            .map_err(|e| ServiceError::Internal(format!("password verification ended early: {e}")))?;
        match verified {
            Ok(Verified { principal, pac }) => {
                let caller = self.caller(&principal, pac.as_ref()).await?;
                self.lock_guesses().remove(&account);
                let password_set = self.identities.password_set(caller.principal()).await?;
                let pac = pac.map(Arc::new);
                let known = Remembered { until: now, principal: principal.clone(), pac, password_set };
                self.remember(fingerprint, known);
                Ok((caller, principal))
            }
            // Only a right password comes so far: another answer than to a wrong one would tell.
            Err(PasswordRefused::UnknownService(why)) if trusted => {
                let domain = &domain.settings.domain;
                tracing::warn!(%domain, %why, "passwords are refused: does the trust still exist?");
                self.guessed(account, now);
                Err(AuthError::BadCredentials.into())
            }
            Err(refused) => Err(self.refused(account, &refused, now)),
        }
    }

    /// The caller whose password was verified a moment ago, if it has not been changed since.
    async fn known(
        &self,
        fingerprint: Option<[u8; 32]>,
        now: UnixTime,
    ) -> Result<Option<(Caller, Principal)>, ServiceError> {
        let Some(known) = self.remembered(fingerprint, now) else { return Ok(None) };
        let caller = self.caller(&known.principal, known.pac.as_deref()).await?;
        let unchanged = self.identities.password_set(caller.principal()).await? == known.password_set;
        Ok(unchanged.then_some((caller, known.principal)))
    }

    async fn caller(&self, principal: &Principal, pac: Option<&Pac>) -> Result<Caller, ServiceError> {
        match self.identities.of_ticket(principal, pac).await {
            Ok(found) => Ok(Caller::authenticated(found, Method::UsernamePassword)),
            // One answer, whatever is wrong with an account.
            Err(ServiceError::Authentication(_)) => Err(AuthError::BadCredentials.into()),
            Err(other) => Err(other),
        }
    }

    fn refused(&self, account: Account, refused: &PasswordRefused, now: UnixTime) -> ServiceError {
        match refused {
            PasswordRefused::Wrong
            | PasswordRefused::NotOurRealm
            | PasswordRefused::AccountRefused
            | PasswordRefused::PasswordExpired => {
                tracing::info!(%refused, "the directory refused a password");
                self.guessed(account, now);
                AuthError::BadCredentials.into()
            }
            PasswordRefused::KdcUnreachable(_)
            | PasswordRefused::ClockSkew
            | PasswordRefused::KdcNotProven(_)
            | PasswordRefused::UnknownService(_)
            | PasswordRefused::Library(_) => Unavailable::Directory(refused.to_string()).into(),
        }
    }

    fn check_guesses(&self, account: &Account, now: UnixTime) -> Result<(), AuthError> {
        let guesses = self.lock_guesses();
        let spent = guesses
            .get(account)
            .is_some_and(|g| g.count >= GUESSES && now.0.saturating_sub(g.since.0) < GUESS_SECONDS);
        if spent { Err(AuthError::BadCredentials) } else { Ok(()) }
    }

    fn guessed(&self, account: Account, now: UnixTime) {
        let mut guesses = self.lock_guesses();
        if guesses.len() >= MEMORY {
            guesses.retain(|_, g| now.0.saturating_sub(g.since.0) < GUESS_SECONDS);
        }
        // Whoever fills the memory with names has made that many requests of a KDC; the names in it stay protected.
        if guesses.len() >= MEMORY && !guesses.contains_key(&account) {
            return;
        }
        let entry = guesses.entry(account).or_insert(Guesses { since: now, count: 0 });
        if now.0.saturating_sub(entry.since.0) >= GUESS_SECONDS {
            *entry = Guesses { since: now, count: 0 };
        }
        entry.count = entry.count.saturating_add(1);
    }

    fn lock_guesses(&self) -> std::sync::MutexGuard<'_, HashMap<Account, Guesses>> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fingerprint(&self, account: &Account, password: &str) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        let (kind, name, realm) = match account {
            Account::Principal { name, realm } => ("principal", name, realm),
            Account::Enterprise { upn, realm } => ("enterprise", upn, realm),
        };
        for part in [kind, name, realm, password] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let mut fingerprint = [0; 32];
        fingerprint.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Some(fingerprint)
    }

    fn remembered(&self, fingerprint: Option<[u8; 32]>, now: UnixTime) -> Option<Remembered> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(&fingerprint?).filter(|known| now < known.until).cloned()
    }

    fn remember(&self, fingerprint: Option<[u8; 32]>, known: Remembered) {
        let Some(fingerprint) = fingerprint.filter(|_| self.remember_seconds > 0) else { return };
        let now = known.until;
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MEMORY {
            verified.retain(|_, known| now < known.until);
            if verified.len() >= MEMORY {
                verified.clear();
            }
        }
        verified.insert(fingerprint, Remembered { until: now.plus(self.remember_seconds), ..known });
    }
}
