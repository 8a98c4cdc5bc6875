//! Splits the inside of a start tag into name and attributes, strictly by the grammar.
//!
//! The XML library's own attribute iterator is lenient (it takes `a="1"b="2"`), hence this one.

use std::borrow::Cow;

use super::chars::{is_space, is_space_octet, resolve_reference};
use super::error::XmlError;

/// The attributes of a start tag, in order; namespace declarations included.
pub(super) struct RawAttributes<'a> {
    rest: &'a str,
}

/// Splits `name a="1" b='2'` into the name and the attributes.
pub(super) fn split_tag(tag: &str) -> (&str, RawAttributes<'_>) {
    let end = tag.bytes().position(is_space_octet).unwrap_or(tag.len());
    let (name, rest) = tag.split_at_checked(end).unwrap_or((tag, ""));
    (name, RawAttributes { rest })
}

impl<'a> RawAttributes<'a> {
    /// The next name and raw value (references not yet resolved).
    pub(super) fn next(&mut self) -> Result<Option<(&'a str, &'a str)>, &'static str> {
        let start = self.rest.trim_start_matches(is_space);
        if start.is_empty() {
            return Ok(None);
        }
        if start.len() == self.rest.len() {
            return Err("white space is missing between attributes");
        }
        let (name, value) = split_at_octet(start, b'=').ok_or("an attribute has no value")?;
        let name = name.trim_end_matches(is_space);
        let value = value.trim_start_matches(is_space);
        let quoted = match value.as_bytes().first() {
            Some(quote @ (b'"' | b'\'')) => value.get(1..).and_then(|rest| split_at_octet(rest, *quote)),
            Some(_) | None => None,
        };
        let Some((value, rest)) = quoted else { return Err("an attribute value is not quoted") };
        if value.bytes().any(|octet| octet == b'<') {
            return Err("an attribute value contains <");
        }
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

/// What stands before and after the first of an ASCII character. In texts as short as these `str::split_once` takes
/// longer to begin than to search.
fn split_at_octet(text: &str, octet: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|found| found == octet)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Resolves references and normalizes white space as XML 1.0 section 3.3.3 asks for CDATA attributes.
pub(super) fn attribute_value(raw: &str) -> Result<Cow<'_, str>, XmlError> {
    if !raw.bytes().any(|octet| matches!(octet, b'&' | b'\t' | b'\r' | b'\n')) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        push_normalized(&mut out, before);
        let Some((name, after)) = after.split_once(';') else {
            return Err(XmlError::Entity { name: super::chars::clip(after) });
        };
        out.push(resolve_reference(name)?);
        rest = after;
    }
    push_normalized(&mut out, rest);
    Ok(Cow::Owned(out))
}

fn push_normalized(out: &mut String, text: &str) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        // CRLF counts as one line end, and a line end becomes one space.
        if c == '\r' && chars.peek() == Some(&'\n') {
            continue;
        }
        out.push(if is_space(c) { ' ' } else { c });
    }
}
