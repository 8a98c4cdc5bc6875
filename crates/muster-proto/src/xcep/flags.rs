//! Flag words and numbers of templates, as Active Directory stores them and MS-XCEP passes them on unmasked.
//!
//! Every type is a transparent number, since templates carry bits that nobody documented.

/// Defines a flag word with named bits.
macro_rules! flags {
    ($(#[$doc:meta])* $type:ident { $($(#[$bit_doc:meta])* $name:ident = $value:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $type(pub u32);

        impl $type {
            $($(#[$bit_doc])* pub const $name: Self = Self($value);)*

            /// Are all bits of `other` set?
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of both.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// From a directory attribute, which stores the word as a signed number.
            #[must_use]
            pub const fn from_signed(value: i32) -> Self {
                Self(value.cast_unsigned())
            }
        }

        impl std::ops::BitOr for $type {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }
    };
}

/// Defines a number with named values.
macro_rules! numbers {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $name:ident = $value:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub u32);

        impl $type {
            $($(#[$value_doc])* pub const $name: Self = Self($value);)*
        }
    };
}

flags! {
    /// `msPKI-Enrollment-Flag` (MS-CRTD 2.26): what the CA and the client do around enrollment.
    EnrollmentFlags {
        /// Add an S/MIME capabilities extension.
        INCLUDE_SYMMETRIC_ALGORITHMS = 0x0000_0001;
        /// Every request waits for an officer.
        PEND_ALL_REQUESTS = 0x0000_0002;
        /// Publish to the key recovery agent container.
        PUBLISH_TO_KRA_CONTAINER = 0x0000_0004;
        /// Publish the certificate to the requester's directory object.
        PUBLISH_TO_DS = 0x0000_0008;
        /// Do not enroll again while userCertificate holds a valid one.
        AUTO_ENROLLMENT_CHECK_USER_DS_CERTIFICATE = 0x0000_0010;
        /// Autoenrollment is allowed.
        AUTO_ENROLLMENT = 0x0000_0020;
        /// A renewal signed by the old certificate needs no further signatures.
        PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT = 0x0000_0040;
        /// Ask the person first.
        USER_INTERACTION_REQUIRED = 0x0000_0100;
        /// Remove expired and revoked certificates from the personal store.
        REMOVE_INVALID_CERTIFICATE_FROM_PERSONAL_STORE = 0x0000_0400;
        /// Allow enrollment on behalf of others.
        ALLOW_ENROLL_ON_BEHALF_OF = 0x0000_0800;
        /// Add the OCSP "no check" extension.
        ADD_OCSP_NOCHECK = 0x0000_1000;
        /// Reuse the key when the smart card is full.
        ENABLE_KEY_REUSE_ON_NT_TOKEN_KEYSET_STORAGE_FULL = 0x0000_2000;
        /// Leave out revocation information.
        NO_REVOCATION_INFO_IN_ISSUED_CERTS = 0x0000_4000;
        /// Add basic constraints to end entity certificates.
        INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS = 0x0000_8000;
        /// Key-based renewal: the old certificate is approval enough.
        ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT = 0x0001_0000;
        /// Take issuance policies from the request.
        ISSUANCE_POLICIES_FROM_REQUEST = 0x0002_0000;
        /// Do not renew automatically.
        SKIP_AUTO_RENEWAL = 0x0004_0000;
        /// Leave out the extension that names the account's security identifier.
        NO_SECURITY_EXTENSION = 0x0008_0000;
    }
}

flags! {
    /// `msPKI-Private-Key-Flag` (MS-CRTD 2.27): how the key is made and guarded, and version requirements.
    PrivateKeyFlags {
        /// The CA must archive the key.
        REQUIRE_PRIVATE_KEY_ARCHIVAL = 0x0000_0001;
        /// The key may be exported.
        EXPORTABLE_KEY = 0x0000_0010;
        /// The key is protected by a prompt.
        STRONG_KEY_PROTECTION_REQUIRED = 0x0000_0020;
        /// Use an alternate signature format such as RSASSA-PSS.
        REQUIRE_ALTERNATE_SIGNATURE_ALGORITHM = 0x0000_0040;
        /// A renewal must use the same key.
        REQUIRE_SAME_KEY_RENEWAL = 0x0000_0080;
        /// Use a legacy provider; OID lists of the template are in the old form.
        USE_LEGACY_PROVIDER = 0x0000_0100;
        /// Key attestation may be vouched for by credentials.
        ATTEST_TRUST_ON_USE = 0x0000_0200;
        /// Key attestation by an endorsement certificate.
        ATTEST_VALIDATE_CERT = 0x0000_0400;
        /// Key attestation by a list of endorsement keys.
        ATTEST_VALIDATE_KEY = 0x0000_0800;
        /// Attest the key if possible.
        ATTEST_PREFERRED = 0x0000_1000;
        /// The key must be attested.
        ATTEST_REQUIRED = 0x0000_2000;
        /// Issue without the attestation policy.
        ATTESTATION_WITHOUT_POLICY = 0x0000_4000;
        /// The key is a Windows Hello key.
        HELLO_LOGON_KEY = 0x0020_0000;
        /// The bits that hold the lowest CA version, see [`PrivateKeyFlags::server_version`].
        SERVER_VERSION_MASK = 0x000F_0000;
        /// The bits that hold the lowest client version, see [`PrivateKeyFlags::client_version`].
        CLIENT_VERSION_MASK = 0x0F00_0000;
    }
}

impl PrivateKeyFlags {
    /// Lowest CA version: 1 Server 2003, 2 2008, 3 2008 R2, 4 2012, 5 2012 R2, 6 2016; 0 none.
    #[must_use]
    pub const fn server_version(self) -> u32 {
        (self.0 & Self::SERVER_VERSION_MASK.0) >> 16
    }

    /// Lowest client version: 1 Windows XP, 2 Vista, 3 7, 4 8, 5 8.1, 6 10; 0 none.
    #[must_use]
    pub const fn client_version(self) -> u32 {
        (self.0 & Self::CLIENT_VERSION_MASK.0) >> 24
    }
}

flags! {
    /// `msPKI-Certificate-Name-Flag` (MS-CRTD 2.28): where subject and alternative names come from.
    SubjectNameFlags {
        /// The request names the subject.
        ENROLLEE_SUPPLIES_SUBJECT = 0x0000_0001;
        /// A renewal takes the names of the old certificate.
        OLD_CERT_SUPPLIES_SUBJECT_AND_ALT_NAME = 0x0000_0008;
        /// The request names the alternative names.
        ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME = 0x0001_0000;
        /// Alternative name: DNS name of the domain.
        SUBJECT_ALT_REQUIRE_DOMAIN_DNS = 0x0040_0000;
        /// Alternative name: service principal names.
        SUBJECT_ALT_REQUIRE_SPN = 0x0080_0000;
        /// Alternative name: GUID of the directory object.
        SUBJECT_ALT_REQUIRE_DIRECTORY_GUID = 0x0100_0000;
        /// Alternative name: user principal name.
        SUBJECT_ALT_REQUIRE_UPN = 0x0200_0000;
        /// Alternative name: mail address.
        SUBJECT_ALT_REQUIRE_EMAIL = 0x0400_0000;
        /// Alternative name: DNS host name.
        SUBJECT_ALT_REQUIRE_DNS = 0x0800_0000;
        /// Subject: the DNS host name as common name.
        SUBJECT_REQUIRE_DNS_AS_CN = 0x1000_0000;
        /// Subject: mail address.
        SUBJECT_REQUIRE_EMAIL = 0x2000_0000;
        /// Subject: common name.
        SUBJECT_REQUIRE_COMMON_NAME = 0x4000_0000;
        /// Subject: the distinguished name in the directory.
        SUBJECT_REQUIRE_DIRECTORY_PATH = 0x8000_0000;
        /// What Windows' stock Computer template has: DNS name as common name and as alternative name.
        STOCK_COMPUTER = 0x1800_0000;
        /// What Windows' stock User template has.
        STOCK_USER = 0xA600_0000;
    }
}

flags! {
    /// `flags` of a template (MS-CRTD 2.4).
    GeneralFlags {
        /// Autoenrollment is allowed (schema 1).
        AUTO_ENROLLMENT = 0x0000_0020;
        /// The template is for machines; without it Windows refuses to enroll a machine.
        MACHINE_TYPE = 0x0000_0040;
        /// The certificate is one of a CA.
        IS_CA = 0x0000_0080;
        /// Add the template name extension.
        ADD_TEMPLATE_NAME = 0x0000_0200;
        /// The certificate is a cross certificate.
        IS_CROSS_CA = 0x0000_0800;
        /// Do not keep the request.
        DO_NOT_PERSIST_IN_DB = 0x0000_1000;
        /// One of Windows' stock templates.
        IS_DEFAULT = 0x0001_0000;
        /// A changed stock template.
        IS_MODIFIED = 0x0002_0000;
    }
}

flags! {
    /// `keyUsageProperty`: what a CNG key may do (`msPKI-Key-Usage`, MS-CRTD 2.23.2).
    KeyUsageProperty {
        /// Decrypt.
        DECRYPT = 0x0000_0001;
        /// Sign.
        SIGN = 0x0000_0002;
        /// Agree on keys.
        KEY_AGREEMENT = 0x0000_0004;
        /// Everything.
        ALL = 0x00FF_FFFF;
    }
}

numbers! {
    /// `keySpec`: the kind of key that a legacy provider makes.
    KeySpec {
        /// AT_KEYEXCHANGE.
        KEY_EXCHANGE = 1;
        /// AT_SIGNATURE.
        SIGNATURE = 2;
    }
}

numbers! {
    /// `group` of an [`super::Oid`] (MS-XCEP 3.1.4.1.3.16). With a wrong one Windows does not find a template by
    /// its name.
    OidGroup {
        /// Hash algorithm.
        HASH_ALGORITHM = 1;
        /// Encryption algorithm.
        ENCRYPTION_ALGORITHM = 2;
        /// Public key algorithm.
        PUBLIC_KEY_ALGORITHM = 3;
        /// Signature algorithm.
        SIGNATURE_ALGORITHM = 4;
        /// Part of a distinguished name.
        RDN = 5;
        /// Certificate extension or attribute.
        EXTENSION = 6;
        /// Extended key usage.
        EXTENDED_KEY_USAGE = 7;
        /// Certificate policy.
        CERTIFICATE_POLICY = 8;
        /// Enrollment object: a template.
        ENROLLMENT_OBJECT = 9;
    }
}

numbers! {
    /// `clientAuthentication` of a [`super::CaUri`] (MS-XCEP 3.1.4.1.3.6).
    ClientAuthentication {
        /// None; the signature inside of a renewal is all.
        ANONYMOUS = 1;
        /// Kerberos in the HTTP header.
        KERBEROS = 2;
        /// User name and password in the message.
        USERNAME_PASSWORD = 4;
        /// A certificate in TLS.
        CERTIFICATE = 8;
    }
}
