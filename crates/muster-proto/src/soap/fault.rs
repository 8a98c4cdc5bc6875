//! SOAP faults: the closed set that a server sends, and generous reading of what a client may get.
//!
//! Every fault goes out with HTTP status 500; some clients do not read the body otherwise.

use super::header::ResponseHeader;
use super::names::{
    ACTION_ADDRESSING_FAULT, ACTION_DETAIL_FAULT, ACTION_FAULT, ADDRESSING, DISPATCHER, SOAP, SOAP_1_1, WSSE,
    WSTEP, XML, XMLNS,
};
use super::xml::{Element, Writer};
use crate::wstep::{CertificateEnrollmentWSDetail, Hresult, RequestId};

/// A fault: what kind, and a reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Code, subcode and detail.
    pub kind: FaultKind,
    /// The reason in words; may be empty.
    pub reason: String,
}

/// The fault shapes of this protocol family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is malformed; `s:Sender` without subcode.
    Sender,
    /// The server could not do its part; `s:Receiver` without subcode.
    Receiver,
    /// `a:To` does not name this endpoint (WS-Addressing 1.0 SOAP Binding 6.4.2.1).
    DestinationUnreachable,
    /// `a:Action` does not name an operation of this endpoint (6.4.2.3).
    ActionNotSupported,
    /// User name or password rejected (WS-Security 1.0 section 12).
    FailedAuthentication,
    /// The Security header cannot be used.
    InvalidSecurity,
    /// A header that must be understood is not (SOAP 1.2 part 1, 5.4.8).
    MustUnderstand(HeaderName),
    /// The envelope is of another version (5.4.7).
    VersionMismatch,
    /// The server met something that it did not expect (MS-WSTEP 4.1.4.2).
    InternalServiceFault,
    /// The issuer refused or failed, with its result code (MS-WSTEP 3.1.4.1.3.7).
    Enrollment(CertificateEnrollmentWSDetail),
}

/// Expanded name of a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName {
    /// Namespace; empty if it has none.
    pub namespace: String,
    /// Local name.
    pub local: String,
}

