//! What protects a connection, as traits: the tokens and the sealing are made elsewhere, such as by MIT's GSSAPI.

use std::fmt;

/// `RPC_C_AUTHN_LEVEL_PKT_PRIVACY`: every message is signed and sealed.
pub const PRIVACY: u8 = 6;
/// `RPC_C_AUTHN_LEVEL_PKT_INTEGRITY`: every message is signed. A client never asks for it, and a server takes it where
/// [`crate::server::Terms`] say so; nothing lower is known here.
pub const INTEGRITY: u8 = 5;

/// Security providers (MS-RPCE 2.2.1.1.7). NTLM is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthType {
    /// SPNEGO, with Kerberos in it.
    Negotiate,
    /// Kerberos alone.
    Kerberos,
}

impl AuthType {
    /// The number of the provider.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Negotiate => 9,
            Self::Kerberos => 16,
        }
    }

    /// The provider of a number; NTLM (10) and all others are none.
    #[must_use]
    pub const fn of(code: u8) -> Option<Self> {
        match code {
            9 => Some(Self::Negotiate),
            16 => Some(Self::Kerberos),
            _ => None,
        }
    }
}

/// What a provider says no with; the text is for a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityError(pub String);

impl fmt::Display for SecurityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SecurityError {}

/// What to do next in an authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and come back with the answer.
    Continue(Vec<u8>),
    /// The authentication is done, once this has been sent, if there is something.
    Done(Option<Vec<u8>>),
}

/// One side of an authentication, and the sealing after it. Both sides have the same shape: the client's first step is
/// without a token, the server's with the client's.
pub trait Security {
    /// The provider.
    fn auth_type(&self) -> AuthType;

    /// The next token.
    ///
    /// # Errors
    /// If the peer is not who it should be, or the exchange is out of order. The connection is given up then.
    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError>;

    /// The octets of the token that [`Self::seal`] makes for so many octets.
    ///
    /// # Errors
    /// Before the authentication is done.
    fn token_length(&mut self, stub: usize) -> Result<usize, SecurityError>;

    /// Seals `stub` where it stands, and signs `header`, `stub` and `trailer`.
    ///
    /// # Errors
    /// If the provider cannot. The message must not be sent then.
    fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, SecurityError>;

    /// The reverse. A message that was changed, replayed or sent out of order is an error, and so is one that is only
    /// signed.
    ///
    /// # Errors
    /// If anything of this is so.
    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError>;

    /// The octets of what [`Self::sign`] makes.
    ///
    /// # Errors
    /// Before the authentication is done, and of providers that only seal.
    fn signature_length(&mut self) -> Result<usize, SecurityError> {
        Err(SecurityError(ONLY_SEALS.to_owned()))
    }

    /// The signature of a message.
    ///
    /// # Errors
    /// If the provider cannot.
    fn sign(&mut self, _message: &[u8]) -> Result<Vec<u8>, SecurityError> {
        Err(SecurityError(ONLY_SEALS.to_owned()))
    }

    /// Verifies it. A message that was changed, replayed or sent out of order is an error.
    ///
    /// # Errors
    /// If anything of this is so, or the provider cannot.
    fn verify(&mut self, _message: &[u8], _token: &[u8]) -> Result<(), SecurityError> {
        Err(SecurityError(ONLY_SEALS.to_owned()))
    }
}

const ONLY_SEALS: &str = "messages that are only signed are not taken";

impl<S: Security + ?Sized> Security for Box<S> {
    fn auth_type(&self) -> AuthType {
        (**self).auth_type()
    }

    fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SecurityError> {
        (**self).step(token)
    }

    fn token_length(&mut self, stub: usize) -> Result<usize, SecurityError> {
        (**self).token_length(stub)
    }

    fn seal(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, SecurityError> {
        (**self).seal(header, stub, trailer)
    }

    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError> {
        (**self).unseal(header, stub, trailer, token)
    }
}
