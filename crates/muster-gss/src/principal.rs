//! Names: who somebody is, and which service a ticket may be for.

use std::fmt;
use std::str::FromStr;

/// A Kerberos name, as the library writes it: `/` between components, and a backslash before a `/`, `@` or `\` that
/// belongs to a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// `alice`, `PC1$`, `host/pc1.corp.example`.
    pub name: String,
    /// `CORP.EXAMPLE`.
    pub realm: String,
}

impl Principal {
    /// Splits `name@REALM` at the last `@` that is not escaped. `None` without a name or a realm.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut at = None;
        let mut escaped = false;
        for (place, character) in text.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '@' => at = Some(place),
                _ => {}
            }
        }
        let (name, realm) = text.split_at_checked(at?)?;
        let realm = realm.strip_prefix('@')?;
        if name.is_empty() || realm.is_empty() {
            return None;
        }
        Some(Self { name: name.to_owned(), realm: realm.to_owned() })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.realm)
    }
}

/// The name of one of our services, `HTTP/pki.corp.example` or `HTTP/pki.corp.example@CORP.EXAMPLE`; without a realm
/// it is every realm that the keytab has.
///
/// Only `HTTP`: a service that took tickets for `HOST`, `cifs` or `RestrictedKrbHost` would take those that were meant
/// for others on the same machine (MS-KILE 5.1.2). Remote procedure calls have their own names, [`Self::of_rpc`], whose
/// tickets are good for sealed calls alone: with a ticket that was meant for others nobody can seal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    class: &'static str,
    host: String,
    realm: Option<String>,
}

/// A text that is no service name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no service name: it must be {1}/ and a host name, such as {1}/pki.corp.example, and may have a realm"
)]
pub struct ServiceNameError(pub String, pub &'static str);

/// The service of web pages.
const HTTP: &str = "HTTP";
/// The services of remote procedure calls: of the machine, and of its mapper.
const RPC: [&str; 2] = ["HOST", "RPCSS"];

impl ServiceName {
    /// `HOST/pki.corp.example` or `RPCSS/pki.corp.example`, for [`crate::Acceptor::dce_acceptor`] alone.
    ///
    /// # Errors
    /// [`ServiceNameError`].
    pub fn of_rpc(text: &str) -> Result<Self, ServiceNameError> {
        Self::parse(text, &RPC)
    }

    /// Whether tickets are taken outside of sealed calls.
    pub(crate) fn is_http(&self) -> bool {
        self.class == HTTP
    }

    /// Whether `name` (without realm) is this service. Directories do not tell capitals from small letters, and issue
    /// tickets for the spelling that the client asked for.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        name.split_once('/').is_some_and(|(class, host)| {
            class.eq_ignore_ascii_case(self.class) && host.eq_ignore_ascii_case(&self.host)
        })
    }

    /// Whether the service may be of this realm.
    #[must_use]
    pub fn has_realm(&self, realm: &str) -> bool {
        self.realm.as_ref().is_none_or(|own| own == realm)
    }

    /// The host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, &[HTTP])
    }
}

impl ServiceName {
    fn parse(text: &str, classes: &[&'static str]) -> Result<Self, ServiceNameError> {
        let wrong = || ServiceNameError(text.to_owned(), classes.first().copied().unwrap_or(HTTP));
        let (name, realm) = match text.split_once('@') {
            Some((name, realm)) => (name, Some(realm)),
            None => (text, None),
        };
        let (class, host) = name.split_once('/').ok_or_else(wrong)?;
        let is_host = |host: &str| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_'))
        };
        let is_realm = |realm: &str| !realm.is_empty() && !realm.contains(['@', '/', '\\', '\0']);
        let class = classes.iter().copied().find(|known| known.eq_ignore_ascii_case(class));
        let class = class.ok_or_else(wrong)?;
        if !is_host(host) || !realm.is_none_or(is_realm) {
            return Err(wrong());
        }
        Ok(Self { class, host: host.to_owned(), realm: realm.map(str::to_owned) })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.class, self.host)?;
        match &self.realm {
            Some(realm) => write!(f, "@{realm}"),
            None => Ok(()),
        }
    }
}
