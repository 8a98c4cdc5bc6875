//! The durable store: requests, certificates, templates, accounts, audit. The only crate with SQL.
