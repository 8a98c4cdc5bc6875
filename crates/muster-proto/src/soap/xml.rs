//! A small XML tree with limits, and a writer.
//!
//! Everything above this module asks for elements by namespace and local name and never sees a prefix. The
//! reader accepts well-formed, namespace-correct XML 1.0 in UTF-8 and nothing else: no document type, no
//! entities, no processing instructions. Limits are checked while reading, before memory is spent.
//! The XML library's own types do not appear outside of `reader`, so that changing it stays a local matter.

mod attributes;
mod base64;
mod chars;
mod element;
mod error;
mod limits;
mod reader;
mod writer;

pub(crate) use chars::clip;
pub use element::{Attribute, Element};
pub(crate) use element::{boolean, without_spaces};
pub use error::XmlError;
pub use limits::Limits;
pub use reader::parse;
pub use writer::Writer;
