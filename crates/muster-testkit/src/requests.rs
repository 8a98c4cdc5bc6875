//! What clients send: keys, requests and envelopes.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use muster_core::UnixTime;
use muster_proto::soap::{Credentials, DateTime, Password, RequestHeader, Timestamp, UsernameToken};
use muster_proto::wcce::{
    Cosigner, DigestAlgorithm, Pkcs10Builder, RequestedExtension, SignBytes, SignError, SignatureAlgorithm,
    TemplateSelector, build_cms_renewal,
};
use muster_proto::wstep::{BinarySecurityToken, Operation, RequestId, RequestSecurityToken, ValueType};
use muster_proto::xcep::{Client, GetPolicies};

/// The MessageID of every message, so that answers can be compared.
pub const MESSAGE_ID: &str = "urn:uuid:5d5c4f1e-0b1e-4a7b-9d0e-2f3a4b5c6d7e";

/// A P-256 key.
pub struct Key {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(P256)")
    }
}

impl Key {
    /// A new key.
    #[must_use]
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key can be made");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a public key can be written");
        let spki = der.as_ref().to_vec();
        Self { pair, spki }
    }

    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// PKCS#8, DER.
    #[must_use]
    pub fn pkcs8(&self) -> Vec<u8> {
        self.pair.to_pkcs8v1().expect("a key can be written").as_ref().to_vec()
    }

    /// PKCS#10 for this template and nothing else.
    #[must_use]
    pub fn request(&self, template: &str) -> Vec<u8> {
        self.request_with(template, &[])
    }

    /// PKCS#10 with further extensions.
    #[must_use]
    pub fn request_with(&self, template: &str, extensions: &[RequestedExtension]) -> Vec<u8> {
        let template = TemplateSelector::Name(template.to_owned());
        let builder =
            Pkcs10Builder { template: Some(&template), extensions, ..Pkcs10Builder::new(&self.spki) };
        builder.build(self).expect("a request can be built")
    }

    /// PKCS#10 without a template.
    #[must_use]
    pub fn bare_request(&self) -> Vec<u8> {
        Pkcs10Builder::new(&self.spki).build(self).expect("a request can be built")
    }

    /// A renewal as Windows sends it: PKCS#10 for this key, signed by the old one as CMS.
    #[must_use]
    pub fn renewal(&self, template: &str, old: &[u8], old_key: &Self) -> Vec<u8> {
        self.renewal_with(template, &[], old, old_key)
    }

    /// The same with further extensions.
    #[must_use]
    pub fn renewal_with(
        &self,
        template: &str,
        extensions: &[RequestedExtension],
        old: &[u8],
        old_key: &Self,
    ) -> Vec<u8> {
        let template = TemplateSelector::Name(template.to_owned());
        let builder = Pkcs10Builder {
            template: Some(&template),
            extensions,
            renewal_certificate: Some(old),
            ..Pkcs10Builder::new(&self.spki)
        };
        let pkcs10 = builder.build(self).expect("a request can be built");
        let old = Cosigner { certificate: old, key: old_key };
        build_cms_renewal(&pkcs10, old).expect("a renewal can be built")
    }
}

impl SignBytes for Key {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha256)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.map(|s| s.as_ref().to_vec()).map_err(|_| SignError("the key cannot sign".to_owned()))
    }
}

/// What a message says about its sender.
#[derive(Clone, Copy, Debug)]
pub enum SignIn<'a> {
    /// Nothing.
    None,
    /// User name and password.
    Password(&'a str, &'a str),
}

/// Writes the messages of one client for one address.
#[derive(Clone, Debug)]
pub struct Messages {
    header: RequestHeader,
}

impl Messages {
    /// Messages to this URL at this time.
    #[must_use]
    pub fn new(to: &str, sign_in: SignIn<'_>, now: UnixTime) -> Self {
        let credentials = match sign_in {
            SignIn::None => None,
            SignIn::Password(user, password) => Some(Credentials {
                token: UsernameToken {
                    username: user.to_owned(),
                    password: Password::new(password.to_owned()),
                },
                timestamp: Timestamp {
                    created: Some(DateTime::from_unix(now.0)),
                    expires: Some(DateTime::from_unix(now.0 + 300)),
                },
            }),
        };
        Self { header: RequestHeader { message_id: MESSAGE_ID.to_owned(), to: to.to_owned(), credentials } }
    }

    /// GetPolicies for everything.
    #[must_use]
    pub fn get_policies(&self) -> String {
        GetPolicies { client: Client::default(), request_filter: None }.to_envelope(&self.header)
    }

    /// Issue; renewals too.
    #[must_use]
    pub fn issue(&self, request: &[u8]) -> String {
        let token = BinarySecurityToken { value_type: ValueType::Pkcs10, bytes: request.to_vec() };
        self.operation(Operation::Issue { token, request_id: None })
    }

    /// QueryTokenStatus.
    #[must_use]
    pub fn query(&self, id: &str) -> String {
        let request_id = RequestId::new(id).expect("a request id");
        self.operation(Operation::QueryTokenStatus { request_id })
    }

    /// KET.
    #[must_use]
    pub fn key_exchange_token(&self) -> String {
        self.operation(Operation::KeyExchangeToken)
    }

    fn operation(&self, operation: Operation) -> String {
        RequestSecurityToken { preferred_language: None, operation, additional_context: Vec::new() }
            .to_envelope(&self.header)
    }
}
