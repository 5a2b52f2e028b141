//! Globs of branches, tags and paths.
//!
//! `*` stands for any characters but slashes, `**` for any characters, `?` for one character but a slash, and `{a,b}` for one of
//! the alternatives. A glob that starts with `!` excludes.

use globset::{GlobBuilder, GlobSet};

use super::find_unseen;

name! {
    /// A glob of branches by their short names, or of tags if it starts with `tags/`. `*` stands for any characters but slashes,
    /// `**` for any characters, `?` for one character but a slash, and `{a,b}` for one of the alternatives. With `!` at its start
    /// the glob excludes what the globs before it include.
    RefGlob: 1 to 255 characters,
    pattern r"^(?!!$|!?refs/)([^\[\]{}\\\x00-\x1f\x7f-\x9f]|\{[^\[\]{}\\\x00-\x1f\x7f-\x9f]*\})+$",
    example "release/*",
    else InvalidRefGlob
        "must be 1 to 255 characters: a branch's name without 'refs/heads/', or 'tags/' and a tag's name, in which '*', '**', \
         '?' and '{{a,b}}' are wildcards; '[', ']', '\\' and other braces are not allowed",
    |text| is_glob(text) && !without_mark(text).starts_with("refs/")
}

name! {
    /// A glob of paths in the repository. `*` stands for any characters but slashes, `**` for any characters, `?` for one
    /// character but a slash, and `{a,b}` for one of the alternatives. With `!` at its start the glob excludes what the globs before
    /// it include.
    PathGlob: 1 to 255 characters,
    pattern r"^(?!!$|!?\.?/|.*/$)(?!(!?|.*/)\.\.(/|$))([^\[\]{}\\\x00-\x1f\x7f-\x9f]|\{[^\[\]{}\\\x00-\x1f\x7f-\x9f]*\})+$",
    example "apps/web/**",
    else InvalidPathGlob
        "must be 1 to 255 characters: a path from the repository's top, without '/' at its start or end and without '..', in \
         which '*', '**', '?' and '{{a,b}}' are wildcards; '[', ']', '\\' and other braces are not allowed",
    |text| is_glob(text) && is_inside(without_mark(text))
}

impl RefGlob {
    /// The start of a glob of tags.
    const TAGS: &str = "tags/";

    /// Returns whether the glob is about tags, and not about branches.
    pub(crate) fn is_about_tags(&self) -> bool {
        without_mark(&self.0).starts_with(Self::TAGS)
    }

    /// Returns the text of the glob.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn pattern(&self) -> &str {
        let glob = without_mark(&self.0);
        glob.strip_prefix(Self::TAGS).unwrap_or(glob)
    }
}

impl PathGlob {
    /// Returns the text of the glob.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A glob that includes or excludes a text.
pub(crate) trait Selects {
    /// Returns whether the glob excludes what it matches.
    fn excludes(&self) -> bool;

    /// Returns whether the glob matches the text.
    fn matches(&self, text: &str) -> bool;
}

impl Selects for RefGlob {
    fn excludes(&self) -> bool {
        self.0.starts_with(EXCLUSION)
    }

    /// Matches the name of a branch or tag without its `refs/…/`.
    fn matches(&self, name: &str) -> bool {
        is_match(self.pattern(), name)
    }
}

impl Selects for PathGlob {
    fn excludes(&self) -> bool {
        self.0.starts_with(EXCLUSION)
    }

    fn matches(&self, path: &str) -> bool {
        is_match(without_mark(&self.0), path)
    }
}

/// Returns whether globs select a text: the last one that matches it includes it. Globs that start with an exclusion select all
/// that they don't exclude.
pub(crate) fn select<'a, G: Selects + 'a>(globs: impl Iterator<Item = &'a G>, text: &str) -> bool {
    let mut globs = globs.peekable();
    let all_but = globs.peek().is_some_and(|first| first.excludes());
    globs.fold(all_but, |selected, glob| if glob.matches(text) { !glob.excludes() } else { selected })
}

const EXCLUSION: char = '!';

fn without_mark(glob: &str) -> &str {
    glob.strip_prefix(EXCLUSION).unwrap_or(glob)
}

fn is_glob(text: &str) -> bool {
    let glob = without_mark(text);
    // Alternatives in alternatives would need a parser to describe, and nobody misses them.
    let mut depth = 0_i8;
    let braces_are_fine = glob.chars().all(|char| {
        depth += match char {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (0..=1).contains(&depth)
    });
    let is_plain = find_unseen(glob).is_none() && !glob.contains(['[', ']', '\\']);
    !glob.is_empty() && braces_are_fine && depth == 0 && is_plain && parse(glob).is_ok()
}

fn is_inside(path: &str) -> bool {
    let starts_and_ends = !path.starts_with('/') && !path.starts_with("./") && !path.ends_with('/');
    starts_and_ends && path.split('/').all(|name| name != "..")
}

fn parse(glob: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(glob).literal_separator(true).empty_alternates(true).build()
}

/// Compiles the glob only now: rows are read far more often than their globs are compared.
fn is_match(glob: &str, text: &str) -> bool {
    // A set reports a glob that it can't compile; a single matcher would panic. No valid glob is that large.
    parse(glob).and_then(|glob| GlobSet::new([glob])).is_ok_and(|set| set.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::str::FromStr>(text: &str) -> bool {
        text.parse::<T>().is_err()
    }

    #[test]
    fn a_glob_is_a_name_with_wildcards() {
        let bad_for_both = ["", "!", "a[b", "a]b", "a\\b", "{a", "a}", "{a,{b}}", "}{", "a\u{200b}b", "a\nb"];
        for text in bad_for_both.into_iter().chain([&*"a".repeat(256), "refs/heads/main", "!refs/tags/v1"]) {
            assert!(refused::<RefGlob>(text), "{text:?}");
        }
        for text in bad_for_both.into_iter().chain(["/a", "!/a", "./a", "a/", "..", "../a", "a/../b", "a/..", "!../a"])
        {
            assert!(refused::<PathGlob>(text), "{text:?}");
        }
        for text in ["main", "release/*", "tags/v*", "!tags/*-rc*", "**", "feature/**", "é", "{a,b}", "x{,y}", "a,b"] {
            assert!(!refused::<RefGlob>(text), "{text:?}");
        }
        for text in ["apps/web/**", "!**/*.md", "a", ".github/*", "..a/b", "a/b..", "*.{js,ts}", "a b"] {
            assert!(!refused::<PathGlob>(text), "{text:?}");
        }
    }

    #[test]
    fn the_largest_globs_can_be_compiled() {
        for unit in ["*", "?", "**/", "*a", "{,a}", "a,", "é"] {
            let glob: RefGlob = unit.repeat(255 / unit.chars().count()).parse().unwrap();
            assert!(GlobSet::new([parse(glob.pattern()).unwrap()]).is_ok(), "{unit}");
        }
    }
}
