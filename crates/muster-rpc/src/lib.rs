//! Remote procedure calls of Windows as octets: what an authority of AD CS is asked with, and what it answers.
//!
//! Nothing here reads a socket, a clock or a source of randomness: octets go in, octets come out, and whoever calls
//! carries them. So every answer that a hostile authority can give is a test of a function.
//!
//! - [`client`], [`server`]: one connection as a state machine (C706 chapter 12, MS-RPCE), with packet privacy or
//!   not at all.
//! - [`pdu`], [`ndr`]: the messages, and the encoding of arguments (NDR 2.0, little-endian).
//! - [`epm`]: the endpoint mapper, which names the port of an interface.
//! - [`dcom`]: activation of an object and calls to it (MS-DCOM).
//! - [`wcce`]: the calls for certificates, MS-WCCE over DCOM and MS-ICPR without.
//! - [`csra`]: the calls of an authority's officers, MS-CSRA over DCOM.
//!
//! Only NDR 2.0 and little-endian peers are spoken with: every Windows and every Samba is one.

pub mod client;
mod connection;
pub mod csra;
pub mod dcom;
pub mod epm;
pub mod ndr;
pub mod pdu;
pub mod security;
pub mod server;
pub mod status;
mod trailer;
mod uuid;
pub mod wcce;

pub use uuid::{Interface, Syntax, Uuid};
