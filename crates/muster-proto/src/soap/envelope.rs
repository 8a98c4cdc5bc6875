//! Reads an envelope: headers into fields, the one element of the Body as a tree.

use std::borrow::Cow;

use thiserror::Error;

use super::fault::{Fault, FaultKind, HeaderName};
use super::names::{ADDRESSING, DIAGNOSTICS, SOAP, WSSE};
use super::security::Security;
use super::xml::{self, Element, Limits, XmlError, clip};

/// A SOAP 1.2 message.
///
/// Addressing headers come without white space, since samples wrap lines inside of them. An absent header is `None`; what an
/// absent Action or To means is for the reader to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `a:Action`.
    pub action: Option<Cow<'a, str>>,
    /// `a:MessageID`, to be sent back as RelatesTo.
    pub message_id: Option<Cow<'a, str>>,
    /// `a:To`: the URL that the sender believes to talk to.
    pub to: Option<Cow<'a, str>>,
    /// Address inside `a:ReplyTo`.
    pub reply_to: Option<Cow<'a, str>>,
    /// `a:RelatesTo`: the message that this one answers.
    pub relates_to: Option<Cow<'a, str>>,
    /// `wsse:Security`.
    pub security: Option<Security>,
    /// The element inside of the Body.
    pub body: Element<'a>,
}

/// Why a message is no envelope that we can process.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// Not XML, over a limit, or not an envelope.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The Security header is malformed.
    #[error("security header: {0}")]
    Security(XmlError),
    /// An envelope of SOAP 1.1 or of an unknown version.
    #[error("the envelope is not SOAP 1.2")]
    VersionMismatch,
    /// A header that must be understood is not.
    #[error("header {} must be understood and is not", clip(&.0.local))]
    MustUnderstand(HeaderName),
    /// The password is sent as a digest.
    #[error("password digests are not supported, send the password as text inside TLS")]
    PasswordDigest,
    /// The password is of a type that nobody defined.
    #[error("the password type is not supported, send the password as text inside TLS")]
    PasswordType,
    /// Nothing in the Body.
    #[error("the message body is empty")]
    EmptyBody,
    /// More than one element in the Body.
    #[error("the message body has more than one element")]
    CrowdedBody,
}

/// A message that was refused, with what an answer needs to refer to it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{error}")]
pub struct BadEnvelope {
    /// Why.
    pub error: EnvelopeError,
    /// `a:MessageID`, if the message could be read that far.
    pub message_id: Option<String>,
}

impl EnvelopeError {
    /// The fault that SOAP 1.2, WS-Addressing or WS-Security ask for.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let kind = match self {
            Self::Xml(_) | Self::EmptyBody | Self::CrowdedBody => FaultKind::Sender,
            Self::Security(_) | Self::PasswordDigest | Self::PasswordType => FaultKind::InvalidSecurity,
            Self::VersionMismatch => FaultKind::VersionMismatch,
            Self::MustUnderstand(header) => FaultKind::MustUnderstand(header.clone()),
        };
        Fault { kind, reason: self.to_string() }
    }
}

impl<'a> Envelope<'a> {
    /// Parses a message.
    ///
    /// # Errors
    /// [`BadEnvelope`] with the reason, see [`EnvelopeError`].
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Result<Self, BadEnvelope> {
        let bad = |error| BadEnvelope { error, message_id: None };
        let (header, body) = Self::parts(bytes, limits).map_err(bad)?;
        let mut envelope = Self {
            action: None,
            message_id: None,
            to: None,
            reply_to: None,
            relates_to: None,
            security: None,
            body,
        };
        let blocks = header.map(Element::into_children).unwrap_or_default();
        let message_id = blocks.iter().find(|b| b.is(ADDRESSING, "MessageID"));
        let message_id = message_id
            .and_then(|b| b.trimmed().ok())
            .filter(|id| id.len() <= MESSAGE_ID_MAX)
            .map(str::to_owned);
        for block in blocks {
            if let Err(error) = envelope.take_header(block) {
                return Err(BadEnvelope { error, message_id });
            }
        }
        Ok(envelope)
    }

