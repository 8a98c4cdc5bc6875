//! Why a document was refused, in words that can be shown to whoever sent it.

use thiserror::Error;

use super::chars::clip;

/// A document that is not XML as we accept it, or not of the shape that its schema asks for.
///
/// Names that come from the peer are shortened to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XmlError {
    /// More bytes than [`super::Limits::bytes`].
    #[error("the message is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are not UTF-8.
    #[error("the message is not UTF-8 text")]
    NotUtf8,
    /// The XML declaration names another encoding.
    #[error("encoding {name} is not supported, only UTF-8 is")]
    Encoding {
        /// The encoding named.
        name: String,
    },
    /// `<!DOCTYPE`.
    #[error("document type declarations are not allowed")]
    DocumentType,
    /// Any other `<!…` that is neither a comment nor character data, such as `<!ENTITY`.
    #[error("markup declarations such as entities are not allowed")]
    MarkupDeclaration,
    /// `<?…?>` other than the XML declaration at the very start.
    #[error("processing instructions are not allowed")]
    ProcessingInstruction,
    /// A character that XML 1.0 does not have, literally or as a reference.
    #[error("character U+{code:04X} is not allowed in XML")]
    IllegalCharacter {
        /// The code point.
        code: u32,
    },
    /// A reference to an entity that XML does not predefine.
    #[error("entity reference &{name}; is not allowed")]
    Entity {
        /// The name of the entity.
        name: String,
    },
    /// Deeper than [`super::Limits::depth`].
    #[error("elements are nested deeper than {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More than [`super::Limits::elements`].
    #[error("the message has more than {limit} elements")]
    TooManyElements {
        /// The limit.
        limit: usize,
    },
    /// More than [`super::Limits::attributes`].
    #[error("an element has more than {limit} attributes")]
    TooManyAttributes {
        /// The limit.
        limit: usize,
    },
    /// More than [`super::Limits::namespaces`].
    #[error("an element declares more than {limit} namespaces")]
    TooManyNamespaces {
        /// The limit.
        limit: usize,
    },
    /// More than [`super::Limits::text`].
    #[error("the text of an element is longer than {limit} bytes")]
    TextTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A prefix that no declaration binds.
    #[error("namespace prefix {prefix} is not declared")]
    UnboundPrefix {
        /// The prefix.
        prefix: String,
    },
    /// A declaration that Namespaces in XML forbids, or that uses references in the namespace name.
    #[error("the declaration of namespace prefix {prefix} is not allowed")]
    NamespaceDeclaration {
        /// The prefix; empty for the default namespace.
        prefix: String,
    },
    /// Two attributes with one expanded name.
    #[error("attribute {name} appears twice in one element")]
    DuplicateAttribute {
        /// Local name.
        name: String,
    },
    /// Anything else that breaks the grammar of XML.
    #[error("not well-formed XML at byte {offset}: {problem}")]
    NotWellFormed {
        /// Where the reader stopped, in bytes from the start.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// No element at all.
    #[error("the message is empty")]
    Empty,
    /// Something follows the document element.
    #[error("there is content after the end of the document")]
    TrailingContent,
    /// A required element is missing.
    #[error("element {element} is missing")]
    Missing {
        /// Local name of what is missing.
        element: &'static str,
    },
    /// An element that may appear once appears again.
    #[error("element {element} appears twice")]
    Repeated {
        /// Local name.
        element: String,
    },
    /// An element where another belongs.
    #[error("element {found} appears where {expected} was expected")]
    Unexpected {
        /// Local name of what was found.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A value is not of the type that the schema gives its element.
    #[error("element {element} does not hold {expected}")]
    Value {
        /// Local name.
        element: String,
        /// The type, as a phrase: "a base64 value".
        expected: &'static str,
    },
}

impl XmlError {
    pub(crate) fn value(element: &str, expected: &'static str) -> Self {
        Self::Value { element: clip(element), expected }
    }

    pub(crate) fn unexpected(found: &str, expected: &'static str) -> Self {
        Self::Unexpected { found: clip(found), expected }
    }
}
