//! Envelope, addressing headers and WS-Security.

use muster_proto::soap::xml::{Limits, XmlError};
use muster_proto::soap::{BadEnvelope, Envelope, EnvelopeError, FaultKind, HeaderName, Password, Timestamp};
use muster_proto::xcep::{Client, GetPolicies};

use crate::support::{credentials, envelope, header, vector};

const BODY: &str = "<s:Body><x xmlns='urn:example'/></s:Body>";

fn with_header(header: &str) -> String {
    with_parts(&format!("<s:Header>{header}</s:Header>{BODY}"))
}

fn with_parts(parts: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
         xmlns:a="http://www.w3.org/2005/08/addressing"
         xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
         xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
         >{parts}</s:Envelope>"#
    )
}

fn parse(text: &str) -> Result<Envelope<'_>, BadEnvelope> {
    Envelope::parse(text.as_bytes(), &Limits::REQUEST)
}

#[track_caller]
fn refused(text: &str) -> EnvelopeError {
    parse(text).expect_err("accepted").error
}

fn token(content: &str) -> String {
    with_header(&format!("<o:Security><o:UsernameToken>{content}</o:UsernameToken></o:Security>"))
}

#[test]
fn headers_of_a_windows_request() {
    let bytes = vector("ms-xcep/handmade-get-policies-first.xml");
    let envelope = envelope(&bytes);
    assert_eq!(
        envelope.action.as_deref(),
        Some("http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/GetPolicies")
    );
    assert_eq!(envelope.message_id.as_deref(), Some("urn:uuid:aaaaaaaa-0000-4000-8000-000000000001"));
    assert_eq!(
        envelope.to.as_deref(),
        Some("https://cep.example.test/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP")
    );
    assert_eq!(envelope.reply_to.as_deref(), Some("http://www.w3.org/2005/08/addressing/anonymous"));
    assert_eq!(envelope.relates_to, None);
    let security = envelope.security.unwrap();
    let token = security.username_token.unwrap();
    assert_eq!(token.username, r"EXAMPLE\alice");
    assert_eq!(token.password.expose(), "not <really> secret");
    let Timestamp { created, expires } = security.timestamp.unwrap();
    assert_eq!(created.unwrap().unix(), 1_767_225_600);
    assert_eq!(expires.unwrap().unix(), 1_767_225_900);
}

#[test]
fn credentials_are_read_as_written() {
    let mut header = header();
    header.credentials = Some(credentials("EXAMPLE\\al&<ice>", " p\u{E4}ss\r\n<&>\"' "));
    let text = GetPolicies { client: Client::default(), request_filter: None }.to_envelope(&header);
    let envelope = envelope(text.as_bytes());
    let security = envelope.security.unwrap();
    let sent = header.credentials.unwrap();
    assert_eq!(security.username_token, Some(sent.token));
    assert_eq!(security.timestamp, Some(sent.timestamp));
    assert_eq!(envelope.to.as_deref(), Some(header.to.as_str()));
    assert_eq!(envelope.message_id.as_deref(), Some(header.message_id.as_str()));
}

#[test]
fn password_does_not_show() {
    let password = Password::new("hunter2".to_owned());
    assert_eq!(format!("{password:?}"), "Password(***)");
    let text = token("<o:Username>a</o:Username><o:Password>hunter2</o:Password>");
    assert!(!format!("{:?}", parse(&text).unwrap()).contains("hunter2"));
}

#[test]
fn password_types() {
    let base = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#";
    for (attribute, error) in [
        (String::new(), None),
        (format!(" Type='{base}PasswordText'"), None),
        // In the namespace that some clients put it by mistake.
        (format!(" o:Type='{base}PasswordText'"), None),
        (format!(" Type='{base}PasswordDigest'"), Some(EnvelopeError::PasswordDigest)),
        (format!(" o:Type='{base}PasswordDigest'"), Some(EnvelopeError::PasswordDigest)),
        (" Type='urn:example'".to_owned(), Some(EnvelopeError::PasswordType)),
    ] {
        let text = token(&format!(
            "<o:Username>a</o:Username><o:Password{attribute}>b</o:Password>
             <o:Nonce>MAA=</o:Nonce><u:Created>2026-01-01T00:00:00Z</u:Created>"
        ));
        assert_eq!(parse(&text).err().map(|e| e.error), error, "{attribute}");
    }
}

#[test]
fn password_keeps_its_spaces_and_may_be_empty() {
    for password in ["", " a ", "\n"] {
        let text = token(&format!("<o:Username>a</o:Username><o:Password>{password}</o:Password>"));
        let token = parse(&text).unwrap().security.unwrap().username_token.unwrap();
        assert_eq!(token.password.expose(), password);
    }
}

#[test]
fn malformed_security_headers() {
    for (text, message) in [
        (token("<o:Password>b</o:Password>"), "security header: element Username is missing"),
        (token("<o:Username>a</o:Username>"), "security header: element Password is missing"),
        (
            token("<o:Username>a<b/></o:Username><o:Password>b</o:Password>"),
            "security header: element Username does not hold plain text",
        ),
        (
            token("<o:Username>a</o:Username><o:Username>b</o:Username><o:Password>b</o:Password>"),
            "security header: element Username appears twice",
        ),
        (
            token("<o:Username>a</o:Username><o:Password>a</o:Password><o:Password>b</o:Password>"),
            "security header: element Password appears twice",
        ),
        (
            with_header("<o:Security><u:Timestamp/><u:Timestamp/></o:Security>"),
            "security header: element Timestamp appears twice",
        ),
        (
            with_header("<o:Security><u:Timestamp><u:Expires>soon</u:Expires></u:Timestamp></o:Security>"),
            "security header: element Expires does not hold a date and time",
        ),
    ] {
        let error = refused(&text);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.to_fault().kind, FaultKind::InvalidSecurity);
    }
}

