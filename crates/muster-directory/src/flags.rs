//! The flags of templates by name (MS-CRTD 2.4, 2.26 to 2.28), and what each leads to here.

use crate::finding::Effect;

/// What is said about one flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// The bit.
    pub(crate) bit: u32,
    /// The specification's name.
    pub(crate) name: &'static str,
    /// `None`: followed, or of interest to clients alone.
    pub(crate) remark: Option<(Effect, &'static str)>,
}

const fn followed(bit: u32, name: &'static str) -> Flag {
    Flag { bit, name, remark: None }
}

const fn ignored(bit: u32, name: &'static str, sentence: &'static str) -> Flag {
    Flag { bit, name, remark: Some((Effect::Ignored, sentence)) }
}

const fn refused(bit: u32, name: &'static str, sentence: &'static str) -> Flag {
    Flag { bit, name, remark: Some((Effect::Refused, sentence)) }
}

/// `flags` (MS-CRTD 2.4). Bits that are not listed are leftovers of schema 1 that nothing reads.
pub(crate) mod general {
    use super::{Flag, followed, refused};

    pub(crate) const AUTO_ENROLLMENT: u32 = 0x20;
    pub(crate) const MACHINE_TYPE: u32 = 0x40;
    pub(crate) const ADD_TEMPLATE_NAME: u32 = 0x200;
    pub(crate) const IS_MODIFIED: u32 = 0x2_0000;
    pub(crate) const ALL: &[Flag] = &[
        followed(AUTO_ENROLLMENT, "CT_FLAG_AUTO_ENROLLMENT"),
        followed(MACHINE_TYPE, "CT_FLAG_MACHINE_TYPE"),
        refused(
            0x80,
            "CT_FLAG_IS_CA",
            "certificates of CAs come from the CA's own commands, never from a template",
        ),
        followed(ADD_TEMPLATE_NAME, "CT_FLAG_ADD_TEMPLATE_NAME"),
        refused(
            0x800,
            "CT_FLAG_IS_CROSS_CA",
            "cross certificates come from the CA's own commands, never from a template",
        ),
        refused(
            0x1000,
            "CT_FLAG_DONOTPERSISTINDB",
            "every certificate that is issued here is recorded; clear the flag",
        ),
        followed(0x1_0000, "CT_FLAG_IS_DEFAULT"),
        followed(IS_MODIFIED, "CT_FLAG_IS_MODIFIED"),
    ];
}

/// `msPKI-Enrollment-Flag` (MS-CRTD 2.26).
pub(crate) mod enrollment {
    use super::{Flag, followed, ignored};

    pub(crate) const PEND_ALL_REQUESTS: u32 = 0x2;
    pub(crate) const PUBLISH_TO_DS: u32 = 0x8;
    pub(crate) const AUTO_ENROLLMENT: u32 = 0x20;
    pub(crate) const PREVIOUS_APPROVAL: u32 = 0x40;
    pub(crate) const KEY_BASED_RENEWAL: u32 = 0x1_0000;
    pub(crate) const KEY_BASED_RENEWAL_NAME: &str =
        "CT_FLAG_ALLOW_PREVIOUS_APPROVAL_KEYBASEDRENEWAL_VALIDATE_REENROLLMENT";
    pub(crate) const POLICIES_FROM_REQUEST: u32 = 0x2_0000;
    pub(crate) const NO_SECURITY_EXTENSION: u32 = 0x8_0000;
    pub(crate) const ALL: &[Flag] = &[
        ignored(
            0x1,
            "CT_FLAG_INCLUDE_SYMMETRIC_ALGORITHMS",
            "certificates carry no S/MIME capabilities; mail programs send them in messages",
        ),
        followed(PEND_ALL_REQUESTS, "CT_FLAG_PEND_ALL_REQUESTS"),
        ignored(0x4, "CT_FLAG_PUBLISH_TO_KRA_CONTAINER", "keys are not archived, so nobody recovers them"),
        ignored(
            PUBLISH_TO_DS,
            "CT_FLAG_PUBLISH_TO_DS",
            "certificates are not written to userCertificate of the account",
        ),
        followed(0x10, "CT_FLAG_AUTO_ENROLLMENT_CHECK_USER_DS_CERTIFICATE"),
        followed(AUTO_ENROLLMENT, "CT_FLAG_AUTO_ENROLLMENT"),
        followed(PREVIOUS_APPROVAL, "CT_FLAG_PREVIOUS_APPROVAL_VALIDATE_REENROLLMENT"),
        followed(0x100, "CT_FLAG_USER_INTERACTION_REQUIRED"),
        followed(0x400, "CT_FLAG_REMOVE_INVALID_CERTIFICATE_FROM_PERSONAL_STORE"),
        ignored(0x800, "CT_FLAG_ALLOW_ENROLL_ON_BEHALF_OF", "requests on behalf of others are refused"),
        ignored(
            0x1000,
            "CT_FLAG_ADD_OCSP_NOCHECK",
            "every certificate can be revoked, so it says where to look that up",
        ),
        followed(0x2000, "CT_FLAG_ENABLE_KEY_REUSE_ON_NT_TOKEN_KEYSET_STORAGE_FULL"),
        ignored(
            0x4000,
            "CT_FLAG_NOREVOCATIONINFOINISSUEDCERTS",
            "every certificate can be revoked, so it says where to look that up",
        ),
        ignored(
            0x8000,
            "CT_FLAG_INCLUDE_BASIC_CONSTRAINTS_FOR_EE_CERTS",
            "certificates of end entities carry no basic constraints",
        ),
        followed(KEY_BASED_RENEWAL, KEY_BASED_RENEWAL_NAME),
        ignored(
            POLICIES_FROM_REQUEST,
            "CT_FLAG_ISSUANCE_POLICIES_FROM_REQUEST",
            "requests do not choose certificate policies, so certificates carry none",
        ),
        followed(0x4_0000, "CT_FLAG_SKIP_AUTO_RENEWAL"),
        ignored(
            NO_SECURITY_EXTENSION,
            "CT_FLAG_NO_SECURITY_EXTENSION",
            "the security identifier is in every certificate; without it somebody else's could be mapped (ESC9)",
        ),
    ];
}

