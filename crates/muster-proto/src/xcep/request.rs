//! `GetPolicies`: the question, and its filter as a pure function.

use thiserror::Error;

use super::flags::PrivateKeyFlags;
use crate::soap::names::{ACTION_GET_POLICIES, XCEP};
use crate::soap::xml::{Element, Writer, XmlError, clip};
use crate::soap::{DateTime, Fault, FaultKind, RequestHeader};

/// `GetPolicies` (MS-XCEP 3.1.4.1.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPolicies {
    /// Who asks, as far as the answer depends on it.
    pub client: Client,
    /// Which policies are wanted; `None` means all.
    pub request_filter: Option<RequestFilter>,
}

/// `Client` (3.1.4.1.3.9).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// When the client last got this policy; `None` and year 1 both mean never.
    pub last_update: Option<DateTime>,
    /// Language for friendly names.
    pub preferred_language: Option<String>,
}

/// `RequestFilter` (3.1.4.1.3.22).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestFilter {
    /// Only templates with one of these OIDs; empty means all.
    pub policy_oids: Vec<String>,
    /// Only templates that a client of this version can use, see [`PrivateKeyFlags::client_version`].
    pub client_version: Option<i32>,
    /// Only templates that a CA of this version can issue, see [`PrivateKeyFlags::server_version`].
    pub server_version: Option<i32>,
}

/// Why a body is no question for policies.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XcepError {
    /// An element is missing, repeated or of the wrong type.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The action header is absent or names nothing that a policy service does.
    #[error("action {action} is not supported")]
    Action {
        /// End of the action, shortened; empty if absent.
        action: String,
    },
    /// `client` is nil or empty (3.1.4.1.2.1 asks for a fault).
    #[error("element client is nil or empty")]
    NoClient,
}

impl XcepError {
    /// The fault to answer with.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let kind = match self {
            Self::Action { .. } => FaultKind::ActionNotSupported,
            Self::Xml(_) | Self::NoClient => FaultKind::Sender,
        };
        Fault { kind, reason: self.to_string() }
    }
}

impl GetPolicies {
    /// Reads the body of an envelope with this action. Unknown elements are ignored.
    ///
    /// # Errors
    /// [`XcepError`]; see its variants.
    pub fn parse(action: Option<&str>, body: &Element<'_>) -> Result<Self, XcepError> {
        let action = action.unwrap_or_default();
        if action != ACTION_GET_POLICIES {
            return Err(XcepError::Action { action: clip(action.rsplit('/').next().unwrap_or(action)) });
        }
        if !body.is(XCEP, "GetPolicies") {
            return Err(XmlError::unexpected(body.local(), "GetPolicies").into());
        }
        let client = body.required(XCEP, "client")?;
        if client.is_nil()? || client.children().is_empty() {
            return Err(XcepError::NoClient);
        }
        let request_filter = match body.non_nil(XCEP, "requestFilter")? {
            Some(filter) if !filter.children().is_empty() => Some(RequestFilter::read(filter)?),
            Some(_) | None => None,
        };
        Ok(Self { client: Client::read(client)?, request_filter })
    }

    /// Writes the whole request message.
    #[must_use]
    pub fn to_envelope(&self, header: &RequestHeader) -> String {
        header.write(ACTION_GET_POLICIES, |w| {
            w.element("GetPolicies", &[("xmlns", XCEP)], |w| {
                w.element("client", &[], |w| {
                    w.nillable("lastUpdate", self.client.last_update);
                    w.nillable("preferredLanguage", self.client.preferred_language.as_ref());
                });
                match &self.request_filter {
                    Some(filter) => w.element("requestFilter", &[], |w| filter.write(w)),
                    None => w.nil("requestFilter"),
                }
            });
        })
    }
}

impl Client {
    fn read(client: &Element<'_>) -> Result<Self, XmlError> {
        let last_update = client.non_nil(XCEP, "lastUpdate")?.map(Element::date_time).transpose()?;
        let language = client.non_nil(XCEP, "preferredLanguage")?.map(Element::trimmed).transpose()?;
        let preferred_language = language.filter(|l| !l.is_empty()).map(str::to_owned);
        Ok(Self { last_update, preferred_language })
    }
}

impl RequestFilter {
    fn read(filter: &Element<'_>) -> Result<Self, XmlError> {
        let policy_oids = match filter.non_nil(XCEP, "policyOIDs")? {
            Some(oids) => oids
                .children()
                .iter()
                .filter(|c| c.is(XCEP, "oid"))
                .map(|oid| Ok(oid.trimmed()?.to_owned()))
                .collect::<Result<_, XmlError>>()?,
            None => Vec::new(),
        };
        let version = |local| filter.non_nil(XCEP, local)?.map(Element::integer).transpose();
        Ok(Self {
            policy_oids,
            client_version: version("clientVersion")?,
            server_version: version("serverVersion")?,
        })
    }

    fn write(&self, w: &mut Writer) {
        if self.policy_oids.is_empty() {
            w.nil("policyOIDs");
        } else {
            w.element("policyOIDs", &[], |w| {
                for oid in &self.policy_oids {
                    w.leaf("oid", oid);
                }
            });
        }
        w.nillable("clientVersion", self.client_version);
        w.nillable("serverVersion", self.server_version);
    }

    /// Does a template with this OID and these flags pass the filter (3.1.4.1.3.22)?
    ///
    /// A version that is nil, absent or 0 filters nothing, unlike with Microsoft's server, which then hides every
    /// template that asks for a version.
    #[must_use]
    pub fn keeps(&self, policy_oid: &str, flags: PrivateKeyFlags) -> bool {
        let new_enough = |needed: u32, offered: Option<i32>| match offered {
            Some(offered) if offered > 0 => i64::from(needed) <= i64::from(offered),
            Some(_) | None => true,
        };
        (self.policy_oids.is_empty() || self.policy_oids.iter().any(|oid| oid == policy_oid))
            && new_enough(flags.client_version(), self.client_version)
            && new_enough(flags.server_version(), self.server_version)
    }
}
