//! Bytes to tree. Holds all that touches the XML library.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError};
use quick_xml::events::Event;

use super::attributes::{RawAttributes, attribute_value, split_tag};
use super::chars::{clip, first_illegal, is_nc_name, is_space, is_space_octet, resolve_reference, same};
use super::element::{Attribute, Element};
use super::error::XmlError;
use super::limits::Limits;
use crate::soap::names;

/// Room for what usual messages have, so that nothing grows while they are read.
const USUAL_DEPTH: usize = 8;
const USUAL_BINDINGS: usize = 16;
const USUAL_ATTRIBUTES: usize = 8;

/// Parses one document into its root element.
///
/// The tree borrows from `bytes` wherever no reference or line end had to be replaced.
///
/// # Errors
/// [`XmlError`] if the bytes are not well-formed, or break a limit; nothing is read past the first problem.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Element<'a>, XmlError> {
    if bytes.len() > limits.bytes {
        return Err(XmlError::TooLarge { limit: limits.bytes });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if let Some(c) = first_illegal(text) {
        return Err(XmlError::IllegalCharacter { code: u32::from(c) });
    }
    let text = without_declaration(text)?;
    refuse_declarations(text)?;
    let skipped = u64::try_from(bytes.len().saturating_sub(text.len())).unwrap_or_default();

    let mut builder = Builder {
        limits,
        open: Vec::with_capacity(USUAL_DEPTH),
        root: None,
        bindings: Vec::with_capacity(USUAL_BINDINGS),
        marks: Vec::with_capacity(USUAL_DEPTH),
        pairs: Vec::with_capacity(USUAL_ATTRIBUTES),
        elements: 0,
    };
    builder.bindings.push(("xml", names::XML));
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    loop {
        let start = reader.buffer_position();
        let offset = start.saturating_add(skipped);
        let event = reader.read_event().map_err(|error| library_error(&error, offset))?;
        let at = |problem| XmlError::NotWellFormed { offset, problem };
        match event {
            Event::Start(_) | Event::Empty(_) => {
                let tag = slice(text, start, reader.buffer_position())
                    .and_then(|tag| tag.strip_prefix('<')?.strip_suffix('>'))
                    .ok_or_else(|| at("a tag is cut off"))?;
                match tag.strip_suffix('/') {
                    Some(tag) => {
                        builder.start(tag, offset)?;
                        builder.end();
                    }
                    None => builder.start(tag, offset)?,
                }
            }
            Event::End(_) => builder.end(),
            Event::Text(piece) => {
                // The search for one byte is much faster, and there is hardly ever one.
                if piece.contains(']') && piece.contains("]]>") {
                    return Err(at("]]> in text"));
                }
                builder.text(piece.xml10_content())?;
            }
            Event::CData(piece) => {
                if builder.open.is_empty() {
                    return Err(at("character data outside of the document element"));
                }
                builder.text(piece.xml10_content())?;
            }
            Event::GeneralRef(reference) => builder.character(resolve_reference(&reference)?)?,
            Event::Comment(_) => {}
            Event::Decl(_) | Event::PI(_) => return Err(XmlError::ProcessingInstruction),
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Eof => break,
        }
    }
    if builder.open.is_empty() {
        builder.root.ok_or(XmlError::Empty)
    } else {
        Err(XmlError::NotWellFormed {
            offset: skipped.saturating_add(reader.buffer_position()),
            problem: "an element is not closed",
        })
    }
}

/// Checks the XML declaration, if there is one, and returns what follows it.
fn without_declaration(text: &str) -> Result<&str, XmlError> {
    let Some(rest) = text.strip_prefix("<?xml") else { return Ok(text) };
    if !rest.starts_with(is_space) {
        return Err(XmlError::ProcessingInstruction);
    }
    let at = |problem| XmlError::NotWellFormed { offset: 0, problem };
    let (declaration, rest) = rest.split_once("?>").ok_or_else(|| at("the XML declaration is not closed"))?;
    let (_, mut attributes) = split_tag(declaration);
    let mut expected: &[&str] = &["version", "encoding", "standalone"];
    let mut first = true;
    while let Some((name, value)) = attributes.next().map_err(at)? {
        let position = expected.iter().position(|e| *e == name);
        let Some(position) = position else { return Err(at("the XML declaration is malformed")) };
        if first != (position == 0 && name == "version") {
            return Err(at("the XML declaration has no version"));
        }
        match name {
            "version" if value != "1.0" => return Err(at("only XML 1.0 is supported")),
            "encoding" if !value.eq_ignore_ascii_case("utf-8") => {
                return Err(XmlError::Encoding { name: clip(value) });
            }
            "standalone" if value != "yes" && value != "no" => {
                return Err(at("the XML declaration is malformed"));
            }
            _ => {}
        }
        expected = expected.get(position.saturating_add(1)..).unwrap_or_default();
        first = false;
    }
    if first { Err(at("the XML declaration has no version")) } else { Ok(rest) }
}