/// `msPKI-Private-Key-Flag` (MS-CRTD 2.27), without the versions in 0x0F0F0000.
pub(crate) mod private_key {
    use super::{Flag, followed, ignored, refused};

    pub(crate) const EXPORTABLE: u32 = 0x10;
    pub(crate) const SAME_KEY_RENEWAL: u32 = 0x80;
    pub(crate) const USE_LEGACY_PROVIDER: u32 = 0x100;
    pub(crate) const VERSIONS: u32 = 0x0f0f_0000;
    const TRUST: &str = "keys are not attested, so the kind of trust in attestation does not matter";
    pub(crate) const ALL: &[Flag] = &[
        refused(
            0x1,
            "CT_FLAG_REQUIRE_PRIVATE_KEY_ARCHIVAL",
            "private keys are not archived here; clear the flag, or let another CA serve the template",
        ),
        followed(EXPORTABLE, "CT_FLAG_EXPORTABLE_KEY"),
        followed(0x20, "CT_FLAG_STRONG_KEY_PROTECTION_REQUIRED"),
        followed(0x40, "CT_FLAG_REQUIRE_ALTERNATE_SIGNATURE_ALGORITHM"),
        followed(SAME_KEY_RENEWAL, "CT_FLAG_REQUIRE_SAME_KEY_RENEWAL"),
        followed(USE_LEGACY_PROVIDER, "CT_FLAG_USE_LEGACY_PROVIDER"),
        ignored(0x200, "CT_FLAG_EK_TRUST_ON_USE", TRUST),
        ignored(0x400, "CT_FLAG_EK_VALIDATE_CERT", TRUST),
        ignored(0x800, "CT_FLAG_EK_VALIDATE_KEY", TRUST),
        ignored(0x1000, "CT_FLAG_ATTEST_PREFERRED", "keys are not attested"),
        refused(
            0x2000,
            "CT_FLAG_ATTEST_REQUIRED",
            "keys cannot be attested here; make it preferred instead of required, or let another CA serve the template",
        ),
        ignored(0x4000, "CT_FLAG_ATTESTATION_WITHOUT_POLICY", TRUST),
        refused(0x20_0000, "CT_FLAG_HELLO_LOGON_KEY", "keys of Windows Hello are not supported"),
    ];
}

/// `msPKI-Certificate-Name-Flag` (MS-CRTD 2.28).
pub(crate) mod name {
    use super::{Flag, followed, ignored};

    pub(crate) const ENROLLEE_SUPPLIES_SUBJECT: u32 = 0x1;
    pub(crate) const OLD_CERTIFICATE_SUPPLIES_SUBJECT: u32 = 0x8;
    pub(crate) const ALT_DOMAIN_DNS: u32 = 0x40_0000;
    pub(crate) const ALT_SPN: u32 = 0x80_0000;
    pub(crate) const ALT_GUID: u32 = 0x100_0000;
    pub(crate) const ALT_UPN: u32 = 0x200_0000;
    pub(crate) const ALT_EMAIL: u32 = 0x400_0000;
    pub(crate) const ALT_DNS: u32 = 0x800_0000;
    pub(crate) const DNS_AS_CN: u32 = 0x1000_0000;
    pub(crate) const EMAIL: u32 = 0x2000_0000;
    pub(crate) const COMMON_NAME: u32 = 0x4000_0000;
    pub(crate) const DIRECTORY_PATH: u32 = 0x8000_0000;
    pub(crate) const ALL: &[Flag] = &[
        followed(ENROLLEE_SUPPLIES_SUBJECT, "CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT"),
        followed(OLD_CERTIFICATE_SUPPLIES_SUBJECT, "CT_FLAG_OLD_CERT_SUPPLIES_SUBJECT_AND_ALT_NAME"),
        ignored(
            0x1_0000,
            "CT_FLAG_ENROLLEE_SUPPLIES_SUBJECT_ALT_NAME",
            "the specification lets no CA follow it",
        ),
        followed(ALT_DOMAIN_DNS, "CT_FLAG_SUBJECT_ALT_REQUIRE_DOMAIN_DNS"),
        followed(ALT_SPN, "CT_FLAG_SUBJECT_ALT_REQUIRE_SPN"),
        followed(ALT_GUID, "CT_FLAG_SUBJECT_ALT_REQUIRE_DIRECTORY_GUID"),
        followed(ALT_UPN, "CT_FLAG_SUBJECT_ALT_REQUIRE_UPN"),
        followed(ALT_EMAIL, "CT_FLAG_SUBJECT_ALT_REQUIRE_EMAIL"),
        followed(ALT_DNS, "CT_FLAG_SUBJECT_ALT_REQUIRE_DNS"),
        followed(DNS_AS_CN, "CT_FLAG_SUBJECT_REQUIRE_DNS_AS_CN"),
        followed(EMAIL, "CT_FLAG_SUBJECT_REQUIRE_EMAIL"),
        followed(COMMON_NAME, "CT_FLAG_SUBJECT_REQUIRE_COMMON_NAME"),
        followed(DIRECTORY_PATH, "CT_FLAG_SUBJECT_REQUIRE_DIRECTORY_PATH"),
    ];
}
