//! Requests and responses of MS-WCCE, driven from outside.

// `cfg(test)` tells the lints that also helper functions are tests.
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod message;
#[cfg(test)]
mod on_behalf;
#[cfg(test)]
mod openssl;
#[cfg(test)]
mod random;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod support;
#[cfg(test)]
mod windows;
