//! The reference page of the configuration, made from the doc comments of [`super::file`].

const SOURCE: &str = include_str!("file.rs");

/// The page as Markdown. A test compares it with `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration reference\n\n\
         Made from the code by `muster config-reference`; not edited by hand.\n\n\
         The configuration is one TOML file.\n\
         Keys that are not listed here are refused.\n\
         `muster check-config --config FILE` names file, line and key of what is wrong.\n\
         Whole files to begin with are in [samples](samples).\n",
    );
    let mut comment: Vec<&str> = Vec::new();
    let mut attribute = "";
    let mut structure = "";
    let limits = toml::Table::try_from(super::file::Limits::default()).unwrap_or_default();
    for line in SOURCE.lines().take_while(|l| !l.starts_with("/// Every default")) {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text);
        } else if line.starts_with("#[serde(") {
            attribute = line;
        } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|r| r.strip_suffix(" {")) {
            let text = std::mem::take(&mut comment).join(" ");
            let (head, rest) = match (name, text.split_once(": ")) {
                ("File", _) => ("Top level", None),
                (_, Some((head, rest))) => (head, Some(rest)),
                (_, None) => (text.as_str(), None),
            };
            page.push_str(&format!("\n## {head}\n\n"));
            if let Some(rest) = rest {
                page.push_str(&format!("Write {rest}\n\n"));
            }
            page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
            structure = name;
            attribute = "";
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|r| r.split_once(": ")) {
            let kind = kind.trim_end_matches(',');
            let default = match limits.get(name) {
                Some(value) if structure == "Limits" => value.to_string(),
                Some(_) | None => default_word(kind, attribute),
            };
            let meaning = std::mem::take(&mut comment).join(" ");
            page.push_str(&format!("| `{name}` | {} | {default} | {meaning} |\n", type_word(kind)));
            attribute = "";
        } else if line.is_empty() || line.starts_with("impl") {
            comment.clear();
        }
    }
    page
}

fn type_word(kind: &str) -> &str {
    let inner = kind.strip_prefix("Option<").and_then(|k| k.strip_suffix('>'));
    match inner.unwrap_or(kind) {
        "String" | "Method" | "ClientName" => "text",
        "PathBuf" => "path",
        "SocketAddr" => "address:port",
        "bool" => "true or false",
        "u32" | "u64" | "usize" => "number",
        "Vec<String>" => "list of texts",
        other if other.starts_with("Vec<") || other.starts_with("BTreeMap<") => "tables",
        _ => "table",
    }
}

/// What holds where the key is not written.
fn default_word(kind: &str, attribute: &str) -> String {
    let function = attribute.split_once("default = \"defaults::").and_then(|(_, rest)| rest.split_once('"'));
    if let Some((function, _)) = function {
        // The value stands in the line after the function's head, in quotes if it is text.
        let body = SOURCE.split_once(&format!("fn {function}()")).and_then(|(_, rest)| rest.lines().nth(1));
        let body = body.unwrap_or_default().trim();
        let quoted = body.split('"').nth(1).map(|text| format!("`\"{text}\"`"));
        return quoted.unwrap_or_else(|| body.to_owned());
    }
    match (kind, attribute.contains("default")) {
        ("bool", true) => "false".to_owned(),
        (kind, true) if type_word(kind) == "table" => "see below".to_owned(),
        (_, true) => "none".to_owned(),
        (_, false) => "**required**".to_owned(),
    }
}
