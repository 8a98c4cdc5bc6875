//! LDAP as far as Active Directory needs it: protected connections, searches, changes (RFC 4511).
//!
//! Messages are our own few lines (`ldap/ber.rs`, `ldap/message.rs`) rather than a library's: the libraries either
//! panic or recurse on what a server sends, or cannot carry the Kerberos layer of [`crate::ldap::Access::Sealed`].

mod ber;
mod client;
mod connect;
pub mod dns;
mod error;
mod filter;
pub mod message;
mod root;
mod sasl;
mod servers;
mod settings;
mod wire;

pub use ber::BerError;
pub use client::{Client, Session, State, probe};
pub use error::LdapError;
pub use filter::Filter;
pub use message::{Attribute, Entry, Operation, Outcome, ResultCode, Scope, Search};
pub use root::Root;
pub use servers::servers;
pub use settings::{Access, LdapSettings, Login, Server, ServerError, TlsBind, TlsStart};
