//! Keys, certificates and the OpenSSL command line for the tests.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use muster_proto::wcce::{DigestAlgorithm, SignBytes, SignError, SignatureAlgorithm};

/// A file of the vectors folder.
pub(crate) fn read_vector(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../vectors/{name}", env!("CARGO_MANIFEST_DIR"))).expect(name)
}

/// A private key made for one test.
pub(crate) enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// One of each kind.
    pub(crate) fn all() -> [Self; 4] {
        [Self::rsa(), Self::p256(), Self::p384(), Self::ed25519()]
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::P256(key) | Self::P384(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// A self-signed certificate of this key.
    pub(crate) fn certificate(&self, common_name: &str, serial: u8) -> Vec<u8> {
        self.certificate_with(common_name, serial, &[])
    }

    /// The same with a subject key identifier.
    pub(crate) fn certificate_with_identifier(
        &self,
        common_name: &str,
        serial: u8,
        identifier: &[u8],
    ) -> Vec<u8> {
        let value = element(4, &element(4, identifier));
        let extension = element(0x30, &[hex("0603551d0e"), value].concat());
        self.certificate_with(common_name, serial, &element(0xa3, &element(0x30, &extension)))
    }

    fn certificate_with(&self, common_name: &str, serial: u8, extensions: &[u8]) -> Vec<u8> {
        let name = element(
            0x30,
            &element(
                0x31,
                &element(0x30, &[&[6, 3, 0x55, 4, 3][..], &element(0x0c, common_name.as_bytes())].concat()),
            ),
        );
        let validity =
            element(0x30, &[element(0x17, b"260101000000Z"), element(0x17, b"360101000000Z")].concat());
        let algorithm = match self {
            Self::Rsa(_) => hex("300d06092a864886f70d01010b0500"),
            Self::P256(_) => hex("300a06082a8648ce3d040302"),
            Self::P384(_) => hex("300a06082a8648ce3d040303"),
            Self::Ed25519(_) => hex("300506032b6570"),
        };
        let parts = [
            hex("a003020102"),
            element(2, &[serial]),
            algorithm.clone(),
            name.clone(),
            validity,
            name,
            self.spki(),
            extensions.to_vec(),
        ];
        let tbs = element(0x30, &parts.concat());
        let signature = element(3, &[vec![0], self.sign(&tbs).unwrap()].concat());
        element(0x30, &[tbs, algorithm, signature].concat())
    }
}

impl SignBytes for Key {
    fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Rsa(_) => SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            Self::P256(_) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256),
            Self::P384(_) => SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha384),
            Self::Ed25519(_) => SignatureAlgorithm::Ed25519,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        Ok(match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256(key) | Self::P384(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        })
    }
}

/// One DER element with a length of up to 65535.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..=127 => vec![tag, length[1]],
        128..=255 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [&head, content].concat()
}

/// Octets from hexadecimal digits; blanks are passed over.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}
