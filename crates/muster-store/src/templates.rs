//! Templates: the catalog offered now, and every version that ever was.

use std::collections::BTreeSet;

use muster_core::audit::Actor;
use muster_core::{Template, UnixTime};

use crate::error::StoreError;
use crate::{Backend, Store, sqlite};

/// A template in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTemplate {
    /// The template as it is now.
    pub template: Template,
    /// Whether it is in the catalog.
    pub published: bool,
    /// When it was last changed.
    pub changed: UnixTime,
}

/// A template as it once was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateVersion {
    /// The template.
    pub template: Template,
    /// Since when.
    pub changed: UnixTime,
    /// By whom, as [`Actor`] displays it.
    pub changed_by: String,
}

impl Store {
    /// Adds a template to the catalog, or changes it. Returns it as stored.
    ///
    /// * A new template without identifier gets the instance's root with `arcs`, which the caller draws at random.
    /// * A known one keeps its identifier and its major revision unless a higher one is given; its minor revision
    ///   rises with every change. Put unchanged, it stays as it is.
    /// * One that was removed comes back with its old identifier.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if [`Template::check`] objects, if the identifier is another template's or differs
    /// from the one this template has, or if the instance has no root yet.
    pub async fn put_template(
        &self,
        template: Template,
        arcs: Vec<u32>,
        actor: Actor,
        at: UnixTime,
    ) -> Result<Template, StoreError> {
        template.check().map_err(|e| StoreError::Conflict(e.to_string()))?;
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::templates::put(tx, &template, &arcs, &actor, at)).await
    }

    /// The template with this name, regardless of case, in the catalog or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn template(&self, name: &str) -> Result<Option<StoredTemplate>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::templates::get(conn, name))
    }

    /// Takes a template out of the catalog. Its versions are kept, and its certificates stay valid.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not in the catalog.
    pub async fn unpublish_template(
        &self,
        name: String,
        actor: Actor,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::templates::unpublish(tx, &name, &actor, at)).await
    }

    /// The templates offered, in the order in which they were added.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn catalog(&self) -> Result<Vec<Template>, StoreError> {
        let stored = self.templates().await?;
        Ok(stored.into_iter().filter(|t| t.published).map(|t| t.template).collect())
    }

    /// Every template, in the order in which they were added.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn templates(&self) -> Result<Vec<StoredTemplate>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read_long(sqlite::templates::list).await
    }

    /// Every version of a template, the first one first; empty if there never was one with this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn template_history(&self, name: &str) -> Result<Vec<TemplateVersion>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(|conn| sqlite::templates::history(conn, name))
    }

    /// Notes that an officer accepts a template of a directory as it is now, by the fingerprint of its content.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accept_template(
        &self,
        fingerprint: String,
        name: String,
        actor: Actor,
        at: UnixTime,
    ) -> Result<(), StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.write(move |tx| sqlite::templates::accept(tx, &fingerprint, &name, &actor, at)).await
    }

    /// The fingerprints that officers accepted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accepted_templates(&self) -> Result<BTreeSet<String>, StoreError> {
        let Backend::Sqlite(db) = &self.backend;
        db.read(sqlite::templates::accepted)
    }
}
