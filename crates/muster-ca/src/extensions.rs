//! The extensions of certificates and revocation lists: identifiers and writers.

use aws_lc_rs::digest;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{
    ID_AD_CA_ISSUERS, ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_DISTRIBUTION_POINTS,
    ID_PE_AUTHORITY_INFO_ACCESS,
};
use muster_core::Oid;
use muster_core::identity::Sid;
use muster_core::template::KeyUsage;

use crate::encode::{BIT_STRING, BMP_STRING, BOOLEAN, Der, OCTET_STRING, OID, context, context_constructed};
use crate::names;

/// 1.3.6.1.4.1.311.21.7, certificate template (MS-WCCE 2.2.2.7.7.2).
pub(crate) const TEMPLATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.21.7");
/// 1.3.6.1.4.1.311.21.10, application certificate policies (MS-WCCE 2.2.2.7.7.3).
pub(crate) const APPLICATION_POLICIES: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.21.10");
/// 1.3.6.1.4.1.311.25.2, security identifier (MS-WCCE 2.2.2.7.7.4).
pub(crate) const SECURITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.25.2");
/// 1.3.6.1.4.1.311.25.2.1, the type of the one name inside [`SECURITY`].
pub(crate) const OBJECT_SID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.25.2.1");

/// Whether relying parties that do not know an extension must reject the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Criticality {
    Critical,
    NotCritical,
}

/// Octets of a key identifier.
pub(crate) const KEY_IDENTIFIER: usize = 20;

/// Key identifier: the leftmost 160 bits of SHA-256 over the subjectPublicKey octets (RFC 7093 2, method 1).
///
/// Computed here and never taken from a request: a directory may map certificates by it.
pub(crate) fn key_identifier(public_key: &[u8]) -> [u8; KEY_IDENTIFIER] {
    let mut identifier = [0; KEY_IDENTIFIER];
    for (to, from) in identifier.iter_mut().zip(digest::digest(&digest::SHA256, public_key).as_ref()) {
        *to = *from;
    }
    identifier
}

/// Writes one Extension.
pub(crate) fn write(
    der: &mut Der,
    identifier: ObjectIdentifier,
    criticality: Criticality,
    value: impl FnOnce(&mut Der),
) {
    der.sequence(|der| {
        der.primitive(OID, identifier.as_bytes());
        match criticality {
            Criticality::Critical => der.primitive(BOOLEAN, &[0xff]),
            Criticality::NotCritical => {}
        }
        der.nested(OCTET_STRING, value);
    });
}

/// Extension authorityKeyIdentifier (RFC 5280 4.2.1.1) with a key identifier.
pub(crate) fn authority_key_identifier(key_identifier: &[u8]) -> Vec<u8> {
    let mut der = Der::default();
    write(&mut der, ID_CE_AUTHORITY_KEY_IDENTIFIER, Criticality::NotCritical, |der| {
        der.sequence(|der| der.primitive(context(0), key_identifier));
    });
    der.finish()
}

/// Extension cRLDistributionPoints (RFC 5280 4.2.1.13) with one URL.
pub(crate) fn distribution_point(url: &str) -> Vec<u8> {
    let mut der = Der::default();
    write(&mut der, ID_CE_CRL_DISTRIBUTION_POINTS, Criticality::NotCritical, |der| {
        der.sequence(|der| {
            der.sequence(|der| {
                der.nested(context_constructed(0), |der| {
                    der.nested(context_constructed(0), |der| der.primitive(context(6), url.as_bytes()));
                });
            });
        });
    });
    der.finish()
}

/// Extension authorityInfoAccess (RFC 5280 4.2.2.1) with one URL of the CA's certificate.
pub(crate) fn issuer_access(url: &str) -> Vec<u8> {
    let mut der = Der::default();
    write(&mut der, ID_PE_AUTHORITY_INFO_ACCESS, Criticality::NotCritical, |der| {
        der.sequence(|der| {
            der.sequence(|der| {
                der.primitive(OID, ID_AD_CA_ISSUERS.as_bytes());
                der.primitive(context(6), url.as_bytes());
            });
        });
    });
    der.finish()
}

