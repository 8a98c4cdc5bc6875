//! The reference page of the configuration, made from the doc comments of [`super::file`].

/// The page as Markdown. `cargo xtask check docs` compares it with `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let source = include_str!("file.rs");
    let mut page = String::from(
        "# Configuration reference\n\n\
         Made from the code by `muster config-reference`; not edited by hand.\n\
         One TOML file; unknown keys are refused; `muster check-config FILE` names file, line and key of what is wrong.\n",
    );
    let mut comment: Vec<&str> = Vec::new();
    for line in source.lines().take_while(|l| !l.starts_with("/// Every default")) {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text);
        } else if let Some(name) = line.strip_prefix("pub struct ").and_then(|r| r.strip_suffix(" {")) {
            let text = std::mem::take(&mut comment).join(" ");
            let (head, rest) = if name == "File" { ("Top level", "") } else { (text.as_str(), "") };
            page.push_str(&format!("\n## {head}{rest}\n\n| key | type | meaning |\n|---|---|---|\n"));
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|r| r.split_once(": ")) {
            let kind = kind.trim_end_matches(',').replace('|', "\\|");
            page.push_str(&format!("| `{name}` | {} | {} |\n", type_word(&kind), comment.join(" ")));
            comment.clear();
        } else if line.is_empty() || line.starts_with("impl") {
            comment.clear();
        }
    }
    page.push_str("\n## Default bounds\n\n```toml\n[limits]\n");
    page.push_str(&toml::to_string(&super::file::Limits::default()).unwrap_or_default());
    page.push_str("```\n");
    page
}

fn type_word(kind: &str) -> &str {
    let inner = kind.strip_prefix("Option<").and_then(|k| k.strip_suffix('>'));
    match inner.unwrap_or(kind) {
        "String" => "text",
        "PathBuf" => "path",
        "SocketAddr" => "address:port",
        "bool" => "true or false",
        "u32" | "u64" | "usize" => "number",
        "Method" => "text",
        "Vec<String>" => "list of texts",
        other if other.starts_with("Vec<") => "tables",
        _ => "table",
    }
}