impl Fault {
    /// The action header that goes with the fault.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self.kind {
            FaultKind::DestinationUnreachable | FaultKind::ActionNotSupported => ACTION_ADDRESSING_FAULT,
            FaultKind::Enrollment(_) => ACTION_DETAIL_FAULT,
            FaultKind::Sender
            | FaultKind::Receiver
            | FaultKind::FailedAuthentication
            | FaultKind::InvalidSecurity
            | FaultKind::MustUnderstand(_)
            | FaultKind::VersionMismatch
            | FaultKind::InternalServiceFault => ACTION_FAULT,
        }
    }

    /// Writes the whole message.
    #[must_use]
    pub fn to_envelope(&self, header: &ResponseHeader) -> String {
        match &self.kind {
            FaultKind::MustUnderstand(name) => {
                header.write_with(self.action(), |w| not_understood(w, name), |w| self.write(w))
            }
            FaultKind::VersionMismatch => header.write_with(self.action(), upgrade, |w| self.write(w)),
            FaultKind::Sender
            | FaultKind::Receiver
            | FaultKind::DestinationUnreachable
            | FaultKind::ActionNotSupported
            | FaultKind::FailedAuthentication
            | FaultKind::InvalidSecurity
            | FaultKind::InternalServiceFault
            | FaultKind::Enrollment(_) => header.write(self.action(), |w| self.write(w)),
        }
    }

    fn write(&self, w: &mut Writer) {
        let (code, subcode) = self.codes();
        w.element("s:Fault", &[], |w| {
            w.element("s:Code", &[], |w| {
                w.leaf("s:Value", code);
                if let Some((namespace, local)) = subcode {
                    w.element("s:Subcode", &[], |w| {
                        w.leaf_with("s:Value", &[("xmlns:f", namespace)], &format!("f:{local}"));
                    });
                }
            });
            w.element("s:Reason", &[], |w| w.leaf_with("s:Text", &[("xml:lang", "en-US")], &self.reason));
            if let FaultKind::Enrollment(detail) = &self.kind {
                w.element("s:Detail", &[], |w| detail.write(w));
            }
        });
    }

    const fn codes(&self) -> (&'static str, Option<(&'static str, &'static str)>) {
        match self.kind {
            FaultKind::Sender => ("s:Sender", None),
            FaultKind::Receiver | FaultKind::Enrollment(_) => ("s:Receiver", None),
            FaultKind::DestinationUnreachable => ("s:Sender", Some((ADDRESSING, "DestinationUnreachable"))),
            FaultKind::ActionNotSupported => ("s:Sender", Some((ADDRESSING, "ActionNotSupported"))),
            FaultKind::FailedAuthentication => ("s:Sender", Some((WSSE, "FailedAuthentication"))),
            FaultKind::InvalidSecurity => ("s:Sender", Some((WSSE, "InvalidSecurity"))),
            FaultKind::MustUnderstand(_) => ("s:MustUnderstand", None),
            FaultKind::VersionMismatch => ("s:VersionMismatch", None),
            FaultKind::InternalServiceFault => ("s:Receiver", Some((DISPATCHER, "InternalServiceFault"))),
        }
    }

    /// Reads the body of an answer if it is a fault, of SOAP 1.2 or 1.1.
    ///
    /// Generous on purpose: a person has to learn why the request failed, whatever made the fault. Prefixes of
    /// codes are not resolved, an unknown subcode falls back to its code, and what is malformed counts as absent.
    #[must_use]
    pub fn from_body(body: &Element<'_>) -> Option<Self> {
        if body.is(SOAP_1_1, "Fault") {
            let text = |local| body.child("", local).ok().flatten().and_then(|e| e.trimmed().ok());
            let code = text("faultcode").map_or("", local_part);
            let kind = if code == "Client" { FaultKind::Sender } else { FaultKind::Receiver };
            return Some(Self { kind, reason: text("faultstring").unwrap_or_default().to_owned() });
        }
        if !body.is(SOAP, "Fault") {
            return None;
        }
        let code = first(body, "Code");
        let value = |e: Option<&Element<'_>>| {
            local_part(e.and_then(|e| first(e, "Value")).and_then(|v| v.trimmed().ok()).unwrap_or_default())
                .to_owned()
        };
        let reason = first(body, "Reason")
            .and_then(|reason| {
                let texts = || reason.children().iter().filter(|c| c.is(SOAP, "Text"));
                let english = texts().find(|t| t.attribute(XML, "lang").is_some_and(|l| l.starts_with("en")));
                english.or_else(|| texts().next())
            })
            .and_then(|text| text.trimmed().ok())
            .unwrap_or_default()
            .to_owned();
        let detail = first(body, "Detail")
            .and_then(|d| d.children().iter().find(|c| c.is(WSTEP, "CertificateEnrollmentWSDetail")));
        if let Some(detail) = detail {
            return Some(Self { kind: FaultKind::Enrollment(read_detail(detail)), reason });
        }
        let subcode = value(code.and_then(|c| first(c, "Subcode")));
        let kind = match (value(code).as_str(), subcode.as_str()) {
            (_, "DestinationUnreachable") => FaultKind::DestinationUnreachable,
            (_, "ActionNotSupported" | "ActionMismatch") => FaultKind::ActionNotSupported,
            (_, "FailedAuthentication" | "FailedCheck") => FaultKind::FailedAuthentication,
            (_, "InvalidSecurity" | "InvalidSecurityToken" | "SecurityTokenUnavailable") => {
                FaultKind::InvalidSecurity
            }
            (_, "InternalServiceFault") => FaultKind::InternalServiceFault,
            ("VersionMismatch", _) => FaultKind::VersionMismatch,
            // The name stands in a header, which the reader of a fault has no use for.
            ("MustUnderstand", _) => {
                FaultKind::MustUnderstand(HeaderName { namespace: String::new(), local: String::new() })
            }
            ("Sender", _) => FaultKind::Sender,
            _ => FaultKind::Receiver,
        };
        Some(Self { kind, reason })
    }
}

/// SOAP 1.2 part 1, 5.4.8. Left out for a namespace that cannot be bound to a prefix of ours.
fn not_understood(w: &mut Writer, name: &HeaderName) {
    let reserved = name.namespace == XML || name.namespace == XMLNS;
    if reserved || name.namespace.contains(['&', '<', '>', '"', '\t', '\r', '\n']) {
        return;
    }
    if name.namespace.is_empty() {
        w.empty("s:NotUnderstood", &[("qname", &name.local)]);
    } else {
        let qname = format!("n:{}", name.local);
        w.empty("s:NotUnderstood", &[("qname", &qname), ("xmlns:n", &name.namespace)]);
    }
}

/// SOAP 1.2 part 1, 5.4.7: the versions that are supported.
fn upgrade(w: &mut Writer) {
    w.element("s:Upgrade", &[], |w| w.empty("s:SupportedEnvelope", &[("qname", "s:Envelope")]));
}

fn first<'e, 'a>(parent: &'e Element<'a>, local: &str) -> Option<&'e Element<'a>> {
    parent.children().iter().find(|c| c.is(SOAP, local))
}

fn local_part(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

fn read_detail(detail: &Element<'_>) -> CertificateEnrollmentWSDetail {
    let part = |local| detail.non_nil(WSTEP, local).ok().flatten();
    CertificateEnrollmentWSDetail {
        binary_response: part("BinaryResponse")
            .and_then(|e| e.base64().ok())
            .filter(|bytes| !bytes.is_empty()),
        error_code: part("ErrorCode").and_then(|e| e.trimmed().ok()).and_then(Hresult::from_decimal),
        invalid_request: part("InvalidRequest").and_then(|e| e.boolean().ok()).unwrap_or(false),
        request_id: part("RequestID").and_then(|e| e.trimmed().ok()).and_then(RequestId::new),
    }
}
