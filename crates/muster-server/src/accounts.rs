//! Accounts as authenticators see them: the store's rows, kept in memory until any of them changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use muster_core::TokenId;
use muster_core::identity::AccountName;
use muster_store::{Generations, Store, StoreError, Token};

pub(crate) use muster_store::Account;

/// Accounts kept at most.
const CAPACITY: usize = 20_000;

/// Looks accounts up, as they were at one moment or later: the store tells in each exchange whether anything has
/// changed, so an account that was disabled a moment ago is disabled.
pub(crate) struct Accounts {
    store: Store,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    generation: u64,
    accounts: HashMap<AccountName, Option<Arc<Account>>>,
}

impl Accounts {
    /// Over the accounts of a store.
    #[must_use]
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The account of this name, enabled or not.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub(crate) async fn get(&self, name: &AccountName) -> Result<Option<Arc<Account>>, StoreError> {
        self.get_at(name, self.store.generations().await?).await
    }

    /// The same, as it was when the counters were read, or later.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub(crate) async fn get_at(
        &self,
        name: &AccountName,
        seen: Generations,
    ) -> Result<Option<Arc<Account>>, StoreError> {
        let generation = seen.configuration;
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.generation < generation || known.accounts.len() >= CAPACITY {
                known.accounts.clear();
                known.generation = generation;
            }
            if let Some(account) = known.accounts.get(name) {
                return Ok(account.clone());
            }
        }
        let account = self.store.account(name).await?.map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what was read after the generation was; otherwise an old row could be kept under a new one.
        if known.generation == generation {
            known.accounts.insert(name.clone(), account.clone());
        }
        Ok(account)
    }

    /// The token of this identifier, used or not; read anew each time, because a use of it raises no counter.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub(crate) async fn token(&self, id: &TokenId) -> Result<Option<Token>, StoreError> {
        self.store.token(id).await
    }
}
