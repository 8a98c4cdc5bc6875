//! The reader and the writer of XML by themselves.

use std::borrow::Cow;

use muster_proto::soap::DateTime;
use muster_proto::soap::xml::{Element, Limits, Writer, XmlError, parse};

fn read(text: &str) -> Result<Element<'_>, XmlError> {
    parse(text.as_bytes(), &Limits::REQUEST)
}

#[track_caller]
fn refused(text: &str) -> String {
    match read(text) {
        Ok(element) => unreachable!("accepted: {element:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_are_compared_by_namespace() {
    let root =
        read(r#"<p:a xmlns:p="urn:1" x="0" p:x="1"><b xmlns="urn:2"><c xmlns=""/></b></p:a>"#).unwrap();
    assert!(root.is("urn:1", "a"));
    assert_eq!((root.attribute("", "x"), root.attribute("urn:1", "x")), (Some("0"), Some("1")));
    let b = root.required("urn:2", "b").unwrap();
    assert!(b.required("", "c").is_ok());
}

#[test]
fn prefix_of_an_inner_element_ends_with_it() {
    assert_eq!(refused(r#"<a><b xmlns:p="urn:1"/><p:c/></a>"#), "namespace prefix p is not declared");
}

#[test]
fn text_is_joined_over_comments_references_and_character_data() {
    let root = read("<a>ad<!-- x -->m&#105;<![CDATA[n & ]]>&lt;&#x1F600;\r\n</a>").unwrap();
    assert_eq!(root.text().unwrap(), "admin & <\u{1F600}\n");
}

#[test]
fn text_without_references_is_borrowed() {
    let root = read("<a>plain</a>").unwrap();
    assert!(matches!(root.into_text(), Ok(Cow::Borrowed("plain"))));
}

#[test]
fn attribute_value_is_normalized() {
    let root = read("<a b='1\t2\r\n3&#10;&amp;&quot;'/>").unwrap();
    assert_eq!(root.attribute("", "b"), Some("1 2 3\n&\""));
}

#[test]
fn byte_order_mark_and_declaration() {
    for text in [
        "\u{FEFF}<a/>",
        "<?xml version=\"1.0\"?><a/>",
        "\u{FEFF}<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<!-- c --><a/> <!-- d -->\n",
    ] {
        assert!(read(text).is_ok(), "{text}");
    }
}

#[test]
fn malformed_documents() {
    for (text, message) in [
        ("", "the message is empty"),
        (" \n ", "the message is empty"),
        ("<!-- only -->", "the message is empty"),
        ("a", "not well-formed XML at byte 0: text before the first element"),
        ("<a>", "not well-formed XML at byte 3: an element is not closed"),
        ("<a></b>", "not well-formed XML at byte 3: an end tag does not match its start tag"),
        ("</a>", "not well-formed XML at byte 0: an end tag has no start tag"),
        ("<a", "not well-formed XML at byte 0: markup is not closed"),
        ("<a/><b/>", "there is content after the end of the document"),
        ("<a/>b", "there is content after the end of the document"),
        ("<a/></a>", "not well-formed XML at byte 4: an end tag has no start tag"),
        ("<a/>&#32;", "not well-formed XML at byte 0: a reference outside of the document element"),
        (
            "<a/><![CDATA[b]]>",
            "not well-formed XML at byte 4: character data outside of the document element",
        ),
        ("<a>]]></a>", "not well-formed XML at byte 3: ]]> in text"),
        ("<a><!-- -- --></a>", "not well-formed XML at byte 3: -- in a comment"),
        ("<a>b & c</a>", "not well-formed XML at byte 5: & without ;"),
        ("<a b/>", "not well-formed XML at byte 0: an attribute has no value"),
        ("<a b=c/>", "not well-formed XML at byte 0: an attribute value is not quoted"),
        ("<a b='1'c='2'/>", "not well-formed XML at byte 0: white space is missing between attributes"),
        ("<a b='<'/>", "not well-formed XML at byte 0: an attribute value contains <"),
        ("<1a/>", "not well-formed XML at byte 0: a name is malformed"),
        ("<a:/>", "not well-formed XML at byte 0: a name is malformed"),
        ("<:a/>", "not well-formed XML at byte 0: a name is malformed"),
        ("<a:b:c xmlns:a='urn:1'/>", "not well-formed XML at byte 0: a name is malformed"),
        ("<a\u{D7}/>", "not well-formed XML at byte 0: a name is malformed"),
        ("<a b='1' b='2'/>", "attribute b appears twice in one element"),
        ("<a xmlns:p='urn:1' xmlns:q='urn:1' p:b='1' q:b='2'/>", "attribute b appears twice in one element"),
        ("<a xmlns='urn:1' xmlns='urn:2'/>", "attribute xmlns appears twice in one element"),
        ("<a p:b='1'/>", "namespace prefix p is not declared"),
        ("<a xmlns:p=''/>", "the declaration of namespace prefix p is not allowed"),
        ("<a xmlns:xmlns='urn:1'/>", "the declaration of namespace prefix xmlns is not allowed"),
        ("<a xmlns:xml='urn:1'/>", "the declaration of namespace prefix xml is not allowed"),
        (
            "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            "the declaration of namespace prefix  is not allowed",
        ),
        ("<a xmlns:p='urn:&#49;'/>", "the declaration of namespace prefix p is not allowed"),
        ("<a>&nbsp;</a>", "entity reference &nbsp; is not allowed"),
        ("<a b='&nbsp;'/>", "entity reference &nbsp; is not allowed"),
        ("<a b='&amp'/>", "entity reference &amp; is not allowed"),
        ("<a>&#;</a>", "entity reference &#; is not allowed"),
        ("<a>&#x;</a>", "entity reference &#x; is not allowed"),
        ("<a>&#+5;</a>", "entity reference &#+5; is not allowed"),
        ("<a>&#99999999999;</a>", "entity reference &#99999999999; is not allowed"),
        ("<a>&#0;</a>", "character U+0000 is not allowed in XML"),
        ("<a>&#x1F;</a>", "character U+001F is not allowed in XML"),
        ("<a>&#xD800;</a>", "character U+D800 is not allowed in XML"),
        ("<a>\u{1}</a>", "character U+0001 is not allowed in XML"),
        ("<a>\u{FFFE}</a>", "character U+FFFE is not allowed in XML"),
        ("<?xml version='1.1'?><a/>", "not well-formed XML at byte 0: only XML 1.0 is supported"),
        ("<?xml encoding='UTF-8'?><a/>", "not well-formed XML at byte 0: the XML declaration has no version"),
        ("<?xml ?><a/>", "not well-formed XML at byte 0: the XML declaration has no version"),
        (
            "<?xml version='1.0' standalone='maybe'?><a/>",
            "not well-formed XML at byte 0: the XML declaration is malformed",
        ),
        (
            "<?xml version='1.0' standalone='yes' encoding='UTF-8'?><a/>",
            "not well-formed XML at byte 0: the XML declaration is malformed",
        ),
        (
            "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
            "encoding ISO-8859-1 is not supported, only UTF-8 is",
        ),
        ("<?xml version='1.0' encoding='UTF-7'?><a/>", "encoding UTF-7 is not supported, only UTF-8 is"),
        (" <?xml version='1.0'?><a/>", "processing instructions are not allowed"),
        ("<?xml-stylesheet href='a'?><a/>", "processing instructions are not allowed"),
        ("<a><?b c?></a>", "processing instructions are not allowed"),
        ("<a/><?b?>", "processing instructions are not allowed"),
        ("<!DOCTYPE a><a/>", "document type declarations are not allowed"),
        ("<!doctype a><a/>", "document type declarations are not allowed"),
        ("<a><!DOCTYPE b></a>", "document type declarations are not allowed"),
        ("<a><!ENTITY b 'c'></a>", "markup declarations such as entities are not allowed"),
        ("<!ELEMENT a ANY><a/>", "markup declarations such as entities are not allowed"),
        ("<a><![INCLUDE[b]]></a>", "markup declarations such as entities are not allowed"),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn other_encodings() {
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    assert_eq!(parse(&utf16("\u{FEFF}<a/>"), &Limits::REQUEST), Err(XmlError::NotUtf8));
    assert_eq!(parse(&utf16("<a/>"), &Limits::REQUEST), Err(XmlError::IllegalCharacter { code: 0 }));
    assert_eq!(parse(b"<a>\xE9</a>", &Limits::REQUEST), Err(XmlError::NotUtf8));
    // A slash in two bytes instead of one.
    assert_eq!(parse(b"<a>\xC0\xAF</a>", &Limits::REQUEST), Err(XmlError::NotUtf8));
}

#[test]
fn error_text_shows_little_of_the_peers_text() {
    let text = format!("<{}:a/>", "p".repeat(1000));
    assert_eq!(refused(&text).len(), "namespace prefix  is not declared".len() + 64);
}

/// Makes a document that needs exactly this much.
type Make<'a> = &'a dyn Fn(usize) -> String;

#[test]
fn every_limit_is_exact() {
    let limits = Limits { bytes: 1000, depth: 4, elements: 6, attributes: 3, namespaces: 2, text: 10 };
    let nested = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    let wide = |n: usize| format!("<a>{}</a>", "<b/>".repeat(n - 1));
    let attributes = |n: usize| format!("<a{}/>", (0..n).map(|i| format!(" b{i}=''")).collect::<String>());
    let namespaces =
        |n: usize| format!("<a{}/>", (0..n).map(|i| format!(" xmlns:b{i}='urn:{i}'")).collect::<String>());
    let text = |n: usize| format!("<a>{}</a>", "x".repeat(n));
    let references = |n: usize| format!("<a>{}</a>", "&#65;".repeat(n));
    let bytes = |n: usize| format!("<a b='{}'/>", "x".repeat(n - "<a b=''/>".len()));
    let cases: [(Make<'_>, usize, XmlError); 7] = [
        (&nested, 4, XmlError::TooDeep { limit: 4 }),
        (&wide, 6, XmlError::TooManyElements { limit: 6 }),
        (&attributes, 3, XmlError::TooManyAttributes { limit: 3 }),
        (&namespaces, 2, XmlError::TooManyNamespaces { limit: 2 }),
        (&text, 10, XmlError::TextTooLong { limit: 10 }),
        (&references, 10, XmlError::TextTooLong { limit: 10 }),
        (&bytes, 1000, XmlError::TooLarge { limit: 1000 }),
    ];
    for (make, exact, error) in cases {
        for n in [exact - 1, exact] {
            assert!(parse(make(n).as_bytes(), &limits).is_ok(), "{error:?} {n}");
        }
        assert_eq!(parse(make(exact + 1).as_bytes(), &limits), Err(error));
    }
}

#[test]
fn depth_limit_has_a_limit() {
    let limits = Limits { depth: usize::MAX, ..Limits::RESPONSE };
    let text = "<a>".repeat(100_000);
    let error = XmlError::TooDeep { limit: Limits::DEPTH_MAX };
    assert_eq!(parse(text.as_bytes(), &limits), Err(error));
}

#[test]
fn request_limits_with_another_size() {
    assert_eq!(Limits::request_with_bytes(64 * 1024), Limits::REQUEST);
    assert_eq!(Limits::request_with_bytes(usize::MAX).bytes, 256 * 1024);
}

#[test]
fn typed_values() {
    let root = read(
        "<r><i> -7 </i><b>1</b><x>AQI D\r\n&#xD;BA==</x><t>2026-01-01T00:00:00Z</t><n>x</n><c><d/></c></r>",
    )
    .unwrap();
    let child = |name| root.required("", name).unwrap();
    assert_eq!(child("i").integer::<i32>(), Ok(-7));
    assert!(child("i").integer::<u32>().is_err());
    assert_eq!(child("b").boolean(), Ok(true));
    assert_eq!(child("x").base64().unwrap(), [1, 2, 3, 4]);
    assert_eq!(child("t").date_time().map(DateTime::unix), Ok(1_767_225_600));
    let messages = [
        (child("n").integer::<i32>().map(drop), "element n does not hold an integer in range"),
        (child("n").boolean().map(drop), "element n does not hold a boolean"),
        (child("n").base64().map(drop), "element n does not hold a base64 value"),
        (child("n").date_time().map(drop), "element n does not hold a date and time"),
        (child("c").text().map(drop), "element c does not hold plain text"),
    ];
    for (result, message) in messages {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}

#[test]
fn nil_is_a_boolean() {
    let doc = |value: &str| {
        format!("<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><b i:nil='{value}'/></a>")
    };
    for (value, nil) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        assert_eq!(read(&doc(value)).unwrap().non_nil("", "b").unwrap().is_none(), nil);
    }
    assert!(read(&doc("yes")).unwrap().non_nil("", "b").is_err());
}

#[test]
fn dates() {
    for (text, unix) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00", 0),
        ("0001-01-01T00:00:00", -62_135_596_800),
        ("2026-04-17T08:15:30.725Z", 1_776_413_730),
        ("2026-04-17T08:15:30.7250000+00:00", 1_776_413_730),
        ("2024-02-29T23:59:59-14:00", 1_709_301_599),
        ("2000-03-01T00:00:00+05:30", 951_849_000),
        ("2024-02-28T24:00:00Z", 1_709_164_800),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        // One past either end counts as the end.
        ("9999-12-31T23:59:59-01:00", 253_402_300_799),
        ("0001-01-01T00:00:00+01:00", -62_135_596_800),
    ] {
        assert_eq!(text.parse().map(DateTime::unix), Ok(unix), "{text}");
    }
    for text in [
        "",
        "1970-01-01",
        "1970-01-01 00:00:00Z",
        "0000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "20260-04-17T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "1970-01-01T25:00:00Z",
        "1970-01-01T24:00:01Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00z",
        "1970-01-01T00:00:00+14:01",
        "1970-01-01T00:00:00+1",
        "1970-01-01T00:00:00Z ",
        "+970-01-01T00:00:00Z",
        "1970-01-01T00:00:é0Z",
    ] {
        assert!(text.parse::<DateTime>().is_err(), "{text}");
    }
}

#[test]
fn dates_are_written_as_read() {
    for text in
        ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2000-02-29T12:34:56Z", "9999-12-31T23:59:59Z"]
    {
        assert_eq!(text.parse::<DateTime>().unwrap().to_string(), text);
    }
}

#[test]
fn writer_escapes() {
    let mut w = Writer::new();
    let value = "a<b>&\"'\t\r\n\u{0}\u{FFFF}é\u{1F600}]]>";
    w.element("a", &[("b", value)], |w| w.text(value));
    let text = w.finish();
    let root = read(&text).unwrap();
    let expected = value.replace(['\u{0}', '\u{FFFF}'], "\u{FFFD}");
    assert_eq!(root.attribute("", "b"), Some(expected.as_str()));
    assert_eq!(root.text().unwrap(), expected);
}

#[test]
fn writer_makes_one_line_of_base64() {
    let mut w = Writer::new();
    w.base64("a", &[], &[0xFF; 100]);
    assert!(!w.finish().contains(char::is_whitespace));
}
