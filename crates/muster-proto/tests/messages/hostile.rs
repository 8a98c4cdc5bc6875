//! Documents made to hurt: each is refused, quickly, and says why.

use std::time::{Duration, Instant};

use muster_proto::soap::Envelope;
use muster_proto::soap::xml::Limits;

use crate::support::vector;

/// What one document may cost. Debug builds on a busy machine are slow, so this is far above what it takes.
const TIME: Duration = Duration::from_millis(500);

#[track_caller]
fn check(name: &str, document: &str, limits: &Limits, message: &str) {
    let start = Instant::now();
    let result = Envelope::parse(document.as_bytes(), limits);
    let took = start.elapsed();
    assert_eq!(result.expect_err(name).to_string(), message, "{name}");
    assert!(took < TIME, "{name} took {took:?}");
}

/// Refused by its size under the limits for requests, and by what it is even where size is no matter.
#[track_caller]
fn check_both(name: &str, document: &str, message: &str) {
    let large = Limits { bytes: usize::MAX, text: usize::MAX, ..Limits::REQUEST };
    check(name, document, &large, message);
    if document.len() > Limits::REQUEST.bytes {
        check(name, document, &Limits::REQUEST, "the message is larger than 65536 bytes");
    }
}

const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
const DOCTYPE: &str = "document type declarations are not allowed";

#[test]
fn document_types() {
    let body =
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'><s:Body>&a;</s:Body></s:Envelope>";
    let laughs: String =
        (1..10).map(|i| format!("<!ENTITY a{i} \"{}\">", format!("&a{};", i - 1).repeat(10))).collect();
    let quadratic = format!("<!DOCTYPE x [<!ENTITY a \"{}\">]>{}", "x".repeat(50_000), "&a;".repeat(1000));
    for (name, prologue) in [
        ("empty", "<!DOCTYPE Envelope>"),
        ("external subset", "<!DOCTYPE x SYSTEM 'http://192.0.2.1/x.dtd'>"),
        ("public identifier", "<!DOCTYPE x PUBLIC '-//X//Y' 'http://192.0.2.1/x.dtd'>"),
        ("external entity", "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"),
        ("parameter entity", "<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://192.0.2.1/p'> %p;]>"),
        ("recursive entity", "<!DOCTYPE x [<!ENTITY a '&b;'><!ENTITY b '&a;'>]>"),
        ("billion laughs", &format!("<!DOCTYPE x [<!ENTITY a0 'ha'>{laughs}]>")),
        ("quadratic blow-up", &quadratic),
        ("default attributes", "<!DOCTYPE x [<!ATTLIST x a CDATA 'b'>]>"),
        ("after a declaration", "<?xml version='1.0'?>\n<!DOCTYPE x>"),
        ("after a comment", "<!-- x --><!DOCTYPE x>"),
    ] {
        check_both(name, &format!("{prologue}{body}"), DOCTYPE);
    }
    check_both("entity without document type", body, "entity reference &a; is not allowed");
}

#[test]
fn deep_nesting() {
    check_both("deep", &"<a>".repeat(100_000), "elements are nested deeper than 32");
    let namespaced = "<a xmlns='urn:example'>".repeat(100_000);
    check_both("deep with namespaces", &namespaced, "elements are nested deeper than 32");
}

#[test]
fn floods() {
    let attributes: String = (0..80_000).map(|i| format!(" a{i}=''")).collect();
    check_both("attributes", &format!("<a{attributes}/>"), "an element has more than 32 attributes");
    let namespaces: String = (0..100_000).map(|i| format!(" xmlns:a{i}='b'")).collect();
    check_both("namespaces", &format!("<a{namespaces}/>"), "an element declares more than 16 namespaces");
    check_both(
        "elements",
        &format!("<a>{}</a>", "<b/>".repeat(100_000)),
        "the message has more than 2000 elements",
    );
    let same: String = " a=''".repeat(80_000);
    check_both("one attribute again", &format!("<a{same}/>"), "an element has more than 32 attributes");
}

#[test]
fn long_text() {
    let text = format!("<a>{}</a>", "x".repeat(60_000));
    check("text", &text, &Limits::REQUEST, "the text of an element is longer than 49152 bytes");
    let pieces = format!("<a>{}</a>", "x<!---->".repeat(100_000));
    let limits = Limits { bytes: usize::MAX, ..Limits::REQUEST };
    check("text in pieces", &pieces, &limits, "the text of an element is longer than 49152 bytes");
}

#[test]
fn worst_case_within_the_limits() {
    // Every element looks up prefixes past all the declarations that may be open at once.
    let mut text = String::new();
    for depth in 0..30 {
        text.push_str("<a");
        for i in 0..16 {
            text.push_str(&format!(" xmlns:p{depth}x{i}='u'"));
        }
        text.push('>');
    }
    text.push_str(&"<p0x0:b p0x0:c='' p0x1:d='' p0x2:e=''/>".repeat(1_200));
    text.push_str(&"</a>".repeat(30));
    assert!(text.len() < Limits::REQUEST.bytes);
    check("look-ups", &text, &Limits::REQUEST, "element a appears where Envelope was expected");
}

#[test]
fn wrapped_messages() {
    let envelope = |parts: &str| format!("<s:Envelope xmlns:s='{SOAP}'>{parts}</s:Envelope>");
    let body = "<s:Body><x/></s:Body>";
    for (name, parts, message) in [
        ("second body", format!("{body}{body}"), "element Body appears twice"),
        (
            "body in another element",
            format!("<w>{body}</w>{body}"),
            "element w appears where Header or Body was expected",
        ),
        (
            "second operation",
            "<s:Body><x/><x/></s:Body>".to_owned(),
            "the message body has more than one element",
        ),
        (
            "header behind the body",
            format!("{body}<s:Header/>"),
            "element Header appears where Header or Body was expected",
        ),
    ] {
        check_both(name, &envelope(&parts), message);
    }
}

#[test]
fn signature_authenticates_nothing() {
    let text = format!(
        "<s:Envelope xmlns:s='{SOAP}'><s:Header><o:Security xmlns:o='http://docs.oasis-open.org/wss/2004/01/\
         oasis-200401-wss-wssecurity-secext-1.0.xsd' s:mustUnderstand='1'><o:BinarySecurityToken>MAA=\
         </o:BinarySecurityToken><Signature xmlns='http://www.w3.org/2000/09/xmldsig#'/></o:Security></s:Header>\
         <s:Body><x/></s:Body></s:Envelope>"
    );
    let envelope = Envelope::parse(text.as_bytes(), &Limits::REQUEST).unwrap();
    let security = envelope.security.unwrap();
    assert_eq!((security.username_token, security.timestamp), (None, None));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = vector("ms-wstep/messages/handmade-issue-request.xml");
    let end = bytes.iter().rposition(|b| *b == b'>').unwrap();
    for length in 0..=end {
        assert!(Envelope::parse(&bytes[..length], &Limits::REQUEST).is_err(), "{length}");
    }
}
