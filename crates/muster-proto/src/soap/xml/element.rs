//! The tree, and typed access to it.
//!
//! Accessors refuse what could be read in two ways: a second child where one belongs, children where text belongs.

use std::borrow::Cow;
use std::str::FromStr;

use super::base64;
use super::chars::{clip, is_space, is_space_octet, same};
use super::error::XmlError;
use crate::soap::date_time::DateTime;
use crate::soap::names;

/// One element with its namespace resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'a> {
    pub(super) namespace: &'a str,
    pub(super) local: &'a str,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) text: Cow<'a, str>,
    pub(super) children: Vec<Self>,
}

/// One attribute; namespace declarations are not attributes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub(super) namespace: &'a str,
    pub(super) local: &'a str,
    pub(super) value: Cow<'a, str>,
}

impl<'a> Attribute<'a> {
    /// The namespace; empty for an attribute without prefix.
    #[must_use]
    pub const fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// The local name.
    #[must_use]
    pub const fn local(&self) -> &'a str {
        self.local
    }

    /// The value, references resolved.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl<'a> Element<'a> {
    /// The namespace; empty if there is none.
    #[must_use]
    pub const fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// The local name.
    #[must_use]
    pub const fn local(&self) -> &'a str {
        self.local
    }

    /// Does the element have this expanded name?
    #[must_use]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        same(self.local, local) && same(self.namespace, namespace)
    }

    /// Child elements in document order.
    #[must_use]
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// Child elements, taken out of the tree.
    #[must_use]
    pub fn into_children(self) -> Vec<Self> {
        self.children
    }

    /// Attributes in document order.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute<'a>] {
        &self.attributes
    }

    /// Value of the attribute with this expanded name; an empty namespace means none.
    #[must_use]
    pub fn attribute(&self, namespace: &str, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|a| same(a.local, local) && same(a.namespace, namespace))
            .map(|a| a.value.as_ref())
    }

    /// The one child with this name, if there is one.
    ///
    /// # Errors
    /// [`XmlError::Repeated`] if there are more.
    pub fn child(&self, namespace: &str, local: &str) -> Result<Option<&Self>, XmlError> {
        let mut found = self.children.iter().filter(|c| c.is(namespace, local));
        let first = found.next();
        match found.next() {
            Some(_) => Err(XmlError::Repeated { element: clip(local) }),
            None => Ok(first),
        }
    }

    /// The one child with this name.
    ///
    /// # Errors
    /// [`XmlError::Missing`] or [`XmlError::Repeated`].
    pub fn required(&self, namespace: &str, local: &'static str) -> Result<&Self, XmlError> {
        self.child(namespace, local)?.ok_or(XmlError::Missing { element: local })
    }

    /// The one child with this name unless it is absent or `xsi:nil`.
    ///
    /// # Errors
    /// [`XmlError::Repeated`], or [`XmlError::Value`] if `xsi:nil` is no boolean.
    pub fn non_nil(&self, namespace: &str, local: &str) -> Result<Option<&Self>, XmlError> {
        match self.child(namespace, local)? {
            Some(child) if !child.is_nil()? => Ok(Some(child)),
            Some(_) | None => Ok(None),
        }
    }

    /// Is the element marked `xsi:nil`?
    ///
    /// # Errors
    /// [`XmlError::Value`] if the attribute is no boolean.
    pub fn is_nil(&self) -> Result<bool, XmlError> {
        match self.attribute(names::XSI, "nil") {
            None => Ok(false),
            Some(value) => {
                boolean(value).ok_or_else(|| XmlError::value(self.local, "a boolean in its nil attribute"))
            }
        }
    }

    /// All character data of the element as it was sent.
    ///
    /// # Errors
    /// [`XmlError::Value`] if the element has child elements.
    pub fn text(&self) -> Result<&str, XmlError> {
        if self.children.is_empty() { Ok(&self.text) } else { Err(XmlError::value(self.local, "plain text")) }
    }

    /// The character data without white space around it: samples and some clients wrap lines inside URIs.
    ///
    /// # Errors
    /// As [`Element::text`].
    pub fn trimmed(&self) -> Result<&str, XmlError> {
        self.text().map(|text| text.trim_matches(is_space))
    }

    /// Takes the character data out of the tree.
    ///
    /// # Errors
    /// As [`Element::text`].
    pub fn into_text(self) -> Result<Cow<'a, str>, XmlError> {
        if self.children.is_empty() { Ok(self.text) } else { Err(XmlError::value(self.local, "plain text")) }
    }

    /// The character data without white space around it, taken out of the tree.
    ///
    /// # Errors
    /// As [`Element::text`].
    pub fn into_trimmed(self) -> Result<Cow<'a, str>, XmlError> {
        Ok(match self.into_text()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(is_space)),
            Cow::Owned(text) => Cow::Owned(text.trim_matches(is_space).to_owned()),
        })
    }

    /// A URI: the character data without any white space, since samples wrap lines in the middle of one too.
    ///
    /// # Errors
    /// As [`Element::text`].
    pub fn uri(&self) -> Result<Cow<'a, str>, XmlError> {
        self.text()?;
        Ok(match &self.text {
            Cow::Borrowed(text) => without_spaces(text),
            Cow::Owned(text) => Cow::Owned(without_spaces(text).into_owned()),
        })
    }

    /// The bytes of `xs:base64Binary`. White space anywhere in it is dropped, also the carriage returns that
    /// Windows sends as `&#xD;`.
    ///
    /// # Errors
    /// [`XmlError::Value`] if it is not base64.
    pub fn base64(&self) -> Result<Vec<u8>, XmlError> {
        let text = self.trimmed()?;
        let decoded = if text.bytes().any(|b| b.is_ascii_whitespace()) {
            let packed: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            base64::decode(packed)
        } else {
            base64::decode(text)
        };
        decoded.ok_or_else(|| XmlError::value(self.local, "a base64 value"))
    }

    /// An integer of the type asked for.
    ///
    /// # Errors
    /// [`XmlError::Value`] if it is none, or out of range.
    pub fn integer<T: FromStr>(&self) -> Result<T, XmlError> {
        self.trimmed()?.parse().map_err(|_| XmlError::value(self.local, "an integer in range"))
    }

    /// `xs:boolean`: `true`, `false`, `1` or `0`.
    ///
    /// # Errors
    /// [`XmlError::Value`] if it is none of these.
    pub fn boolean(&self) -> Result<bool, XmlError> {
        boolean(self.trimmed()?).ok_or_else(|| XmlError::value(self.local, "a boolean"))
    }

    /// `xs:dateTime`.
    ///
    /// # Errors
    /// [`XmlError::Value`] if it is none.
    pub fn date_time(&self) -> Result<DateTime, XmlError> {
        self.trimmed()?.parse().map_err(|_| XmlError::value(self.local, "a date and time"))
    }
}

/// A URI without the white space that a line break left in it.
pub(crate) fn without_spaces(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim_matches(is_space);
    if trimmed.bytes().any(is_space_octet) {
        Cow::Owned(trimmed.chars().filter(|c| !is_space(*c)).collect())
    } else {
        Cow::Borrowed(trimmed)
    }
}

/// `xs:boolean` in an attribute.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim_matches(is_space) {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
