//! Characters that people can see.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Returns the first character of a line that can't be seen: a control or format character (bidirectional and zero-width ones
/// among them), a line break, one that fonts leave blank, or one that has no meaning everybody knows.
///
/// Text with such characters can look like another text.
pub fn find_unseen(line: &str) -> Option<char> {
    line.chars().find(|char| !is_seen(*char))
}

/// Returns the first character of a text that can't be seen. Line feeds and tabs are seen in a text.
pub fn find_unseen_in_text(text: &str) -> Option<char> {
    text.chars().find(|char| !matches!(char, '\n' | '\t') && !is_seen(*char))
}

/// Returns the error message for a character that can't be seen.
pub fn unseen(char: char) -> String {
    format!("must not contain characters that can't be seen, such as U+{:04X}", u32::from(char))
}

/// Returns a line with U+FFFD in place of each character that can't be seen, cut to a number of characters.
pub fn shown(line: &str, max: usize) -> String {
    let seen = |char| if is_seen(char) { char } else { char::REPLACEMENT_CHARACTER };
    match line.char_indices().nth(max) {
        None => line.chars().map(seen).collect(),
        Some(_) => line.chars().take(max - 1).map(seen).chain(['…']).collect(),
    }
}

fn is_seen(char: char) -> bool {
    let has_shape = !matches!(
        CodePointMapData::<GeneralCategory>::new().get(char),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
    );
    // Fillers and variation selectors are letters and marks by category. The blank pattern of Braille is a symbol.
    let is_blank = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char) || char == '\u{2800}';
    has_shape && !is_blank
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_line_is_cut_and_has_nothing_unseen() {
        assert_eq!(shown("Fix the \u{202e}build\n", 20), "Fix the \u{fffd}build\u{fffd}");
        assert_eq!((shown("äöü", 3), shown("äöüß", 3)), ("äöü".to_owned(), "äö…".to_owned()));
    }

    #[test]
    fn writing_of_any_language_is_seen() {
        for text in [
            "",
            "ci",
            "Müller & Söhne",
            "Mu\u{308}ller",
            "本番環境",
            "настройки",
            "הגדרות",
            "إعدادات",
            "सेटिंग्स",
            "deploy → prod (100 %)",
            "🚀 ship",
            "a\u{a0}b",
        ] {
            assert_eq!((find_unseen(text), find_unseen_in_text(text)), (None, None), "{text}");
        }
        assert_eq!(find_unseen_in_text("one\n\ttwo"), None);
    }

    #[test]
    fn characters_without_a_shape_are_unseen() {
        let kinds: [(&str, &[char]); 7] = [
            ("control", &['\0', '\u{7}', '\u{b}', '\r', '\u{1b}', '\u{7f}', '\u{85}']),
            ("zero width", &['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{180e}']),
            ("bidirectional", &['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}']),
            ("line break", &['\u{2028}', '\u{2029}']),
            ("format", &['\u{ad}', '\u{600}', '\u{2063}', '\u{fff9}', '\u{e0001}', '\u{e0061}']),
            (
                "blank",
                &['\u{34f}', '\u{115f}', '\u{17b4}', '\u{2800}', '\u{3164}', '\u{fe0f}', '\u{ffa0}', '\u{e0100}'],
            ),
            ("unassigned or private", &['\u{378}', '\u{e000}', '\u{fdd0}', '\u{ffff}', '\u{f0000}', '\u{10ffff}']),
        ];
        for (kind, chars) in kinds {
            for char in chars {
                let text = format!("a{char}b");
                let found = (find_unseen(&text), find_unseen_in_text(&text));
                assert_eq!(found, (Some(*char), Some(*char)), "{kind} {}", unseen(*char));
            }
        }
        assert_eq!((find_unseen("a\nb"), find_unseen("a\tb")), (Some('\n'), Some('\t')));
    }
}
