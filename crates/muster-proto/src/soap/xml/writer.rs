//! Text out. Content is a closure, so an element cannot be left open.

use super::base64;
use super::chars::is_char;

/// Writes one document.
///
/// Element and attribute names are our own constants and written as they are; every value is escaped, and a
/// character that XML cannot hold becomes U+FFFD, so the output always parses.
#[derive(Debug, Default)]
pub struct Writer {
    out: String,
}

impl Writer {
    /// A writer with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self { out: String::with_capacity(8192) }
    }

    /// The same with room for a body of so many octets and the headers.
    pub(crate) fn with_room(body: usize) -> Self {
        Self { out: String::with_capacity(body.saturating_add(1024)) }
    }

    /// What another writer has written.
    pub(crate) fn written(&mut self, elements: &str) {
        self.out.push_str(elements);
    }

    /// The document.
    #[must_use]
    pub fn finish(self) -> String {
        self.out
    }

    /// An element with content.
    pub fn element(&mut self, name: &str, attributes: &[(&str, &str)], content: impl FnOnce(&mut Self)) {
        self.tag(name, attributes);
        self.out.push('>');
        content(self);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element without content.
    pub fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.out.push_str("/>");
    }

    /// An element that holds text.
    pub fn leaf(&mut self, name: &str, text: &str) {
        self.leaf_with(name, &[], text);
    }

    /// An element with attributes that holds text.
    pub fn leaf_with(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.element(name, attributes, |w| w.text(text));
    }

    /// An element that holds bytes as base64 on one line.
    pub fn base64(&mut self, name: &str, attributes: &[(&str, &str)], bytes: &[u8]) {
        self.element(name, attributes, |w| base64::encode(bytes, &mut w.out));
    }

    /// An element that is `xsi:nil`; the prefix `xsi` must be declared around it.
    pub fn nil(&mut self, name: &str) {
        self.empty(name, &[("xsi:nil", "true")]);
    }

    /// An element that holds a number, a boolean or anything else that displays as text.
    pub fn value(&mut self, name: &str, value: impl ToString) {
        self.leaf(name, &value.to_string());
    }

    /// An element that holds a value, or is nil.
    pub fn nillable(&mut self, name: &str, value: Option<impl ToString>) {
        match value {
            Some(value) => self.value(name, value),
            None => self.nil(name),
        }
    }

    /// Character data.
    pub fn text(&mut self, text: &str) {
        self.escaped(text, |c| match c {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            // A literal one would be read back as a line feed.
            '\r' => Some("&#xD;"),
            _ => None,
        });
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.out.push('<');
        self.out.push_str(name);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.escaped(value, |c| match c {
                '&' => Some("&amp;"),
                '<' => Some("&lt;"),
                '>' => Some("&gt;"),
                '"' => Some("&quot;"),
                '\t' => Some("&#x9;"),
                '\n' => Some("&#xA;"),
                '\r' => Some("&#xD;"),
                _ => None,
            });
            self.out.push('"');
        }
    }

    /// Writes `text` with every character replaced for which there is a replacement, or which XML cannot hold.
    fn escaped(&mut self, text: &str, replacement: impl Fn(char) -> Option<&'static str>) {
        // Nearly all text is plain; without early exit the compiler looks at many bytes at once.
        let plain = text.bytes().fold(true, |plain, b| {
            plain & matches!(b, b' '..=b'~') & (b != b'&') & (b != b'<') & (b != b'>') & (b != b'"')
        });
        if plain {
            self.out.push_str(text);
            return;
        }
        for c in text.chars() {
            match replacement(c) {
                Some(replacement) => self.out.push_str(replacement),
                None => self.push(c),
            }
        }
    }

    fn push(&mut self, c: char) {
        self.out.push(if is_char(c) { c } else { char::REPLACEMENT_CHARACTER });
    }
}
