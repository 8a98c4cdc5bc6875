//! Result codes of the issuer. On the wire they are signed decimal numbers, in the documentation hexadecimal.

use std::fmt;

/// An HRESULT as MS-ERREF 2.1 defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hresult(i32);

macro_rules! results {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Hresult {
            $($(#[$doc])* pub const $name: Self = Self::from_code($value);)*

            /// The name that Windows' documentation gives the code, if it is one of the constants here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.code() {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

results! {
    /// Success.
    S_OK = 0;
    /// Not implemented.
    E_NOTIMPL = 0x8000_4001;
    /// An unspecified failure.
    E_FAIL = 0x8000_4005;
    /// The caller may not do this.
    E_ACCESSDENIED = 0x8007_0005;
    /// The data is invalid.
    ERROR_INVALID_DATA = 0x8007_000D;
    /// There is not enough memory; of a request, that it is too large.
    E_OUTOFMEMORY = 0x8007_000E;
    /// An argument is invalid.
    E_INVALIDARG = 0x8007_0057;
    /// A quota is used up.
    ERROR_NOT_ENOUGH_QUOTA = 0x8007_0718;
    /// The CA cannot be reached.
    RPC_S_SERVER_UNAVAILABLE = 0x8007_06BA;
    /// The cryptographic message is of another type than announced.
    CRYPT_E_INVALID_MSG_TYPE = 0x8009_1004;
    /// The signed message has no usable signer.
    CRYPT_E_NO_SIGNER = 0x8009_200E;
    /// The subject name of the request is invalid or too long.
    CERTSRV_E_BAD_REQUESTSUBJECT = 0x8009_4001;
    /// The request does not exist.
    CERTSRV_E_NO_REQUEST = 0x8009_4002;
    /// The status of the request does not allow the operation.
    CERTSRV_E_BAD_REQUESTSTATUS = 0x8009_4003;
    /// The property is empty; also what an unknown request id answers.
    CERTSRV_E_PROPERTY_EMPTY = 0x8009_4004;
    /// The officer may not do this for the requester.
    CERTSRV_E_RESTRICTEDOFFICER = 0x8009_4009;
    /// Key archival is not configured.
    CERTSRV_E_KEY_ARCHIVAL_NOT_CONFIGURED = 0x8009_400A;
    /// The renewal certificate attribute does not fit.
    CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE = 0x8009_400E;
    /// The caller may not enroll with this CA.
    CERTSRV_E_ENROLL_DENIED = 0x8009_4011;
    /// The caller may not enroll for this template.
    CERTSRV_E_TEMPLATE_DENIED = 0x8009_4012;
    /// An officer denied the request.
    CERTSRV_E_ADMIN_DENIED_REQUEST = 0x8009_4014;
    /// The CA does not offer the template.
    CERTSRV_E_UNSUPPORTED_CERT_TYPE = 0x8009_4800;
    /// The request names no template.
    CERTSRV_E_NO_CERT_TYPE = 0x8009_4801;
    /// The request names two different templates.
    CERTSRV_E_TEMPLATE_CONFLICT = 0x8009_4802;
    /// The request must archive its key.
    CERTSRV_E_ARCHIVED_KEY_REQUIRED = 0x8009_4804;
    /// The subject differs from that of the certificate to renew.
    CERTSRV_E_BAD_RENEWAL_SUBJECT = 0x8009_4806;
    /// The template version is newer or older than the CA's.
    CERTSRV_E_BAD_TEMPLATE_VERSION = 0x8009_4807;
    /// A signature with a certain policy is required.
    CERTSRV_E_SIGNATURE_POLICY_REQUIRED = 0x8009_4809;
    /// More signatures are required.
    CERTSRV_E_SIGNATURE_COUNT = 0x8009_480A;
    /// A signature is rejected.
    CERTSRV_E_SIGNATURE_REJECTED = 0x8009_480B;
    /// The requester has no user principal name.
    CERTSRV_E_SUBJECT_UPN_REQUIRED = 0x8009_480D;
    /// The requester has no directory GUID.
    CERTSRV_E_SUBJECT_DIRECTORY_GUID_REQUIRED = 0x8009_480E;
    /// The requester has no DNS name.
    CERTSRV_E_SUBJECT_DNS_REQUIRED = 0x8009_480F;
    /// The request archives a key and must not.
    CERTSRV_E_ARCHIVED_KEY_UNEXPECTED = 0x8009_4810;
    /// The key is too short.
    CERTSRV_E_KEY_LENGTH = 0x8009_4811;
    /// The requester has no mail address.
    CERTSRV_E_SUBJECT_EMAIL_REQUIRED = 0x8009_4812;
    /// The renewal must use the same key.
    CERTSRV_E_RENEWAL_BAD_PUBLIC_KEY = 0x8009_4816;
    /// The endorsement key is invalid.
    CERTSRV_E_INVALID_EK = 0x8009_4817;
    /// Key attestation failed.
    CERTSRV_E_KEY_ATTESTATION = 0x8009_481A;
}

impl Hresult {
    /// From the number as documentation prints it.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        Self(code.cast_signed())
    }

    /// The number as documentation prints it.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0.cast_unsigned()
    }

    /// The number as the wire has it.
    #[must_use]
    pub const fn decimal(self) -> i32 {
        self.0
    }

    /// From decimal text. Values above the signed range are taken as unsigned, since some servers write them so.
    #[must_use]
    pub fn from_decimal(text: &str) -> Option<Self> {
        let value: i64 = text.parse().ok()?;
        i32::try_from(value).map(Self).or_else(|_| u32::try_from(value).map(Self::from_code)).ok()
    }
}

impl fmt::Display for Hresult {
    /// Hexadecimal, with the name where it is known: `0x80094012 CERTSRV_E_TEMPLATE_DENIED`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08X}", self.code())?;
        match self.name() {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}
