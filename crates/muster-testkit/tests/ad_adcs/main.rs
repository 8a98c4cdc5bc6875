//! In front of an authority of AD CS, seen from outside: the clients are curl, zeep and OpenSSL, the directory is Samba's,
//! and the authority is a program that shares no code with us and writes down who asked it for what.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise, in its helpers too"
)]

mod agent;
mod answers;
mod bed;
mod commands;
mod delegable;
mod delegation;
mod names;
mod on_behalf;
mod trouble;
