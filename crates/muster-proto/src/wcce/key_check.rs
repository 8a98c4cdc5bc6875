//! Public keys that must not be certified: wrong sizes, and keys whose private part can be computed.
//!
//! The checks are those of the CA/Browser Forum Baseline Requirements section 6.1.1.3, as far as they can be
//! made by computation. Lists of known keys belong to whoever keeps them.

use aws_lc_rs::signature;
use num_bigint::BigUint;

use super::key::{KeyAlgorithm, PublicKey};
use super::request::{ParsedRequest, Possession};

/// Rounds of Fermat's factorization method.
const FERMAT_ROUNDS: u32 = 100;
/// No prime below this may divide an RSA modulus.
const SMALL_FACTOR_LIMIT: u32 = 752;
/// Primes up to this take part in the ROCA test; they divide the structure constant of every key size.
const ROCA_LIMIT: u32 = 167;

/// Why a key must not be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyWeakness {
    /// RSA with a modulus of other than 2048, 3072 or 4096 bits.
    #[error("RSA modulus of {0} bits, not 2048, 3072 or 4096")]
    RsaSize(u32),
    /// RSA with a public exponent other than 65537.
    #[error("RSA public exponent {0}, not 65537")]
    RsaExponent(u64),
    /// The modulus has a small prime factor.
    #[error("RSA modulus is divisible by {0}")]
    SmallFactor(u32),
    /// The key has the fingerprint of CVE-2017-15361.
    #[error("RSA key made by a flawed generator (ROCA, CVE-2017-15361)")]
    Roca,
    /// The prime factors are so close that Fermat's method finds them.
    #[error("RSA prime factors are too close to each other")]
    CloseFactors,
    /// The point is not on the curve.
    #[error("elliptic curve point is not on its curve")]
    PointNotOnCurve,
    /// An Ed25519 point of small order.
    #[error("Ed25519 point of small order")]
    SmallOrder,
}

/// Tells whether a key may be certified. Which sizes a template asks for is another question.
///
/// # Errors
/// The first [`KeyWeakness`] found.
pub fn check_public_key(key: &PublicKey) -> Result<(), KeyWeakness> {
    match key.algorithm() {
        KeyAlgorithm::Rsa { bits, exponent } => {
            if !matches!(bits, 2048 | 3072 | 4096) {
                return Err(KeyWeakness::RsaSize(bits));
            }
            if exponent != 65537 {
                return Err(KeyWeakness::RsaExponent(exponent));
            }
            check_modulus(key.rsa_modulus().unwrap_or_default())
        }
        KeyAlgorithm::P256 => check_point(key, &signature::ECDSA_P256_SHA256_ASN1),
        KeyAlgorithm::P384 => check_point(key, &signature::ECDSA_P384_SHA384_ASN1),
        KeyAlgorithm::P521 => check_point(key, &signature::ECDSA_P521_SHA512_ASN1),
        KeyAlgorithm::Ed25519 if has_small_order(key.subject_public_key()) => Err(KeyWeakness::SmallOrder),
        KeyAlgorithm::Ed25519 => Ok(()),
    }
}

/// The same for the key of a request. A signature has shown possession of it, so the point of an elliptic curve key has
/// been read already, by a library that refuses points beside the curve: to read it again would cost as much as the
/// whole envelope.
///
/// # Errors
/// The first [`KeyWeakness`] found.
pub fn check_requested_key(request: &ParsedRequest) -> Result<(), KeyWeakness> {
    let key = &request.public_key;
    match (key.algorithm(), request.possession) {
        (
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521,
            Possession::Pkcs10Signature | Possession::SignerInfo | Possession::Both,
        ) => Ok(()),
        (KeyAlgorithm::Rsa { .. } | KeyAlgorithm::Ed25519, _) => check_public_key(key),
    }
}

fn check_point(
    key: &PublicKey,
    algorithm: &'static dyn signature::VerificationAlgorithm,
) -> Result<(), KeyWeakness> {
    signature::UnparsedPublicKey::new(algorithm, key.subject_public_key())
        .parse()
        .map(|_| ())
        .map_err(|_| KeyWeakness::PointNotOnCurve)
}

