//! The URL of a service: what goes into `a:To`, kept beside what goes into TCP, TLS and the request line.
//!
//! WCF servers compare `a:To` with their own address (they answer DestinationUnreachable otherwise), so the text
//! is kept exactly as it was given.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use rustls_pki_types::ServerName;
use thiserror::Error;

/// An absolute `https` URL of a policy or enrollment service.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    url: String,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no URL that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// No absolute URL.
    #[error("{0:?} is not an absolute URL")]
    NotAbsolute(String),
    /// Not `https`. Passwords and requests go over TLS only.
    #[error("{0:?} is not an https URL")]
    NotHttps(String),
    /// A user name in the URL.
    #[error("the URL holds a user name")]
    UserInfo,
    /// The host is neither a DNS name nor an IP address.
    #[error("{0:?} is not a host name")]
    Host(String),
}

impl Endpoint {
    /// The URL as it was given, without white space around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// DNS name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query for the request line, percent-encoded.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Value of the Host header: the port only if it is not 443.
    pub(crate) fn host_header(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == HTTPS { host } else { format!("{host}:{}", self.port) }
    }

    /// The name that the server's certificate must bear.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.clone()).ok()
    }
}

const HTTPS: u16 = 443;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url = text.trim();
        let not_absolute = || EndpointError::NotAbsolute(url.to_owned());
        // A published URL may hold the CA's name as it is written, blanks included.
        let uri: Uri = encode(url).parse().map_err(|_| not_absolute())?;
        let scheme = uri.scheme_str().ok_or_else(not_absolute)?;
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(EndpointError::NotHttps(url.to_owned()));
        }
        let authority = uri.authority().ok_or_else(not_absolute)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if ServerName::try_from(host).is_err() {
            return Err(EndpointError::Host(host.to_owned()));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            url: url.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(HTTPS),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        })
    }
}

/// Percent-encodes what a request line cannot hold.
fn encode(url: &str) -> String {
    use fmt::Write as _;

    let mut encoded = String::with_capacity(url.len());
    for byte in url.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn url_is_kept_exactly() {
        let url = "https://CES1.example.test/Example%20CA_CES_UsernamePassword/service.svc/CES";
        let parsed = endpoint(&format!("\n  {url} "));
        assert_eq!(parsed.as_str(), url);
        assert_eq!(parsed.host(), "CES1.example.test");
        assert_eq!(parsed.port(), 443);
        assert_eq!(parsed.path(), "/Example%20CA_CES_UsernamePassword/service.svc/CES");
        assert_eq!(parsed.host_header(), "CES1.example.test");
    }

    #[test]
    fn blanks_are_encoded_for_the_request_line_only() {
        let parsed = endpoint("https://ces/Example CA/é");
        assert_eq!(parsed.as_str(), "https://ces/Example CA/é");
        assert_eq!(parsed.path(), "/Example%20CA/%C3%A9");
    }

    #[test]
    fn ipv6_address_with_port() {
        let parsed = endpoint("https://[::1]:8443");
        assert_eq!((parsed.host(), parsed.port(), parsed.path()), ("::1", 8443, "/"));
        assert_eq!(parsed.host_header(), "[::1]:8443");
    }

    #[test]
    fn unusable_urls_are_refused() {
        use EndpointError::*;
        for (text, error) in [
            ("/CES", NotAbsolute("/CES".into())),
            ("", NotAbsolute(String::new())),
            ("ces.example.test", NotAbsolute("ces.example.test".into())),
            ("http://ces/CES", NotHttps("http://ces/CES".into())),
            ("https://user:word@ces/CES", UserInfo),
            ("https://-example/CES", Host("-example".into())),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }
}
