//! Distinguished names as LDAP writes them (RFC 4514), and what of them can stand in a certificate.

use muster_core::names::{NameAttribute, SubjectName, is_attribute_value, is_host_name};

use crate::guard::is_stable;

/// One attribute of a distinguished name, as written: type and unescaped value.
pub type Attribute = (String, String);

/// The text is not a distinguished name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a distinguished name")]
pub struct BadDn;

/// Longest name that is read, in octets, and most parts of it.
const MAX_LENGTH: usize = 4_096;
const MAX_PARTS: usize = 64;

/// Splits a name into its parts, the most specific first as written. Parts of several values are refused.
///
/// # Errors
/// [`BadDn`].
pub fn parse(text: &str) -> Result<Vec<Attribute>, BadDn> {
    if text.len() > MAX_LENGTH {
        return Err(BadDn);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, after) = rest.split_once('=').ok_or(BadDn)?;
        let kind = kind.trim();
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if kind.is_empty() || !kind.bytes().all(known) || parts.len() == MAX_PARTS {
            return Err(BadDn);
        }
        let (value, after) = value(after)?;
        parts.push((kind.to_owned(), value));
        rest = match after {
            None => break,
            Some("") => return Err(BadDn),
            Some(more) => more,
        };
    }
    if parts.is_empty() { Err(BadDn) } else { Ok(parts) }
}

/// Reads an attribute value up to the next comma; returns what follows the comma, if there is one.
fn value(text: &str) -> Result<(String, Option<&str>), BadDn> {
    let mut octets = Vec::new();
    let mut characters = text.char_indices();
    let rest = loop {
        let Some((at, c)) = characters.next() else { break None };
        match c {
            ',' => break Some(text.get(at + 1..).ok_or(BadDn)?),
            // Several values, separators of version 2, unescaped quotes and octets in hexadecimal.
            '+' | ';' | '"' | '<' | '>' => return Err(BadDn),
            '#' if octets.is_empty() => return Err(BadDn),
            '\\' => {
                let (_, next) = characters.next().ok_or(BadDn)?;
                match next.to_digit(16) {
                    Some(high) => {
                        let low = characters.next().and_then(|(_, c)| c.to_digit(16)).ok_or(BadDn)?;
                        octets.push(u8::try_from(high * 16 + low).map_err(|_| BadDn)?);
                    }
                    None => push(&mut octets, next),
                }
            }
            other => push(&mut octets, other),
        }
    };
    Ok((String::from_utf8(octets).map_err(|_| BadDn)?, rest))
}

fn push(octets: &mut Vec<u8>, c: char) {
    octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// A value as it stands in a distinguished name (RFC 4514 2.4).
#[must_use]
pub fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (position, c) in value.chars().enumerate() {
        match c {
            ' ' if position == 0 || position == last => out.push_str("\\ "),
            '#' if position == 0 => out.push_str("\\#"),
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_control() => out.push_str(&format!("\\{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// The name as the subject of a certificate: the most significant part first (MS-WCCE 3.2.2.6.2.1.4.5.9).
/// `None` if a part is of a kind or has a value that a subject here cannot have.
#[must_use]
pub fn subject(text: &str) -> Option<SubjectName> {
    let parts = parse(text).ok()?;
    let part = |(kind, value): Attribute| {
        let attribute = attribute(&kind)?;
        (is_attribute_value(attribute, &value) && is_stable(&value)).then_some((attribute, value))
    };
    parts.into_iter().rev().map(part).collect::<Option<_>>().map(SubjectName)
}

fn attribute(kind: &str) -> Option<NameAttribute> {
    Some(match kind.to_ascii_uppercase().as_str() {
        "CN" => NameAttribute::CommonName,
        "OU" => NameAttribute::OrganizationalUnit,
        "DC" => NameAttribute::DomainComponent,
        "O" => NameAttribute::Organization,
        "L" => NameAttribute::Locality,
        "ST" => NameAttribute::State,
        "C" => NameAttribute::Country,
        _ => return None,
    })
}

/// The DNS name of the domain that a name is in, from its `DC` parts, lower case.
#[must_use]
pub fn domain(text: &str) -> Option<String> {
    let parts = parse(text).ok()?;
    let labels: Vec<String> = parts
        .into_iter()
        .filter(|(kind, _)| kind.eq_ignore_ascii_case("DC"))
        .map(|(_, label)| label.to_ascii_lowercase())
        .collect();
    Some(labels.join(".")).filter(|name| is_host_name(name, false))
}

/// The value of the first part, if it is a `CN`.
#[must_use]
pub fn common_name(text: &str) -> Option<String> {
    let (kind, value) = parse(text).ok()?.into_iter().next()?;
    kind.eq_ignore_ascii_case("CN").then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_becomes_a_subject_from_the_top() {
        let subject = subject("CN=Doe\\, Jane,OU=B\\C3\\BCro,DC=corp,DC=test").unwrap();
        assert_eq!(subject.to_string(), "CN=Doe, Jane, OU=Büro, DC=corp, DC=test");
        assert_eq!(
            subject.0.first().map(|(a, v)| (*a, v.as_str())),
            Some((NameAttribute::DomainComponent, "test"))
        );
        assert_eq!(domain("CN=a,DC=Corp,DC=test").as_deref(), Some("corp.test"));
        assert_eq!(common_name("CN=a\\2Cb,DC=x").as_deref(), Some("a,b"));
    }

    #[test]
    fn escaped_value_is_read_back() {
        for text in ["a", " a ", "#a", "a,b+c\"d\\e<f>g;h=i", "\u{fc} \n", "Corp CA #1", " "] {
            let name = format!("CN={},DC=test", escape(text));
            assert_eq!(common_name(&name).as_deref(), Some(text), "{name}");
        }
    }

    #[test]
    fn what_a_subject_cannot_have_is_no_subject() {
        for text in [
            "",
            "CN",
            "CN=a,",
            "CN=a+OU=b,DC=test",
            "UID=a,DC=test",
            "CN=a\nb,DC=test",
            "CN=a\\0Ab,DC=test",
            "CN=\\e2\\80\\ae,DC=test",
            "CN=\u{ff41}dmin,DC=test",
            "CN=\\ff,DC=test",
            "CN=#0401,DC=test",
            "CN=,DC=test",
            &format!("CN={},DC=test", "x".repeat(65)),
        ] {
            assert_eq!(subject(text), None, "{text}");
        }
        assert_eq!(parse(&"CN=a,".repeat(65)), Err(BadDn));
    }
}
