//! The floor: what the signatures of one enrollment cost on one core, with the same library and nothing around them.

use std::hint::black_box;

use anyhow::{Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    UnparsedPublicKey,
};
use muster_ca::SigningAlgorithm;

use crate::measure::{self, micros};

/// Octets that are signed in a PKCS#10, a certificate, and a CMC full response, as the service has them: a hash of
/// 300 octets more or less would not show.
const REQUEST: usize = 250;
const CERTIFICATE: usize = 650;
const RESPONSE: usize = 110;

/// Microseconds of one core for one enrollment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    /// Verify the request's signature (the key parsed) and sign the certificate.
    pub(crate) certificate: f64,
    /// The same, and sign the CMC full response that every answer of MS-WSTEP carries.
    pub(crate) response: f64,
}

enum Key {
    P256(EcdsaKeyPair),
    Rsa(Box<rsa::KeyPair>, Vec<u8>),
}

impl Key {
    fn generate(algorithm: SigningAlgorithm) -> Result<Self> {
        match algorithm {
            SigningAlgorithm::P256 => {
                Ok(Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?))
            }
            SigningAlgorithm::Rsa2048 => {
                let key = rsa::KeyPair::generate(KeySize::Rsa2048)?;
                let signature = vec![0; key.public_modulus_len()];
                Ok(Self::Rsa(Box::new(key), signature))
            }
            SigningAlgorithm::Rsa3072
            | SigningAlgorithm::Rsa4096
            | SigningAlgorithm::P384
            | SigningAlgorithm::Ed25519 => Err(anyhow!("no floor for {algorithm}")),
        }
    }

    fn sign(&mut self, random: &SystemRandom, message: &[u8]) -> Result<()> {
        match self {
            Self::P256(key) => drop(black_box(key.sign(random, message)?)),
            Self::Rsa(key, signature) => key.sign(&RSA_PKCS1_SHA256, random, message, signature)?,
        }
        Ok(())
    }
}

/// Measures the floor of a CA with such a key, for requests with P-256 keys.
pub(crate) fn measure(algorithm: SigningAlgorithm, rounds: u32) -> Result<Floor> {
    let random = SystemRandom::new();
    let mut ca = Key::generate(algorithm)?;
    let caller = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let request = [0x30; REQUEST];
    let signature = caller.sign(&random, &request)?;
    let public_key = caller.public_key().as_ref();
    let time = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        // A tenth beforehand, so that caches are warm.
        for _ in 0..rounds / 10 {
            work()?;
        }
        let before = measure::thread_cpu()?;
        for _ in 0..rounds {
            work()?;
        }
        Ok(micros(measure::thread_cpu()?.saturating_sub(before)) / f64::from(rounds))
    };
    let verify = time(&mut || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, black_box(public_key));
        Ok(key.verify(&request, signature.as_ref())?)
    })?;
    let certificate = time(&mut || ca.sign(&random, black_box(&[0x30; CERTIFICATE])))?;
    let response = time(&mut || ca.sign(&random, black_box(&[0x30; RESPONSE])))?;
    Ok(Floor { certificate: verify + certificate, response: verify + certificate + response })
}

/// Milliseconds of one core for hashing a password.
pub(crate) fn password() -> Result<f64> {
    let before = measure::thread_cpu()?;
    black_box(muster_server::hash_password("correct horse battery staple").map_err(|e| anyhow!(e))?);
    Ok(micros(measure::thread_cpu()?.saturating_sub(before)) / 1e3)
}
