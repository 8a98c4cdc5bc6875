//! The client against small TLS servers that are well, ill, slow, or lie.

mod server;
mod transport;
