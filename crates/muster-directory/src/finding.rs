//! What there is to say about an object of the directory that cannot be taken as it is.

use serde::{Deserialize, Serialize};

/// One remark: what it is about, what it leads to, and one sentence for the administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it leads to.
    pub effect: Effect,
    /// The flag (`CT_FLAG_IS_CA`) or attribute (`pKIExpirationPeriod`) that it is about.
    pub about: String,
    /// The sentence.
    pub sentence: String,
}

/// What a remark leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Taken, but this part of it does nothing here.
    Ignored,
    /// Dangerous: used only after an officer has accepted exactly this content.
    NeedsAcceptance,
    /// Not used.
    Refused,
}

impl Finding {
    /// A remark.
    #[must_use]
    pub fn new(effect: Effect, about: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { effect, about: about.into(), sentence: sentence.into() }
    }
}
