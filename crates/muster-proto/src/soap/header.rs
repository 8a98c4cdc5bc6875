//! Writes the frame around a message: envelope, headers, Body.

use super::names::{ADDRESSING, ADDRESSING_ANONYMOUS, SOAP, WSU, XSI};
use super::security::Credentials;
use super::xml::Writer;

/// Headers of a request that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// `a:MessageID`, a fresh `urn:uuid:…` for each message.
    pub message_id: String,
    /// `a:To`: exactly the URL that the request goes to; servers compare it.
    pub to: String,
    /// User name and password, on an endpoint that asks for them.
    pub credentials: Option<Credentials>,
}

/// Headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseHeader {
    /// `a:RelatesTo`: the MessageID of the request, if it could be read.
    pub relates_to: Option<String>,
}

impl RequestHeader {
    /// Writes a whole request around a body.
    pub(crate) fn write(&self, action: &str, body: impl FnOnce(&mut Writer)) -> String {
        let mut w = Writer::new();
        let namespaces = [("xmlns:s", SOAP), ("xmlns:a", ADDRESSING), ("xmlns:u", WSU)];
        let used = if self.credentials.is_some() { 3 } else { 2 };
        w.element("s:Envelope", namespaces.get(..used).unwrap_or(&namespaces), |w| {
            w.element("s:Header", &[], |w| {
                w.leaf_with("a:Action", &[("s:mustUnderstand", "1")], action);
                w.leaf("a:MessageID", &self.message_id);
                w.element("a:ReplyTo", &[], |w| w.leaf("a:Address", ADDRESSING_ANONYMOUS));
                w.leaf_with("a:To", &[("s:mustUnderstand", "1")], &self.to);
                if let Some(credentials) = &self.credentials {
                    credentials.write(w);
                }
            });
            w.element("s:Body", &[("xmlns:xsi", XSI)], body);
        });
        w.finish()
    }
}

impl ResponseHeader {
    /// An answer to the message with this MessageID.
    #[must_use]
    pub fn relating_to(message_id: Option<&str>) -> Self {
        Self { relates_to: message_id.map(str::to_owned) }
    }

    /// Writes a whole answer around a body. Windows wants both headers.
    pub(crate) fn write(&self, action: &str, body: impl FnOnce(&mut Writer)) -> String {
        self.write_with(action, |_| {}, body)
    }

    /// As [`ResponseHeader::write`], with a further header block.
    pub(crate) fn write_with(
        &self,
        action: &str,
        block: impl FnOnce(&mut Writer),
        body: impl FnOnce(&mut Writer),
    ) -> String {
        self.write_to(Writer::new(), action, block, body)
    }

    /// Writes a whole answer around a body that a [`Writer`] has written before.
    pub(crate) fn write_around(&self, action: &str, body: &str) -> String {
        self.write_to(Writer::with_room(body.len()), action, |_| {}, |w| w.written(body))
    }

    fn write_to(
        &self,
        mut w: Writer,
        action: &str,
        block: impl FnOnce(&mut Writer),
        body: impl FnOnce(&mut Writer),
    ) -> String {
        w.element("s:Envelope", &[("xmlns:s", SOAP), ("xmlns:a", ADDRESSING)], |w| {
            w.element("s:Header", &[], |w| {
                w.leaf_with("a:Action", &[("s:mustUnderstand", "1")], action);
                if let Some(relates_to) = &self.relates_to {
                    w.leaf("a:RelatesTo", relates_to);
                }
                block(w);
            });
            w.element("s:Body", &[("xmlns:xsi", XSI)], body);
        });
        w.finish()
    }
}
