//! The parts of a checkout that a build starts from: the root folder and the buildspec.
//!
//! The commit decides what is at these paths. Neither may lead out of the folder that it is looked for in, by a link.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use shared::model::{BuildspecPath, Failure, FailureCode, SourceSettings};
use walkdir::WalkDir;

use crate::beneath::Folder;
use crate::buildspec;

/// The folder that has git's own data.
const GIT: &str = ".git";
/// The maximum number of files that a failure lists.
const LISTED: usize = 5;
/// The depth below which no file is looked at.
const MAX_DEPTH: usize = 8;

/// The file or folder at a path.
enum Found {
    At(PathBuf),
    Missing,
    /// A link leads out of the folder that the path starts in.
    Outside,
}

/// Makes the root folder the source: moves it, with git's own data, into the place of the checkout. Returns the failure if there
/// is no such folder, or no buildspec in it.
pub(crate) fn enter(checkout: &Path, settings: &SourceSettings) -> io::Result<Result<(), Failure>> {
    let root = settings.root_folder.as_str();
    if root.is_empty() {
        return Ok(Ok(()));
    }
    let folder = match find(checkout, root) {
        Found::At(folder) if folder.is_dir() => folder,
        Found::At(_) | Found::Missing => {
            return Ok(Err(no_root_folder(format!("The repository has no folder {root} at this commit"))));
        }
        Found::Outside => {
            return Ok(Err(no_root_folder(format!(
                "The root folder {root} is a link that leads out of the repository"
            ))));
        }
    };
    if let Found::Missing = find(&folder, settings.buildspec_path.as_str()) {
        let missing = format!("The folder {root} has no {} at this commit", settings.buildspec_path);
        return Ok(Err(missing_with_likely(missing, checkout)));
    }
    git::make_root(checkout, &folder).map(Ok)
}

/// Reads the text of a source's buildspec.
pub(crate) fn read_buildspec(source: &Path, path: &BuildspecPath) -> Result<Vec<u8>, Failure> {
    let invalid = |message: String| Failure::new(FailureCode::BuildspecInvalid, message);
    let unreadable = |error: io::Error| missing(format!("{path} can't be read: {error}"));
    let file = match find(source, path.as_str()) {
        Found::At(file) => file,
        Found::Missing => {
            return Err(missing_with_likely(format!("The repository has no {path} at this commit"), source));
        }
        Found::Outside => return Err(invalid(format!("{path} is a link that leads out of the repository"))),
    };
    let root = fs::canonicalize(source).and_then(|root| Folder::open(&root)).map_err(unreadable)?;
    let relative = file.strip_prefix(root.path()).expect("it was found in the source");
    let mut file = root.file(relative).map_err(unreadable)?.take(buildspec::MAX_BYTES as u64 + 1);
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > buildspec::MAX_BYTES {
        return Err(invalid(format!("{path} is larger than {} KiB", buildspec::MAX_BYTES / 1024)));
    }
    Ok(text)
}

/// Finds a file or folder. Follows links that stay in the folder.
fn find(folder: &Path, path: &str) -> Found {
    let at = folder.join(path);
    match (fs::canonicalize(folder), fs::canonicalize(&at)) {
        (Ok(folder), Ok(found)) if found.starts_with(&folder) => Found::At(found),
        (Ok(_), Ok(_)) => Found::Outside,
        _ if fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_symlink()) => Found::Outside,
        _ => Found::Missing,
    }
}

/// Adds to the message the files that may be meant.
fn missing_with_likely(message: String, checkout: &Path) -> Failure {
    match likely_buildspecs(checkout).as_slice() {
        [] => missing(message),
        [one] => {
            missing(format!("{message}. {one} looks like one; set root_folder or buildspec_path of the repository"))
        }
        many => {
            let files = many.join(", ");
            missing(format!(
                "{message}. These files look like one: {files}; set root_folder or buildspec_path of the repository"
            ))
        }
    }
}

