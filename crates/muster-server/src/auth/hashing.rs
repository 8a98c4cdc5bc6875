//! Argon2id for passwords, in a bounded number of threads and with memory that is used again.
//!
//! A comparison takes 19 MiB. As many can run as [`Hashing`] has permits; more wait, up to a bound. The memory of one
//! is zeroed and handed to the next, so no allocator keeps what passwords left behind; when nobody compares any more,
//! all of it is given back.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroize;

use crate::config::file;
use crate::fault::{ServiceError, Unavailable};

/// Longest password that is looked at, in bytes.
pub(super) const LONGEST_PASSWORD: usize = 1024;

/// Compared with where there is no hash: as much work as any, and the hash of no password (its octets are all zero).
/// It is written out so that the start of the service does not wait for it.
pub(super) const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// 19 MiB, two passes, one lane: the minimum that OWASP recommends.
fn params() -> Params {
    // The default parameters of the crate are these; they are written out so that an update cannot change them.
    Params::new(19 * 1024, 2, 1, None).unwrap_or_default()
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params())
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

/// Compares passwords with hashes.
pub(super) struct Hashing {
    permits: u32,
    running: Arc<Semaphore>,
    waiting: Semaphore,
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
}

/// The right to hash now.
pub(super) struct Turn {
    permit: OwnedSemaphorePermit,
    /// Tells whether others hash.
    running: Arc<Semaphore>,
    permits: u32,
}

impl Hashing {
    pub(super) fn new(limits: &file::Limits) -> Self {
        let permits = limits.password_verifications.max(1);
        Self {
            permits: u32::try_from(permits).unwrap_or(u32::MAX),
            running: Arc::new(Semaphore::new(permits)),
            waiting: Semaphore::new(limits.password_queue.max(1)),
            memory: Arc::default(),
        }
    }

    /// Waits until a password may be hashed; bounded in those who wait.
    pub(super) async fn turn(&self) -> Result<Turn, Unavailable> {
        let _place = self.waiting.try_acquire().map_err(|_| Unavailable::Busy)?;
        let running = Arc::clone(&self.running);
        let permit = Arc::clone(&running).acquire_owned().await.map_err(|_| Unavailable::Busy)?;
        Ok(Turn { permit, running, permits: self.permits })
    }

    /// Hashes on a thread of its own, which holds the turn until it is done, whether or not the caller still waits:
    /// hanging up early must not make room for another hash.
    pub(super) async fn compare(
        &self,
        turn: Turn,
        hash: String,
        password: String,
    ) -> Result<bool, ServiceError> {
        let password = zeroize::Zeroizing::new(password);
        let memory = Arc::clone(&self.memory);
        tokio::task::spawn_blocking(move || {
            let mut blocks = lock(&memory).pop().unwrap_or_default();
            let same =
                PasswordHash::new(&hash).is_ok_and(|hash| matches(&hash, password.as_bytes(), &mut blocks));
            let Turn { permit, running, permits } = turn;
            // Given back in one go with the permit: so whoever is last sees that nobody else is left.
            let mut kept = lock(&memory);
            kept.push(blocks);
            let others = usize::try_from(permits).unwrap_or(1).saturating_sub(1);
            if running.available_permits() >= others {
                *kept = Vec::new();
            }
            drop(permit);
            drop(kept);
            same
        })
        .await
        .map_err(|error| ServiceError::Internal(format!("password verification ended early: {error}")))
    }
}

fn lock(memory: &Mutex<Vec<Vec<Block>>>) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `password` has this hash, with `blocks` for memory, which is zero afterwards.
fn matches(hash: &PasswordHash, password: &[u8], blocks: &mut Vec<Block>) -> bool {
    let ours = hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && Params::try_from(hash).is_ok_and(|found| {
            let own = params();
            (found.m_cost(), found.t_cost(), found.p_cost()) == (own.m_cost(), own.t_cost(), own.p_cost())
        });
    let (Some(salt), Some(expected), true) = (&hash.salt, &hash.hash, ours) else {
        // Somebody else's parameters need memory of their own.
        return argon2().verify_password(password, hash).is_ok();
    };
    blocks.resize(params().block_count(), Block::new());
    let mut buffer = [0; Output::MAX_LENGTH];
    let Some(found) = buffer.get_mut(..expected.len()) else { return false };
    let hashed = argon2().hash_password_into_with_memory(password, salt, found, &mut *blocks);
    // Output compares in constant time.
    let same = hashed.is_ok() && Output::new(found).is_ok_and(|found| found == *expected);
    buffer.zeroize();
    blocks.iter_mut().for_each(Zeroize::zeroize);
    same
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
        assert!(!matches(&decoy, b"decoy", &mut Vec::new()));
    }

    #[test]
    fn memory_is_used_again_and_holds_nothing() {
        let (one, two) = (hash_password("one").unwrap(), hash_password("two").unwrap());
        let mut blocks = Vec::new();
        for (hash, password, same) in
            [(&one, "one", true), (&two, "one", false), (&two, "two", true), (&one, "", false)]
        {
            let hash = PasswordHash::new(hash).unwrap();
            // The same as without memory of ours.
            assert_eq!(argon2().verify_password(password.as_bytes(), &hash).is_ok(), same, "{password}");
            assert_eq!(matches(&hash, password.as_bytes(), &mut blocks), same, "{password}");
            assert_eq!(blocks.len(), 19 * 1024);
            assert!(blocks.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
        }
        // Weaker parameters of somebody else.
        let weak =
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(!matches(&PasswordHash::new(weak).unwrap(), b"one", &mut blocks));
    }

    #[tokio::test]
    async fn memory_is_given_back_when_nobody_compares() {
        let limits = file::Limits { password_verifications: 3, ..file::Limits::default() };
        let hashing = Hashing::new(&limits);
        let hash = hash_password("right").unwrap();
        let mut turns = Vec::new();
        for _ in 0..3 {
            turns.push(hashing.turn().await.unwrap());
        }
        let compare = |turn| hashing.compare(turn, hash.clone(), "right".to_owned());
        let (a, b, c) = (turns.pop().unwrap(), turns.pop().unwrap(), turns.pop().unwrap());
        let (a, b, c) = tokio::join!(compare(a), compare(b), compare(c));
        assert!(a.unwrap() && b.unwrap() && c.unwrap());
        assert!(lock(&hashing.memory).is_empty());
        assert!(
            hashing.compare(hashing.turn().await.unwrap(), hash.clone(), "right".to_owned()).await.unwrap()
        );
        assert!(lock(&hashing.memory).is_empty());
    }
}
