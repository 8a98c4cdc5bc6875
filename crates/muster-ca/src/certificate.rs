//! Building and signing end-entity certificates: [`Authority`] as [`Issuer`].
//!
//! Everything that is the same in every certificate (issuer, authority key identifier, addresses, algorithm) was
//! encoded when the authority was opened. What a request said gets in only as far as policy put it into
//! [`CertificateContents`]; the public key is copied octet by octet.

use std::sync::atomic::Ordering;

use const_oid::db::rfc5280::{
    ID_CE_CERTIFICATE_POLICIES, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::asn1::SequenceRef;
use der::{Decode, Reader, SliceReader};
use muster_core::Serial;
use muster_core::issuance::{Issuer, PrepareError, SignError};
use muster_core::policy::CertificateContents;

use crate::authority::Authority;
use crate::encode::{Der, INTEGER, OCTET_STRING, Time, context_constructed};
use crate::extensions::{self, Criticality};
use crate::{lint, names};

/// Room for a certificate of the usual size, so that the buffer does not grow while it is written.
const USUAL_SIZE: usize = 1_536;

impl Issuer for Authority {
    fn build(&self, contents: &CertificateContents, serial: Serial) -> Result<Vec<u8>, PrepareError> {
        self.build_tbs(contents, serial).map_err(PrepareError::Build)
    }

    fn lint(&self, contents: &CertificateContents, tbs: &[u8]) -> Result<(), PrepareError> {
        lint::check(self, contents, tbs).map_err(|finding| PrepareError::Lint(finding.to_string()))
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        if <&SequenceRef>::from_der(tbs).is_err() {
            return Err(SignError("the octets to be signed are not one DER sequence".to_owned()));
        }
        let signature = self.key().sign(tbs).map_err(|e| SignError(e.to_string()))?;
        if self.due_for_verification() && !self.key().verifies(tbs, &signature) {
            return Err(SignError("the signature that the key made does not verify".to_owned()));
        }
        Ok(self.assemble(tbs, &signature))
    }
}

impl Authority {
    fn build_tbs(&self, contents: &CertificateContents, serial: Serial) -> Result<Vec<u8>, String> {
        names::check_subject(&contents.subject)?;
        names::check_alternatives(&contents.alternatives)?;
        if contents.subject.0.is_empty() && contents.alternatives.is_empty() {
            return Err("there is neither a subject nor an alternative name".to_owned());
        }
        let instant = |t| Time::new(t).ok_or_else(|| format!("{t} is outside the years 1970 to 9999"));
        let not_before = instant(contents.not_before)?;
        let not_after = instant(contents.not_after)?;
        let usage = extensions::usage_bits(&contents.usage);
        if usage == 0 {
            return Err("no key usage of the template fits this kind of key".to_owned());
        }
        if contents.eku.is_empty() {
            return Err("there is no extended key usage".to_owned());
        }
        let public_key = subject_public_key(&contents.spki)
            .ok_or_else(|| "the public key is not a SubjectPublicKeyInfo".to_owned())?;
        let key_identifier = extensions::key_identifier(public_key);

        let mut der = Der::with_capacity(USUAL_SIZE);
        der.sequence(|der| {
            // v3
            der.nested(context_constructed(0), |der| der.unsigned(2));
            der.magnitude(INTEGER, serial.as_bytes());
            der.raw(self.algorithm_identifier());
            der.raw(self.subject());
            der.sequence(|der| {
                der.time(&not_before);
                der.time(&not_after);
            });
            names::write_subject(der, &contents.subject);
            der.raw(&contents.spki);
            der.nested(context_constructed(3), |der| {
                der.sequence(|der| self.write_extensions(der, contents, usage, &key_identifier));
            });
        });
        Ok(der.finish())
    }

    /// In the order in which [`crate::lint`] expects them.
    fn write_extensions(
        &self,
        der: &mut Der,
        contents: &CertificateContents,
        usage: u8,
        key_identifier: &[u8],
    ) {
        use Criticality::{Critical, NotCritical};
        der.raw(self.authority_key_identifier());
        extensions::write(der, ID_CE_SUBJECT_KEY_IDENTIFIER, NotCritical, |der| {
            der.primitive(OCTET_STRING, key_identifier);
        });
        extensions::write(der, ID_CE_KEY_USAGE, Critical, |der| extensions::write_usage(der, usage));
        extensions::write(der, ID_CE_EXT_KEY_USAGE, NotCritical, |der| {
            extensions::write_purposes(der, &contents.eku);
        });
        extensions::write(der, extensions::TEMPLATE, NotCritical, |der| {
            extensions::write_template(der, &contents.template);
        });
        // Windows reads this one in place of the extended key usage where both are there: they are always equal.
        extensions::write(der, extensions::APPLICATION_POLICIES, NotCritical, |der| {
            extensions::write_policies(der, &contents.eku);
        });
        if !contents.policies.is_empty() {
            extensions::write(der, ID_CE_CERTIFICATE_POLICIES, NotCritical, |der| {
                extensions::write_policies(der, &contents.policies);
            });
        }
        if !contents.alternatives.is_empty() {
            // RFC 5280 4.2.1.6: critical where it is the only name.
            let criticality = if contents.subject.0.is_empty() { Critical } else { NotCritical };
            extensions::write(der, ID_CE_SUBJECT_ALT_NAME, criticality, |der| {
                names::write_alternatives(der, &contents.alternatives);
            });
        }
        if let Some(sid) = &contents.sid {
            extensions::write(der, extensions::SECURITY, NotCritical, |der| {
                extensions::write_security_identifier(der, sid);
            });
        }
        der.raw(self.address_extensions());
    }

    /// A Certificate or CertificateList from its signed part.
    pub(crate) fn assemble(&self, tbs: &[u8], signature: &[u8]) -> Vec<u8> {
        let mut der = Der::with_capacity(tbs.len() + signature.len() + 64);
        der.sequence(|der| {
            der.raw(tbs);
            der.raw(self.algorithm_identifier());
            der.bit_string(signature);
        });
        der.finish()
    }

    /// Whether the next signature is to be verified.
    ///
    /// RSA: each, because a fault in an RSA signature can give the key away, and verifying costs little. ECDSA and
    /// Ed25519: the first ones after the CA was opened and then a sample, because verifying each would triple the
    /// price of signing. A key or module that is broken shows at once; a signature damaged in between is refused by
    /// the client that gets it, costs that client one more request, and tells nothing about the key.
    fn due_for_verification(&self) -> bool {
        let before = self.signatures().fetch_add(1, Ordering::Relaxed);
        self.algorithm().verifies_cheaply()
            || before < VERIFIED_AT_FIRST
            || before.is_multiple_of(VERIFIED_EVERY)
    }
}

/// How many signatures are verified after the CA was opened.
const VERIFIED_AT_FIRST: u64 = 64;
/// Of how many later signatures one is verified: with P-256 less than 1 µs each.
const VERIFIED_EVERY: u64 = 64;

/// The octets of the first element inside `certificate`, if its outer element is whole.
pub(crate) fn signed_part(certificate: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(certificate).ok()?;
    let part = reader
        .sequence(|reader| {
            let part = reader.tlv_bytes()?;
            reader.tlv_bytes()?;
            reader.tlv_bytes()?;
            Ok::<_, der::Error>(part)
        })
        .ok()?;
    reader.is_finished().then_some(part)
}

/// The octets of the BIT STRING in a SubjectPublicKeyInfo.
pub(crate) fn subject_public_key(spki: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(spki).ok()?;
    let bits = reader
        .sequence(|reader| {
            reader.tlv_bytes()?;
            reader.decode::<der::asn1::BitStringRef<'_>>()
        })
        .ok()?;
    if reader.is_finished() { bits.as_bytes() } else { None }
}
