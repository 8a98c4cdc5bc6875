//! The templates that a new installation starts with. They are ordinary templates: to be shown, changed or removed
//! with `muster template`.

use crate::template::{Template, TemplateError};

/// TOML of each default template, in the order in which they are added.
pub const TEMPLATES: [&str; 5] = [
    include_str!("../templates/user.toml"),
    include_str!("../templates/user-email.toml"),
    include_str!("../templates/computer.toml"),
    include_str!("../templates/web-server.toml"),
    include_str!("../templates/code-signing.toml"),
];

/// Reads them.
///
/// # Errors
/// Never, as a test shows; the type keeps the reader honest.
pub fn templates() -> Result<Vec<Template>, TemplateError> {
    TEMPLATES.iter().map(|text| Template::from_toml(text)).collect()
}
