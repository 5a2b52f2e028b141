//! `Content-Disposition` of a download (RFC 6266).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that need no encoding in an extended value (RFC 8187, section 3.2.1) are letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Returns the value that asks to save a file under the last name of its path. The first name is for clients that do not know
/// extended values.
pub(crate) fn attachment(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_graphic() && !['"', '\\', '%'].contains(&c) || c == ' ';
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ENCODED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_whole_and_in_ascii() {
        for (path, value) in [
            ("dist/app.js", r#"attachment; filename="app.js"; filename*=UTF-8''app.js"#),
            (
                "a \"b\"\\100%.txt",
                r#"attachment; filename="a _b__100_.txt"; filename*=UTF-8''a%20%22b%22%5C100%25.txt"#,
            ),
            ("日/ü;'.html", r#"attachment; filename="_;'.html"; filename*=UTF-8''%C3%BC%3B%27.html"#),
        ] {
            assert_eq!(attachment(path), value);
        }
    }
}
