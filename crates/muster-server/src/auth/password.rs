//! User name and password against local accounts.
//!
//! A wrong name and a wrong password take the same path: the password is hashed with Argon2id in either case, and the
//! answer is the same. A password that was verified is remembered for a few minutes under a keyed hash, since hashing
//! it again for each message would cost more than issuing the certificate; the memory is useless without the key,
//! which lives in this process alone, and it contains the account's stored hash, so that a change of the password
//! makes it miss.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use muster_core::identity::AccountName;
use muster_core::{Caller, Method, UnixTime};
use muster_proto::soap::UsernameToken;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::throttle::Throttle;
use crate::accounts::{Account, Accounts};
use crate::config::file;
use crate::fault::{AuthError, ServiceError, Unavailable};

/// Longest password that is looked at, in bytes.
const LONGEST_PASSWORD: usize = 1024;
/// Verified passwords that are remembered at most.
const MEMORY: usize = 20_000;
/// Failures that one address may pile up over all accounts are slowed down, too, but an address may be a whole site:
/// it counts as one failure in this many.
const FAILURES_PER_ADDRESS: u32 = 10;

/// Compared with where there is no hash: as much work as any, and the hash of no password (its octets are all zero).
/// It is written out so that the start of the service does not wait for it.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Argon2id with 19 MiB, two passes, one lane: the minimum that OWASP recommends.
fn argon2() -> Argon2<'static> {
    // The default parameters of the crate are these; they are written out so that an update cannot change them.
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password for the store, as a PHC string with a random salt.
///
/// # Errors
/// A sentence, for an empty or overlong password or if the system has no randomness.
pub fn hash_password(password: &str) -> Result<String, String> {
    if password.is_empty() || password.len() > LONGEST_PASSWORD {
        return Err(format!("a password has 1 to {LONGEST_PASSWORD} bytes"));
    }
    argon2().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|e| e.to_string())
}

pub(super) struct Passwords {
    accounts: Arc<Accounts>,
    by_account: Throttle<AccountName>,
    by_address: Throttle<IpAddr>,
    address_failures: Mutex<HashMap<IpAddr, u32>>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    verified: Mutex<HashMap<[u8; 32], UnixTime>>,
    key: hmac::Key,
    remember_seconds: i64,
}

