//! `RequestSecurityToken`: what a client asks.

use thiserror::Error;

use super::token::{BinarySecurityToken, RequestId, X509_V3};
use crate::soap::names::{ACTION_KET, ACTION_RST, AUTH, WSSE, WST, WSTEP, XML};
use crate::soap::xml::{Element, Writer, XmlError, clip};
use crate::soap::{Fault, FaultKind, RequestHeader};

const ISSUE: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue";
const QUERY: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/QueryTokenStatus";
const KET: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/KET";

/// `wst:RequestSecurityToken` (MS-WSTEP 3.1.4.1.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSecurityToken {
    /// Language that the client would like messages in.
    pub preferred_language: Option<String>,
    /// What is asked.
    pub operation: Operation,
    /// Name and value pairs that the client adds, in order; never more trustworthy than the client.
    pub additional_context: Vec<ContextItem>,
}

/// The three things that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Issue a certificate; a renewal too, which shows only inside of the token (MS-WSTEP 3.1.4.2.1.1).
    Issue {
        /// The request to be signed.
        token: BinarySecurityToken,
        /// To be ignored, except on the second leg of a key attestation.
        request_id: Option<RequestId>,
    },
    /// What became of an earlier request (3.1.4.2.1.2).
    QueryTokenStatus {
        /// The issuer's number for it.
        request_id: RequestId,
    },
    /// Ask for the CA exchange certificate (3.1.4.2.2.1).
    KeyExchangeToken,
}

/// `auth:ContextItem` of AdditionalContext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextItem {
    /// For example `rmd` (requesting machine) or `cdc` (the client's domain controller).
    pub name: String,
    /// The value; empty if the item has none.
    pub value: String,
}

/// Why a body is no request that we can act on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WstepError {
    /// An element is missing, repeated or of the wrong type.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The action header is absent or names nothing that an enrollment service does.
    #[error("action {action} is not supported")]
    Action {
        /// The action, shortened; empty if absent.
        action: String,
    },
    /// The request type names nothing that an enrollment service does.
    #[error("request type {request_type} is not supported")]
    RequestType {
        /// The request type, shortened; empty if nil.
        request_type: String,
    },
    /// The request type belongs to the other action.
    #[error("the request type does not fit the action")]
    RequestTypeForAction,
    /// Issue without a request to be signed.
    #[error("element BinarySecurityToken is empty")]
    EmptyToken,
    /// QueryTokenStatus without a usable request id.
    #[error("element RequestID is missing, empty or not a request id")]
    NoRequestId,
}

impl WstepError {
    /// The fault to answer with.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let kind = match self {
            Self::Action { .. } => FaultKind::ActionNotSupported,
            Self::Xml(_)
            | Self::RequestType { .. }
            | Self::RequestTypeForAction
            | Self::EmptyToken
            | Self::NoRequestId => FaultKind::Sender,
        };
        Fault { kind, reason: self.to_string() }
    }
}

