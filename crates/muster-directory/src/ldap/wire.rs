//! Octets to and from one server: plain until the bind is done, then TLS or sealed with the Kerberos key.

use bytes::{Buf, BytesMut};
use muster_gss::InitiateError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ber;
use super::error::LdapError;
use super::message::{Message, Request};

/// Largest message that is read, octets. Larger than any object that we read: a descriptor has at most 64 KiB.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;
/// Largest sealed frame that is read, and that we say we read (RFC 4752 3.1), octets.
pub(crate) const MAX_FRAME: u32 = 1 << 20;

/// A connection.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Sealing by a Kerberos context (RFC 4752 3.3).
pub(crate) trait Seal: Send {
    /// Encrypts.
    fn seal(&mut self, clear: &[u8]) -> Result<Vec<u8>, InitiateError>;
    /// Decrypts and verifies.
    fn unseal(&mut self, sealed: &[u8]) -> Result<Vec<u8>, InitiateError>;
    /// Most octets of clear text in one frame that the peer takes.
    fn limit(&self) -> usize;
}

/// Messages over a connection.
pub(crate) struct Wire {
    server: String,
    stream: Box<dyn Io>,
    /// As received, while the connection is sealed.
    frames: BytesMut,
    clear: BytesMut,
    seal: Option<Box<dyn Seal>>,
}

impl Wire {
    pub(crate) fn new(server: String, stream: Box<dyn Io>) -> Self {
        Self { server, stream, frames: BytesMut::new(), clear: BytesMut::new(), seal: None }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// From now on everything is sealed.
    pub(crate) fn seal_with(&mut self, seal: Box<dyn Seal>) {
        self.frames = std::mem::take(&mut self.clear);
        self.seal = Some(seal);
    }

    /// The connection below, to begin TLS on it. `None` if the server sent something that nobody asked for:
    /// it would count as protected afterwards.
    pub(crate) fn into_stream(self) -> Option<Box<dyn Io>> {
        self.clear.is_empty().then_some(self.stream)
    }

    /// Sends one request.
    pub(crate) async fn send(&mut self, id: i32, request: &Request) -> Result<(), LdapError> {
        let message = request.encode(id);
        let result = match &mut self.seal {
            None => self.stream.write_all(&message).await,
            Some(seal) => {
                let mut out = Vec::with_capacity(message.len() + 128);
                for part in message.chunks(seal.limit().max(1)) {
                    let frame = seal
                        .seal(part)
                        .map_err(|cause| LdapError::Kerberos { server: self.server.clone(), cause })?;
                    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    out.extend_from_slice(&length.to_be_bytes());
                    out.extend_from_slice(&frame);
                }
                self.stream.write_all(&out).await
            }
        };
        match result {
            Ok(()) => self.stream.flush().await.map_err(|error| self.lost(&error)),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Result<Message, LdapError> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(message);
            }
            let buffer = if self.seal.is_some() { &mut self.frames } else { &mut self.clear };
            buffer.reserve(16 << 10);
            match self.stream.read_buf(buffer).await {
                Ok(0) => return Err(LdapError::Closed { server: self.server.clone() }),
                Ok(_) => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// A whole message of what has been received.
    fn buffered(&mut self) -> Result<Option<Message>, LdapError> {
        loop {
            let malformed = |cause| LdapError::Malformed { server: self.server.clone(), cause };
            if let Some(length) = ber::message_length(&self.clear).map_err(malformed)? {
                if length > MAX_MESSAGE {
                    return Err(LdapError::TooLarge {
                        server: self.server.clone(),
                        limit: MAX_MESSAGE,
                        unit: "octets",
                    });
                }
                if self.clear.len() >= length {
                    let octets = self.clear.split_to(length);
                    return Message::decode(&octets).map(Some).map_err(malformed);
                }
            }
            if !self.open_frame()? {
                return Ok(None);
            }
        }
    }

    /// Moves one sealed frame to the clear octets; false if there is no whole one.
    fn open_frame(&mut self) -> Result<bool, LdapError> {
        let Some(seal) = &mut self.seal else { return Ok(false) };
        let Some(length) = self.frames.first_chunk::<4>().map(|head| u32::from_be_bytes(*head)) else {
            return Ok(false);
        };
        if length > MAX_FRAME {
            return Err(LdapError::TooLarge {
                server: self.server.clone(),
                limit: usize::try_from(MAX_FRAME).unwrap_or(usize::MAX),
                unit: "octets in one sealed frame",
            });
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(frame) = self.frames.get(4..).and_then(|rest| rest.get(..length)) else { return Ok(false) };
        let clear = seal
            .unseal(frame)
            .map_err(|cause| LdapError::Unseal { server: self.server.clone(), cause: cause.to_string() })?;
        self.frames.advance(4 + length);
        self.clear.extend_from_slice(&clear);
        Ok(true)
    }

    fn lost(&self, error: &std::io::Error) -> LdapError {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let server = self.server.clone();
        if [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&error.kind()) {
            LdapError::Closed { server }
        } else {
            LdapError::Connect { server, cause: error.to_string() }
        }
    }
}
