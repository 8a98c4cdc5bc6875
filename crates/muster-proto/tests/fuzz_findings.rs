//! What the fuzz targets found in the parsers of messages, each once and by name. The inputs are in `vectors/fuzz`.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise, in its helpers too")]

use std::path::Path;

use muster_proto::soap::xml::{Limits, XmlError};
use muster_proto::soap::{Envelope, EnvelopeError};

fn refusal(name: &str) -> EnvelopeError {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/fuzz").join(name);
    Envelope::parse(&std::fs::read(file).unwrap(), &Limits::REQUEST).unwrap_err().error
}

#[test]
fn namespace_with_white_space_is_refused() {
    let expected = XmlError::NamespaceDeclaration { prefix: "a".to_owned() };
    assert_eq!(refusal("namespace-with-tabs.xml"), EnvelopeError::Xml(expected));
}
