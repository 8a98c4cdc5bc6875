//! Local accounts. Every change raises the generation by which caches notice it.

use std::fmt;

use muster_core::UnixTime;
use muster_core::audit::Actor;
use muster_core::identity::{AccountName, Principal};

use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// A password hash in PHC string format. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A local account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who it is.
    pub principal: Principal,
    /// Absent until a password is set; such an account cannot log in with one.
    pub password_hash: Option<PasswordHash>,
    /// Whether it may authenticate at all.
    pub enabled: bool,
    /// The generation of its last change: never the same for two states of one name, removal in between included.
    pub version: u64,
    /// When it was last changed.
    pub changed: UnixTime,
}

impl Store {
    /// Adds an account, enabled and without password, or changes who an existing one is and nothing else.
    /// Returns its version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_account(
        &self,
        principal: Principal,
        actor: Actor,
        at: UnixTime,
    ) -> Result<u64, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::accounts::put(tx, &principal, &actor, at)).await
    }

    /// The account with this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&self, name: &AccountName) -> Result<Option<Account>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::accounts::get(conn, name))
    }

    /// Every account, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(sqlite::accounts::list).await
    }

    /// Removes an account. Its certificates stay valid until they are revoked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_account(
        &self,
        name: AccountName,
        actor: Actor,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::accounts::remove(tx, &name, &actor, at)).await
    }

    /// Sets the hash of an account's password.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_password_hash(
        &self,
        name: AccountName,
        hash: PasswordHash,
        actor: Actor,
        at: UnixTime,
    ) -> Result<u64, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::accounts::set_password_hash(tx, &name, &hash, &actor, at)).await
    }

    /// Enables or disables an account.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_enabled(
        &self,
        name: AccountName,
        enabled: bool,
        actor: Actor,
        at: UnixTime,
    ) -> Result<u64, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::accounts::set_enabled(tx, &name, enabled, &actor, at)).await
    }
}