impl Passwords {
    pub(super) fn new(accounts: Arc<Accounts>, limits: &file::Limits) -> Self {
        let random = SystemRandom::new();
        // Without randomness nothing is remembered; the key then is never used.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random);
        let remember_seconds =
            if key.is_ok() { i64::try_from(limits.password_cache_seconds).unwrap_or(0) } else { 0 };
        Self {
            accounts,
            by_account: Throttle::default(),
            by_address: Throttle::default(),
            address_failures: Mutex::default(),
            running: Arc::new(Semaphore::new(limits.password_verifications)),
            waiting: Semaphore::new(limits.password_queue.max(1)),
            verified: Mutex::default(),
            key: key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])),
            remember_seconds,
        }
    }

    pub(super) async fn verify(
        &self,
        token: &UsernameToken,
        peer: IpAddr,
        now: UnixTime,
    ) -> Result<Caller, ServiceError> {
        // `DOMAIN\user`: local accounts have no domain.
        let bare = token.username.rsplit('\\').next().unwrap_or_default();
        let name: Option<AccountName> = bare.parse().ok();
        let password = token.password.expose();
        if password.is_empty() || password.len() > LONGEST_PASSWORD {
            return Err(AuthError::BadCredentials.into());
        }
        let account = match &name {
            Some(name) => self.accounts.get(name).await?.filter(|account| account.enabled),
            None => None,
        };
        let fingerprint = account.as_deref().map(|account| self.fingerprint(account, password));
        if let (Some(account), Some(fingerprint)) = (&account, &fingerprint)
            && self.remembers(fingerprint, now)
        {
            return Ok(Caller::authenticated(account.principal.clone(), Method::UsernamePassword));
        }
        self.check_pace(name.as_ref(), peer, now)?;
        let turn = self.turn().await?;
        // While this one waited, the same password may have been verified, or the account guessed at too often.
        if let (Some(account), Some(fingerprint)) = (&account, &fingerprint)
            && self.remembers(fingerprint, now)
        {
            return Ok(Caller::authenticated(account.principal.clone(), Method::UsernamePassword));
        }
        self.check_pace(name.as_ref(), peer, now)?;
        let hash =
            account.as_ref().and_then(|account| account.password_hash.as_ref()).map(|hash| hash.0.clone());
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| DECOY.to_owned());
        let right = compare(turn, hash, password.to_owned()).await? && known;
        match (right, account, fingerprint) {
            (true, Some(account), Some(fingerprint)) => {
                self.remember(fingerprint, now);
                self.by_account.succeeded(&account.principal.name);
                Ok(Caller::authenticated(account.principal.clone(), Method::UsernamePassword))
            }
            _ => {
                if let Some(name) = &name {
                    self.by_account.failed(name, now);
                }
                self.address_failed(peer, now);
                Err(AuthError::BadCredentials.into())
            }
        }
    }

    /// Guesses are slowed down, by account and by address.
    fn check_pace(&self, name: Option<&AccountName>, peer: IpAddr, now: UnixTime) -> Result<(), AuthError> {
        let slowed = name.is_some_and(|name| !self.by_account.allows(name, now));
        if slowed || !self.by_address.allows(&peer, now) { Err(AuthError::BadCredentials) } else { Ok(()) }
    }

    /// Waits until a password may be hashed; bounded in those who wait.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Unavailable> {
        let _place = self.waiting.try_acquire().map_err(|_| Unavailable::Busy)?;
        Arc::clone(&self.running).acquire_owned().await.map_err(|_| Unavailable::Busy)
    }

    fn address_failed(&self, peer: IpAddr, now: UnixTime) {
        let mut counts = self.address_failures.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MEMORY {
            counts.clear();
        }
        let count = counts.entry(peer).or_insert(0);
        *count += 1;
        if count.is_multiple_of(FAILURES_PER_ADDRESS) {
            self.by_address.failed(&peer, now);
        }
    }

    fn fingerprint(&self, account: &Account, password: &str) -> [u8; 32] {
        let stored = account.password_hash.as_ref().map(|hash| hash.0.as_str()).unwrap_or_default();
        let mut context = hmac::Context::with_key(&self.key);
        for part in [account.principal.name.as_str(), stored, password] {
            context.update(&part.len().to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let mut fingerprint = [0; 32];
        fingerprint.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        fingerprint
    }

    fn remembers(&self, fingerprint: &[u8; 32], now: UnixTime) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(fingerprint).is_some_and(|until| now < *until)
    }

    fn remember(&self, fingerprint: [u8; 32], now: UnixTime) {
        if self.remember_seconds == 0 {
            return;
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MEMORY {
            verified.retain(|_, until| now < *until);
            if verified.len() >= MEMORY {
                verified.clear();
            }
        }
        verified.insert(fingerprint, now.plus(self.remember_seconds));
    }
}

/// Hashes on a thread of its own, which holds the turn until it is done, whether or not the caller still waits:
/// hanging up early must not make room for another hash.
async fn compare(turn: OwnedSemaphorePermit, hash: String, password: String) -> Result<bool, ServiceError> {
    let password = zeroize::Zeroizing::new(password);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        PasswordHash::new(&hash)
            .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
    })
    .await
    .map_err(|error| ServiceError::Internal(format!("password verification ended early: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoy_costs_what_a_password_costs() {
        let (decoy, real) = (PasswordHash::new(DECOY).unwrap(), hash_password("x").unwrap());
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!(
            (decoy.algorithm, decoy.version, &decoy.params),
            (real.algorithm, real.version, &real.params)
        );
        assert_eq!(decoy.salt.map(|s| s.len()), real.salt.map(|s| s.len()));
        assert_eq!(decoy.hash.map(|h| h.len()), real.hash.map(|h| h.len()));
        assert!(argon2().verify_password(b"decoy", &decoy).is_err());
    }
}
