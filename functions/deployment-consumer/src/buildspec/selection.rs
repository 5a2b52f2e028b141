//! Files of a source folder that patterns select, and their paths among the artifacts.

use std::path::Path;

use globset::GlobSet;

use super::pattern;

/// The files of a source folder that are artifacts.
#[derive(Clone, Debug)]
pub struct Selection {
    base: Base,
    files: GlobSet,
    exclude: GlobSet,
    discard_paths: bool,
    names_git: bool,
}

/// The folder that patterns start from.
#[derive(Clone, Debug)]
enum Base {
    Source,
    /// The folders of the source that match.
    Folders(GlobSet),
    /// A folder outside of the source, or a text that is no pattern.
    Nowhere,
}

impl Selection {
    /// Compiles the patterns. Returns a sentence about each that is left out.
    pub(super) fn new(
        source: &Path,
        base: Option<String>,
        files: &[String],
        exclude: &[String],
        discard_paths: bool,
    ) -> (Self, Vec<String>) {
        let mut left_out = Vec::new();
        let folder = base.map_or(Ok(String::new()), |base| relative(&base, source));
        let base = match &folder {
            Ok(folder) if folder.is_empty() => Base::Source,
            Ok(folder) => compile(std::slice::from_ref(folder), &mut left_out).map_or(Base::Nowhere, Base::Folders),
            Err(why) => {
                left_out.push(why.clone());
                Base::Nowhere
            }
        };
        let mut inside = |patterns: &[String]| {
            let mut inside = Vec::new();
            for text in patterns {
                let usable = relative(text, source).and_then(|text| pattern::compile([text.as_str()]).map(|_| text));
                match usable {
                    Ok(text) => inside.push(text),
                    Err(why) => left_out.push(why),
                }
            }
            inside
        };
        let (files, exclude) = (inside(files), inside(exclude));
        let mut set = |patterns: &[String]| compile(patterns, &mut left_out).unwrap_or_else(GlobSet::empty);
        let (file_set, exclude_set) = (set(&files), set(&exclude));
        let says_git = |text: &str| text.split('/').any(|name| name == ".git");
        let names_git = files.iter().chain(&folder).any(|text| says_git(text));
        (Self { base, files: file_set, exclude: exclude_set, discard_paths, names_git }, left_out)
    }

    /// Returns the path of `file` among the artifacts, or `None` if it is not an artifact. `file` is relative to the
    /// source folder.
    pub fn place<'a>(&self, file: &'a Path) -> Option<&'a Path> {
        let inside = self.base.strip(file)?;
        if !self.files.is_match(inside) || self.exclude.is_match(inside) {
            return None;
        }
        if self.discard_paths { inside.file_name().map(Path::new) } else { Some(inside) }
    }

    /// Returns whether a pattern or the base directory says `.git`. Patterns such as `**/*` do not mean what git made.
    pub fn names_git(&self) -> bool {
        self.names_git
    }
}

impl Base {
    /// Returns the path of `file` inside the folder, if it is inside. Of nested folders that match, the outermost counts.
    fn strip<'a>(&self, file: &'a Path) -> Option<&'a Path> {
        let folders = match self {
            Self::Source => return Some(file),
            Self::Nowhere => return None,
            Self::Folders(folders) => folders,
        };
        let outermost =
            file.ancestors().skip(1).filter(|folder| *folder != Path::new("") && folders.is_match(folder)).last();
        file.strip_prefix(outermost?).ok()
    }
}

/// Compiles patterns. Those that are none are left out.
fn compile(patterns: &[String], left_out: &mut Vec<String>) -> Option<GlobSet> {
    let compiled = pattern::compile(patterns.iter().map(String::as_str));
    compiled.map_err(|why| left_out.push(why)).ok()
}

/// Returns the pattern relative to the source folder, without `.` and `..`. It is empty for the folder itself.
fn relative(text: &str, source: &Path) -> Result<String, String> {
    let outside = || format!("{text:?} leads out of the source folder");
    let inside = match source.to_str().and_then(|source| text.strip_prefix(source)) {
        Some(inside) if inside.is_empty() || inside.starts_with('/') => inside,
        _ if text.starts_with('/') => return Err(outside()),
        _ => text,
    };
    let mut names = Vec::new();
    for name in inside.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or_else(outside)?;
            }
            name => names.push(name),
        }
    }
    Ok(names.join("/"))
}
