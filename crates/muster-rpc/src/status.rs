//! The numbers that say what went wrong, with the names that administrators find them by.

use std::fmt;

/// The status of a fault (C706 appendix E, MS-ERREF), or of a call that failed in the runtime of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultStatus(pub u32);

/// What a method returned: an HRESULT; 0 is success, and so is what has the first bit clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HResult(pub u32);

macro_rules! named {
    ($kind:ident: $($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl $kind {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Its symbolic name, if it is one that occurs here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(out, "{name} ({:#010x})", self.0),
                    None => write!(out, "{:#010x}", self.0),
                }
            }
        }
    };
}

named! { FaultStatus:
    /// The caller may not, or the protection is too low.
    ACCESS_DENIED = 0x0000_0005, "ERROR_ACCESS_DENIED";
    /// No such method.
    OP_RANGE = 0x1c01_0002, "nca_s_op_rng_error";
    /// No such interface.
    UNKNOWN_INTERFACE = 0x1c01_0003, "nca_s_unk_if";
    /// The peer broke the protocol.
    PROTOCOL = 0x1c01_000b, "nca_s_proto_error";
    /// The server is full.
    TOO_BUSY = 0x1c01_0014, "nca_s_server_too_busy";
    /// The transfer syntax is not spoken.
    UNSUPPORTED_TYPE = 0x1c01_0017, "nca_s_unsupported_type";
    /// A fault of the server's program.
    UNSPECIFIED = 0x1c00_0012, "nca_s_fault_unspec";
    /// The context is not that of a bind.
    CONTEXT_MISMATCH = 0x1c00_001a, "nca_s_fault_context_mismatch";
    /// The arguments cannot be read.
    BAD_STUB_DATA = 0x0000_06f7, "RPC_X_BAD_STUB_DATA";
    /// The server does not take calls.
    SERVER_UNAVAILABLE = 0x0000_06ba, "RPC_S_SERVER_UNAVAILABLE";
    /// The server does not take further calls.
    SERVER_TOO_BUSY = 0x0000_06bb, "RPC_S_SERVER_TOO_BUSY";
    /// No such interface.
    UNKNOWN_IF = 0x0000_06b5, "RPC_S_UNKNOWN_IF";
    /// The call failed.
    CALL_FAILED = 0x0000_06be, "RPC_S_CALL_FAILED";
    /// No such method.
    PROCNUM_OUT_OF_RANGE = 0x0000_06d1, "RPC_S_PROCNUM_OUT_OF_RANGE";
    /// The security package failed: a message does not verify.
    SECURITY_PACKAGE = 0x0000_0721, "RPC_S_SEC_PKG_ERROR";
    /// The object has gone.
    DISCONNECTED = 0x8001_0108, "RPC_E_DISCONNECTED";
    /// No such object.
    INVALID_OBJECT = 0x8001_0114, "RPC_E_INVALID_OBJECT";
    /// The version of ORPC is not spoken.
    VERSION_MISMATCH = 0x8001_0110, "RPC_E_VERSION_MISMATCH";
    /// The caller may not.
    E_ACCESS_DENIED = 0x8007_0005, "E_ACCESSDENIED";
}

