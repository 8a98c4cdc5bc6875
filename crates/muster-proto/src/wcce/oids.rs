//! Object identifiers of the request and response formats, named as MS-WCCE and the RFCs name them.

use der::asn1::ObjectIdentifier;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $oid:literal;)*) => {
        $($(#[$doc])* pub const $name: ObjectIdentifier = ObjectIdentifier::new_unwrap($oid);)*
    };
}

oids! {
    /// CMS signedData.
    ID_SIGNED_DATA = "1.2.840.113549.1.7.2";
    /// CMS data.
    ID_DATA = "1.2.840.113549.1.7.1";
    /// Content type of a CMC full request.
    ID_CCT_PKI_DATA = "1.3.6.1.5.5.7.12.2";
    /// Content type of a CMC full response.
    ID_CCT_PKI_RESPONSE = "1.3.6.1.5.5.7.12.3";
    /// CMC control: status.
    ID_CMC_STATUS_INFO = "1.3.6.1.5.5.7.7.1";
    /// CMC control: extensions that a registration authority adds.
    ID_CMC_ADD_EXTENSIONS = "1.3.6.1.5.5.7.7.8";
    /// CMC control: registration info, name=value pairs (MS-WCCE 2.2.2.6.3).
    ID_CMC_REG_INFO = "1.3.6.1.5.5.7.7.18";
    /// CMC control: attributes added to a request or a response.
    CMC_ADD_ATTRIBUTES = "1.3.6.1.4.1.311.10.10.1";
    /// Signature algorithm of a SignerInfo that holds only a digest (RFC 5272 section 4.2.1).
    ID_ALG_NO_SIGNATURE = "1.3.6.1.5.5.7.6.2";
    /// Signed attribute: content type.
    CONTENT_TYPE = "1.2.840.113549.1.9.3";
    /// Signed attribute: message digest.
    MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
    /// PKCS#9 extension request attribute.
    EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
    /// Extension request attribute, older form (szOID_CERT_EXTENSIONS).
    CERT_EXTENSIONS = "1.3.6.1.4.1.311.2.1.14";
    /// Certificate that is to be renewed.
    RENEWAL_CERTIFICATE = "1.3.6.1.4.1.311.13.1";
    /// Name-value pair.
    ENROLLMENT_NAME_VALUE_PAIR = "1.3.6.1.4.1.311.13.2.1";
    /// Cryptographic provider of the client.
    ENROLLMENT_CSP_PROVIDER = "1.3.6.1.4.1.311.13.2.2";
    /// Operating system version of the client.
    OS_VERSION = "1.3.6.1.4.1.311.13.2.3";
    /// Extension: template name (schema 1).
    ENROLL_CERTTYPE = "1.3.6.1.4.1.311.20.2";
    /// Extended key usage: enrollment agent.
    ENROLLMENT_AGENT = "1.3.6.1.4.1.311.20.2.1";
    /// Other name: user principal name.
    NT_PRINCIPAL_NAME = "1.3.6.1.4.1.311.20.2.3";
    /// Extended key usage: CA exchange.
    CA_EXCHANGE = "1.3.6.1.4.1.311.21.5";
    /// Extension: template OID and version (schema 2 and later).
    CERTIFICATE_TEMPLATE = "1.3.6.1.4.1.311.21.7";
    /// Extension: application policies.
    APPLICATION_CERT_POLICIES = "1.3.6.1.4.1.311.21.10";
    /// Unsigned attribute: archived private key.
    ARCHIVED_KEY_ATTR = "1.3.6.1.4.1.311.21.13";
    /// Response attribute: SHA-1 of the issued certificate.
    ISSUED_CERT_HASH = "1.3.6.1.4.1.311.21.17";
    /// Client information.
    REQUEST_CLIENT_INFO = "1.3.6.1.4.1.311.21.20";
    /// Hash of the encrypted private key.
    ENCRYPTED_KEY_HASH = "1.3.6.1.4.1.311.21.21";
    /// Attestation: endorsement key info.
    EK_INFO = "1.3.6.1.4.1.311.21.23";
    /// Attestation: key storage provider name.
    ENROLL_KSP_NAME = "1.3.6.1.4.1.311.21.25";
    /// Attestation: hash of the exchange certificate.
    ENROLL_CAXCHGCERT_HASH = "1.3.6.1.4.1.311.21.27";
    /// Attestation: challenge.
    ENROLL_ATTESTATION_CHALLENGE = "1.3.6.1.4.1.311.21.28";
    /// Attestation: encryption algorithm.
    ENROLL_ENCRYPTION_ALGORITHM = "1.3.6.1.4.1.311.21.29";
    /// Attestation: statement.
    ATTESTATION_STATEMENT = "1.3.6.1.4.1.311.21.33";
    /// Attestation: attestation identity key info.
    AIK_INFO = "1.3.6.1.4.1.311.21.39";
    /// Extension: security identifier of the requester.
    NTDS_CA_SECURITY_EXT = "1.3.6.1.4.1.311.25.2";
    /// Other name inside [`NTDS_CA_SECURITY_EXT`].
    NTDS_OBJECTSID = "1.3.6.1.4.1.311.25.2.1";
    /// Extension: subject alternative name.
    SUBJECT_ALT_NAME = "2.5.29.17";
    /// Extension: subject key identifier.
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14";
    /// Extension: extended key usage.
    EXT_KEY_USAGE = "2.5.29.37";
    /// RSA keys, and PKCS#1 signatures where the digest is named elsewhere.
    RSA_ENCRYPTION = "1.2.840.113549.1.1.1";
    /// RSA PKCS#1 with SHA-1.
    SHA1_WITH_RSA = "1.2.840.113549.1.1.5";
    /// RSA PKCS#1 with SHA-1, older identifier.
    SHA1_WITH_RSA_OIW = "1.3.14.3.2.29";
    /// RSA-PSS.
    RSASSA_PSS = "1.2.840.113549.1.1.10";
    /// RSA PKCS#1 with SHA-256.
    SHA256_WITH_RSA = "1.2.840.113549.1.1.11";
    /// RSA PKCS#1 with SHA-384.
    SHA384_WITH_RSA = "1.2.840.113549.1.1.12";
    /// RSA PKCS#1 with SHA-512.
    SHA512_WITH_RSA = "1.2.840.113549.1.1.13";
    /// Mask generation function of RSA-PSS.
    MGF1 = "1.2.840.113549.1.1.8";
    /// EC keys.
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    /// NIST P-256.
    SECP256R1 = "1.2.840.10045.3.1.7";
    /// NIST P-384.
    SECP384R1 = "1.3.132.0.34";
    /// NIST P-521.
    SECP521R1 = "1.3.132.0.35";
    /// ECDSA with SHA-1.
    ECDSA_WITH_SHA1 = "1.2.840.10045.4.1";
    /// ECDSA with the digest as parameter (what Windows calls an alternate signature).
    ECDSA_WITH_SPECIFIED = "1.2.840.10045.4.3";
    /// ECDSA with SHA-256.
    ECDSA_WITH_SHA256 = "1.2.840.10045.4.3.2";
    /// ECDSA with SHA-384.
    ECDSA_WITH_SHA384 = "1.2.840.10045.4.3.3";
    /// ECDSA with SHA-512.
    ECDSA_WITH_SHA512 = "1.2.840.10045.4.3.4";
    /// Ed25519 keys and signatures.
    ED25519 = "1.3.101.112";
    /// SHA-1.
    SHA1 = "1.3.14.3.2.26";
    /// SHA-256.
    SHA256 = "2.16.840.1.101.3.4.2.1";
    /// SHA-384.
    SHA384 = "2.16.840.1.101.3.4.2.2";
    /// SHA-512.
    SHA512 = "2.16.840.1.101.3.4.2.3";
}
