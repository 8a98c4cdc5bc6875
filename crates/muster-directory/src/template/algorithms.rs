//! Algorithms by the names that CNG and templates use for them.

use muster_core::request::KeyAlgorithm;

/// The kind of key that a public-key algorithm makes, and its identifier (group 3 of MS-XCEP 3.1.4.1.3.16).
/// `None` for those that are not certified here: DSA, Diffie-Hellman and unknown ones.
#[must_use]
pub fn public_key(name: &str) -> Option<(KeyAlgorithm, &'static str)> {
    Some(match name.to_ascii_uppercase().as_str() {
        "RSA" => (KeyAlgorithm::Rsa, "1.2.840.113549.1.1.1"),
        "ECDSA_P256" | "ECDH_P256" => (KeyAlgorithm::P256, "1.2.840.10045.3.1.7"),
        "ECDSA_P384" | "ECDH_P384" => (KeyAlgorithm::P384, "1.3.132.0.34"),
        "ECDSA_P521" | "ECDH_P521" => (KeyAlgorithm::P521, "1.3.132.0.35"),
        _ => return None,
    })
}

/// The name of the algorithm that signs with such keys. `None` for Ed25519, which Windows does not know.
#[must_use]
pub const fn signing_name(algorithm: KeyAlgorithm) -> Option<&'static str> {
    match algorithm {
        KeyAlgorithm::Rsa => Some("RSA"),
        KeyAlgorithm::P256 => Some("ECDSA_P256"),
        KeyAlgorithm::P384 => Some("ECDSA_P384"),
        KeyAlgorithm::P521 => Some("ECDSA_P521"),
        KeyAlgorithm::Ed25519 => None,
    }
}

/// Identifier of a hash algorithm (group 1).
#[must_use]
pub fn hash(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_uppercase().as_str() {
        "SHA1" => "1.3.14.3.2.26",
        "SHA256" => "2.16.840.1.101.3.4.2.1",
        "SHA384" => "2.16.840.1.101.3.4.2.2",
        "SHA512" => "2.16.840.1.101.3.4.2.3",
        "MD5" => "1.2.840.113549.2.5",
        _ => return None,
    })
}

/// Identifier of a symmetric algorithm (group 2) with a key of `bits`.
#[must_use]
pub fn symmetric(name: &str, bits: u32) -> Option<&'static str> {
    Some(match (name.to_ascii_uppercase().as_str(), bits) {
        ("3DES", _) => "1.2.840.113549.3.7",
        ("AES", 128) => "2.16.840.1.101.3.4.1.2",
        ("AES", 192) => "2.16.840.1.101.3.4.1.22",
        ("AES", 256) => "2.16.840.1.101.3.4.1.42",
        ("DES", _) => "1.3.14.3.2.7",
        _ => return None,
    })
}
