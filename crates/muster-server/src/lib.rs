//! The two services over HTTPS: configuration, TLS, routes, authentication, policy answers, enrollment.
