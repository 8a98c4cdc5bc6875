//! Search filters as values (RFC 4511 4.5.1): an assertion value is octets and cannot become syntax.

use std::fmt;

use super::ber::{OCTET_STRING, Writer, context, context_constructed};

/// `LDAP_MATCHING_RULE_BIT_AND` (MS-ADTS 3.1.1.3.4.4.1): all bits of the assertion are set.
const BIT_AND: &[u8] = b"1.2.840.113556.1.4.803";

/// Which objects a search returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Self>),
    /// One of them holds.
    Or(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// The attribute has this value.
    Equal(&'static str, Vec<u8>),
    /// The attribute has a value that is not below this one.
    AtLeast(&'static str, Vec<u8>),
    /// The attribute has a value.
    Present(&'static str),
    /// The attribute is a number in which all these bits are set.
    Bits(&'static str, u32),
}

impl Filter {
    /// The attribute has this value, as text.
    #[must_use]
    pub fn text(attribute: &'static str, value: &str) -> Self {
        Self::Equal(attribute, value.as_bytes().to_vec())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let assertion = |out: &mut Writer, tag: u8, attribute: &str, value: &[u8]| {
            out.nested(context_constructed(tag), |out| {
                out.element(OCTET_STRING, attribute.as_bytes());
                out.element(OCTET_STRING, value);
            });
        };
        let set = |out: &mut Writer, tag: u8, members: &[Self]| {
            out.nested(context_constructed(tag), |out| members.iter().for_each(|member| member.write(out)));
        };
        match self {
            Self::And(members) => set(out, 0, members),
            Self::Or(members) => set(out, 1, members),
            Self::Not(inner) => out.nested(context_constructed(2), |out| inner.write(out)),
            Self::Equal(attribute, value) => assertion(out, 3, attribute, value),
            Self::AtLeast(attribute, value) => assertion(out, 5, attribute, value),
            Self::Present(attribute) => out.element(context(7), attribute.as_bytes()),
            Self::Bits(attribute, bits) => out.nested(context_constructed(9), |out| {
                out.element(context(1), BIT_AND);
                out.element(context(2), attribute.as_bytes());
                out.element(context(3), bits.to_string().as_bytes());
            }),
        }
    }
}

impl fmt::Display for Filter {
    /// The text form of RFC 4515, for logs and for repeating a search by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |f: &mut fmt::Formatter<'_>, sign: &str, members: &[Self]| {
            write!(f, "({sign}")?;
            members.iter().try_for_each(|member| member.fmt(f))?;
            f.write_str(")")
        };
        match self {
            Self::And(members) => set(f, "&", members),
            Self::Or(members) => set(f, "|", members),
            Self::Not(inner) => write!(f, "(!{inner})"),
            Self::Equal(attribute, value) => write!(f, "({attribute}={})", Escaped(value)),
            Self::AtLeast(attribute, value) => write!(f, "({attribute}>={})", Escaped(value)),
            Self::Present(attribute) => write!(f, "({attribute}=*)"),
            Self::Bits(attribute, bits) => write!(f, "({attribute}:1.2.840.113556.1.4.803:={bits})"),
        }
    }
}

/// A value with everything but plain characters as `\xx`.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| {
            if octet.is_ascii_alphanumeric() || b" .-_@$/:=,+{}'".contains(octet) {
                write!(f, "{}", char::from(*octet))
            } else {
                write!(f, "\\{octet:02x}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_with_syntax_stays_a_value() {
        let filter = Filter::text("cn", "*)(objectClass=*\0");
        assert_eq!(filter.to_string(), r"(cn=\2a\29\28objectClass=\2a\00)");
        let mut out = Writer::default();
        filter.write(&mut out);
        // RFC 4511 4.5.1.7.1: [3] { OCTET STRING "cn", OCTET STRING value }, the value unchanged.
        assert_eq!(out.finish().as_slice(), b"\xa3\x17\x04\x02cn\x04\x11*)(objectClass=*\0");
    }

    #[test]
    fn filters_nest() {
        let filter = Filter::And(vec![
            Filter::Or(vec![Filter::Present("mail"), Filter::Bits("userAccountControl", 2)]),
            Filter::Not(Box::new(Filter::AtLeast("uSNChanged", b"7".to_vec()))),
        ]);
        assert_eq!(
            filter.to_string(),
            "(&(|(mail=*)(userAccountControl:1.2.840.113556.1.4.803:=2))(!(uSNChanged>=7)))"
        );
    }
}
