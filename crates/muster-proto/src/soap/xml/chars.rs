//! Character classes of XML 1.0 (fifth edition), references, and shortening of peer text for messages.

use super::error::XmlError;

/// String equality that does not compare empty strings byte by byte: `memcmp` with a length of 0 on the invalid
/// addresses that empty literals have costs some hundred nanoseconds on processors with AVX-512, and prefixes and
/// namespaces are mostly empty.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// Is this XML white space?
pub(super) const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Is this octet of UTF-8 XML white space? Where text is searched, octets are compared: taking characters apart costs
/// several times as much.
pub(super) const fn is_space_octet(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// XML 1.0 production Char.
pub(super) const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

const fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}'
        | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

const fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Namespaces in XML production `NCName`: a name without colon.
pub(super) fn is_nc_name(name: &str) -> bool {
    let ascii = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.bytes().all(ascii) {
        return name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    }
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

/// The first character that XML does not allow to appear literally.
pub(super) fn first_illegal(text: &str) -> Option<char> {
    // Without early exit the compiler checks many bytes at once; nearly always there is nothing to find.
    let control = text.bytes().fold(false, |bad, b| bad | ((b < 0x20) & (b != 9) & (b != 10) & (b != 13)));
    // U+FFFE and U+FFFF, the only other ones that valid UTF-8 can hold, start with this byte.
    let special = text.bytes().fold(false, |bad, b| bad | (b == 0xEF));
    if control || special { text.chars().find(|c| !is_char(*c)) } else { None }
}

/// What a reference (the part between `&` and `;`) stands for.
pub(super) fn resolve_reference(name: &str) -> Result<char, XmlError> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix('x') {
            Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok(),
            None if number.bytes().all(|b| b.is_ascii_digit()) => number.parse().ok(),
            Some(_) | None => None,
        };
        let Some(code) = code else { return Err(XmlError::Entity { name: clip(name) }) };
        return match char::from_u32(code) {
            Some(c) if is_char(c) => Ok(c),
            Some(_) | None => Err(XmlError::IllegalCharacter { code }),
        };
    }
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(XmlError::Entity { name: clip(name) }),
    }
}

/// At most 64 characters of text from the peer, without control characters, for use in a message.
pub(crate) fn clip(text: &str) -> String {
    const MAX: usize = 64;
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).take(MAX).collect()
}