/// Returns the paths of some files that look like a buildspec.
fn likely_buildspecs(checkout: &Path) -> Vec<String> {
    let walk = WalkDir::new(checkout).min_depth(1).max_depth(MAX_DEPTH).sort_by_file_name().into_iter();
    let walk = walk.filter_entry(|entry| entry.file_name() != GIT).flatten();
    let likely = walk.filter(|entry| entry.file_type().is_file() && looks_like_buildspec(entry.path()));
    let path = |entry: walkdir::DirEntry| {
        let path = entry.path().strip_prefix(checkout).expect("a walk stays in its folder");
        path.to_string_lossy().into_owned()
    };
    likely.map(path).take(LISTED).collect()
}

fn looks_like_buildspec(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if !name.ends_with(".yml") && !name.ends_with(".yaml") {
        return false;
    }
    let is_small = fs::metadata(file).is_ok_and(|metadata| metadata.len() <= buildspec::MAX_BYTES as u64);
    let has_phases = || {
        let text = fs::read_to_string(file).unwrap_or_default();
        ["version:", "phases:"].iter().all(|key| text.lines().any(|line| line.starts_with(key)))
    };
    name.starts_with("buildspec") || (is_small && has_phases())
}

fn no_root_folder(message: String) -> Failure {
    Failure::new(FailureCode::RootFolderMissing, message)
}

fn missing(message: String) -> Failure {
    Failure::new(FailureCode::BuildspecMissing, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use shared::model::RootFolder;
    use tempfile::TempDir;

    use super::*;

    /// A checkout beside a file that is not in it.
    fn checkout() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("source");
        for path in ["apps/web", "apps/api", ".git"] {
            fs::create_dir_all(checkout.join(path)).unwrap();
        }
        fs::write(checkout.join("apps/web/buildspec.yml"), "web").unwrap();
        fs::write(checkout.join(".git/HEAD"), "ref").unwrap();
        fs::write(folder.path().join("outside.yml"), "outside").unwrap();
        (folder, checkout)
    }

    fn entered(checkout: &Path, root: &str) -> Result<(), String> {
        let root_folder: RootFolder = root.parse().unwrap();
        let settings = SourceSettings { root_folder, ..SourceSettings::default() };
        enter(checkout, &settings).unwrap().map_err(|failure| format!("{}: {}", failure.code.as_str(), failure.message))
    }

    #[test]
    fn the_root_folder_takes_the_place_of_the_checkout() {
        let (_folder, source) = checkout();
        assert_eq!(entered(&source, ""), Ok(()));
        assert!(source.join("apps/api").exists());
        // A link to a folder of the repository is as good as the folder.
        symlink("web", source.join("apps/site")).unwrap();
        assert_eq!(entered(&source, "apps/site"), Ok(()));
        assert_eq!(fs::read_to_string(source.join("buildspec.yml")).unwrap(), "web");
        assert!(source.join(".git/HEAD").exists() && !source.join("apps").exists());
    }

    #[test]
    fn nothing_leads_out_of_the_repository() {
        let (folder, source) = checkout();
        let outside = "root_folder_missing: The root folder out is a link that leads out of the repository";
        for target in ["..", "/", "nowhere"] {
            symlink(target, source.join("out")).unwrap();
            assert_eq!(entered(&source, "out"), Err(outside.to_owned()), "{target}");
            fs::remove_file(source.join("out")).unwrap();
        }
        let outside = folder.path().join("outside.yml");
        for target in [outside.as_path(), Path::new("../outside.yml"), Path::new("gone.yml")] {
            symlink(target, source.join("buildspec.yml")).unwrap();
            let refused = read_buildspec(&source, &BuildspecPath::default()).unwrap_err();
            assert_eq!(refused.message, "buildspec.yml is a link that leads out of the repository", "{target:?}");
            fs::remove_file(source.join("buildspec.yml")).unwrap();
        }
        symlink("apps/web/buildspec.yml", source.join("buildspec.yml")).unwrap();
        assert_eq!(read_buildspec(&source, &BuildspecPath::default()).unwrap(), b"web", "a link inside is followed");
    }
}
