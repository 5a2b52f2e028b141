//! A part of a file between two comments, `generated: <name>` and `end of <name>`.

/// Returns the file with another text in the region.
pub(super) fn replace(file: &str, name: &str, text: &str) -> Result<String, String> {
    let (first, last) = (format!("generated: {name}"), format!("end of {name}"));
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    let position = |marker: &str| {
        let mut found = lines.iter().enumerate().filter(|(_, line)| comment(line) == Some(marker));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => Err(format!("has no comment `{marker}`")),
            (Some(_), Some(_)) => Err(format!("has two comments `{marker}`")),
        }
    };
    let (first, last) = (position(&first)?, position(&last)?);
    if last < first {
        return Err(format!("`{name}` ends before it begins"));
    }
    Ok([&lines[..=first].concat(), text, &lines[last..].concat()].concat())
}

/// Returns the text of a line that is a comment in YAML, TOML or Markdown.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    let text = line.strip_prefix("# ").or_else(|| line.strip_prefix("<!-- ")?.strip_suffix(" -->"))?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn the_lines_between_the_comments_are_replaced_and_no_others() {
        let file = "a\n  # generated: x\nold\n  # end of x\nb\n";
        assert_eq!(replace(file, "x", "new\n").unwrap(), "a\n  # generated: x\nnew\n  # end of x\nb\n");
        assert_eq!(
            replace("<!-- generated: x -->\n<!-- end of x -->", "x", "new\n").unwrap(),
            "<!-- generated: x -->\nnew\n<!-- end of x -->"
        );
    }

    #[test]
    fn a_region_begins_and_ends_once() {
        assert_eq!(replace("# generated: x\n", "x", "").unwrap_err(), "has no comment `end of x`");
        assert_eq!(replace("# end of x\n# generated: x\n", "x", "").unwrap_err(), "`x` ends before it begins");
        let twice = "# generated: x\n# generated: x\n# end of x\n";
        assert_eq!(replace(twice, "x", "").unwrap_err(), "has two comments `generated: x`");
    }
}
