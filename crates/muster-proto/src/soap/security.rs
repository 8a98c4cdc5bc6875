//! WS-Security: the UsernameToken and Timestamp of the user name binding (MS-WSTEP 3.1.1.1.3).
//!
//! The password travels as text inside TLS. A digest would ask the server to keep recoverable passwords, so it is
//! refused with an error of its own. XML signatures are ignored: they never authenticate anything here.

use std::fmt;

use zeroize::Zeroizing;

use super::date_time::DateTime;
use super::envelope::EnvelopeError;
use super::names::{PASSWORD_DIGEST, PASSWORD_TEXT, WSSE, WSU};
use super::xml::{Element, Writer, XmlError};

/// The Security header of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// Who asks.
    pub username_token: Option<UsernameToken>,
    /// When the message was made and how long it is good for.
    pub timestamp: Option<Timestamp>,
}

/// A user name with a password in plain text. Nonce and creation time, if sent, are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsernameToken {
    /// As sent, may be empty: `DOMAIN\user`, `user@realm` or a bare name.
    pub username: String,
    /// The password.
    pub password: Password,
}

/// A password; `Debug` hides it, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// `wsu:Timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// When the sender made the message.
    pub created: Option<DateTime>,
    /// After this the message is void.
    pub expires: Option<DateTime>,
}

/// What a client puts into the Security header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name and password.
    pub token: UsernameToken,
    /// When the message was made and how long it is good for; Windows writes five minutes.
    pub timestamp: Timestamp,
}

impl Password {
    /// Takes over a password.
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    /// The password itself, for the one place that verifies or sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

impl Security {
    pub(super) fn read(header: Element<'_>) -> Result<Self, EnvelopeError> {
        let mut security = Self::default();
        for child in header.into_children() {
            if child.is(WSSE, "UsernameToken") {
                if security.username_token.is_some() {
                    return Err(repeated("UsernameToken"));
                }
                security.username_token = Some(UsernameToken::read(child)?);
            } else if child.is(WSU, "Timestamp") {
                if security.timestamp.is_some() {
                    return Err(repeated("Timestamp"));
                }
                security.timestamp = Some(Timestamp::read(&child).map_err(EnvelopeError::Security)?);
            }
        }
        Ok(security)
    }
}

fn repeated(element: &str) -> EnvelopeError {
    EnvelopeError::Security(XmlError::Repeated { element: element.to_owned() })
}

impl UsernameToken {
    fn read(token: Element<'_>) -> Result<Self, EnvelopeError> {
        let mut username = None;
        let mut password = None;
        for child in token.into_children() {
            if child.is(WSSE, "Username") {
                let text = child.into_text().map_err(EnvelopeError::Security)?.trim().to_owned();
                if username.replace(text).is_some() {
                    return Err(repeated("Username"));
                }
            } else if child.is(WSSE, "Password") {
                check_password_type(&child)?;
                // Taken over whole: leading and trailing white space may belong to the password.
                let text = Password::new(child.into_text().map_err(EnvelopeError::Security)?.into_owned());
                if password.replace(text).is_some() {
                    return Err(repeated("Password"));
                }
            }
        }
        let missing = |element| EnvelopeError::Security(XmlError::Missing { element });
        Ok(Self {
            username: username.ok_or_else(|| missing("Username"))?,
            password: password.ok_or_else(|| missing("Password"))?,
        })
    }
}

/// The attribute is looked for without namespace, and with the one that some clients put there by mistake.
fn check_password_type(password: &Element<'_>) -> Result<(), EnvelopeError> {
    for attribute in password.attributes() {
        if attribute.local() != "Type" || !(attribute.namespace().is_empty() || attribute.namespace() == WSSE)
        {
            continue;
        }
        match attribute.value().trim() {
            PASSWORD_TEXT => {}
            PASSWORD_DIGEST => return Err(EnvelopeError::PasswordDigest),
            _ => return Err(EnvelopeError::PasswordType),
        }
    }
    Ok(())
}

impl Timestamp {
    fn read(timestamp: &Element<'_>) -> Result<Self, XmlError> {
        let time = |local| timestamp.child(WSU, local)?.map(Element::date_time).transpose();
        Ok(Self { created: time("Created")?, expires: time("Expires")? })
    }

    fn write(&self, w: &mut Writer) {
        w.element("u:Timestamp", &[("u:Id", "_0")], |w| {
            if let Some(created) = self.created {
                w.value("u:Created", created);
            }
            if let Some(expires) = self.expires {
                w.value("u:Expires", expires);
            }
        });
    }
}

impl Credentials {
    /// Writes the Security header; the prefixes `s` and `u` must be declared around it.
    pub(super) fn write(&self, w: &mut Writer) {
        w.element("o:Security", &[("s:mustUnderstand", "1"), ("xmlns:o", WSSE)], |w| {
            self.timestamp.write(w);
            w.element("o:UsernameToken", &[("u:Id", "uuid-1")], |w| {
                w.leaf("o:Username", &self.token.username);
                w.leaf_with("o:Password", &[("Type", PASSWORD_TEXT)], self.token.password.expose());
            });
        });
    }
}
