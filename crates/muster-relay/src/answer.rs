//! What an upstream says, judged: nothing is believed that could not have come from its authority.

use muster_adcs::{Expected, check_reply};
use muster_client::session::describe;
use muster_proto::soap::{Fault, FaultKind};
use muster_proto::wcce::{CmcResponse, CmcStatus, ResponseError};
use muster_proto::wstep::{
    CertificateEnrollmentWSDetail, Hresult, Issued, Pending, RequestId, RequestSecurityTokenResponse,
};

use crate::error::{Distrust, RelayError};

/// What an upstream answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Here it is.
    Issued {
        /// The upstream's number of the request.
        request_id: u32,
        /// The certificate (DER), compared with what was expected.
        certificate: Vec<u8>,
        /// The CMC full PKI response, signed by the authority and holding this certificate; empty if there was none.
        full_response: Vec<u8>,
        /// The authority's words.
        message: String,
    },
    /// Somebody has to decide; [`crate::Upstream::query`] asks again.
    UnderSubmission {
        /// The upstream's number of the request.
        request_id: u32,
        /// The CMC response, if there was one. Not verified.
        full_response: Vec<u8>,
        /// The authority's words.
        message: String,
    },
    /// Somebody, or the authority's policy, said no.
    Denied {
        /// Why, as far as there is a number for it.
        hresult: Option<u32>,
        /// The upstream's number of the request, if it was recorded.
        request_id: Option<u32>,
        /// The CMC response, if there was one. Not verified.
        full_response: Vec<u8>,
        /// The words of the upstream or its authority.
        message: String,
    },
    /// The question was not taken: the upstream or its authority refused it with this code, or, where a request was asked
    /// for, knows none with that number for whoever asks. Nobody has decided about a request. Where a certificate was
    /// asked for, the code is one of those after which there is none.
    NotTaken {
        /// The code.
        hresult: u32,
        /// The words of the upstream or its authority.
        message: String,
    },
}

/// What a fault is the answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// For a certificate: there may be one now.
    Submit,
    /// For the request with this number.
    Query(u32),
    /// For the key exchange certificate.
    Exchange,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    Submit(&'a Expected),
    Query(u32, &'a Expected),
}

impl Question<'_> {
    pub(crate) const fn asked(&self) -> Asked {
        match self {
            Self::Submit(_) => Asked::Submit,
            Self::Query(asked, _) => Asked::Query(*asked),
        }
    }

    fn expected(&self) -> &Expected {
        match self {
            Self::Submit(expected) | Self::Query(_, expected) => expected,
        }
    }

    /// The number of the request that the answer is about.
    fn number(&self, found: Option<&RequestId>) -> Result<u32, Distrust> {
        match (self, number(found)) {
            (Self::Query(asked, _), Some(found)) if *asked != found => {
                Err(Distrust::OtherRequest { found, asked: *asked })
            }
            (Self::Query(asked, _), _) => Ok(*asked),
            (Self::Submit(_), found) => found.ok_or(Distrust::NoNumber),
        }
    }
}

pub(crate) fn judge(
    question: Question<'_>,
    response: RequestSecurityTokenResponse,
    issuers: &[Vec<u8>],
) -> Result<Answer, RelayError> {
    match response {
        RequestSecurityTokenResponse::Issued(issued) => {
            let untrusted =
                |problem| RelayError::Untrusted { request_id: number(issued.request_id.as_ref()), problem };
            let request_id = question.number(issued.request_id.as_ref()).map_err(untrusted)?;
            check(&issued, issuers, question.expected()).map_err(untrusted)?;
            let Issued { certificate, full_response, disposition_message, .. } = issued;
            Ok(Answer::Issued { request_id, certificate, full_response, message: disposition_message.text })
        }
        RequestSecurityTokenResponse::Pending(Pending {
            disposition_message,
            full_response,
            request_id: found,
            ..
        }) => {
            let request_id = question
                .number(found.as_ref())
                .map_err(|problem| RelayError::Untrusted { request_id: number(found.as_ref()), problem })?;
            Ok(Answer::UnderSubmission { request_id, full_response, message: disposition_message.text })
        }
        RequestSecurityTokenResponse::KeyExchangeToken(_) => {
            Err(RelayError::Untrusted { request_id: None, problem: Distrust::OtherQuestion })
        }
    }
}

