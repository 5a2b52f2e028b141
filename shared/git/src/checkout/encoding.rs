//! The encodings of `working-tree-encoding`, as git writes them with glibc's iconv.

use encoding_rs::Encoding;

/// The result of encoding a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoded {
    Bytes(Vec<u8>),
    /// The encoding is git's own, UTF-8.
    Same,
    /// The encoding is unknown, or has no bytes for a character. Git writes the file without encoding it.
    Impossible,
}

/// Encodings that Encoding's labels lack.
const ALIASES: [(&str, &str); 5] =
    [("cp932", "windows-31j"), ("cp936", "gbk"), ("cp949", "windows-949"), ("cp950", "big5"), ("eucjp", "euc-jp")];

pub(super) fn encode(content: &[u8], label: &str) -> Encoded {
    let label = label.to_ascii_lowercase();
    if matches!(label.as_str(), "utf-8" | "utf8") {
        return Encoded::Same;
    }
    let Ok(text) = std::str::from_utf8(content) else { return Encoded::Impossible };
    let unicode = label.strip_prefix("utf").map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    let bytes = match unicode {
        // glibc writes a mark and the byte order of the machine, which is little-endian wherever this runs.
        Some("16" | "16le-bom") => Some(utf16(text, u16::to_le_bytes, "\u{feff}")),
        Some("16be-bom") => Some(utf16(text, u16::to_be_bytes, "\u{feff}")),
        Some("16le") => Some(utf16(text, u16::to_le_bytes, "")),
        Some("16be") => Some(utf16(text, u16::to_be_bytes, "")),
        Some("32") => Some(utf32(text, u32::to_le_bytes, "\u{feff}")),
        Some("32le") => Some(utf32(text, u32::to_le_bytes, "")),
        Some("32be") => Some(utf32(text, u32::to_be_bytes, "")),
        Some(_) => None,
        None => narrow(text, &label),
    };
    bytes.map_or(Encoded::Impossible, Encoded::Bytes)
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2], mark: &str) -> Vec<u8> {
    mark.encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

fn utf32(text: &str, bytes: fn(u32) -> [u8; 4], mark: &str) -> Vec<u8> {
    mark.chars().chain(text.chars()).flat_map(|char| bytes(char.into())).collect()
}

fn narrow(text: &str, label: &str) -> Option<Vec<u8>> {
    // The web's standard, which encoding_rs follows, takes these for windows-1252.
    match label {
        "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" | "latin-1" | "l1" | "cp819" => {
            return text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect();
        }
        "ascii" | "us-ascii" => return text.is_ascii().then(|| text.as_bytes().to_vec()),
        _ => {}
    }
    let label = ALIASES.iter().find(|(alias, _)| *alias == label).map_or(label, |(_, label)| label);
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    let (bytes, _, has_unmappable) = encoding.encode(text);
    (!has_unmappable).then(|| bytes.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str, label: &str) -> Vec<u8> {
        match encode(text.as_bytes(), label) {
            Encoded::Bytes(bytes) => bytes,
            other => panic!("{label}: {other:?}"),
        }
    }

    #[test]
    fn unicode_has_the_byte_order_and_the_mark_of_its_name() {
        assert_eq!(bytes("a𝄞", "UTF-16"), b"\xff\xfea\0\x34\xd8\x1e\xdd");
        assert_eq!(bytes("a", "utf16le-bom"), b"\xff\xfea\0");
        assert_eq!(bytes("a", "UTF-16BE-BOM"), b"\xfe\xff\0a");
        assert_eq!(bytes("a", "UTF-16LE"), b"a\0");
        assert_eq!(bytes("a", "UTF-16BE"), b"\0a");
        assert_eq!(bytes("a", "UTF-32"), b"\xff\xfe\0\0a\0\0\0");
        assert_eq!(bytes("a", "UTF-32BE"), b"\0\0\0a");
    }

    #[test]
    fn older_encodings_have_their_bytes_and_no_replacements() {
        assert_eq!(bytes("é€", "windows-1252"), b"\xe9\x80");
        assert_eq!(bytes("é", "ISO-8859-1"), b"\xe9");
        assert_eq!(bytes("Привет", "cp1251"), b"\xcf\xf0\xe8\xe2\xe5\xf2");
        assert_eq!(bytes("日本", "Shift_JIS"), b"\x93\xfa\x96\x7b");
        assert_eq!(bytes("中文", "CP936"), b"\xd6\xd0\xce\xc4");
        for (text, label) in [("€", "ISO-8859-1"), ("é", "ASCII"), ("日", "windows-1252"), ("a", "no-such-encoding")]
        {
            assert_eq!(encode(text.as_bytes(), label), Encoded::Impossible, "{label}");
        }
        assert_eq!(encode(b"\xff", "UTF-16"), Encoded::Impossible);
        assert_eq!(encode("é".as_bytes(), "UTF8"), Encoded::Same);
    }
}
