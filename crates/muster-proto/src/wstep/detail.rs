//! The detail of an enrollment fault.

use super::hresult::Hresult;
use super::token::RequestId;
use crate::soap::names::{WSTEP, XSD, XSI};
use crate::soap::xml::Writer;

/// `CertificateEnrollmentWSDetail` (MS-WSTEP 3.1.4.1.3.7).
///
/// All four elements are written; `None` becomes `xsi:nil`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnrollmentWSDetail {
    /// CMC full response of the issuer with the status "failed", DER.
    pub binary_response: Option<Vec<u8>>,
    /// Why. A server always sends it.
    pub error_code: Option<Hresult>,
    /// True if the issuer denied the request, false if something else went wrong.
    pub invalid_request: bool,
    /// The issuer's number for the request, if it was recorded.
    pub request_id: Option<RequestId>,
}

impl CertificateEnrollmentWSDetail {
    pub(crate) fn write(&self, w: &mut Writer) {
        let namespaces = [("xmlns", WSTEP), ("xmlns:xsi", XSI), ("xmlns:xsd", XSD)];
        w.element("CertificateEnrollmentWSDetail", &namespaces, |w| {
            match &self.binary_response {
                Some(bytes) => w.base64("BinaryResponse", &[], bytes),
                None => w.nil("BinaryResponse"),
            }
            w.nillable("ErrorCode", self.error_code.map(Hresult::decimal));
            w.value("InvalidRequest", self.invalid_request);
            w.nillable("RequestID", self.request_id.as_ref());
        });
    }
}
