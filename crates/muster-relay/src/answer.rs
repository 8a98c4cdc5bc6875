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
    /// The question was not taken: the upstream or its authority failed with this code, or, where a request was asked
    /// for, knows none with that number for whoever asks. Nobody has decided about a request.
    NotTaken {
        /// The code.
        hresult: u32,
        /// The words of the upstream or its authority.
        message: String,
    },
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'a> {
    Submit(&'a Expected),
    Query(u32, &'a Expected),
}

impl Question<'_> {
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

/// A fault of an upstream. `asked` is the number of a request that was asked for.
pub(crate) fn judge_fault(fault: &Fault, asked: Option<u32>) -> Result<Answer, RelayError> {
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
    asked: Option<u32>,
) -> Result<Answer, RelayError> {
    let request_id = number(detail.request_id.as_ref());
    let denied = || Answer::Denied {
        hresult: detail.error_code.map(Hresult::code),
        request_id,
        full_response: detail.binary_response.clone().unwrap_or_default(),
        message: reason.to_owned(),
    };
    let not_taken = |code: Hresult| Answer::NotTaken { hresult: code.code(), message: reason.to_owned() };
    match (detail.invalid_request, detail.error_code, asked) {
        (true, _, None) => Ok(denied()),
        // Of a request that it does not know, or not for whoever asks, a server gives no number.
        (true, _, Some(asked)) if request_id == Some(asked) => Ok(denied()),
        (true, Some(code), Some(_)) => Ok(not_taken(code)),
        // Our own server's word for a request that it passed on without knowing what became of it.
        (false, Some(Hresult::CERTSRV_E_BAD_REQUESTSTATUS), _) => Err(RelayError::Failed { why }),
        (false, Some(code), _) => match call(code) {
            Call::Answered => Ok(not_taken(code)),
            Call::NotMade => Err(RelayError::NoAuthority { why }),
            Call::Broken => Err(RelayError::Failed { why }),
        },
        (true, None, Some(_)) | (false, None, _) => Err(RelayError::Failed { why }),
    }
}

/// What a code tells of an upstream's call to its authority.
enum Call {
    /// The code is the authority's answer.
    Answered,
    /// The authority was not called.
    NotMade,
    /// The call was made and did not come back.
    Broken,
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
    } else {
        Call::Answered
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
    fn outcome(fault: &Fault, asked: Option<u32>) -> &'static str {
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
            (Some(0x8007_0005), false, "not taken"),
            // CERTSRV_E_BAD_REQUESTSTATUS, of another relay whose own call broke.
            (Some(0x8009_4003), false, "unknown"),
            (None, false, "unknown"),
        ] {
            assert_eq!(outcome(&fault(code, invalid, None), None), expected, "{code:x?} {invalid}");
        }
    }

    #[test]
    fn query_is_denied_only_by_a_fault_with_its_number() {
        let code = Some(0x8009_4014);
        for (id, expected) in [(Some("7"), "denied"), (Some("8"), "not taken"), (None, "not taken")] {
            assert_eq!(outcome(&fault(code, true, id), Some(7)), expected, "{id:?}");
        }
        assert_eq!(outcome(&fault(None, true, None), Some(7)), "unknown");
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
            assert_eq!(outcome(&fault, None), expected, "{fault:?}");
        }
    }
}
