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
/// for others on the same machine (MS-KILE 5.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    host: String,
    realm: Option<String>,
}

/// A text that is no service name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no service name: it must be HTTP/ and a host name, such as HTTP/pki.corp.example, and may have a realm"
)]
pub struct ServiceNameError(pub String);

impl ServiceName {
    /// Whether `name` (without realm) is this service. Directories do not tell capitals from small letters, and issue
    /// tickets for the spelling that the client asked for.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        name.split_once('/').is_some_and(|(class, host)| {
            class.eq_ignore_ascii_case("HTTP") && host.eq_ignore_ascii_case(&self.host)
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
        let wrong = || ServiceNameError(text.to_owned());
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
        if !class.eq_ignore_ascii_case("HTTP") || !is_host(host) || !realm.is_none_or(is_realm) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), realm: realm.map(str::to_owned) })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP/{}", self.host)?;
        match &self.realm {
            Some(realm) => write!(f, "@{realm}"),
            None => Ok(()),
        }
    }
}
