//! One-time tokens. A row is looked up by its key whenever a token, or a certificate issued on one, signs in; it is
//! kept nowhere else, so that a use or a revocation counts at once on every node.

use std::fmt;

use muster_core::UnixTime;
use muster_core::audit::Actor;
use muster_core::identity::{Principal, PrincipalKind};
use muster_core::token::{TokenGrant, TokenId, TokenTrouble};

use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// What a token's password is compared with. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenVerifier(pub [u8; 32]);

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenVerifier(…)")
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its user name.
    pub id: TokenId,
    /// What its password is compared with.
    pub verifier: TokenVerifier,
    /// What it is good for.
    pub grant: TokenGrant,
    /// The template's name when the token was made.
    pub template: String,
    /// Whether the template is for users or for computers.
    pub kind: PrincipalKind,
    /// How many enrollments it is good for.
    pub uses: u32,
    /// How many of them were taken.
    pub used: u32,
    /// When it was made.
    pub created: UnixTime,
    /// By whom.
    pub created_by: String,
    /// The last second in which it can be used.
    pub expires: UnixTime,
    /// When it was revoked, and the identity with it.
    pub revoked: Option<UnixTime>,
}

impl Token {
    /// Why it is good for no further enrollment at `now`, if so.
    #[must_use]
    pub fn trouble(&self, now: UnixTime) -> Option<TokenTrouble> {
        if self.revoked.is_some() {
            Some(TokenTrouble::Revoked)
        } else if self.used >= self.uses {
            Some(TokenTrouble::Used)
        } else if now > self.expires {
            Some(TokenTrouble::Expired)
        } else {
            None
        }
    }

    /// The identity of its holder; `None` once it was revoked.
    #[must_use]
    pub fn principal(&self) -> Option<Principal> {
        self.revoked.is_none().then(|| self.grant.principal(&self.id, self.kind))
    }
}

impl Store {
    /// Adds a token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there is one of this identifier.
    pub async fn put_token(&self, token: Token, actor: Actor, at: UnixTime) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::tokens::put(tx, &token, &actor, at)).await
    }

    /// The token of this identifier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn token(&self, id: &TokenId) -> Result<Option<Token>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::tokens::get(conn, id))
    }

    /// Every token, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(sqlite::tokens::list).await
    }

    /// Revokes a token and the identity behind it: neither its password nor a certificate issued on it signs in any
    /// more. What was decided a moment before is not signed.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if it was revoked before.
    pub async fn revoke_token(&self, id: TokenId, actor: Actor, at: UnixTime) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::tokens::revoke(tx, &id, &actor, at)).await
    }
}