named! { HResult:
    /// Success.
    OK = 0x0000_0000, "S_OK";
    /// The caller may not.
    ACCESS_DENIED = 0x8007_0005, "E_ACCESSDENIED";
    /// An argument is wrong, such as the name of the authority.
    INVALID_ARGUMENT = 0x8007_0057, "E_INVALIDARG";
    /// The handle is invalid: no view is open.
    INVALID_HANDLE = 0x8007_0006, "ERROR_INVALID_HANDLE";
    /// The data are invalid: the certificate is not in a state for this.
    INVALID_DATA = 0x8007_000d, "ERROR_INVALID_DATA";
    /// Something else is going on: a view is open already.
    UNEXPECTED = 0x8000_ffff, "E_UNEXPECTED";
    /// Out of memory.
    OUT_OF_MEMORY = 0x8007_000e, "E_OUTOFMEMORY";
    /// No such interface.
    NO_INTERFACE = 0x8000_4002, "E_NOINTERFACE";
    /// Not there.
    NOT_IMPLEMENTED = 0x8000_4001, "E_NOTIMPL";
    /// An unspecified failure.
    FAIL = 0x8000_4005, "E_FAIL";
    /// The class is not registered: there is no authority.
    CLASS_NOT_REGISTERED = 0x8004_0154, "REGDB_E_CLASSNOTREG";
    /// The server could not be started: the service is stopped.
    SERVER_EXEC_FAILURE = 0x8008_0005, "CO_E_SERVER_EXEC_FAILURE";
    /// The service is disabled.
    SERVICE_DISABLED = 0x8007_0422, "ERROR_SERVICE_DISABLED";
    /// The server does not take calls.
    SERVER_UNAVAILABLE = 0x8007_06ba, "RPC_S_SERVER_UNAVAILABLE";
    /// The request's subject is wrong.
    BAD_REQUEST_SUBJECT = 0x8009_4001, "CERTSRV_E_BAD_REQUESTSUBJECT";
    /// The request does not exist.
    NO_REQUEST = 0x8009_4002, "CERTSRV_E_NO_REQUEST";
    /// The request is not in a state for this.
    BAD_REQUEST_STATUS = 0x8009_4003, "CERTSRV_E_BAD_REQUESTSTATUS";
    /// The request or property does not exist.
    PROPERTY_EMPTY = 0x8009_4004, "CERTSRV_E_PROPERTY_EMPTY";
    /// The authority's role does not permit this.
    RESTRICTED_OFFICER = 0x8009_4009, "CERTSRV_E_RESTRICTEDOFFICER";
    /// No archival of keys.
    KEY_ARCHIVAL = 0x8009_400a, "CERTSRV_E_KEY_ARCHIVAL_NOT_CONFIGURED";
    /// The caller may not do this with certificates.
    CERTSRV_DENIED = 0x8009_4011, "CERTSRV_E_ENROLL_DENIED";
    /// The caller may not enroll for this template.
    TEMPLATE_DENIED = 0x8009_4012, "CERTSRV_E_TEMPLATE_DENIED";
    /// The request was denied earlier.
    ADMIN_DENIED = 0x8009_4014, "CERTSRV_E_ADMIN_DENIED_REQUEST";
    /// The authority does not offer this template.
    UNSUPPORTED_CERT_TYPE = 0x8009_4800, "CERTSRV_E_UNSUPPORTED_CERT_TYPE";
    /// No template is named.
    NO_CERT_TYPE = 0x8009_4801, "CERTSRV_E_NO_CERT_TYPE";
    /// A signature of an enrollment agent is missing.
    SIGNATURE_COUNT = 0x8009_480a, "CERTSRV_E_SIGNATURE_COUNT";
    /// A name that the directory should have is missing.
    SUBJECT_DNS_REQUIRED = 0x8009_480f, "CERTSRV_E_SUBJECT_DNS_REQUIRED";
    /// An e-mail address that the directory should have is missing.
    SUBJECT_EMAIL_REQUIRED = 0x8009_4812, "CERTSRV_E_SUBJECT_EMAIL_REQUIRED";
    /// The key is too short.
    KEY_LENGTH = 0x8009_4811, "CERTSRV_E_KEY_LENGTH";
    /// The request cannot be read.
    BAD_TAG = 0x8009_310b, "CRYPT_E_ASN1_BADTAG";
    /// The request is of another form than was said.
    INVALID_MESSAGE_TYPE = 0x8009_1004, "CRYPT_E_INVALID_MSG_TYPE";
    /// The revocation server is offline.
    REVOCATION_OFFLINE = 0x8009_2013, "CRYPT_E_REVOCATION_OFFLINE";
}

impl HResult {
    /// Whether the method says that it did what it was asked for.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 & 0x8000_0000 == 0
    }
}
