//! Paths in a repository.

use super::find_unseen;

name! {
    /// The folder in which a build starts, as a path from the repository's top. Empty for the top itself.
    #[derive(Default)]
    RootFolder: 0 to 255 characters,
    pattern r"^(?!/|.*/$|.*//)(?!(.*/)?\.\.?(/|$))[^\\\x00-\x1f\x7f-\x9f]*$",
    example "apps/web",
    else InvalidRootFolder
        "must be at most 255 characters: a folder's path from the repository's top such as 'apps/web', without '/' at its start or \
         end, '.', '..' and '\\'; or empty for the top itself",
    |text| text.is_empty() || is_inside(text)
}

name! {
    /// The file that says what a build does, as a path from the root folder.
    BuildspecPath: 1 to 255 characters,
    pattern r"^(?!/|.*/$|.*//)(?!(.*/)?\.\.?(/|$))[^\\\x00-\x1f\x7f-\x9f]+$",
    example "buildspec.yml",
    else InvalidBuildspecPath
        "must be 1 to 255 characters: a file's path from the root folder such as 'ci/buildspec.yml', without '/' at its start or \
         end, '.', '..' and '\\'",
    is_inside
}

impl RootFolder {
    /// Returns the path, which is empty for the repository's top.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl BuildspecPath {
    /// Returns the path from the root folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for BuildspecPath {
    /// Returns the name that AWS CodeBuild looks for.
    fn default() -> Self {
        Self("buildspec.yml".to_owned())
    }
}

/// Returns whether a path, followed by its words alone, stays inside of where it starts. Links are another matter.
fn is_inside(path: &str) -> bool {
    let are_names = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    are_names && !path.contains('\\') && find_unseen(path).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_of_the_repository() {
        for text in
            ["/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/../b", "a/..", "a/.", "a\\b", "a\0b", "a\u{202e}"]
        {
            assert!(text.parse::<RootFolder>().is_err() && text.parse::<BuildspecPath>().is_err(), "{text:?}");
        }
        for text in ["a", "apps/web", ".ci/build.yml", "..a", "a b/ü", "...", "a.."] {
            assert!(text.parse::<RootFolder>().is_ok() && text.parse::<BuildspecPath>().is_ok(), "{text:?}");
        }
        assert!("".parse::<RootFolder>().is_ok() && "".parse::<BuildspecPath>().is_err());
    }
}
