//! The domain: callers, templates, policy, and the only order in which a certificate can be issued.
