//! Limits of enrollment agents, and which agent sent a request. A change of a limit raises the generation of the
//! configuration: what was decided under the old one is decided again before it is signed.

use muster_core::agent::AgentLimit;
use muster_core::audit::Actor;
use muster_core::identity::AccountName;
use muster_core::{RequestId, UnixTime};

use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// A limit as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLimit {
    /// Who, with what, for whom.
    pub limit: AgentLimit,
    /// When it was made.
    pub created: UnixTime,
    /// By whom.
    pub created_by: String,
}

impl Store {
    /// Allows an agent to enroll these accounts with this template.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it may already.
    pub async fn allow_agent(
        &self,
        limit: AgentLimit,
        officer: String,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::agents::allow(tx, &limit, &officer, at)).await
    }

    /// Takes away what an agent may do: with one template, or everything. Returns how many limits that were.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there was none.
    pub async fn forbid_agent(
        &self,
        agent: AccountName,
        template: Option<String>,
        actor: Actor,
        at: UnixTime,
    ) -> Result<usize, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::agents::forbid(tx, &agent, template.as_deref(), &actor, at)).await
    }

    /// What every agent may do, by agent and template.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn agent_limits(&self) -> Result<Vec<StoredLimit>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(|conn| sqlite::agents::limits(conn, None)).await
    }

    /// What one account may do; nothing for nearly all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn agent_limits_of(&self, agent: &AccountName) -> Result<Vec<AgentLimit>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        let stored = db.read(|conn| sqlite::agents::limits(conn, Some(agent)))?;
        Ok(stored.into_iter().map(|stored| stored.limit).collect())
    }

    /// The agent that sent a request for somebody else; `None` for other requests.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request_agent(&self, id: RequestId) -> Result<Option<AccountName>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::agents::of_request(conn, id))
    }
}
