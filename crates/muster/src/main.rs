//! The executable: server, administrator and client subcommands.
fn main() {}
