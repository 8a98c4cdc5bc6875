//! Failures of the client: one place where an error becomes text, JSON and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

use muster_client::enrollment::EnrollmentError;
use muster_client::files::FileError;
use muster_client::group_policy::GroupPolicyError;
use muster_client::kerberos::KerberosError;
use muster_client::key::PrivateKeyError;
use muster_client::pkcs12::Pkcs12Error;
use muster_client::policy::TemplateError;
use muster_client::request::NameError;
use muster_client::session::ServiceError;
use muster_client::tls::TlsError;
use muster_client::{EndpointError, FaultKind};
use serde::Serialize;

use crate::output::{Failure, Output};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// 1: on this machine.
    Failed,
    /// 2: wrong usage.
    Usage,
    /// 3: the service refused.
    Refused,
    /// 5: no endpoint could be reached.
    Unreachable,
    /// 6: it is not known whether the service acted.
    Unknown,
}

/// Exit code of a request that is pending.
pub(crate) const PENDING: u8 = 4;

impl Kind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 5,
            Self::Unknown => 6,
        }
    }
}

/// A failure, also as JSON.
#[derive(Debug)]
pub(crate) struct ClientFailure(Box<Facts>);

#[derive(Debug, Serialize)]
struct Facts {
    #[serde(rename = "status")]
    kind: Kind,
    error: String,
    hint: Option<String>,
    /// Result code of the CA, such as `0x80094012 CERTSRV_E_TEMPLATE_DENIED`.
    hresult: Option<String>,
    /// The CA's number of the request.
    request_id: Option<String>,
    /// The endpoint that refused.
    endpoint: Option<String>,
    /// Endpoints that were asked in vain.
    attempts: Vec<FailedAttempt>,
    /// Where to continue from.
    state: Option<String>,
}

#[derive(Debug, Serialize)]
struct FailedAttempt {
    endpoint: String,
    error: String,
    hint: &'static str,
}

impl ClientFailure {
    pub(crate) fn new(kind: Kind, error: impl Display, hint: impl Display) -> Self {
        Self(Box::new(Facts {
            kind,
            error: error.to_string(),
            hint: Some(hint.to_string()).filter(|hint| !hint.is_empty()),
            hresult: None,
            request_id: None,
            endpoint: None,
            attempts: Vec::new(),
            state: None,
        }))
    }

    pub(crate) fn usage(error: impl Display, hint: impl Display) -> Self {
        Self::new(Kind::Usage, error, hint)
    }

    pub(crate) fn failed(error: impl Display, hint: impl Display) -> Self {
        Self::new(Kind::Failed, error, hint)
    }

    /// With the file to continue from.
    #[must_use]
    pub(crate) fn with_state(mut self, file: impl Display) -> Self {
        self.0.state = Some(file.to_string());
        self
    }

    /// What the exit code says.
    pub(crate) const fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// All that is known, without the hint.
    pub(crate) fn lines(&self) -> String {
        let mut text = self.0.error.clone();
        if let Some(endpoint) = &self.0.endpoint {
            text.push_str(&format!("\n  at {endpoint}"));
        }
        for attempt in &self.0.attempts {
            text.push_str(&format!("\n  {}: {}", attempt.endpoint, attempt.error));
        }
        if let Some(state) = &self.0.state {
            text.push_str(&format!("\n  what is needed to continue is in {state}"));
        }
        text
    }

    pub(crate) fn report(&self, output: Output) -> ExitCode {
        if output.json {
            // If stdout is closed, the text below and the exit code still tell.
            let _ = output.value(&self.0, String::new);
        }
        self.failure().report()
    }

    fn failure(&self) -> Failure {
        let failure = Failure::new(self.lines()).code(self.0.kind.code());
        match &self.0.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<ClientFailure> for Failure {
    fn from(failure: ClientFailure) -> Self {
        failure.failure()
    }
}

impl From<Failure> for ClientFailure {
    fn from(failure: Failure) -> Self {
        let (error, hint) = failure.into_parts();
        Self::failed(error, hint.unwrap_or_default())
    }
}

impl From<ServiceError> for ClientFailure {
    fn from(error: ServiceError) -> Self {
        let kind = match &error {
            ServiceError::Refused { .. } => Kind::Refused,
            ServiceError::Unreachable(_) => Kind::Unreachable,
            ServiceError::OutcomeUnknown(_) => Kind::Unknown,
            ServiceError::NoEndpoint => Kind::Failed,
        };
        let mut failure = Self::new(kind, &error, error.hint());
        if let ServiceError::Refused { endpoint, fault, .. } = &error {
            failure.0.endpoint = Some(endpoint.to_string());
            if let FaultKind::Enrollment(detail) = &fault.kind {
                failure.0.hresult = detail.error_code.map(|code| code.to_string());
                failure.0.request_id = detail.request_id.as_ref().map(|id| id.as_str().to_owned());
            }
        }
        failure.0.attempts = error
            .attempts()
            .iter()
            .map(|attempt| FailedAttempt {
                endpoint: attempt.endpoint.to_string(),
                error: attempt.failure.to_string(),
                hint: attempt.failure.hint(),
            })
            .collect();
        failure
    }
}

impl From<EnrollmentError> for ClientFailure {
    fn from(error: EnrollmentError) -> Self {
        match error {
            EnrollmentError::Service(error) => error.into(),
            other @ (EnrollmentError::Answer(_)
            | EnrollmentError::File(_)
            | EnrollmentError::State { .. }
            | EnrollmentError::NoRequestId) => Self::failed(&other, other.hint()),
        }
    }
}

/// Errors with a hint of their own, all local.
macro_rules! local {
    ($($error:ty),*) => {
        $(impl From<$error> for ClientFailure {
            fn from(error: $error) -> Self {
                Self::failed(&error, error.hint())
            }
        })*
    };
}

local!(FileError, GroupPolicyError, KerberosError, PrivateKeyError, TemplateError, TlsError);

impl From<NameError> for ClientFailure {
    fn from(error: NameError) -> Self {
        Self::usage(&error, error.hint())
    }
}

impl From<EndpointError> for ClientFailure {
    fn from(error: EndpointError) -> Self {
        Self::usage(
            error,
            "give the whole URL of the service, such as https://host.example.test/…/service.svc/CEP",
        )
    }
}

impl From<Pkcs12Error> for ClientFailure {
    fn from(error: Pkcs12Error) -> Self {
        Self::failed(error, "choose another password for the PKCS#12 file")
    }
}