/// Bits of a KeyUsage value, the first bit of RFC 5280 4.2.1.3 (digitalSignature) in the highest position.
pub(crate) fn usage_bits(usage: &[KeyUsage]) -> u8 {
    usage.iter().fold(0, |bits, usage| {
        bits | match usage {
            KeyUsage::DigitalSignature => 0x80,
            KeyUsage::NonRepudiation => 0x40,
            KeyUsage::KeyEncipherment => 0x20,
            KeyUsage::DataEncipherment => 0x10,
            KeyUsage::KeyAgreement => 0x08,
        }
    })
}

/// keyCertSign and cRLSign in the same positions, beside digitalSignature: what a CA certificate has.
pub(crate) const CA_USAGE_BITS: u8 = 0x80 | 0x04 | 0x02;

/// Writes a KeyUsage value: a BIT STRING without trailing zero bits.
pub(crate) fn write_usage(der: &mut Der, bits: u8) {
    let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap_or_default();
    der.primitive(BIT_STRING, &[unused, bits]);
}

/// Writes an ExtKeyUsageSyntax (RFC 5280 4.2.1.12).
pub(crate) fn write_purposes(der: &mut Der, purposes: &[Oid]) {
    der.sequence(|der| purposes.iter().for_each(|purpose| der.oid(purpose)));
}

/// Writes a CertificatePolicies value without qualifiers (RFC 5280 4.2.1.4).
pub(crate) fn write_policies(der: &mut Der, policies: &[Oid]) {
    der.sequence(|der| policies.iter().for_each(|policy| der.sequence(|der| der.oid(policy))));
}

/// Writes a CertificateTemplateOID value: identifier, major and minor revision.
pub(crate) fn write_template(der: &mut Der, (oid, major, minor): &(Oid, u32, u32)) {
    der.sequence(|der| {
        der.oid(oid);
        der.unsigned(u64::from(*major));
        der.unsigned(u64::from(*minor));
    });
}

/// Writes the value of the security extension: GeneralNames of one otherName that holds the text form.
pub(crate) fn write_security_identifier(der: &mut Der, sid: &Sid) {
    der.sequence(|der| {
        names::write_other_name(der, OBJECT_SID.as_bytes(), OCTET_STRING, sid.as_str().as_bytes());
    });
}

/// The value of an extension that a policy answer offers to clients: what they are to copy into their requests
/// (MS-WCCE 3.1.2.4.2.2.1). What the CA issues never comes from there; see [`crate::Authority`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedExtension {
    /// Its identifier, dotted.
    pub oid: &'static str,
    /// Whether it is critical.
    pub critical: bool,
    /// DER of the value.
    pub value: Vec<u8>,
}

/// How a request is to name its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferedTemplate<'a> {
    /// By identifier and revision.
    Version(&'a (Oid, u32, u32)),
    /// By name: one of schema 1, whose clients know nothing else (MS-CRTD 2.16).
    Name(&'a str),
}

/// The extensions of a template for a policy answer: template, extended key usage, key usage, application policies. One
/// of schema 1 has no application policies.
#[must_use]
pub fn offered(template: OfferedTemplate<'_>, purposes: &[Oid], usage: &[KeyUsage]) -> Vec<OfferedExtension> {
    let extension = |oid, critical, write: &dyn Fn(&mut Der)| {
        let mut der = Der::default();
        write(&mut der);
        OfferedExtension { oid, critical, value: der.finish() }
    };
    let mut list = vec![
        match template {
            OfferedTemplate::Version(version) => {
                extension("1.3.6.1.4.1.311.21.7", false, &|der| write_template(der, version))
            }
            OfferedTemplate::Name(name) => {
                let octets: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
                extension("1.3.6.1.4.1.311.20.2", false, &|der| der.primitive(BMP_STRING, &octets))
            }
        },
        extension("2.5.29.37", false, &|der| write_purposes(der, purposes)),
        extension("2.5.29.15", true, &|der| write_usage(der, usage_bits(usage))),
    ];
    if matches!(template, OfferedTemplate::Version(_)) {
        list.push(extension("1.3.6.1.4.1.311.21.10", false, &|der| write_policies(der, purposes)));
    }
    list
}
