//! Changes as text that a person can read and `ldapmodify` can apply (RFC 2849).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ldap::{Attribute, Operation};
use crate::publish::{Action, Change};

/// Columns of a line.
const WIDTH: usize = 76;

/// Writes one change with its purpose and an empty line behind it.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, change: &Change) -> fmt::Result {
    writeln!(f, "# {}", change.purpose)?;
    line(f, "dn", change.dn.as_bytes())?;
    match &change.action {
        Action::Add(attributes) => {
            writeln!(f, "changetype: add")?;
            attributes.iter().try_for_each(|attribute| values(f, attribute))?;
        }
        Action::Modify(changes) => {
            writeln!(f, "changetype: modify")?;
            for (operation, attribute) in changes {
                let verb = match operation {
                    Operation::Add => "add",
                    Operation::Delete => "delete",
                    Operation::Replace => "replace",
                };
                writeln!(f, "{verb}: {}", attribute.0)?;
                values(f, attribute)?;
                writeln!(f, "-")?;
            }
        }
        Action::Delete => writeln!(f, "changetype: delete")?,
    }
    writeln!(f)
}

fn values(f: &mut fmt::Formatter<'_>, (name, values): &Attribute) -> fmt::Result {
    values.iter().try_for_each(|value| line(f, name, value))
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, value: &[u8]) -> fmt::Result {
    let text = match std::str::from_utf8(value) {
        Ok(text) if is_safe(text) => format!("{name}: {text}"),
        Ok(_) | Err(_) => format!("{name}:: {}", STANDARD.encode(value)),
    };
    let mut rest = text.as_str();
    let (mut width, mut indent) = (WIDTH, "");
    while !rest.is_empty() {
        let (part, more) = rest.split_at_checked(width).unwrap_or((rest, ""));
        writeln!(f, "{indent}{part}")?;
        // A continuation begins with a space, which counts.
        (rest, width, indent) = (more, WIDTH - 1, " ");
    }
    Ok(())
}

/// `SAFE-STRING` of RFC 2849, and no space at the end.
fn is_safe(text: &str) -> bool {
    text.bytes().all(|octet| (0x20..0x7f).contains(&octet))
        && !text.starts_with([' ', ':', '<'])
        && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Plan;

    #[test]
    fn plan_is_ldif() {
        let plan = Plan {
            remarks: vec!["left alone".to_owned()],
            changes: vec![
                Change {
                    dn: "CN=A,DC=b".to_owned(),
                    purpose: "a CA".to_owned(),
                    action: Action::Add(vec![
                        ("cn".to_owned(), vec![b"A".to_vec()]),
                        ("x".to_owned(), vec![b"1\n2".to_vec(), vec![0], b" lead".to_vec()]),
                        ("long".to_owned(), vec![vec![b'z'; 80]]),
                    ]),
                },
                Change {
                    dn: "CN=\u{fc},DC=b".to_owned(),
                    purpose: "another".to_owned(),
                    action: Action::Modify(vec![(Operation::Delete, ("y".to_owned(), vec![b"v".to_vec()]))]),
                },
            ],
        };
        let expected = format!(
            "# left alone\n# a CA\ndn: CN=A,DC=b\nchangetype: add\ncn: A\nx:: MQoy\nx:: AA==\nx:: IGxlYWQ=\n\
             long: {}\n {}\n\n# another\ndn:: Q049w7wsREM9Yg==\nchangetype: modify\ndelete: y\ny: v\n-\n\n",
            "z".repeat(70),
            "z".repeat(10)
        );
        assert_eq!(plan.to_string(), expected);
    }
}
