//! Object identifiers as the domain needs them: dotted text that is known to be well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An object identifier, at most 128 characters, every arc below 2^32.
///
/// The bound on arcs is a trap of real clients: certenroll drops a template silently whose OID has a larger arc.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(String);

/// The text is not an object identifier that we accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an object identifier with arcs below 4294967296, such as 1.3.6.1.5.5.7.3.2")]
pub struct OidError(String);

impl Oid {
    /// The dotted text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This identifier with further arcs. To be used with few: the bound of 128 characters is not checked again.
    #[must_use]
    pub fn child(&self, arcs: &[u32]) -> Self {
        arcs.iter().fold(self.clone(), |oid, arc| Self(format!("{}.{arc}", oid.0)))
    }
}

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, OidError> {
        let arcs: Option<Vec<u32>> = text
            .split('.')
            .map(|arc| {
                let canonical =
                    arc == "0" || (!arc.starts_with('0') && arc.bytes().all(|b| b.is_ascii_digit()));
                canonical.then(|| arc.parse().ok()).flatten()
            })
            .collect();
        match arcs.as_deref() {
            // The first two arcs are one number on the wire, first * 40 + second (X.690 8.19.4), which has the same
            // bound.
            Some([first, second, ..])
                if text.len() <= 128
                    && (*first < 2 && *second < 40 || *first == 2 && *second <= u32::MAX - 80) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(OidError(text.chars().take(128).collect())),
        }
    }
}

impl TryFrom<String> for Oid {
    type Error = OidError;

    fn try_from(text: String) -> Result<Self, OidError> {
        text.parse()
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> Self {
        oid.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_identifiers_are_refused() {
        for text in [
            "",
            "1",
            "1.",
            "3.1",
            "1.40",
            "1.2.x",
            "1.02",
            "1.2.4294967296",
            "2.4294967216",
            "1..2",
            "1.2.-3",
        ] {
            assert!(text.parse::<Oid>().is_err(), "{text}");
        }
        for text in ["1.2", "2.999", "1.3.6.1.4.1.311.21.8.4294967295"] {
            assert_eq!(text.parse::<Oid>().map(|oid| oid.to_string()), Ok(text.to_owned()));
        }
    }
}
