//! MS-WSTEP: certificate enrollment over WS-Trust (the "CES" service).
//!
//! One body, `RequestSecurityToken`, carries three operations; which one is decided from the RequestType and the
//! Action together, once, into [`Operation`]. What the token holds (PKCS#10, CMS, CMC) is not looked at here: its
//! ValueType is kept, but samples exist where it lies, so whoever decodes the bytes looks at the bytes.

mod detail;
mod hresult;
mod request;
mod response;
mod token;

pub use detail::CertificateEnrollmentWSDetail;
pub use hresult::Hresult;
pub use request::{ContextItem, Operation, RequestSecurityToken, WstepError};
pub use response::{DispositionMessage, Issued, Pending, RequestSecurityTokenResponse};
pub use token::{BinarySecurityToken, RequestId, ValueType};
