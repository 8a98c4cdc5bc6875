//! SOAP messages written out by hand and answers read by searching for words: on purpose without our own parser and
//! writer, so that a mistake there cannot hide itself.

const ISSUE: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue";
const QUERY: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/QueryTokenStatus";
const RST: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RST/wstep";
const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const XCEP: &str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy";

/// User name and password, or none for other kinds of authentication.
pub type Credentials<'a> = Option<(&'a str, &'a str)>;

/// An envelope with this action and body; `to` is the URL.
#[must_use]
pub fn envelope(to: &str, action: &str, credentials: Credentials<'_>, body: &str) -> String {
    let security = credentials.map_or_else(String::new, |(user, password)| {
        format!(
            r#"<o:Security s:mustUnderstand="1" xmlns:o="{WSSE}"><o:UsernameToken><o:Username>{user}</o:Username><o:Password>{password}</o:Password></o:UsernameToken></o:Security>"#
        )
    });
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">{action}</a:Action><a:MessageID>urn:uuid:5f8f5b92-3e6a-4f7c-9a1c-0b7f6d1b2c3d</a:MessageID><a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo><a:To s:mustUnderstand="1">{to}</a:To>{security}</s:Header><s:Body xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{body}</s:Body></s:Envelope>"#
    )
}

/// GetPolicies without a filter.
#[must_use]
pub fn get_policies(to: &str, credentials: Credentials<'_>) -> String {
    let body = format!(
        r#"<GetPolicies xmlns="{XCEP}"><client><lastUpdate xsi:nil="true"/><preferredLanguage xsi:nil="true"/></client><requestFilter xsi:nil="true"/></GetPolicies>"#
    );
    envelope(to, &format!("{XCEP}/IPolicy/GetPolicies"), credentials, &body)
}

/// Issue with a request in base64; what is around the request is always called PKCS#7.
#[must_use]
pub fn issue(to: &str, credentials: Credentials<'_>, base64: &str) -> String {
    let body = format!(
        r#"<RequestSecurityToken xmlns="http://docs.oasis-open.org/ws-sx/ws-trust/200512"><TokenType>http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3</TokenType><RequestType>{ISSUE}</RequestType><BinarySecurityToken ValueType="{WSSE}#PKCS7" EncodingType="{WSSE}#base64binary" xmlns="{WSSE}">{base64}</BinarySecurityToken><RequestID xsi:nil="true" xmlns="http://schemas.microsoft.com/windows/pki/2009/01/enrollment"/></RequestSecurityToken>"#
    );
    envelope(to, RST, credentials, &body)
}

/// QueryTokenStatus.
#[must_use]
pub fn query(to: &str, credentials: Credentials<'_>, id: &str) -> String {
    let body = format!(
        r#"<RequestSecurityToken xmlns="http://docs.oasis-open.org/ws-sx/ws-trust/200512"><RequestType>{QUERY}</RequestType><RequestID xmlns="http://schemas.microsoft.com/windows/pki/2009/01/enrollment">{id}</RequestID></RequestSecurityToken>"#
    );
    envelope(to, RST, credentials, &body)
}

/// The text of the first element with this local name, white space removed from its ends.
#[must_use]
pub fn text<'a>(answer: &'a str, element: &str) -> Option<&'a str> {
    texts(answer, element).into_iter().next()
}

/// The texts of all elements with this local name, those without text left out.
#[must_use]
pub fn texts<'a>(answer: &'a str, element: &str) -> Vec<&'a str> {
    answer
        .split('<')
        .filter_map(|piece| {
            let (tag, text) = piece.split_once('>')?;
            let name = tag.split([' ', '\t', '\r', '\n']).next()?;
            let name = name.rsplit(':').next()?;
            let text = text.trim();
            (name == element && !tag.starts_with('/') && !tag.ends_with('/') && !text.is_empty())
                .then_some(text)
        })
        .collect()
}

/// The certificate of an answer that issued one, base64: the last token, after the CMC response.
#[must_use]
pub fn certificate(answer: &str) -> Option<&str> {
    let tokens = texts(answer, "BinarySecurityToken");
    if tokens.len() == 2 { tokens.last().copied() } else { None }
}

/// The CMC full response of an answer or a fault, base64.
#[must_use]
pub fn full_response(answer: &str) -> Option<&str> {
    text(answer, "BinarySecurityToken").or_else(|| text(answer, "BinaryResponse"))
}

/// The HRESULT of a fault.
#[must_use]
pub fn error_code(answer: &str) -> Option<u32> {
    let signed: i32 = text(answer, "ErrorCode")?.parse().ok()?;
    Some(u32::from_ne_bytes(signed.to_ne_bytes()))
}
