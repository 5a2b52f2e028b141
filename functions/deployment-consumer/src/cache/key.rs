//! Keys of caches: `codebuild-hash-files`, which CodeBuild's images have as a program.

use std::io::{self, Read};

use sha2::{Digest, Sha256};
use shared::hex::hex;
use walkdir::WalkDir;

use crate::beneath::Folder;
use crate::buildspec::compile_patterns;

const START: &str = "$(codebuild-hash-files ";

/// Puts the digests of files in the place of `$(codebuild-hash-files pattern …)`. The rest of the key is for a shell.
pub(super) fn with_digests(key: &str, source: &Folder) -> io::Result<String> {
    let (mut done, mut rest) = (String::new(), key);
    while let Some((before, after)) = rest.split_once(START)
        && let Some((patterns, end)) = after.split_once(')')
    {
        let patterns: Vec<_> = patterns.split_whitespace().map(|pattern| pattern.trim_matches(['\'', '"'])).collect();
        done.extend([before, &digest(&patterns, source)?]);
        rest = end;
    }
    Ok(done + rest)
}

/// Returns the digest of the files that match one of the patterns, with their paths, in the order of these. It is empty if no file
/// matches.
fn digest(patterns: &[&str], source: &Folder) -> io::Result<String> {
    let patterns = compile_patterns(patterns.iter().copied()).map_err(io::Error::other)?;
    let (mut digest, mut is_empty) = (Sha256::new(), true);
    let walk = WalkDir::new(source.path()).min_depth(1).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| entry.file_name() != ".git") {
        let entry = entry?;
        let relative = entry.path().strip_prefix(source.path()).expect("a walk stays in its folder");
        if entry.file_type().is_file() && patterns.is_match(relative) {
            digest.update(Sha256::digest(relative.as_os_str().as_encoded_bytes()));
            digest.update(of_content(source.file(relative)?)?);
            is_empty = false;
        }
    }
    Ok(if is_empty { String::new() } else { hex(&digest.finalize()) })
}

fn of_content(mut file: impl Read) -> io::Result<[u8; 32]> {
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(&piece[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_has_the_digest_of_the_files_that_its_patterns_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("package-lock.json", "{}");
        write("sub/package-lock.json", "{}");
        write(".git/package-lock.json", "{}");
        let held = Folder::open(folder.path()).unwrap();
        let key = |text: &str| with_digests(text, &held).unwrap();
        let of = |patterns: &str| key(&format!("$(codebuild-hash-files {patterns})"));
        let (one, both) = (of("package-lock.json"), of("'**/package-lock.json'"));
        assert_eq!((one.len(), both.len()), (64, 64));
        assert_ne!(one, both);
        assert_eq!(of("sub/*.json \"package-lock.json\""), both);
        assert_eq!(of("missing"), "");
        assert_eq!(key("npm-$(codebuild-hash-files package-lock.json)-$X $(uname)"), format!("npm-{one}-$X $(uname)"));
        assert_eq!(key("npm-$(codebuild-hash-files"), "npm-$(codebuild-hash-files");
        assert!(with_digests("$(codebuild-hash-files [)", &held).is_err());
        write("package-lock.json", "{ }");
        assert_ne!(of("package-lock.json"), one);
    }
}