fn check(issued: &Issued, issuers: &[Vec<u8>], expected: &Expected) -> Result<(), Distrust> {
    check_reply(&issued.certificate, issuers, expected).map_err(Distrust::Certificate)?;
    if issued.full_response.is_empty() {
        return Ok(());
    }
    let mut last = ResponseError::NotAResponse;
    for issuer in issuers {
        match CmcResponse::parse(&issued.full_response, issuer) {
            Ok(CmcResponse { status: CmcStatus::Issued { certificate }, .. })
                if certificate == issued.certificate =>
            {
                return Ok(());
            }
            Ok(_) => return Err(Distrust::TwoCertificates),
            Err(error) => last = error,
        }
    }
    Err(Distrust::Response(last))
}

/// A fault of an upstream.
pub(crate) fn judge_fault(fault: &Fault, asked: Asked) -> Result<Answer, RelayError> {
    let why = describe(fault);
    match &fault.kind {
        FaultKind::Enrollment(detail) => refusal(detail, fault.reason.trim(), why, asked),
        FaultKind::FailedAuthentication | FaultKind::InvalidSecurity => Err(RelayError::SignIn { why }),
        FaultKind::Sender
        | FaultKind::DestinationUnreachable
        | FaultKind::ActionNotSupported
        | FaultKind::MustUnderstand(_)
        | FaultKind::VersionMismatch => Err(RelayError::Refused { why }),
        // It met something unexpected, at whatever point.
        FaultKind::Receiver | FaultKind::InternalServiceFault => Err(RelayError::Failed { why }),
    }
}

fn refusal(
    detail: &CertificateEnrollmentWSDetail,
    reason: &str,
    why: String,
    asked: Asked,
) -> Result<Answer, RelayError> {
    let request_id = number(detail.request_id.as_ref());
    let denied = || Answer::Denied {
        hresult: detail.error_code.map(Hresult::code),
        request_id,
        full_response: detail.binary_response.clone().unwrap_or_default(),
        message: reason.to_owned(),
    };
    let not_taken = |code: Hresult| Answer::NotTaken { hresult: code.code(), message: reason.to_owned() };
    let call = detail.error_code.map(|code| (code, call(code)));
    match (detail.invalid_request, call, asked) {
        // The authority has decided (MS-WSTEP 3.1.4.1.3.7), unless the code says that it was not heard.
        (true, None | Some((_, Call::Refused | Call::Unlisted)), Asked::Submit | Asked::Exchange) => {
            Ok(denied())
        }
        // Of a request that it does not know, or not for whoever asks, a server gives no number.
        (true, _, Asked::Query(asked)) if request_id == Some(asked) => Ok(denied()),
        (true, Some((code, _)), Asked::Query(_)) => Ok(not_taken(code)),
        // Our own server's word for a request that it passed on without knowing what became of it.
        (false, Some((Hresult::CERTSRV_E_BAD_REQUESTSTATUS, _)), _) => Err(RelayError::Failed { why }),
        (_, Some((_, Call::NotMade)), _) => Err(RelayError::NoAuthority { why }),
        (_, Some((_, Call::Broken)), _) => Err(RelayError::Failed { why }),
        (false, Some((code, Call::Refused)), _) => Ok(not_taken(code)),
        // It can have come at any time, after the authority has issued as well.
        (false, Some((_, Call::Unlisted)), Asked::Submit) => Err(RelayError::Failed { why }),
        (false, Some((code, Call::Unlisted)), Asked::Query(_) | Asked::Exchange) => Ok(not_taken(code)),
        (true, None, Asked::Query(_)) | (false, None, _) => Err(RelayError::Failed { why }),
    }
}

/// What a code tells of an upstream's call to its authority.
#[derive(Clone, Copy)]
enum Call {
    /// The authority, or the upstream before it asked, said no, and nothing was issued.
    Refused,
    /// The authority was not called.
    NotMade,
    /// The call was made and did not come back.
    Broken,
    /// Nothing that is known here.
    Unlisted,
}

