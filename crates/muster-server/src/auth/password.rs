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

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use muster_core::identity::AccountName;
use muster_core::{Caller, Method, UnixTime};
use muster_proto::soap::UsernameToken;
use muster_store::Generations;

use super::hashing::{DECOY, Hashing, LONGEST_PASSWORD};
use super::throttle::Pace;
use crate::accounts::{Account, Accounts};
use crate::config::file;
use crate::fault::{AuthError, ServiceError};

/// Verified passwords that are remembered at most.
const MEMORY: usize = 20_000;
pub(super) struct Passwords {
    accounts: Arc<Accounts>,
    pace: Pace,
    hashing: Hashing,
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
            pace: Pace::default(),
            hashing: Hashing::new(limits),
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
        seen: Generations,
    ) -> Result<Caller, ServiceError> {
        // `DOMAIN\user`: local accounts have no domain.
        let bare = token.username.rsplit('\\').next().unwrap_or_default();
        let name: Option<AccountName> = bare.parse().ok();
        let password = token.password.expose();
        if let Some(id) = name.as_ref().and_then(AccountName::token_id) {
            return super::token::verify(&self.accounts, &self.pace, &id, password, peer, now).await;
        }
        if password.is_empty() || password.len() > LONGEST_PASSWORD {
            return Err(AuthError::BadCredentials.into());
        }
        let account = match &name {
            Some(name) => self.accounts.get_at(name, seen).await?.filter(|account| account.enabled),
            None => None,
        };
        let fingerprint = account.as_deref().map(|account| self.fingerprint(account, password));
        if let (Some(account), Some(fingerprint)) = (&account, &fingerprint)
            && self.remembers(fingerprint, now)
        {
            return Ok(Caller::authenticated(account.principal.clone(), Method::UsernamePassword));
        }
        self.check_pace(name.as_ref(), peer, now)?;
        let turn = self.hashing.turn().await?;
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
        let right = self.hashing.compare(turn, hash, password.to_owned()).await? && known;
        match (right, account, fingerprint) {
            (true, Some(account), Some(fingerprint)) => {
                self.remember(fingerprint, now);
                self.pace.succeeded(&account.principal.name, peer, now);
                Ok(Caller::authenticated(account.principal.clone(), Method::UsernamePassword))
            }
            _ => {
                self.pace.failed(name.as_ref(), peer, now);
                Err(AuthError::BadCredentials.into())
            }
        }
    }

    fn check_pace(&self, name: Option<&AccountName>, peer: IpAddr, now: UnixTime) -> Result<(), AuthError> {
        if self.pace.allows(name, peer, now) { Ok(()) } else { Err(AuthError::BadCredentials) }
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
