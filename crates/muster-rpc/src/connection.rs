//! What both ends of a connection do alike: protecting fragments, opening them, and what can be wrong with them.

use crate::ndr::NdrError;
use crate::pdu::{
    BindNak, FIRST, Fault, HEADER, Header, Kind, LAST, Pdu, PduError, TRAILER, Trailer, Verifier, u16_of,
};
use crate::security::{PRIVACY, Security, SecurityError};
use crate::uuid::Syntax;

/// All results, or all arguments, of one call: more than any certificate, chain or list of templates.
pub const MAX_STUB: usize = 1 << 20;
/// Arguments are padded to a multiple of this before they are sealed (MS-RPCE 2.2.2.11).
const SEAL_UNIT: usize = 16;

/// A connection that cannot be gone on with, or, for [`RpcError::Fault`], a call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// A message cannot be read.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// Results cannot be read.
    #[error("the results cannot be read: {0}")]
    Results(#[from] NdrError),
    /// A message that does not belong here.
    #[error("a message of the kind {0:?} came out of order")]
    Unexpected(Kind),
    /// The answer to another call.
    #[error("the answer is to call {got}, not to {expected}")]
    CallId {
        /// What was asked.
        expected: u32,
        /// What was answered.
        got: u32,
    },
    /// The answer is of another presentation context.
    #[error("the answer is of presentation context {0}, which is not the one bound")]
    Context(u16),
    /// First and last fragment are not where they should be.
    #[error("the fragments of a message are out of order")]
    Fragments,
    /// The server does not take the connection.
    #[error("the server refuses the connection: {0}")]
    BindRefused(BindNak),
    /// The server does not offer the interface, or not in this encoding.
    #[error("the server does not offer the interface (result {result}, reason {reason})")]
    InterfaceRefused {
        /// What it says.
        result: u16,
        /// Why: 1 the interface, 2 the encoding, 3 a local limit.
        reason: u16,
    },
    /// The answer to a bind with one context has not one result.
    #[error("the server answers {0} presentation contexts where one was asked for")]
    ResultCount(usize),
    /// The server took an encoding that was not offered.
    #[error("the server chose an encoding that was not offered: {}", .0.uuid)]
    TransferSyntax(Syntax),
    /// The server offers a fragment too short for any call.
    #[error("the server takes fragments of {0} octets, less than everybody must take")]
    FragmentSize(u16),
    /// A message that must be protected is not.
    #[error("a message of the kind {0:?} is not protected")]
    Unprotected(Kind),
    /// The peer answers with another provider.
    #[error("the peer uses the security provider {0}, which was not agreed")]
    AuthType(u8),
    /// The peer answers with another level than packet privacy.
    #[error("the peer uses the protection level {0} instead of packet privacy (6)")]
    AuthLevel(u8),
    /// The peer names another security context.
    #[error("the peer names the security context {0}, which there is not")]
    AuthContext(u32),
    /// The peer does not sign headers.
    #[error("the peer does not sign the headers of messages")]
    NoHeaderSigning,
    /// The security token is longer than a message can be.
    #[error("the security token has {0} octets, more than a message can carry")]
    TokenTooLong(usize),
    /// The provider refuses the peer, or a message of it.
    #[error("security: {0}")]
    Security(#[from] SecurityError),
    /// The padding is longer than what it pads.
    #[error("a message has padding of {0} octets, which cannot be")]
    Padding(u8),
    /// What a client says again behind its arguments contradicts the call.
    #[error(
        "the verification trailer of a call contradicts the call, or must be understood and is not (command {0})"
    )]
    Trailer(u16),
    /// More than [`MAX_STUB`], or than a server takes.
    #[error("a call has more data than is taken")]
    TooLong,
    /// A function was called out of order: a second call before the answer to the first, or any after an error.
    #[error("the connection is not ready for this")]
    NotReady,
    /// The call failed; the connection is still good. Where there is security, the server has proven that it says so.
    #[error("the server's fault: {}", .0.status)]
    Fault(Fault),
    /// A fault on a connection with security, without a verifier: anybody on the way can have said it, whatever became of
    /// the call.
    #[error("a fault that is not signed, which the server or somebody else may have sent: {}", .0.status)]
    UnverifiedFault(Fault),
}

/// A provider, and the number that the client gave to the security context.
#[derive(Debug)]
pub(crate) struct Protection<S> {
    pub(crate) security: S,
    pub(crate) context_id: u32,
    /// [`PRIVACY`], or [`INTEGRITY`] where a server takes that.
    pub(crate) level: u8,
    /// Headers and trailers are signed as well.
    pub(crate) headers: bool,
}

impl<S: Security> Protection<S> {
    pub(crate) fn trailer(&self, pad_length: u8) -> Trailer {
        let (auth_type, context_id) = (self.security.auth_type().code(), self.context_id);
        Trailer { auth_type, auth_level: self.level, pad_length, context_id }
    }

