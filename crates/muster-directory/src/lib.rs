//! Active Directory: its templates, authorities and accounts as data of the domain.
//!
//! What is read over LDAP arrives as [`RawEntry`]; everything from there to a [`Snapshot`] of templates and
//! authorities, and to a [`muster_core::Principal`], is pure. Nothing an entry holds can stop the others from being
//! read: what is damaged, refused or without effect is reported beside it.

pub mod account_names;
pub mod authority;
pub mod descriptor;
pub mod dn;
pub mod entry;
pub mod finding;
pub mod flags;
pub mod guard;
pub mod sid;
pub mod snapshot;
pub mod template;

pub use account_names::AccountFacts;
pub use authority::{EnrollmentServer, EnrollmentService};
pub use descriptor::Descriptor;
pub use entry::{AttributeError, RawEntry};
pub use finding::{Effect, Finding};
pub use snapshot::{EnterpriseOid, Snapshot};
pub use template::{DirectoryTemplate, WireTemplate};
