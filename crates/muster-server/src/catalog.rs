//! The templates that are offered, kept in memory until any of them changes: those of the store for everybody, those
//! of a forest for its accounts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use muster_core::template::AccessRight;
use muster_core::template::access::is_granted;
use muster_core::{Clock, Oid, Principal, Template, UnixTime};
use muster_directory::WireTemplate;
use muster_store::{Generations, Store, StoreError};

use crate::forest::{Forest, Offer};

/// The templates at one moment, for the accounts of one forest or for local ones.
#[derive(Debug)]
pub struct Snapshot {
    /// Changes with every change of a template or an account.
    pub generation: u64,
    /// Changes with every change in the forest.
    pub revision: u64,
    /// When this node first saw it; the change itself was no later.
    pub loaded: UnixTime,
    /// Offered templates: those of the store, then those of the forest.
    pub templates: Vec<Template>,
    /// What clients of Active Directory are told about the forest's templates.
    pub wire: HashMap<Oid, WireTemplate>,
    /// Which forest's accounts it is for; `None` for local ones.
    pub(crate) forest: Option<usize>,
    pub(crate) offer: Arc<Offer>,
}

impl Snapshot {
    /// The templates that `principal` may hear of: none of the forest's, if its entry for this CA does not let it enroll.
    pub fn templates_for<'a>(&'a self, principal: &Principal) -> &'a [Template] {
        let enrolls = match &self.offer.access {
            Some(access) => is_granted(access, AccessRight::Enroll, &principal.sids),
            None => true,
        };
        let own = self.templates.len().saturating_sub(self.offer.templates.len());
        let until = if enrolls { self.templates.len() } else { own };
        self.templates.get(..until).unwrap_or_default()
    }
}

/// Which templates of the store a CA issues from.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    /// All.
    All,
    /// Those with these names.
    Named(Vec<String>),
}

impl Own {
    fn has(&self, template: &Template) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name.eq_ignore_ascii_case(&template.name)),
        }
    }
}

/// The templates of one CA. Keeps the last snapshot for each forest, and the one for local accounts.
pub struct Catalog {
    store: Store,
    own: Own,
    forests: Vec<Forest>,
    clock: Arc<dyn Clock>,
    last: Mutex<HashMap<Option<usize>, Arc<Snapshot>>>,
}

impl Catalog {
    /// Over the templates of a store and of forests.
    #[must_use]
    pub(crate) fn new(store: Store, own: Own, forests: Vec<Forest>, clock: Arc<dyn Clock>) -> Self {
        Self { store, own, forests, clock, last: Mutex::default() }
    }

    /// The templates for `principal`: those of the store as they were when the counters were read, or later, those of
    /// a forest as they are now.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn snapshot(
        &self,
        principal: &Principal,
        seen: Generations,
    ) -> Result<Arc<Snapshot>, StoreError> {
        let domain = principal.name.directory_parts().map(|(domain, _)| domain);
        let index = domain.and_then(|domain| self.forests.iter().position(|forest| forest.has(domain)));
        let forest = index.and_then(|index| self.forests.get(index));
        let generation = seen.configuration;
        let revision = forest.map_or(0, Forest::revision);
        let kept = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned();
        if let Some(last) = kept
            && last.generation >= generation
            && last.revision == revision
        {
            return Ok(last);
        }
        let mut templates = self.store.catalog().await?;
        templates.retain(|template| self.own.has(template));
        let offer = match forest {
            Some(forest) => forest.offer(&self.store.accepted_templates().await?),
            None => Arc::default(),
        };
        let taken = |offered: &Template| {
            templates.iter().any(|own| own.oid == offered.oid || own.name.eq_ignore_ascii_case(&offered.name))
        };
        // The store's templates are this administrator's own; a forest cannot replace them.
        let fresh: Vec<_> = offer.templates.iter().filter(|(offered, _)| !taken(offered)).cloned().collect();
        let mut wire = HashMap::with_capacity(fresh.len());
        let offer = if fresh.len() == offer.templates.len() {
            offer
        } else {
            tracing::warn!(
                "a template of the directory has name or identifier of one in the store and is not offered"
            );
            Arc::new(Offer { templates: fresh, access: offer.access.clone() })
        };
        for (template, told) in &offer.templates {
            if let Some(oid) = &template.oid {
                wire.insert(oid.clone(), told.clone());
            }
            templates.push(template.clone());
        }
        let loaded = self.clock.now();
        let snapshot =
            Arc::new(Snapshot { generation, revision, loaded, templates, wire, forest: index, offer });
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(index, Arc::clone(&snapshot));
        Ok(snapshot)
    }
}