    /// What is signed beside the arguments.
    const fn around<'a>(&self, header: &'a [u8], trailer: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        if self.headers { (header, trailer) } else { (&[], &[]) }
    }

    fn token_length(&mut self, stub: usize) -> Result<usize, SecurityError> {
        if self.level == PRIVACY {
            self.security.token_length(stub)
        } else {
            self.security.signature_length()
        }
    }

    fn protect(&mut self, header: &[u8], stub: &mut [u8], trailer: &[u8]) -> Result<Vec<u8>, SecurityError> {
        let (header, trailer) = self.around(header, trailer);
        if self.level == PRIVACY {
            self.security.seal(header, stub, trailer)
        } else {
            self.security.sign(&[header, stub, trailer].concat())
        }
    }

    fn verify(
        &mut self,
        pdu: &Pdu<'_>,
        stub: &mut [u8],
        verifier: &Verifier<'_>,
    ) -> Result<(), SecurityError> {
        let (header, trailer) = self.around(pdu.signed, verifier.trailer);
        if self.level == PRIVACY {
            self.security.unseal(header, stub, trailer, verifier.token)
        } else {
            self.security.verify(&[header, stub, trailer].concat(), verifier.token)
        }
    }

    /// Provider, level and context must be those agreed on.
    pub(crate) fn check(&self, verifier: &Verifier<'_>) -> Result<(), RpcError> {
        if verifier.auth_type != self.security.auth_type().code() {
            return Err(RpcError::AuthType(verifier.auth_type));
        }
        if verifier.auth_level != self.level {
            return Err(RpcError::AuthLevel(verifier.auth_level));
        }
        if verifier.context_id != self.context_id {
            return Err(RpcError::AuthContext(verifier.context_id));
        }
        Ok(())
    }
}

/// All arguments or results as fragments, one after the other. `head` makes what stands before them, from a header and
/// the number of octets that are still to come.
pub(crate) fn fragments<S: Security>(
    mut protection: Option<&mut Protection<S>>,
    max_fragment: u16,
    call_id: u32,
    stub: &[u8],
    head: impl Fn(Header, u32) -> Vec<u8>,
) -> Result<Vec<u8>, RpcError> {
    if stub.len() > MAX_STUB {
        return Err(RpcError::TooLong);
    }
    let blank = Header { kind: Kind::Request, flags: 0, frag_length: 0, auth_length: 0, call_id };
    let head_length = head(blank, 0).len();
    let overhead = match &mut protection {
        Some(protection) => TRAILER + protection.token_length(SEAL_UNIT)?,
        None => 0,
    };
    let room = usize::from(max_fragment).saturating_sub(head_length + overhead) / SEAL_UNIT * SEAL_UNIT;
    if room == 0 {
        return Err(RpcError::FragmentSize(max_fragment));
    }
    let mut octets = Vec::with_capacity(stub.len() + HEADER + 256);
    let mut rest = stub;
    let mut flags = FIRST;
    loop {
        let (part, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        if after.is_empty() {
            flags |= LAST;
        }
        let hint = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        match &mut protection {
            None => {
                let frag_length = u16_of(head_length + part.len());
                octets.extend(head(Header { flags, frag_length, ..blank }, hint));
                octets.extend_from_slice(part);
            }
            Some(protection) => {
                let pad = part.len().next_multiple_of(SEAL_UNIT) - part.len();
                let mut sealed = part.to_vec();
                sealed.resize(part.len() + pad, 0);
                let auth_length = protection.token_length(sealed.len())?;
                let frag_length = u16_of(head_length + sealed.len() + TRAILER + auth_length);
                let header = Header { flags, frag_length, auth_length: u16_of(auth_length), ..blank };
                let signed = head(header, hint);
                let trailer = protection.trailer(u8::try_from(pad).unwrap_or_default()).to_octets();
                let token = protection.protect(&signed, &mut sealed, &trailer)?;
                if token.len() != auth_length {
                    return Err(SecurityError(
                        "the provider's token has another length than it said".to_owned(),
                    )
                    .into());
                }
                octets.extend(signed);
                octets.extend(sealed);
                octets.extend(trailer);
                octets.extend(token);
            }
        }
        if flags & LAST != 0 {
            return Ok(octets);
        }
        rest = after;
        flags = 0;
    }
}

/// The arguments or results in one fragment, unsealed and without padding.
pub(crate) fn open<S: Security>(
    protection: Option<&mut Protection<S>>,
    pdu: &Pdu<'_>,
) -> Result<Vec<u8>, RpcError> {
    let mut stub = pdu.body.to_vec();
    let Some(protection) = protection else {
        return match pdu.verifier {
            None => Ok(stub),
            Some(verifier) => Err(RpcError::AuthType(verifier.auth_type)),
        };
    };
    let verifier = pdu.verifier.ok_or(RpcError::Unprotected(pdu.header.kind))?;
    protection.check(&verifier)?;
    protection.verify(pdu, &mut stub, &verifier)?;
    let length = stub
        .len()
        .checked_sub(usize::from(verifier.pad_length))
        .ok_or(RpcError::Padding(verifier.pad_length))?;
    stub.truncate(length);
    Ok(stub)
}