/// Refuses every declaration and processing instruction before the parser sees a byte, wherever it stands.
fn refuse_declarations(text: &str) -> Result<(), XmlError> {
    // Without early exit the compiler compares many octets at once; nearly always there is nothing to find.
    let octets = text.as_bytes().iter();
    let found = octets.clone().zip(octets.skip(1)).fold(false, |found, (first, second)| {
        found | ((*first == b'<') & ((*second == b'?') | (*second == b'!')))
    });
    let mut rest = if found { text } else { "" };
    while let Some((_, after)) = rest.split_once('<') {
        if after.starts_with('?') {
            return Err(XmlError::ProcessingInstruction);
        }
        if let Some(markup) = after.strip_prefix('!')
            && !markup.starts_with("--")
            && !markup.starts_with("[CDATA[")
        {
            let keyword = markup.get(..7).unwrap_or_default();
            return Err(if keyword.eq_ignore_ascii_case("doctype") {
                XmlError::DocumentType
            } else {
                XmlError::MarkupDeclaration
            });
        }
        rest = after;
    }
    Ok(())
}

fn slice(text: &str, start: u64, end: u64) -> Option<&str> {
    text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn library_error(error: &Error, offset: u64) -> XmlError {
    let problem = match error {
        Error::Syntax(_) => "markup is not closed",
        Error::IllFormed(IllFormedError::MismatchedEndTag { .. }) => {
            "an end tag does not match its start tag"
        }
        Error::IllFormed(IllFormedError::UnmatchedEndTag(_)) => "an end tag has no start tag",
        Error::IllFormed(IllFormedError::DoubleHyphenInComment) => "-- in a comment",
        Error::IllFormed(IllFormedError::UnclosedReference) => "& without ;",
        Error::IllFormed(_)
        | Error::Io(_)
        | Error::InvalidAttr(_)
        | Error::Encoding(_)
        | Error::Escape(_)
        | Error::Namespace(_) => "malformed markup",
    };
    XmlError::NotWellFormed { offset, problem }
}

struct Builder<'a, 'l> {
    limits: &'l Limits,
    open: Vec<Element<'a>>,
    root: Option<Element<'a>>,
    /// Prefix and namespace, innermost last. A namespace that is "" undoes an outer default namespace.
    bindings: Vec<(&'a str, &'a str)>,
    /// For each open element the length of `bindings` before it.
    marks: Vec<usize>,
    /// The attributes of the tag that is being read, unresolved.
    pairs: Vec<(&'a str, &'a str)>,
    elements: usize,
}

impl<'a> Builder<'a, '_> {
    fn start(&mut self, tag: &'a str, offset: u64) -> Result<(), XmlError> {
        if self.root.is_some() {
            return Err(XmlError::TrailingContent);
        }
        let depth = self.limits.depth.min(Limits::DEPTH_MAX);
        if self.open.len() >= depth {
            return Err(XmlError::TooDeep { limit: depth });
        }
        self.elements = self.elements.saturating_add(1);
        if self.elements > self.limits.elements {
            return Err(XmlError::TooManyElements { limit: self.limits.elements });
        }
        let (name, raw) = split_tag(tag);
        self.marks.push(self.bindings.len());
        self.declare(raw, offset)?;
        let (prefix, local) = split_name(name, offset)?;
        let namespace = self.namespace(prefix)?;
        let mut attributes: Vec<Attribute<'a>> = Vec::with_capacity(self.pairs.len());
        for &(name, value) in &self.pairs {
            let (prefix, local) = split_name(name, offset)?;
            // An attribute without prefix is in no namespace, whatever the default is.
            let namespace = if prefix.is_empty() { "" } else { self.namespace(prefix)? };
            if attributes.iter().any(|a| same(a.local, local) && same(a.namespace, namespace)) {
                return Err(XmlError::DuplicateAttribute { name: clip(local) });
            }
            attributes.push(Attribute { namespace, local, value: attribute_value(value)? });
        }
        self.open.push(Element {
            namespace,
            local,
            attributes,
            text: Cow::Borrowed(""),
            children: Vec::new(),
        });
        Ok(())
    }

    /// Takes in the namespace declarations, and the other attributes into `pairs`.
    fn declare(&mut self, mut raw: RawAttributes<'a>, offset: u64) -> Result<(), XmlError> {
        self.pairs.clear();
        let own = self.bindings.len();
        while let Some((name, value)) =
            raw.next().map_err(|problem| XmlError::NotWellFormed { offset, problem })?
        {
            let prefix = if name == "xmlns" { Some("") } else { name.strip_prefix("xmlns:") };
            let Some(prefix) = prefix else {
                if self.pairs.len() >= self.limits.attributes {
                    return Err(XmlError::TooManyAttributes { limit: self.limits.attributes });
                }
                self.pairs.push((name, value));
                continue;
            };
            let declared = self.bindings.get(own..).unwrap_or_default();
            if declared.len() >= self.limits.namespaces {
                return Err(XmlError::TooManyNamespaces { limit: self.limits.namespaces });
            }
            if declared.iter().any(|(p, _)| same(p, prefix)) {
                return Err(XmlError::DuplicateAttribute { name: clip(name) });
            }
            let refused = || XmlError::NamespaceDeclaration { prefix: clip(prefix) };
            if name.len() > "xmlns".len() && (!is_nc_name(prefix) || value.is_empty()) {
                return Err(refused());
            }
            // No namespace that we know needs a reference; refusing them keeps all names borrowed. Nor do white
            // space and these delimiters belong into a URI: written again they would need a reference.
            if prefix == "xmlns"
                || value == names::XMLNS
                || (prefix == "xml") != (value == names::XML)
                || value.bytes().any(|o| is_space_octet(o) || matches!(o, b'&' | b'<' | b'>' | b'"' | b'\''))
            {
                return Err(refused());
            }
            self.bindings.push((prefix, value));
        }
        Ok(())
    }

    fn namespace(&self, prefix: &str) -> Result<&'a str, XmlError> {
        match self.bindings.iter().rev().find(|(p, _)| same(p, prefix)) {
            Some((_, namespace)) => Ok(namespace),
            None if prefix.is_empty() => Ok(""),
            None => Err(XmlError::UnboundPrefix { prefix: clip(prefix) }),
        }
    }

    fn end(&mut self) {
        if let Some(mark) = self.marks.pop() {
            self.bindings.truncate(mark);
        }
        let Some(done) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
    }

    fn text(&mut self, piece: Cow<'a, str>) -> Result<(), XmlError> {
        let blank = || piece.chars().all(is_space);
        let Some(element) = self.open.last_mut() else {
            return match &self.root {
                _ if blank() => Ok(()),
                Some(_) => Err(XmlError::TrailingContent),
                None => Err(XmlError::NotWellFormed { offset: 0, problem: "text before the first element" }),
            };
        };
        // White space between child elements is layout, not content.
        if !element.children.is_empty() && blank() {
            return Ok(());
        }
        if element.text.len().saturating_add(piece.len()) > self.limits.text {
            return Err(XmlError::TextTooLong { limit: self.limits.text });
        }
        if element.text.is_empty() {
            element.text = piece;
        } else {
            element.text.to_mut().push_str(&piece);
        }
        Ok(())
    }

    fn character(&mut self, c: char) -> Result<(), XmlError> {
        let Some(element) = self.open.last_mut() else {
            return Err(XmlError::NotWellFormed {
                offset: 0,
                problem: "a reference outside of the document element",
            });
        };
        if element.text.len().saturating_add(c.len_utf8()) > self.limits.text {
            return Err(XmlError::TextTooLong { limit: self.limits.text });
        }
        element.text.to_mut().push(c);
        Ok(())
    }
}

/// Prefix (or "") and local name.
fn split_name(name: &str, offset: u64) -> Result<(&str, &str), XmlError> {
    let split = match name.split_once(':') {
        Some((prefix, local)) if is_nc_name(prefix) => Some((prefix, local)),
        Some(_) => None,
        None => Some(("", name)),
    };
    split
        .filter(|(_, local)| is_nc_name(local))
        .ok_or(XmlError::NotWellFormed { offset, problem: "a name is malformed" })
}
