//! Markdown as GitHub reads it: tables, code and links to headings.

/// A table; cells are escaped where they are made, by [`text`] and [`code`].
pub fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let line =
        |cells: &mut dyn Iterator<Item = &str>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut table = line(&mut columns.iter().copied());
    table.push_str(&line(&mut columns.iter().map(|_| "---")));
    for row in rows {
        table.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    table
}

/// Text for a cell or a list: in one line, with what would end the cell or be taken for HTML escaped outside of code.
pub fn text(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Every second part stands between backticks.
    let parts: Vec<String> = line
        .split('`')
        .enumerate()
        .map(|(index, part)| {
            let part = part.replace('|', "\\|");
            if index % 2 == 1 {
                part
            } else {
                part.replace('<', "&lt;").replace('*', "\\*")
            }
        })
        .collect();
    parts.join("`")
}

/// Code for a cell or a list.
pub fn code(code: &str) -> String {
    let code = code.replace('|', "\\|");
    if code.contains('`') {
        format!("`` {code} ``")
    } else {
        format!("`{code}`")
    }
}

/// The anchor that GitHub gives a heading.
pub fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

/// A link to a heading of the same document.
pub fn link(label: &str, heading: &str) -> String {
    format!("[{label}](#{})", anchor(heading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_end_early_and_text_is_not_html() {
        assert_eq!(text("a | b\n c"), "a \\| b c");
        assert_eq!(text("<namespace>.*"), "&lt;namespace>.\\*");
        assert_eq!(
            text("`<namespace>.<model>` and <b>"),
            "`<namespace>.<model>` and &lt;b>"
        );
        assert_eq!(code(r"^a|b$"), r"`^a\|b$`");
        assert_eq!(code("a`b"), "`` a`b ``");
    }

    #[test]
    fn tables_have_a_line_below_their_head() {
        assert_eq!(
            table(&["A", "B"], &[vec!["1".into(), "2".into()]]),
            "| A | B |\n| --- | --- |\n| 1 | 2 |\n"
        );
    }

    #[test]
    fn anchors_are_those_of_github() {
        assert_eq!(
            anchor("Experiment: spec.validation[]"),
            "experiment-specvalidation"
        );
        assert_eq!(
            link("here", "Conditions of a ModelVersion"),
            "[here](#conditions-of-a-modelversion)"
        );
    }
}
