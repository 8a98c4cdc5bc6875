//! Kerberos in the form that `muster-rpc` asks for.

use muster_gss::{DceAcceptor, Framing, InitiateError, Step as Leg};
use muster_rpc::security::{AuthType, Security, SecurityError, Step};
use muster_rpc::server::RpcError;

use crate::fault::AuthError;

/// The server's end of one authentication, and the sealing after it.
#[derive(Debug)]
pub(super) struct Accepting(pub(super) DceAcceptor);

impl Accepting {
    /// Why a connection was given up, for the audit log.
    pub(super) fn refusal(this: Option<&Self>, error: &RpcError) -> AuthError {
        match this.and_then(|this| this.0.refused()) {
            Some(refused) => AuthError::Ticket(refused.clone()),
            None => AuthError::Rpc(error.to_string()),
        }
    }
}

fn security(error: InitiateError) -> SecurityError {
    SecurityError(error.to_string())
}

impl Security for Accepting {
    fn auth_type(&self) -> AuthType {
        match self.0.framing() {
            Framing::Negotiate => AuthType::Negotiate,
            Framing::Kerberos => AuthType::Kerberos,
        }
    }

    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError> {
        self.0.step(token.unwrap_or_default()).map_err(security).map(|leg| match leg {
            Leg::Continue(token) => Step::Continue(token),
            Leg::Done(token) => Step::Done(token),
        })
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
