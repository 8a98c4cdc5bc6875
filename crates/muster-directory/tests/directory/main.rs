//! The crate from outside: entries of a real directory in, templates, permissions and names out.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "the same")]

mod access;
mod authorities;
mod exports;
mod host_binding;
mod robustness;
mod snapshots;
mod support;
mod templates;
