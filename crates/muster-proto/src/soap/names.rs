//! Namespaces and action URIs: the constants that every message shares.

/// SOAP 1.2 envelope namespace.
pub const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
/// SOAP 1.1 envelope namespace; recognised to answer with a version mismatch.
pub const SOAP_1_1: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// WS-Addressing 1.0.
pub const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// WS-Addressing address of "the connection this came on".
pub const ADDRESSING_ANONYMOUS: &str = "http://www.w3.org/2005/08/addressing/anonymous";
/// WS-Security 1.0 extension elements (`wsse`).
pub const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
/// WS-Security 1.0 utility elements (`wsu`).
pub const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
/// Type URI of a password that is sent as it is.
pub const PASSWORD_TEXT: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText";
/// Type URI of a password digest; never accepted.
pub const PASSWORD_DIGEST: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest";
/// XML Schema instance attributes (`xsi:nil`).
pub const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// XML Schema datatypes.
pub const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// The namespace that the prefix `xml` always has.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// The namespace that the prefix `xmlns` always has; nothing may be bound to it.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
/// Windows' trace header (`ActivityId`).
pub const DIAGNOSTICS: &str = "http://schemas.microsoft.com/2004/09/ServiceModel/Diagnostics";
/// Namespace of the fault subcode `InternalServiceFault`.
pub const DISPATCHER: &str =
    "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher";

/// MS-XCEP namespace.
pub const XCEP: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy";
/// MS-WSTEP namespace.
pub const WSTEP: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment";
/// WS-Trust 1.3 namespace.
pub const WST: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
/// Namespace of `AdditionalContext`.
pub const AUTH: &str = "http://schemas.xmlsoap.org/ws/2006/12/authorization";

/// Action of faults that WS-Addressing defines.
pub const ACTION_ADDRESSING_FAULT: &str = "http://www.w3.org/2005/08/addressing/soap/fault";
/// Action of every other fault without a detail.
pub const ACTION_FAULT: &str =
    "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher/fault";
/// Action of the fault with `CertificateEnrollmentWSDetail` (MS-WSTEP 3.1.4.1.2.1).
pub const ACTION_DETAIL_FAULT: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RequestSecurityTokenCertificateEnrollmentWSDetailFault";
/// MS-XCEP request (3.1.4.1.1.1).
pub const ACTION_GET_POLICIES: &str =
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/GetPolicies";
/// MS-XCEP answer (3.1.4.1.1.2).
pub const ACTION_GET_POLICIES_RESPONSE: &str =
    "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/GetPoliciesResponse";
/// MS-WSTEP request to issue or to query (3.1.4.1.1.1).
pub const ACTION_RST: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RST/wstep";
/// MS-WSTEP answer to it.
pub const ACTION_RSTRC: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RSTRC/wstep";
/// Request for the exchange certificate (MS-WSTEP 3.1.4.1.1.3).
pub const ACTION_KET: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/KET";
/// Answer to it.
pub const ACTION_KET_FINAL: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RSTR/KETFinal";
