//! The `artifacts` section: patterns of files, and the paths that the files get.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_saphyr::Spanned;

use super::error::BuildspecError;

/// The maximum length of a pattern, in bytes. Patterns with `{}` are parsed recursively.
const MAX_PATTERN_BYTES: usize = 1024;

/// The files in a source folder that are the build's result.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The name that the buildspec gives to the artifacts.
    pub name: Option<String>,
    pub(super) base: Option<BaseDirectory>,
    pub(super) files: GlobSet,
    pub(super) exclude: GlobSet,
    pub(super) discard_paths: bool,
    pub(super) names_git: bool,
}

#[derive(Clone, Debug)]
pub(super) struct BaseDirectory {
    /// A set of one pattern. A set reports a pattern that it can't compile; a single matcher panics.
    pattern: GlobSet,
    /// The number of names in the pattern.
    depth: usize,
}

impl Artifacts {
    /// Returns the path of `file` among the artifacts, or `None` if it is not an artifact. `file` is relative to the
    /// source folder.
    pub fn place<'a>(&self, file: &'a Path) -> Option<&'a Path> {
        let inside = match &self.base {
            Some(base) => base.strip(file)?,
            None => file,
        };
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

impl BaseDirectory {
    /// Parses a base directory. Returns `None` for the source folder itself.
    pub(super) fn parse(directory: Spanned<String>) -> Result<Option<Self>, BuildspecError> {
        let key = "artifacts.base-directory";
        let Some(pattern) = relative_pattern(key, &directory)? else { return Ok(None) };
        if pattern.contains("**") {
            return Err(BuildspecError::at(&directory, format!("`{key}`: {pattern:?} must not contain `**`")));
        }
        let depth = pattern.split('/').count();
        let pattern = globs(key, &[directory])?;
        Ok(Some(Self { pattern, depth }))
    }

    /// Returns the path of `file` inside the base directory, if it is inside.
    fn strip<'a>(&self, file: &'a Path) -> Option<&'a Path> {
        let directory = file.ancestors().find(|ancestor| ancestor.components().count() == self.depth)?;
        let inside = file.strip_prefix(directory).ok()?;
        (self.pattern.is_match(directory) && inside != Path::new("")).then_some(inside)
    }
}

/// Compiles patterns of files.
pub(super) fn globs(key: &str, patterns: &[Spanned<String>]) -> Result<GlobSet, BuildspecError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let Some(text) = relative_pattern(key, pattern)? else {
            return Err(BuildspecError::at(
                pattern,
                format!("`{key}`: {:?} must name files inside the source folder", pattern.value),
            ));
        };
        set.add(glob(key, pattern, &text)?);
    }
    let line = patterns.first().map(|pattern| pattern.referenced.line());
    set.build().map_err(|error| BuildspecError::new(line, format!("`{key}`: {error}")))
}

/// Returns the pattern without a leading `./` and a trailing `/`, or `None` for the source folder itself.
fn relative_pattern(key: &str, pattern: &Spanned<String>) -> Result<Option<String>, BuildspecError> {
    let refused = |why: &str| Err(BuildspecError::at(pattern, format!("`{key}`: {:?} {why}", pattern.value)));
    if pattern.value.len() > MAX_PATTERN_BYTES {
        return Err(BuildspecError::at(pattern, format!("`{key}`: a pattern must be at most 1,024 bytes long")));
    }
    if pattern.value.starts_with('/') || pattern.value.split('/').any(|name| name == "..") {
        return refused("must stay in the source folder");
    }
    // CodeBuild replaces variables in patterns.
    if pattern.value.contains('$') {
        return refused("must not contain `$`: variables are not replaced in patterns");
    }
    let names: Vec<&str> = pattern.value.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    Ok((!names.is_empty()).then(|| names.join("/")))
}

fn glob(key: &str, at: &Spanned<String>, pattern: &str) -> Result<globset::Glob, BuildspecError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| BuildspecError::at(at, format!("`{key}`: {error}")))
}