/// Codes that come instead of a certificate, and not after one: of permissions, of templates, of what a request must be
/// like (MS-WCCE 3.2.1.4.2.1, 3.2.2.6.2.1; MS-ERREF 2.1).
const fn is_refusal(code: u32) -> bool {
    matches!(
        code,
        // E_ACCESSDENIED, and E_INVALIDARG of an authority by another name.
        0x8007_0005 | 0x8007_0057
            // CRYPT_E_INVALID_MSG_TYPE, CRYPT_E_NO_SIGNER, CRYPT_E_ASN1_*: the request cannot be read.
            | 0x8009_1004 | 0x8009_200E | 0x8009_3100..=0x8009_31FF
            // CERTSRV_E_BAD_REQUESTSUBJECT, and CERTSRV_E_SERVER_SUSPENDED, which takes no requests.
            | 0x8009_4001 | 0x8009_4006
            // CERTSRV_E_RESTRICTEDOFFICER to CERTSRV_E_BAD_RENEWAL_CERT_ATTRIBUTE.
            | 0x8009_4009..=0x8009_400E
            // CERTSRV_E_ENROLL_DENIED, _TEMPLATE_DENIED, _ADMIN_DENIED_REQUEST, _NO_POLICY_SERVER, _WEAK_SIGNATURE_OR_KEY,
            // _KEY_ATTESTATION_NOT_SUPPORTED, _ENCRYPTION_CERT_REQUIRED.
            | 0x8009_4011 | 0x8009_4012 | 0x8009_4014..=0x8009_4018
            // CERTSRV_E_UNSUPPORTED_CERT_TYPE to CERTSRV_E_KEY_ATTESTATION: what the template says.
            | 0x8009_4800..=0x8009_481A
    )
}

const fn call(code: Hresult) -> Call {
    /// `RPC_S_SERVER_TOO_BUSY`.
    const TOO_BUSY: u32 = 0x8007_06BB;
    /// `RPC_S_CALL_FAILED_DNE`: failed and did not execute.
    const NOT_EXECUTED: u32 = 0x8007_06BF;
    /// `EPT_S_NOT_REGISTERED`: the authority does not run.
    const NOT_REGISTERED: u32 = 0x8007_06D9;
    /// `RPC_S_CALL_CANCELLED`.
    const CANCELLED: u32 = 0x8007_071A;
    /// `ERROR_TIMEOUT`.
    const TIMEOUT: u32 = 0x8007_05B4;
    /// Most of `RPC_S_*` and `RPC_X_*`: 1700 to 1799.
    const RPC: std::ops::RangeInclusive<u32> = 0x8007_06A4..=0x8007_0707;
    /// HRESULTs of DCOM, `RPC_E_*`.
    const DCOM: u32 = 0x8001;

    let unreachable = Hresult::RPC_S_SERVER_UNAVAILABLE.code();
    let code = code.code();
    if code == unreachable || code == TOO_BUSY || code == NOT_EXECUTED || code == NOT_REGISTERED {
        Call::NotMade
    } else if code == TIMEOUT
        || code == CANCELLED
        || (*RPC.start() <= code && code <= *RPC.end())
        || code >> 16 == DCOM
    {
        Call::Broken
    } else if is_refusal(code) {
        Call::Refused
    } else {
        Call::Unlisted
    }
}

