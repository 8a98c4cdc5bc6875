//! The templates that are offered, kept in memory until any of them changes.

use std::sync::{Arc, Mutex, PoisonError};

use muster_core::{Clock, Template, UnixTime};
use muster_store::{Store, StoreError};

/// The templates at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Changes with every change of a template or an account.
    pub generation: u64,
    /// When this node first saw it; the change itself was no later.
    pub loaded: UnixTime,
    /// Offered templates, by name.
    pub templates: Vec<Template>,
}

/// Keeps the last snapshot.
pub struct Catalog {
    store: Store,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<Arc<Snapshot>>>,
}

impl Catalog {
    /// Over the templates of a store.
    #[must_use]
    pub const fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, last: Mutex::new(None) }
    }

    /// The templates now.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, StoreError> {
        let generation = self.store.generations().await?.configuration;
        if let Some(last) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && last.generation == generation
        {
            return Ok(Arc::clone(last));
        }
        let templates = self.store.catalog().await?;
        let snapshot = Arc::new(Snapshot { generation, loaded: self.clock.now(), templates });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}
