//! Active Directory: its templates, authorities and accounts as data of the domain, and the way to read and write them.
//!
//! [`Directory`] is one domain over LDAP ([`ldap`]): it looks up accounts, keeps watch on changes, holds the last known
//! [`Snapshot`] and publishes.
//!
//! What is read over LDAP arrives as [`RawEntry`]; everything from there to a [`Snapshot`] of templates and
//! authorities, and to a [`muster_core::Principal`], is pure. Nothing an entry holds can stop the others from being
//! read: what is damaged, refused or without effect is reported beside it.

pub mod account;
pub mod account_names;
pub mod authority;
mod cache;
pub mod check;
pub mod descriptor;
pub mod directory;
pub mod dn;
pub mod entry;
pub mod export;
pub mod finding;
pub mod flags;
pub mod guard;
pub mod ldap;
mod ldif;
pub mod live;
pub mod publish;
pub mod sid;
pub mod snapshot;
pub mod template;
mod watch;

pub use account::{AccountError, AccountKey, DirectoryAccount, NotUsable};
pub use account_names::AccountFacts;
pub use authority::{EnrollmentServer, EnrollmentService};
pub use check::{Checked, Severity};
pub use descriptor::Descriptor;
pub use directory::{Directory, DirectorySettings, Queries};
pub use entry::{AttributeError, RawEntry};
pub use finding::{Effect, Finding};
pub use live::{Live, LiveSnapshot, Source};
pub use publish::{ApplyError, CaPublication, Plan};
pub use snapshot::{Change, EnterpriseOid, Snapshot};
pub use template::{DamagedEntry, DirectoryTemplate, Fingerprint, WireTemplate};
