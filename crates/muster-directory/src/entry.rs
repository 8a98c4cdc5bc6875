//! One object as LDAP returned it, and the ways to read an attribute.

use std::collections::BTreeMap;

/// A distinguished name and octets by lower-case attribute name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawEntry {
    /// The distinguished name, as the directory writes it (RFC 4514).
    pub dn: String,
    /// Values by attribute name in lower case, without options such as `;binary`.
    pub attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

/// What is wrong with an attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{attribute} {problem}")]
pub struct AttributeError {
    /// The attribute, as the specification writes it.
    pub attribute: &'static str,
    /// What is wrong.
    pub problem: AttributeProblem,
}

/// What can be wrong with an attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeProblem {
    /// There is none.
    #[error("is missing")]
    Missing,
    /// More than one value where one belongs.
    #[error("has {0} values instead of one")]
    Several(usize),
    /// Not UTF-8, or longer than any real value.
    #[error("is not text")]
    NotText,
    /// Not a signed number of 32 bits in decimal digits.
    #[error("is '{0}', which is not a number of 32 bits")]
    NotANumber(String),
    /// Not the octets it should be.
    #[error("has {0} octets, which cannot be right")]
    Length(usize),
    /// Not the form that the specification gives.
    #[error("is not what the specification says: {0}")]
    Form(String),
}

/// Longest text value that is read; the longest real ones, security descriptors as text, are below 4 KiB.
const MAX_TEXT: usize = 65_536;

impl RawEntry {
    /// An entry from pairs of attribute name and values; names may be in any case.
    pub fn new<N: AsRef<str>>(
        dn: impl Into<String>,
        attributes: impl IntoIterator<Item = (N, Vec<Vec<u8>>)>,
    ) -> Self {
        let attributes = attributes
            .into_iter()
            .map(|(name, values)| (name.as_ref().to_ascii_lowercase(), values))
            .collect();
        Self { dn: dn.into(), attributes }
    }

    /// Every value of an attribute, none if it is absent. `attribute` may be in any case.
    #[must_use]
    pub fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes.get(&attribute.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The one value of an attribute, `None` if it is absent.
    ///
    /// # Errors
    /// [`AttributeProblem::Several`].
    pub fn octets(&self, attribute: &'static str) -> Result<Option<&[u8]>, AttributeError> {
        match self.values(attribute) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            more => Err(AttributeError { attribute, problem: AttributeProblem::Several(more.len()) }),
        }
    }

    /// The one value of a text attribute, `None` if it is absent or empty.
    ///
    /// # Errors
    /// [`AttributeProblem::Several`], [`AttributeProblem::NotText`].
    pub fn text(&self, attribute: &'static str) -> Result<Option<&str>, AttributeError> {
        let value = self.octets(attribute)?.map(|octets| text(attribute, octets)).transpose()?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Every value of a text attribute that may have several.
    ///
    /// # Errors
    /// [`AttributeProblem::NotText`].
    pub fn texts(&self, attribute: &'static str) -> Result<Vec<&str>, AttributeError> {
        self.values(attribute).iter().map(|octets| text(attribute, octets)).collect()
    }

    /// The one value of an integer attribute, `None` if it is absent. The directory stores flag words as signed
    /// numbers of 32 bits; they are returned as the bits that they are.
    ///
    /// # Errors
    /// [`AttributeProblem::Several`], [`AttributeProblem::NotANumber`].
    pub fn number(&self, attribute: &'static str) -> Result<Option<u32>, AttributeError> {
        let Some(value) = self.text(attribute)? else { return Ok(None) };
        // Some writers give the unsigned form, which the directory itself would refuse.
        let number = value.parse::<i32>().map(i32::cast_unsigned).or_else(|_| value.parse::<u32>());
        let problem = || AttributeProblem::NotANumber(value.chars().take(32).collect());
        number.map(Some).map_err(|_| AttributeError { attribute, problem: problem() })
    }
}

fn text<'a>(attribute: &'static str, octets: &'a [u8]) -> Result<&'a str, AttributeError> {
    let value = std::str::from_utf8(octets).ok().filter(|value| value.len() <= MAX_TEXT);
    value.ok_or(AttributeError { attribute, problem: AttributeProblem::NotText })
}
