//! Who does what is asked of a CA: each has its own way, and an endpoint leads to one of them.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::enroll::Enrollment;
use crate::fault::ServiceError;
use crate::forward::Forwarding;

/// The way of a request to one CA.
pub(crate) enum Desk {
    /// This installation signs.
    Embedded(Arc<Enrollment>),
    /// Another CA does, and is asked.
    Forwarding(Arc<Forwarding>),
}

impl Desk {
    /// The templates that the CA issues from.
    fn catalog(&self) -> &Catalog {
        match self {
            Self::Embedded(enrollment) => &enrollment.catalog,
            Self::Forwarding(forwarding) => &forwarding.catalog,
        }
    }
}

/// All CAs of a node, in the order of their names.
#[derive(Default)]
pub(crate) struct Desks(Vec<(Arc<str>, Desk)>);

impl Desks {
    pub(crate) fn add(&mut self, ca: &Arc<str>, desk: Desk) {
        self.0.push((Arc::clone(ca), desk));
    }

    /// Their templates.
    pub(crate) fn catalogs(&self) -> impl Iterator<Item = &Catalog> {
        self.0.iter().map(|(_, desk)| desk.catalog())
    }

    /// Looks for requests whose call broke.
    pub(crate) async fn reconcile(&self) {
        for (ca, desk) in &self.0 {
            let reconciled = match desk {
                Desk::Embedded(_) => Ok(()),
                Desk::Forwarding(forwarding) => forwarding.reconcile().await,
            };
            if let Err(error) = reconciled {
                tracing::error!(ca = &**ca, %error, "requests whose call broke cannot be looked for");
            }
        }
    }

    /// Gives back what other CAs keep for this service.
    pub(crate) async fn close(&self) {
        for (_, desk) in &self.0 {
            match desk {
                Desk::Embedded(_) => {}
                Desk::Forwarding(forwarding) => forwarding.backend.close().await,
            }
        }
    }

    /// The way to the CA of this name.
    ///
    /// # Errors
    /// [`ServiceError::Internal`]: the configuration lets no endpoint name another.
    pub(crate) fn at(&self, ca: &str) -> Result<&Desk, ServiceError> {
        let found = self.0.iter().find(|(name, _)| **name == *ca);
        found.map(|(_, desk)| desk).ok_or_else(|| ServiceError::Internal(format!("there is no CA {ca}")))
    }
}
