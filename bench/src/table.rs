//! Tables for a terminal and for a page.

use std::fmt::Write;

/// Rows of cells below a head.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether there is nothing but the head.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// As text: in columns, or as Markdown.
    pub(crate) fn text(&self, markdown: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|at| {
                self.rows.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let (before, between) = if markdown { ("| ", " | ") } else { ("", "  ") };
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(
                    |(at, (cell, &width))| {
                        if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    },
                )
                .collect();
            let line = format!("{before}{}{}", cells.join(between), if markdown { " |" } else { "" });
            let _ = writeln!(text, "{}", line.trim_end());
            if number == 0 {
                let rule: Vec<&str> = (0..columns).map(|at| if at == 0 { "---" } else { "---:" }).collect();
                let _ = match markdown {
                    true => writeln!(text, "| {} |", rule.join(" | ")),
                    false => writeln!(text, "{}", "-".repeat(line.chars().count())),
                };
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_markdown() {
        let mut table = Table::new(&["what", "µs"]);
        table.row(vec!["one".to_owned(), "1000".to_owned()]);
        assert_eq!(table.text(false), "what    µs\n----------\none   1000\n");
        assert_eq!(table.text(true), "| what |   µs |\n| --- | ---: |\n| one  | 1000 |\n");
    }
}
