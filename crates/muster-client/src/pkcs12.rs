//! Writes a key with its certificates as PKCS#12 (RFC 7292), for programs that take nothing else.
//!
//! Key and certificates are encrypted with AES-256-CBC under PBKDF2 with HMAC-SHA-256 (PBES2, RFC 8018); the MAC is
//! HMAC-SHA-256 with the key derivation of RFC 7292 appendix B. OpenSSL from 1.1, Java from 8u301 and Windows from
//! Server 2019 read this; weaker ciphers for older programs are not offered.
//!
//! Written here because the libraries for it pin another version of the CMS types than the rest of the client uses.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_256, AES_256_KEY_LEN, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use aws_lc_rs::{hmac, pbkdf2};
use der::asn1::ObjectIdentifier;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Random;
use crate::certificate::Certificate;
use crate::key::PrivateKey;

/// A PKCS#12 file cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Pkcs12Error {
    /// The cryptographic library failed.
    #[error("the PKCS#12 file cannot be encrypted")]
    Encryption,
    /// The password has characters outside of the Basic Multilingual Plane, which the format cannot express.
    #[error("the PKCS#12 password holds characters that the format does not allow")]
    Password,
}

/// Rounds of both key derivations: about 50 ms each.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);
const SALT_LEN: usize = 16;

/// The content of a file with this key, its certificate and the CA certificates, under one password.
///
/// # Errors
/// [`Pkcs12Error`].
pub fn encode(
    key: &PrivateKey,
    certificate: &Certificate,
    chain: &[Certificate],
    password: &str,
    random: &dyn Random,
) -> Result<Vec<u8>, Pkcs12Error> {
    let local_key_id = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
    let attributes = {
        let id = tlv(SET, &[&tlv(OCTET_STRING, &[local_key_id.as_ref()])]);
        let name: Vec<u8> = certificate.subject().encode_utf16().flat_map(u16::to_be_bytes).collect();
        let name = tlv(SET, &[&tlv(BMP_STRING, &[&name])]);
        let id = tlv(SEQUENCE, &[&oid(LOCAL_KEY_ID), &id]);
        let name = tlv(SEQUENCE, &[&oid(FRIENDLY_NAME), &name]);
        // The shorter one first, as DER sorts a SET OF.
        if name.len() <= id.len() { tlv(SET, &[&name, &id]) } else { tlv(SET, &[&id, &name]) }
    };

    let (algorithm, shrouded) = encrypt(key.pkcs8(), password, random)?;
    let shrouded = tlv(SEQUENCE, &[&algorithm, &tlv(OCTET_STRING, &[&shrouded])]);
    let key_bag = tlv(SEQUENCE, &[&oid(SHROUDED_KEY_BAG), &tlv(CTX_0, &[&shrouded]), &attributes]);

    let mut cert_bags = cert_bag(certificate, &attributes);
    for ca in chain {
        cert_bags.extend(cert_bag(ca, &[]));
    }
    let (algorithm, encrypted) = encrypt(&tlv(SEQUENCE, &[&cert_bags]), password, random)?;
    let encrypted = tlv(SEQUENCE, &[&oid(DATA), &algorithm, &tlv(CTX_0_PRIMITIVE, &[&encrypted])]);
    let encrypted = tlv(SEQUENCE, &[&integer(0), &encrypted]);

    let safe = tlv(
        SEQUENCE,
        &[
            &tlv(SEQUENCE, &[&oid(ENCRYPTED_DATA), &tlv(CTX_0, &[&encrypted])]),
            &data(&tlv(SEQUENCE, &[&key_bag])),
        ],
    );
    let mac = mac(&safe, password, random)?;
    Ok(tlv(SEQUENCE, &[&integer(3), &data(&safe), &mac]))
}

fn cert_bag(certificate: &Certificate, attributes: &[u8]) -> Vec<u8> {
    let value = tlv(CTX_0, &[&tlv(OCTET_STRING, &[certificate.der()])]);
    let bag = tlv(SEQUENCE, &[&oid(X509_CERTIFICATE), &value]);
    tlv(SEQUENCE, &[&oid(CERT_BAG), &tlv(CTX_0, &[&bag]), attributes])
}

/// ContentInfo of plain data.
fn data(content: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&oid(DATA), &tlv(CTX_0, &[&tlv(OCTET_STRING, &[content])])])
}