#[test]
fn malformed_envelopes() {
    for (text, error) in [
        ("<Envelope/>".to_owned(), EnvelopeError::VersionMismatch),
        (
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body/></e:Envelope>"
                .to_owned(),
            EnvelopeError::VersionMismatch,
        ),
        (
            "<html/>".to_owned(),
            XmlError::Unexpected { found: "html".to_owned(), expected: "Envelope" }.into(),
        ),
        (with_parts(""), XmlError::Missing { element: "Body" }.into()),
        (with_parts("<s:Header/>"), XmlError::Missing { element: "Body" }.into()),
        (with_parts("<s:Body/>"), EnvelopeError::EmptyBody),
        (with_parts("<s:Body><x/><y/></s:Body>"), EnvelopeError::CrowdedBody),
        (
            with_parts(&format!("{BODY}<s:Header/>")),
            XmlError::Unexpected { found: "Header".to_owned(), expected: "Header or Body" }.into(),
        ),
        (
            with_parts(&format!("<x/>{BODY}")),
            XmlError::Unexpected { found: "x".to_owned(), expected: "Header or Body" }.into(),
        ),
    ] {
        assert_eq!(refused(&text), error, "{text}");
    }
}

#[test]
fn second_of_what_belongs_once() {
    let repeated = |name: &str| XmlError::Repeated { element: name.to_owned() };
    for (text, error) in [
        (with_parts(&format!("{BODY}{BODY}")), repeated("Body").into()),
        (with_parts(&format!("<s:Header/><s:Header/>{BODY}")), repeated("Header").into()),
        (with_header("<o:Security/><o:Security/>"), repeated("Security").into()),
        (with_header("<a:Action>a</a:Action><a:Action>a</a:Action>"), repeated("Action").into()),
        (with_header("<a:To>a</a:To><a:To>a</a:To>"), repeated("To").into()),
        (with_header("<a:MessageID>a</a:MessageID><a:MessageID>a</a:MessageID>"), repeated("MessageID").into()),
        (
            with_header(
                "<a:ReplyTo><a:Address>a</a:Address></a:ReplyTo><a:ReplyTo><a:Address>a</a:Address></a:ReplyTo>",
            ),
            repeated("ReplyTo").into(),
        ),
        (
            with_header(
                "<o:Security><o:UsernameToken><o:Username>a</o:Username><o:Password>a</o:Password></o:UsernameToken>
                 <o:UsernameToken><o:Username>b</o:Username><o:Password>b</o:Password></o:UsernameToken></o:Security>",
            ),
            EnvelopeError::Security(repeated("UsernameToken")),
        ),
    ] {
        assert_eq!(refused(&text), error);
    }
}

#[test]
fn header_that_must_be_understood() {
    let refusal = EnvelopeError::MustUnderstand(HeaderName {
        namespace: "urn:example".to_owned(),
        local: "h".to_owned(),
    });
    for (attributes, error) in [
        ("", None),
        ("s:mustUnderstand='0'", None),
        ("s:mustUnderstand='false'", None),
        ("mustUnderstand='1'", None),
        ("s:mustUnderstand='1'", Some(&refusal)),
        ("s:mustUnderstand='true'", Some(&refusal)),
        ("s:mustUnderstand='1' s:role='http://www.w3.org/2003/05/soap-envelope/role/next'", Some(&refusal)),
        (
            "s:mustUnderstand='1' s:role='http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver'",
            Some(&refusal),
        ),
        ("s:mustUnderstand='1' s:role='http://www.w3.org/2003/05/soap-envelope/role/none'", None),
        ("s:mustUnderstand='1' s:role='urn:somebody-else'", None),
    ] {
        let text = with_header(&format!("<h xmlns='urn:example' {attributes}/>"));
        assert_eq!(parse(&text).err().map(|e| e.error).as_ref(), error, "{attributes}");
    }
    let text = with_header("<h xmlns='urn:example' s:mustUnderstand='perhaps'/>");
    assert_eq!(
        refused(&text).to_string(),
        "element h does not hold a boolean in its mustUnderstand attribute"
    );
}

#[test]
fn headers_that_windows_marks_are_understood() {
    let text = with_header(
        "<a:Action s:mustUnderstand='1'>a</a:Action><a:To s:mustUnderstand='1'>b</a:To>
         <o:Security s:mustUnderstand='1'/><a:From s:mustUnderstand='1'/><a:FaultTo s:mustUnderstand='1'/>
         <a:RelatesTo s:mustUnderstand='1'>c</a:RelatesTo>
         <ActivityId s:mustUnderstand='1' xmlns='http://schemas.microsoft.com/2004/09/ServiceModel/Diagnostics'/>",
    );
    assert_eq!(parse(&text).unwrap().relates_to.as_deref(), Some("c"));
}

#[test]
fn refusal_knows_the_message_it_refuses() {
    let text =
        with_header("<h xmlns='urn:example' s:mustUnderstand='1'/><a:MessageID> urn:uuid:1 </a:MessageID>");
    let refusal = parse(&text).unwrap_err();
    assert_eq!(refusal.message_id.as_deref(), Some("urn:uuid:1"));
}

#[test]
fn message_id_length() {
    let text = |n: usize| with_header(&format!("<a:MessageID>{}</a:MessageID>", "m".repeat(n)));
    assert!(parse(&text(512)).is_ok());
    let refusal = Envelope::parse(text(513).as_bytes(), &Limits::REQUEST).unwrap_err();
    assert_eq!(refusal.to_string(), "element MessageID does not hold an id of at most 512 bytes");
    assert_eq!(refusal.message_id, None);
}