fn number(id: Option<&RequestId>) -> Option<u32> {
    id.and_then(|id| id.as_str().parse().ok()).filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: Option<u32>, invalid_request: bool, id: Option<&str>) -> Fault {
        Fault {
            kind: FaultKind::Enrollment(CertificateEnrollmentWSDetail {
                binary_response: None,
                error_code: code.map(Hresult::from_code),
                invalid_request,
                request_id: id.and_then(RequestId::new),
            }),
            reason: "words".to_owned(),
        }
    }

    /// Whether it came to a decision, and otherwise whether the request may be there.
    fn outcome(fault: &Fault, asked: Asked) -> &'static str {
        match judge_fault(fault, asked) {
            Ok(Answer::Denied { .. }) => "denied",
            Ok(Answer::NotTaken { .. }) => "not taken",
            Ok(Answer::Issued { .. } | Answer::UnderSubmission { .. }) => "accepted",
            Err(error) if error.may_have_been_submitted() => "unknown",
            Err(_) => "not submitted",
        }
    }

    #[test]
    fn codes_of_a_broken_call_leave_the_outcome_unknown() {
        for (code, invalid, expected) in [
            (Some(0x8009_4012), true, "denied"),
            (None, true, "denied"),
            // RPC_S_SERVER_UNAVAILABLE, RPC_S_SERVER_TOO_BUSY, RPC_S_CALL_FAILED_DNE, EPT_S_NOT_REGISTERED.
            (Some(0x8007_06BA), false, "not submitted"),
            (Some(0x8007_06BB), false, "not submitted"),
            (Some(0x8007_06BF), false, "not submitted"),
            (Some(0x8007_06D9), false, "not submitted"),
            // RPC_S_CALL_FAILED, RPC_S_CALL_CANCELLED, ERROR_TIMEOUT, RPC_E_DISCONNECTED, RPC_E_SERVERFAULT.
            (Some(0x8007_06BE), false, "unknown"),
            (Some(0x8007_071A), false, "unknown"),
            (Some(0x8007_05B4), false, "unknown"),
            (Some(0x8001_0108), false, "unknown"),
            (Some(0x8001_0105), false, "unknown"),
            // Whatever else is said with them.
            (Some(0x8007_06BE), true, "unknown"),
            (Some(0x8007_06BA), true, "not submitted"),
            (Some(0x8007_0005), false, "not taken"),
            (Some(0x8009_4012), false, "not taken"),
            (Some(0x8009_4800), false, "not taken"),
            (Some(0x8009_310B), false, "not taken"),
            // E_FAIL, E_UNEXPECTED, E_OUTOFMEMORY, ERROR_DISK_FULL, CERTSRV_E_PROPERTY_EMPTY: whenever it was.
            (Some(0x8000_4005), false, "unknown"),
            (Some(0x8000_FFFF), false, "unknown"),
            (Some(0x8007_000E), false, "unknown"),
            (Some(0x8007_0070), false, "unknown"),
            (Some(0x8009_4004), false, "unknown"),
            (Some(0x8000_4005), true, "denied"),
            // CERTSRV_E_BAD_REQUESTSTATUS, of another relay whose own call broke.
            (Some(0x8009_4003), false, "unknown"),
            (None, false, "unknown"),
        ] {
            assert_eq!(outcome(&fault(code, invalid, None), Asked::Submit), expected, "{code:x?} {invalid}");
        }
    }

    #[test]
    fn query_is_denied_only_by_a_fault_with_its_number() {
        let code = Some(0x8009_4014);
        for (id, expected) in [(Some("7"), "denied"), (Some("8"), "not taken"), (None, "not taken")] {
            assert_eq!(outcome(&fault(code, true, id), Asked::Query(7)), expected, "{id:?}");
        }
        assert_eq!(outcome(&fault(None, true, None), Asked::Query(7)), "unknown");
        // A question can be repeated; that there is no such certificate is an answer.
        for asked in [Asked::Query(7), Asked::Exchange] {
            assert_eq!(outcome(&fault(Some(0x8000_4001), false, None), asked), "not taken", "{asked:?}");
        }
    }

    #[test]
    fn fault_without_detail_is_unknown_where_the_server_failed() {
        let kind = |kind| Fault { kind, reason: String::new() };
        for (fault, expected) in [
            (kind(FaultKind::Receiver), "unknown"),
            (kind(FaultKind::InternalServiceFault), "unknown"),
            (kind(FaultKind::Sender), "not submitted"),
            (kind(FaultKind::DestinationUnreachable), "not submitted"),
            (kind(FaultKind::FailedAuthentication), "not submitted"),
        ] {
            assert_eq!(outcome(&fault, Asked::Submit), expected, "{fault:?}");
        }
    }
}