/// PBES2: the algorithm identifier and the encrypted octets.
fn encrypt(plain: &[u8], password: &str, random: &dyn Random) -> Result<(Vec<u8>, Vec<u8>), Pkcs12Error> {
    let failed = |_| Pkcs12Error::Encryption;
    let mut salt = [0; SALT_LEN];
    random.fill(&mut salt);
    let mut key = Zeroizing::new([0; AES_256_KEY_LEN]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), key.as_mut_slice());
    let key = UnboundCipherKey::new(&AES_256, key.as_slice()).map_err(failed)?;
    let mut octets = plain.to_vec();
    let context =
        PaddedBlockEncryptingKey::cbc_pkcs7(key).and_then(|key| key.encrypt(&mut octets)).map_err(failed)?;
    let DecryptionContext::Iv128(iv) = context else { return Err(Pkcs12Error::Encryption) };

    let prf = tlv(SEQUENCE, &[&oid(HMAC_WITH_SHA256), &NULL]);
    let derivation = tlv(SEQUENCE, &[&tlv(OCTET_STRING, &[&salt]), &integer(ITERATIONS.get()), &prf]);
    let derivation = tlv(SEQUENCE, &[&oid(PBKDF2), &derivation]);
    let cipher = tlv(SEQUENCE, &[&oid(AES256_CBC), &tlv(OCTET_STRING, &[iv.as_ref()])]);
    let algorithm = tlv(SEQUENCE, &[&oid(PBES2), &tlv(SEQUENCE, &[&derivation, &cipher])]);
    Ok((algorithm, octets))
}

/// MacData.
fn mac(content: &[u8], password: &str, random: &dyn Random) -> Result<Vec<u8>, Pkcs12Error> {
    let mut salt = [0; SALT_LEN];
    random.fill(&mut salt);
    let key = mac_key(password, &salt)?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), content);
    let algorithm = tlv(SEQUENCE, &[&oid(ID_SHA256), &NULL]);
    let info = tlv(SEQUENCE, &[&algorithm, &tlv(OCTET_STRING, &[tag.as_ref()])]);
    Ok(tlv(SEQUENCE, &[&info, &tlv(OCTET_STRING, &[&salt]), &integer(ITERATIONS.get())]))
}

/// RFC 7292 appendix B.2 with SHA-256 and purpose 3; one block of output is what is needed.
fn mac_key(password: &str, salt: &[u8]) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    const BLOCK: usize = 64;
    let units: Vec<u16> = password.encode_utf16().chain([0]).collect();
    if password.chars().any(|c| c.len_utf16() != 1) {
        return Err(Pkcs12Error::Password);
    }
    let password = Zeroizing::new(units.into_iter().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    let fill = |bytes: &[u8]| -> Vec<u8> {
        let len = bytes.len().div_ceil(BLOCK).saturating_mul(BLOCK);
        bytes.iter().copied().cycle().take(len).collect()
    };
    let mut context = digest::Context::new(&SHA256);
    context.update(&[3; BLOCK]);
    context.update(&fill(salt));
    context.update(&Zeroizing::new(fill(&password)));
    let mut block = context.finish();
    for _ in 1..ITERATIONS.get() {
        block = digest::digest(&SHA256, block.as_ref());
    }
    Ok(Zeroizing::new(block.as_ref().to_vec()))
}

fn oid(oid: &str) -> Vec<u8> {
    let oid = ObjectIdentifier::new(oid).map(|oid| oid.as_bytes().to_vec()).unwrap_or_default();
    tlv(OID, &[&oid])
}

fn integer(value: u32) -> Vec<u8> {
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    // A leading zero keeps it positive, and is the whole of 0.
    let zero: &[u8] = if bytes.first().is_none_or(|byte| *byte > 0x7f) { &[0] } else { &[] };
    tlv(INTEGER, &[zero, &bytes])
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(len) {
        Ok(short @ ..=0x7f) => out.push(short),
        Ok(_) | Err(_) => {
            let bytes: Vec<u8> = len.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0x7f));
            out.extend(bytes);
        }
    }
    out.extend(parts.iter().copied().flatten());
    out
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const NULL: [u8; 2] = [0x05, 0x00];
const OID: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CTX_0: u8 = 0xa0;
const CTX_0_PRIMITIVE: u8 = 0x80;

const DATA: &str = "1.2.840.113549.1.7.1";
const ENCRYPTED_DATA: &str = "1.2.840.113549.1.7.6";
const SHROUDED_KEY_BAG: &str = "1.2.840.113549.1.12.10.1.2";
const CERT_BAG: &str = "1.2.840.113549.1.12.10.1.3";
const X509_CERTIFICATE: &str = "1.2.840.113549.1.9.22.1";
const FRIENDLY_NAME: &str = "1.2.840.113549.1.9.20";
const LOCAL_KEY_ID: &str = "1.2.840.113549.1.9.21";
const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const HMAC_WITH_SHA256: &str = "1.2.840.113549.2.9";
const AES256_CBC: &str = "2.16.840.1.101.3.4.1.42";
const ID_SHA256: &str = "2.16.840.1.101.3.4.2.1";
