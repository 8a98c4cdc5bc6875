//! Serial numbers: the random part.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use muster_core::{RequestId, Serial};

/// The generator of the operating system and of the cryptographic module gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers could be had")]
pub struct NoRandomness;

/// Fills an array from the cryptographic module's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

/// A fresh serial number for the request `id`: 120 of its bits are random.
///
/// # Errors
/// [`NoRandomness`]; nothing may be issued then.
pub fn fresh(id: RequestId) -> Result<Serial, NoRandomness> {
    random().map(|octets| Serial::compose(id, octets))
}
