//! Texts that an authority takes apart, as types that hold nothing it could take apart differently.
//!
//! Request attributes are one text, `Name:Value` with line feeds between. An attribute smuggled into it can name other
//! people, purposes or lifetimes in the certificate (`SAN`, `ValidityPeriod`, `CertificateUsage`). So there is no way to
//! add a name here: each attribute that is needed has a function, and each value a type.

use std::fmt;
use std::str::FromStr;

/// A text that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// No text at all.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Too long.
    #[error("{what} has {length} characters, {limit} are permitted")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A character that the text may not have.
    #[error("{what} contains {character:?}")]
    Character {
        /// Which.
        what: &'static str,
        /// The character.
        character: char,
    },
}

fn checked(
    what: &'static str,
    text: &str,
    limit: usize,
    permitted: impl Fn(char) -> bool,
) -> Result<String, AttributeError> {
    if text.trim().is_empty() {
        return Err(AttributeError::Empty(what));
    }
    let length = text.encode_utf16().count();
    if length > limit {
        return Err(AttributeError::TooLong { what, length, limit });
    }
    match text.chars().find(|character| !permitted(*character)) {
        Some(character) => Err(AttributeError::Character { what, character }),
        None => Ok(text.to_owned()),
    }
}

/// The name of a template (its `cn`) or its object identifier: letters, digits, and `._-()` and space, all of ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemplateName(String);

impl FromStr for TemplateName {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let permitted = |character: char| character.is_ascii_alphanumeric() || "._-() ".contains(character);
        checked("the name of the template", text, 64, permitted).map(Self)
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The common name of an authority, or its sanitized form (MS-WCCE 3.1.1.4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorityName(String);

impl FromStr for AuthorityName {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        checked("the name of the authority", text, 1_535, |character| !character.is_control()).map(Self)
    }
}

impl AuthorityName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The attributes of one request. There are no others than those that have a function here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestAttributes {
    template: Option<TemplateName>,
    earlier: Option<u32>,
}

impl RequestAttributes {
    /// None.
    pub const NONE: Self = Self { template: None, earlier: None };

    /// With the template, for requests that do not name it themselves: `CertificateTemplate`.
    #[must_use]
    pub fn with_template(self, template: TemplateName) -> Self {
        Self { template: Some(template), ..self }
    }

    /// With the request that the answer to a challenge belongs to: `RequestId` (MS-WCCE 3.2.1.4.2.1.2).
    #[must_use]
    pub fn with_request_id(self, earlier: u32) -> Self {
        Self { earlier: Some(earlier), ..self }
    }

    /// The text; `None` if there are no attributes.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let template = self.template.as_ref().map(|template| format!("CertificateTemplate:{template}"));
        let earlier = self.earlier.map(|earlier| format!("RequestId:{earlier}"));
        let lines: Vec<String> = template.into_iter().chain(earlier).collect();
        if lines.is_empty() { None } else { Some(lines.join("\n")) }
    }
}

/// The attributes in a caller's text: name and value of each line that has both (MS-WCCE 3.2.1.4.2.1.2). In names, blanks
/// and minus signs have no meaning; lines without a colon are ignored.
pub fn attribute_lines(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split(['\n', '\r']).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name: String = name.chars().filter(|character| !"- \t".contains(*character)).collect();
        let value = value.trim();
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

/// The sanitized form of an authority's name: what not every system can have in a name is `!` and four hexadecimal digits
/// (MS-WCCE 3.1.1.4.1.1).
#[must_use]
pub fn sanitized(name: &str) -> String {
    name.encode_utf16().fold(String::new(), |mut sanitized, unit| {
        match u8::try_from(unit).map(char::from) {
            Ok(plain @ ' '..='~') if !"!\"#%&'()*+,/:;<=>?[\\]^`{|}".contains(plain) => sanitized.push(plain),
            Ok(_) | Err(_) => sanitized.push_str(&format!("!{unit:04x}")),
        }
        sanitized
    })
}

/// The sanitized form of at most 57 characters: of a longer one, what is behind the first 51 is five digits of a sum.
#[must_use]
pub fn sanitized_short(name: &str) -> String {
    const KEPT: usize = 51;
    let whole = sanitized(name);
    if whole.len() <= KEPT {
        return whole;
    }
    // Nothing of an escape is kept without the rest of it.
    let escape = whole.get(..KEPT).and_then(|kept| kept.rfind('!')).filter(|at| at + 5 > KEPT);
    let (kept, rest) = whole.split_at_checked(escape.unwrap_or(KEPT)).unwrap_or((&whole, ""));
    let sum = rest.bytes().fold(0_u16, |sum, octet| sum.rotate_left(1).wrapping_add(octet.into()));
    format!("{kept}-{sum:05}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attributes_of_a_caller_are_taken_apart() {
        let text =
            "CertificateTemplate: User \r\n -Some Name-:a:b\nwithout\n:none\nempty:\nCERTIFICATETEMPLATE:Web";
        let lines: Vec<_> = attribute_lines(text).collect();
        let expected = [("CertificateTemplate", "User"), ("SomeName", "a:b"), ("CERTIFICATETEMPLATE", "Web")];
        assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn names_of_authorities_are_sanitized() {
        assert_eq!(sanitized("Corp Issuing CA-1"), "Corp Issuing CA-1");
        assert_eq!(sanitized("A/B (C)"), "A!002fB !0028C!0029");
        assert_eq!(sanitized("Größe"), "Gr!00f6!00dfe");
        assert_eq!(sanitized_short("Corp Issuing CA-1"), "Corp Issuing CA-1");
        let long = "x".repeat(51);
        assert_eq!(sanitized_short(&long), long);
        // 0x79, then twice that and 0x7a.
        assert_eq!(sanitized_short(&format!("{long}yz")), format!("{long}-{:05}", 0x79 * 2 + 0x7a));
        let cut = format!("{}é", "x".repeat(49));
        assert!(
            sanitized_short(&cut).starts_with(&format!("{}-", "x".repeat(49))),
            "{}",
            sanitized_short(&cut)
        );
    }

    #[test]
    fn attributes_are_lines_in_one_text() {
        let attributes = RequestAttributes::NONE.with_template("Web Server-2".parse().unwrap());
        assert_eq!(attributes.text().as_deref(), Some("CertificateTemplate:Web Server-2"));
        let attributes = attributes.with_request_id(7);
        assert_eq!(attributes.text().as_deref(), Some("CertificateTemplate:Web Server-2\nRequestId:7"));
        assert_eq!(RequestAttributes::NONE.text(), None);
    }

    proptest! {
        /// T12: whatever a name contains, the text has one attribute, or there is no text.
        #[test]
        fn nothing_is_smuggled_into_attributes(before in "\\PC{0,8}", odd in "[\r\n\0:&=\"\u{85}\u{2028}\u{ff1a}\u{7f}\\\\]", after in "\\PC{0,8}") {
            let text = format!("{before}{odd}{after}");
            prop_assert!(text.parse::<TemplateName>().is_err());
            prop_assert_eq!(format!("CA{odd}").parse::<AuthorityName>().is_ok(), !odd.contains(char::is_control));
        }

        #[test]
        fn what_is_taken_is_one_attribute(text in "\\PC{0,70}") {
            if let Ok(name) = text.parse::<TemplateName>() {
                let text = RequestAttributes::NONE.with_template(name).text().unwrap();
                prop_assert_eq!(text.matches(':').count(), 1);
                prop_assert!(!text.contains(|character: char| character.is_control() || !character.is_ascii()));
            }
        }
    }
}
