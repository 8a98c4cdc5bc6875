//! `RequestSecurityTokenResponseCollection`: what a server answers. Always exactly one response in it.

use super::request::WstepError;
use super::token::{BinarySecurityToken, RequestId, ValueType, X509_V3, write_token};
use crate::soap::ResponseHeader;
use crate::soap::names::{ACTION_KET_FINAL, ACTION_RSTRC, WSSE, WST, WSTEP, XML};
use crate::soap::xml::{Element, Writer, XmlError};

/// `wst:RequestSecurityTokenResponse` (MS-WSTEP 3.1.4.1.3.4): the three ways to answer without a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestSecurityTokenResponse {
    /// The certificate is there.
    Issued(Issued),
    /// Somebody has to decide first.
    Pending(Pending),
    /// The CA exchange certificate, DER.
    KeyExchangeToken(Vec<u8>),
}

/// An issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The issuer's words.
    pub disposition_message: DispositionMessage,
    /// CMC full response, DER; holds the certificate and its chain. Empty only if a foreign server left it out.
    pub full_response: Vec<u8>,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The issuer's number for the request.
    pub request_id: Option<RequestId>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The issuer's words.
    pub disposition_message: DispositionMessage,
    /// CMC full response, DER. Empty only if a foreign server left it out.
    pub full_response: Vec<u8>,
    /// URL to ask again at; a server names its own. Empty only if a foreign server left it out.
    pub reference_uri: String,
    /// The issuer's number for the request, which is what to ask with.
    pub request_id: Option<RequestId>,
}

/// `wstep:DispositionMessage`. Always written, since clients fail without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispositionMessage {
    /// The words; may be empty.
    pub text: String,
    /// Their language, for example `en-US`.
    pub language: String,
}

impl DispositionMessage {
    /// A message in American English.
    #[must_use]
    pub fn english(text: &str) -> Self {
        Self { text: text.to_owned(), language: "en-US".to_owned() }
    }

    fn read(response: &Element<'_>) -> Result<Self, XmlError> {
        let Some(message) = response.child(WSTEP, "DispositionMessage")? else {
            return Ok(Self { text: String::new(), language: String::new() });
        };
        Ok(Self {
            text: message.trimmed()?.to_owned(),
            language: message.attribute(XML, "lang").unwrap_or_default().to_owned(),
        })
    }

    fn write(&self, w: &mut Writer) {
        let attributes = [("xmlns", WSTEP), ("xml:lang", &self.language)];
        let used = if self.language.is_empty() { 1 } else { 2 };
        w.leaf_with("DispositionMessage", attributes.get(..used).unwrap_or(&attributes), &self.text);
    }
}

impl RequestSecurityTokenResponse {
    /// Reads the body of an answer that is no fault. The action is not needed: the content decides.
    ///
    /// # Errors
    /// [`WstepError::Xml`] if it is not an answer of this protocol.
    pub fn parse(body: &Element<'_>) -> Result<Self, WstepError> {
        if !body.is(WST, "RequestSecurityTokenResponseCollection") {
            let expected = "RequestSecurityTokenResponseCollection";
            return Err(XmlError::unexpected(body.local(), expected).into());
        }
        let response = body.required(WST, "RequestSecurityTokenResponse")?;
        let requested = response.child(WST, "RequestedSecurityToken")?;
        // The sample (4.1.2.2) puts it inside of RequestedSecurityToken, the prose (3.1.4.2.2.1) beside.
        let exchange = match requested.unwrap_or(response).child(WST, "KeyExchangeToken")? {
            Some(exchange) => Some(exchange),
            None => response.child(WST, "KeyExchangeToken")?,
        };
        if let Some(exchange) = exchange {
            let token = BinarySecurityToken::read(exchange.required(WSSE, "BinarySecurityToken")?)?;
            return Ok(Self::KeyExchangeToken(not_empty(token.bytes)?));
        }
        let disposition_message = DispositionMessage::read(response)?;
        let full_response = match response.non_nil(WSSE, "BinarySecurityToken")? {
            Some(token) => token.base64()?,
            None => Vec::new(),
        };
        let request_id = response.non_nil(WSTEP, "RequestID")?.map(Element::trimmed).transpose()?;
        let request_id = request_id.and_then(RequestId::new);
        let requested = requested.ok_or(XmlError::Missing { element: "RequestedSecurityToken" })?;
        if let Some(token) = requested.non_nil(WSSE, "BinarySecurityToken")? {
            let certificate = not_empty(token.base64()?)?;
            return Ok(Self::Issued(Issued { disposition_message, full_response, certificate, request_id }));
        }
        let reference = match requested.child(WSSE, "SecurityTokenReference")? {
            Some(reference) => reference.child(WSSE, "Reference")?,
            None => None,
        };
        let reference_uri = reference.and_then(|r| r.attribute("", "URI")).unwrap_or_default();
        let reference_uri = reference_uri.trim().to_owned();
        Ok(Self::Pending(Pending { disposition_message, full_response, reference_uri, request_id }))
    }

    /// The action that goes with the answer.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Issued(_) | Self::Pending(_) => ACTION_RSTRC,
            Self::KeyExchangeToken(_) => ACTION_KET_FINAL,
        }
    }

    /// Writes the whole answer. The order of elements is that of real servers; Windows insists on it.
    #[must_use]
    pub fn to_envelope(&self, header: &ResponseHeader) -> String {
        header.write(self.action(), |w| {
            w.element("RequestSecurityTokenResponseCollection", &[("xmlns", WST)], |w| {
                w.element("RequestSecurityTokenResponse", &[], |w| {
                    w.leaf("TokenType", X509_V3);
                    match self {
                        Self::Issued(issued) => issued.write(w),
                        Self::Pending(pending) => pending.write(w),
                        Self::KeyExchangeToken(certificate) => {
                            w.element("RequestedSecurityToken", &[], |w| {
                                w.element("KeyExchangeToken", &[], |w| {
                                    write_token(w, &ValueType::X509v3, certificate);
                                });
                            });
                        }
                    }
                });
            });
        })
    }
}

impl Issued {
    fn write(&self, w: &mut Writer) {
        self.disposition_message.write(w);
        write_token(w, &ValueType::Pkcs7, &self.full_response);
        w.element("RequestedSecurityToken", &[], |w| write_token(w, &ValueType::X509v3, &self.certificate));
        write_request_id(w, self.request_id.as_ref());
    }
}

impl Pending {
    fn write(&self, w: &mut Writer) {
        self.disposition_message.write(w);
        write_token(w, &ValueType::Pkcs7, &self.full_response);
        w.element("RequestedSecurityToken", &[], |w| {
            w.element("SecurityTokenReference", &[("xmlns", WSSE)], |w| {
                w.empty("Reference", &[("URI", &self.reference_uri)]);
            });
        });
        write_request_id(w, self.request_id.as_ref());
    }
}

/// Left out rather than made up: Windows takes 0 for a missing id and then fails.
fn write_request_id(w: &mut Writer, id: Option<&RequestId>) {
    if let Some(id) = id {
        w.leaf_with("RequestID", &[("xmlns", WSTEP)], id.as_str());
    }
}

fn not_empty(bytes: Vec<u8>) -> Result<Vec<u8>, WstepError> {
    if bytes.is_empty() { Err(WstepError::EmptyToken) } else { Ok(bytes) }
}
