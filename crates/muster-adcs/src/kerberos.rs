//! The providers of security, for both ends: Kerberos of `muster-gss` in the form that `muster-rpc` asks for.

use muster_gss::{DceAcceptor, DceInitiator, Framing, InitiateError, Step as Leg};
use muster_rpc::security::{AuthType, Security, SecurityError, Step};

/// The client's end of one authentication, and the sealing after it.
#[derive(Debug)]
pub struct Kerberos(pub DceInitiator);

fn security(error: InitiateError) -> SecurityError {
    SecurityError(error.to_string())
}

fn next(leg: Leg) -> Step {
    match leg {
        Leg::Continue(token) => Step::Continue(token),
        Leg::Done(token) => Step::Done(token),
    }
}

/// What both ends do alike, each on a type of its own.
macro_rules! both_ends {
    () => {
        fn auth_type(&self) -> AuthType {
            match self.0.framing() {
                Framing::Negotiate => AuthType::Negotiate,
                Framing::Kerberos => AuthType::Kerberos,
            }
        }

        fn token_length(&mut self, stub: usize) -> Result<usize, SecurityError> {
            self.0.token_length(stub).map_err(security)
        }

        fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, SecurityError> {
            self.0.seal(header, stub, trailer).map_err(security)
        }

        fn unseal(
            &mut self,
            header: &[u8],
            stub: &mut [u8],
            trailer: &[u8],
            token: &[u8],
        ) -> Result<(), SecurityError> {
            self.0.unseal(header, stub, trailer, token).map_err(security)
        }
    };
}

impl Security for Kerberos {
    both_ends!();

    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError> {
        self.0.step(token).map(next).map_err(security)
    }
}

/// The server's end of one authentication, and the sealing after it.
#[derive(Debug)]
pub struct Accepting(pub DceAcceptor);

impl Security for Accepting {
    both_ends!();

    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError> {
        self.0.step(token.unwrap_or_default()).map(next).map_err(security)
    }

    fn signature_length(&mut self) -> Result<usize, SecurityError> {
        self.0.signature_length().map_err(security)
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, SecurityError> {
        self.0.sign(message).map_err(security)
    }

    fn verify(&mut self, message: &[u8], token: &[u8]) -> Result<(), SecurityError> {
        self.0.verify(message, token).map_err(security)
    }
}

/// A provider whose first token is there already: the KDC was asked before, where that may block.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) first: Option<Step>,
    pub(crate) inner: Kerberos,
}

impl Security for Prepared {
    fn auth_type(&self) -> AuthType {
        self.inner.auth_type()
    }

    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError> {
        match (token, self.first.take()) {
            (None, Some(first)) => Ok(first),
            (token, _) => self.inner.step(token),
        }
    }

    fn token_length(&mut self, stub: usize) -> Result<usize, SecurityError> {
        self.inner.token_length(stub)
    }

    fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, SecurityError> {
        self.inner.seal(header, stub, trailer)
    }

    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError> {
        self.inner.unseal(header, stub, trailer, token)
    }
}