    /// The Header, if there is one, and the one element of the Body.
    fn parts(bytes: &'a [u8], limits: &Limits) -> Result<(Option<Element<'a>>, Element<'a>), EnvelopeError> {
        let root = xml::parse(bytes, limits)?;
        if !root.is(SOAP, "Envelope") {
            return Err(if root.local() == "Envelope" {
                EnvelopeError::VersionMismatch
            } else {
                XmlError::unexpected(root.local(), "Envelope").into()
            });
        }
        let mut header = None;
        let mut body = None;
        for part in root.into_children() {
            // SOAP 1.2 part 1, section 5.1: at most one Header, then exactly one Body, nothing else.
            if part.is(SOAP, "Header") && body.is_none() {
                put(&mut header, part, "Header")?;
            } else if part.is(SOAP, "Body") {
                put(&mut body, part, "Body")?;
            } else {
                return Err(XmlError::unexpected(part.local(), "Header or Body").into());
            }
        }
        let body = body.ok_or(XmlError::Missing { element: "Body" })?;
        let mut content = body.into_children().into_iter();
        let body = content.next().ok_or(EnvelopeError::EmptyBody)?;
        if content.next().is_some() {
            return Err(EnvelopeError::CrowdedBody);
        }
        Ok((header, body))
    }

    fn take_header(&mut self, block: Element<'a>) -> Result<(), EnvelopeError> {
        if !is_for_us(&block) {
            return Ok(());
        }
        if block.is(WSSE, "Security") {
            let security = Security::read(block)?;
            return Ok(put(&mut self.security, security, "Security")?);
        }
        if block.namespace() == ADDRESSING {
            match block.local() {
                "Action" => return Ok(put(&mut self.action, block.uri()?, "Action")?),
                "MessageID" => {
                    let id = block.into_trimmed()?;
                    if id.len() > MESSAGE_ID_MAX {
                        return Err(XmlError::value("MessageID", "an id of at most 512 bytes").into());
                    }
                    return Ok(put(&mut self.message_id, id, "MessageID")?);
                }
                "To" => return Ok(put(&mut self.to, block.uri()?, "To")?),
                "RelatesTo" => return Ok(put(&mut self.relates_to, block.into_trimmed()?, "RelatesTo")?),
                "ReplyTo" => {
                    let address = block.required(ADDRESSING, "Address")?.uri()?;
                    return Ok(put(&mut self.reply_to, address, "ReplyTo")?);
                }
                // Answers go back on the connection that the request came on, whatever these say.
                "From" | "FaultTo" => return Ok(()),
                _ => {}
            }
        }
        if block.is(DIAGNOSTICS, "ActivityId") {
            return Ok(());
        }
        match must_understand(&block)? {
            true => Err(EnvelopeError::MustUnderstand(HeaderName {
                namespace: block.namespace().to_owned(),
                local: block.local().to_owned(),
            })),
            false => Ok(()),
        }
    }
}

/// Longest MessageID in bytes. It comes back in the answer and goes into logs; clients send 45 bytes.
const MESSAGE_ID_MAX: usize = 512;

fn put<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), XmlError> {
    match slot.replace(value) {
        Some(_) => Err(XmlError::Repeated { element: name.to_owned() }),
        None => Ok(()),
    }
}

/// A header with a role concerns us if the role is that of the next or the last receiver (SOAP 1.2 part 1, 2.2).
fn is_for_us(block: &Element<'_>) -> bool {
    match block.attribute(SOAP, "role") {
        None | Some("") => true,
        Some(role) => role
            .strip_prefix(SOAP)
            .is_some_and(|role| role == "/role/next" || role == "/role/ultimateReceiver"),
    }
}

fn must_understand(block: &Element<'_>) -> Result<bool, XmlError> {
    match block.attribute(SOAP, "mustUnderstand") {
        None => Ok(false),
        Some(value) => xml::boolean(value)
            .ok_or_else(|| XmlError::value(block.local(), "a boolean in its mustUnderstand attribute")),
    }
}
