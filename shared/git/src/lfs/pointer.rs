//! Pointers, the files that Git LFS keeps in the repository in place of large ones
//! (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).

use gix::bstr::{BStr, ByteSlice};

use crate::error::RemoteError;

/// A pointer is smaller than this.
const MAX_BYTES: usize = 1024;
const VERSIONS: [&str; 3] =
    ["https://git-lfs.github.com/spec/v1", "https://hawser.github.com/spec/v1", "http://git-media.io/v/2"];

/// A pointer to an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pointer {
    /// The SHA-256 of the content, in hexadecimal.
    pub(crate) oid: String,
    pub(crate) size: u64,
}

impl Pointer {
    /// Returns `None` for a file that is no pointer, and is taken as it is.
    ///
    /// # Errors
    /// Fails for a pointer to content that a program of the repository's authors must extend.
    pub(crate) fn parse(content: &[u8], path: &BStr) -> Result<Option<Self>, RemoteError> {
        if content.len() >= MAX_BYTES {
            return Ok(None);
        }
        let Ok(text) = content.to_str() else { return Ok(None) };
        let mut lines = text.trim().lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        if !lines.next().is_some_and(|(key, value)| key == "version" && VERSIONS.contains(&value)) {
            return Ok(None);
        }
        let (mut oid, mut size) = (None, None);
        for (key, value) in lines {
            match key {
                "oid" => oid = value.strip_prefix("sha256:").filter(|hex| is_sha256(hex)),
                "size" => size = value.parse().ok(),
                _ if key.starts_with("ext-") => {
                    let path = path.to_str_lossy();
                    return Err(RemoteError::Lfs(format!("{path} needs an extension of Git LFS, and none runs here")));
                }
                _ => {}
            }
        }
        Ok(oid.zip(size).map(|(oid, size)| Self { oid: oid.to_owned(), size }))
    }
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pointer_is_one() {
        let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n");
        let pointer = Pointer { oid: oid.to_owned(), size: 12345 };
        let parse = |text: &str| Pointer::parse(text.as_bytes(), "a.bin".into());
        assert_eq!(parse(&text).unwrap(), Some(pointer));
        for text in [
            String::new(),
            "plain".to_owned(),
            text.replace("sha256", "sha1"),
            text.replace("4d7a", "../."),
            text.replace("12345", "-1"),
            format!("{text}{}", "x".repeat(1024)),
        ] {
            assert_eq!(parse(&text).unwrap(), None, "{text}");
        }
        assert!(parse(&text.replace("oid", "ext-0-case sha256:00\noid")).is_err());
    }
}