/// Checks an RSA modulus, big endian.
fn check_modulus(modulus: &[u8]) -> Result<(), KeyWeakness> {
    let number = BigUint::from_bytes_be(modulus);
    let limbs = number.to_u32_digits();
    let mut roca = true;
    for prime in primes_below(SMALL_FACTOR_LIMIT) {
        let remainder = remainder(&limbs, prime);
        if remainder == 0 {
            return Err(KeyWeakness::SmallFactor(prime));
        }
        roca = roca && (prime > ROCA_LIMIT || prime == 2 || is_power_of_65537(remainder, prime));
    }
    if roca {
        return Err(KeyWeakness::Roca);
    }
    if factors_are_close(&number) { Err(KeyWeakness::CloseFactors) } else { Ok(()) }
}

/// Remainder of a number, least significant limb first.
fn remainder(limbs: &[u32], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let rest = limbs.iter().rev().fold(0, |rest, limb| (rest << 32 | u64::from(*limb)) % divisor);
    // Smaller than the divisor, so it fits.
    u32::try_from(rest).unwrap_or(0)
}

/// ROCA primes are k·M + (65537^a mod M) with M a product of the first primes, so that each modulus is a power of
/// 65537 modulo every one of these primes.
fn is_power_of_65537(remainder: u32, prime: u32) -> bool {
    let generator = 65537 % prime;
    let mut power = 1;
    loop {
        if power == remainder {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

/// Fermat's method: N = a² − b² is found at once when both factors are near the square root.
fn factors_are_close(modulus: &BigUint) -> bool {
    let mut a = modulus.sqrt();
    if &(&a * &a) < modulus {
        a += 1_u32;
    }
    let mut difference = &a * &a - modulus;
    for _ in 0..FERMAT_ROUNDS {
        if is_square(&difference) {
            return true;
        }
        difference += &a * 2_u32 + 1_u32;
        a += 1_u32;
    }
    false
}

fn is_square(number: &BigUint) -> bool {
    // Squares have only 12 of 64 remainders modulo 64; most numbers need no square root.
    let low = number.iter_u32_digits().next().unwrap_or(0) % 64;
    if !(0..32_u32).any(|root| root * root % 64 == low) {
        return false;
    }
    let root = number.sqrt();
    &root * &root == *number
}

/// Whether an encoded point, its sign bit aside, is one of those whose order divides 8.
fn has_small_order(point: &[u8]) -> bool {
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let Ok(mut y) = <[u8; 32]>::try_from(point) else { return false };
    let [first, middle @ .., last] = &mut y;
    *last &= 0x7f;
    let zero_or_one = *first <= 1 && *last == 0 && middle.iter().all(|octet| *octet == 0);
    // 2^255 − 19 and its neighbours: −1, and 0 and 1 written too large.
    let around_modulus =
        (0xec..=0xee).contains(first) && *last == 0x7f && middle.iter().all(|octet| *octet == 0xff);
    zero_or_one || around_modulus || ORDER_EIGHT.contains(&y)
}

fn primes_below(limit: u32) -> impl Iterator<Item = u32> {
    (2..limit).filter(|number| (2..=number.isqrt()).all(|divisor| number % divisor != 0))
}

#[cfg(test)]
mod tests {
    use super::super::tlv;
    use super::*;

    /// A key with this modulus, whatever it is.
    fn rsa(modulus: &BigUint, exponent: u32) -> PublicKey {
        let key = tlv::constructed(
            tlv::SEQUENCE,
            &[&tlv::integer(&modulus.to_bytes_be()), &tlv::integer(&exponent.to_be_bytes())],
        );
        let identifier = tlv::constructed(
            tlv::SEQUENCE,
            &[&tlv::oid(&super::super::oids::RSA_ENCRYPTION), &[tlv::NULL, 0]],
        );
        PublicKey::from_spki_der(&tlv::constructed(tlv::SEQUENCE, &[&identifier, &tlv::bit_string(&key)]))
            .unwrap()
    }

    fn is_prime(number: &BigUint) -> bool {
        primes_below(2000).all(|prime| remainder(&number.to_u32_digits(), prime) != 0)
            && BigUint::from(2_u32).modpow(&(number - 1_u32), number) == BigUint::from(1_u32)
    }

    fn prime_from(start: BigUint) -> BigUint {
        (0_u32..).map(|step| &start + step).find(is_prime).unwrap()
    }

    /// 1024 bits with the two highest set, so that a product of two has 2048; no structure.
    fn noise(seed: u8) -> BigUint {
        let digests = (0..4_u8).flat_map(|part| super::super::DigestAlgorithm::Sha256.digest(&[seed, part]));
        BigUint::from_bytes_be(&digests.collect::<Vec<u8>>()) | (BigUint::from(3_u32) << 1022)
    }

    #[test]
    fn primes_reach_to_751() {
        assert_eq!(primes_below(SMALL_FACTOR_LIMIT).count(), 133);
        assert_eq!(primes_below(SMALL_FACTOR_LIMIT).last(), Some(751));
        assert_eq!(primes_below(ROCA_LIMIT + 1).last(), Some(167));
    }

    #[test]
    fn ordinary_modulus_is_accepted() {
        let modulus = prime_from(noise(1)) * prime_from(noise(2));
        assert_eq!(check_public_key(&rsa(&modulus, 65537)), Ok(()));
    }

    #[test]
    fn exponent_other_than_65537_is_refused() {
        let modulus = prime_from(noise(1)) * prime_from(noise(2));
        for exponent in [1, 3, 65536] {
            assert_eq!(
                check_public_key(&rsa(&modulus, exponent)),
                Err(KeyWeakness::RsaExponent(u64::from(exponent)))
            );
        }
    }

    #[test]
    fn sizes_other_than_the_three_are_refused() {
        for bits in [1024_u32, 2047, 2049, 4104, 8192] {
            let modulus = (BigUint::from(1_u32) << (bits - 1)) + 1_u32;
            assert_eq!(check_public_key(&rsa(&modulus, 65537)), Err(KeyWeakness::RsaSize(bits)));
        }
    }

    #[test]
    fn every_small_factor_is_found() {
        let others = prime_from(noise(1)) * prime_from(noise(2));
        for prime in primes_below(SMALL_FACTOR_LIMIT) {
            let modulus = &others * prime;
            assert_eq!(check_modulus(&modulus.to_bytes_be()), Err(KeyWeakness::SmallFactor(prime)));
        }
        assert_eq!(
            check_modulus(&(others * 757_u32).to_bytes_be()),
            Ok(()),
            "the first prime above the limit"
        );
    }

    #[test]
    fn remainder_agrees_with_long_division() {
        let number = noise(3) * noise(4);
        for prime in primes_below(SMALL_FACTOR_LIMIT) {
            assert_eq!(BigUint::from(remainder(&number.to_u32_digits(), prime)), &number % prime);
        }
    }

    #[test]
    fn roca_structure_is_found() {
        // p = k·M + 65537^a mod M, M the product of the first 126 primes, as the flawed library made 2048-bit keys.
        let product: BigUint = primes_below(702).map(BigUint::from).product();
        let structured = |seed: u8| {
            (0_u32..)
                .map(|step| {
                    let power = BigUint::from(65537_u32).modpow(&(noise(seed) + step), &product);
                    (noise(seed) / &product) * &product + power
                })
                .find(is_prime)
                .unwrap()
        };
        let modulus = structured(5) * structured(6);
        assert_eq!(check_modulus(&modulus.to_bytes_be()), Err(KeyWeakness::Roca));
    }

    #[test]
    fn close_factors_are_found() {
        let first = prime_from(noise(7));
        let second = prime_from(&first + 2_u32);
        let modulus = &first * &second;
        assert_eq!(check_public_key(&rsa(&modulus, 65537)), Err(KeyWeakness::CloseFactors));
        assert_eq!(
            check_modulus(&(&first * &first).to_bytes_be()),
            Err(KeyWeakness::CloseFactors),
            "a square"
        );
    }

    #[test]
    fn points_off_the_curve_are_refused() {
        let algorithm = tlv::constructed(
            tlv::SEQUENCE,
            &[&tlv::oid(&super::super::oids::EC_PUBLIC_KEY), &tlv::oid(&super::super::oids::SECP256R1)],
        );
        for coordinate in [0_u8, 1, 0xff] {
            let point = [&[4][..], &[coordinate; 64]].concat();
            let spki = tlv::constructed(tlv::SEQUENCE, &[&algorithm, &tlv::bit_string(&point)]);
            let key = PublicKey::from_spki_der(&spki).unwrap();
            assert_eq!(check_public_key(&key), Err(KeyWeakness::PointNotOnCurve));
        }
    }

    #[test]
    fn ed25519_points_of_small_order_are_refused() {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (0xec, 0x7f);
        assert!(has_small_order(&point));
        point[31] = 0xff;
        assert!(has_small_order(&point), "sign bit set");
        assert!(has_small_order(&[0; 32]));
        // The base point.
        assert!(!has_small_order(&[&[0x58][..], &[0x66; 31]].concat()));
    }
}
