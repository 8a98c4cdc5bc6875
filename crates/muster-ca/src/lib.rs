//! The embedded certification authority: keys, serial numbers, certificates, lints, revocation lists.