impl RequestSecurityToken {
    /// Reads the body of an envelope with this action.
    ///
    /// Elements may come in any order and unknown ones are ignored; those that decide something may come once.
    ///
    /// # Errors
    /// [`WstepError`]; see its variants.
    pub fn parse(action: Option<&str>, body: &Element<'_>) -> Result<Self, WstepError> {
        let action = action.unwrap_or_default();
        let exchange = match action {
            ACTION_RST => false,
            ACTION_KET => true,
            _ => return Err(WstepError::Action { action: clip_uri(action) }),
        };
        if !body.is(WST, "RequestSecurityToken") {
            return Err(XmlError::unexpected(body.local(), "RequestSecurityToken").into());
        }
        body.child(WST, "TokenType")?;
        let request_type = body.required(WST, "RequestType")?;
        let request_type = if request_type.is_nil()? { "".into() } else { request_type.uri()? };
        // Looked up whatever the operation, so that a second one is refused in any case.
        let token = body.child(WSSE, "BinarySecurityToken")?;
        let request_id = match body.non_nil(WSTEP, "RequestID")? {
            Some(id) => Some(id.trimmed()?).filter(|id| !id.is_empty()),
            None => None,
        };
        let operation = match (request_type.as_ref(), exchange) {
            (ISSUE, false) => {
                let token = BinarySecurityToken::read(
                    token.ok_or(XmlError::Missing { element: "BinarySecurityToken" })?,
                )?;
                if token.bytes.is_empty() {
                    return Err(WstepError::EmptyToken);
                }
                Operation::Issue { token, request_id: request_id.and_then(RequestId::new) }
            }
            (QUERY, false) => {
                let request_id = request_id.and_then(RequestId::new).ok_or(WstepError::NoRequestId)?;
                Operation::QueryTokenStatus { request_id }
            }
            (KET, true) => {
                body.required(WST, "RequestKET")?;
                Operation::KeyExchangeToken
            }
            (ISSUE | QUERY, true) | (KET, false) => return Err(WstepError::RequestTypeForAction),
            (other, _) => return Err(WstepError::RequestType { request_type: clip_uri(other) }),
        };
        let additional_context = match body.child(AUTH, "AdditionalContext")? {
            Some(context) => context_items(context)?,
            None => Vec::new(),
        };
        let language = body.attribute("", "PreferredLanguage").or_else(|| body.attribute(XML, "lang"));
        let preferred_language = language.map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned);
        Ok(Self { preferred_language, operation, additional_context })
    }

    /// The action that goes with the operation.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self.operation {
            Operation::Issue { .. } | Operation::QueryTokenStatus { .. } => ACTION_RST,
            Operation::KeyExchangeToken => ACTION_KET,
        }
    }

    /// Writes the whole request message.
    #[must_use]
    pub fn to_envelope(&self, header: &RequestHeader) -> String {
        header.write(self.action(), |w| self.write(w))
    }

    fn write(&self, w: &mut Writer) {
        let mut attributes = vec![("xmlns", WST)];
        if let Some(language) = &self.preferred_language {
            attributes.push(("PreferredLanguage", language));
        }
        w.element("RequestSecurityToken", &attributes, |w| {
            w.leaf("TokenType", X509_V3);
            match &self.operation {
                Operation::Issue { token, request_id } => {
                    w.leaf("RequestType", ISSUE);
                    token.write(w);
                    self.write_context(w);
                    write_request_id(w, request_id.as_ref());
                }
                Operation::QueryTokenStatus { request_id } => {
                    w.leaf("RequestType", QUERY);
                    self.write_context(w);
                    write_request_id(w, Some(request_id));
                }
                Operation::KeyExchangeToken => {
                    w.leaf("RequestType", KET);
                    self.write_context(w);
                    w.empty("RequestKET", &[]);
                    write_request_id(w, None);
                }
            }
        });
    }

    fn write_context(&self, w: &mut Writer) {
        if self.additional_context.is_empty() {
            return;
        }
        w.element("AdditionalContext", &[("xmlns", AUTH)], |w| {
            for item in &self.additional_context {
                w.element("ContextItem", &[("Name", &item.name)], |w| w.leaf("Value", &item.value));
            }
        });
    }
}

fn context_items(context: &Element<'_>) -> Result<Vec<ContextItem>, XmlError> {
    let items = context.children().iter().filter(|c| c.is(AUTH, "ContextItem"));
    items
        .map(|item| {
            let name = item.attribute("", "Name").unwrap_or_default().trim().to_owned();
            let value = item.non_nil(AUTH, "Value")?.map(Element::trimmed).transpose()?;
            Ok(ContextItem { name, value: value.unwrap_or_default().to_owned() })
        })
        .collect()
}

fn write_request_id(w: &mut Writer, id: Option<&RequestId>) {
    match id {
        Some(id) => w.leaf_with("RequestID", &[("xmlns", WSTEP)], id.as_str()),
        None => w.empty("RequestID", &[("xsi:nil", "true"), ("xmlns", WSTEP)]),
    }
}

/// The end of a URI tells more than its start.
fn clip_uri(uri: &str) -> String {
    clip(uri.rsplit('/').next().unwrap_or(uri))
}
