//! Environments.

use std::fmt::{Debug, Display, Formatter};
use std::str::FromStr;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::sort::{Position, Sort};

/// The maximum length of an environment's name, in bytes.
const MAX_BYTES: usize = 40;
/// The maximum length of a pattern's name, in bytes. It leaves room for names of members that differ.
const MAX_PATTERN_BYTES: usize = 30;
/// The characters of names that a name neither starts nor ends with.
const SEPARATORS: [char; 3] = ['.', '_', '-'];
/// The number of hexadecimal digits that tell shortened names apart.
const DIGEST_DIGITS: usize = 6;
/// The beginnings of full names of refs that a member of a pattern does not repeat.
const REF_PREFIXES: [&str; 3] = ["heads/", "tags/", "remotes/"];

/// The name of an environment: 1 to 40 lower-case letters, digits, `.`, `_` and `-`, with a letter or a digit at both ends.
/// Each repository has `preview`, in which each ref has its own queue and its own live deployment, `staging` and
/// `production`. A name that ends with `*`, of at most 30 characters, is that of a pattern: a deployment to `review-*` goes to
/// the environment that is named after its ref.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(
    value_type = String,
    min_length = 1,
    max_length = 40,
    pattern = r"^([a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?|[a-z0-9][a-z0-9._-]{0,28}\*)$",
    examples("preview", "staging", "production")
)]
pub struct Environment(Name);

/// The names in their order: those of promotion, and then the others from A to Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    Preview,
    Staging,
    Production,
    Other(ArrayString<MAX_BYTES>),
}

/// The error for a text that can't be the name of an environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 40 characters of a-z, 0-9, '.', '_' and '-' that start and end with a letter or a digit, or at most 30 that \
     end with '*'; for example '{proposal}'"
)]
pub struct InvalidEnvironment {
    proposal: String,
}

impl Environment {
    /// Each ref has its own lane. Newer deployments supersede queued ones unless the settings say otherwise.
    pub const PREVIEW: Self = Self(Name::Preview);
    /// All deployments share one lane.
    pub const STAGING: Self = Self(Name::Staging);
    /// All deployments share one lane.
    pub const PRODUCTION: Self = Self(Name::Production);
    /// The environments that each repository has, in the order of promotion.
    pub const BUILT_IN: [Environment; 3] = [Self::PREVIEW, Self::STAGING, Self::PRODUCTION];

    /// Returns the environment's name in paths, bodies and keys.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Preview => "preview",
            Name::Staging => "staging",
            Name::Production => "production",
            Name::Other(name) => name,
        }
    }

    /// Returns whether each repository has the environment.
    pub const fn is_built_in(&self) -> bool {
        !matches!(self.0, Name::Other(_))
    }

    /// Returns whether each ref has its own lane, with its own queue and its own live deployment.
    pub const fn has_lane_per_ref(&self) -> bool {
        matches!(self.0, Name::Preview)
    }

    /// Returns the treatment of queued deployments unless the settings say otherwise.
    pub const fn default_concurrency(&self) -> Concurrency {
        match self.has_lane_per_ref() {
            true => Concurrency::Supersede,
            false => Concurrency::Queue,
        }
    }

    /// Returns whether the name is that of a pattern, whose members are created by deployments.
    pub fn is_pattern(&self) -> bool {
        self.prefix().is_some()
    }

    /// Returns the beginning of the names of a pattern's members.
    fn prefix(&self) -> Option<&str> {
        self.as_str().strip_suffix('*')
    }

    /// Returns whether a list that has this name means the environment: it is the same one, or a member of this pattern.
    pub fn covers(&self, environment: Environment) -> bool {
        let is_member = |prefix: &str| !environment.is_pattern() && environment.as_str().starts_with(prefix);
        *self == environment || self.prefix().is_some_and(is_member)
    }

    /// Returns the environment that a deployment of a ref goes to: of a pattern, the member that is named after the ref.
    ///
    /// A name that is too long is cut, and ends with a part of its digest. Refs that differ only in characters that names can't
    /// have share a member.
    pub fn of_ref(&self, git_ref: &str) -> Self {
        let Some(prefix) = self.prefix() else { return *self };
        let name = git_ref.strip_prefix("refs/").unwrap_or(git_ref);
        let name = REF_PREFIXES.iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
        let (mut slug, room) = (slug(name), MAX_BYTES - prefix.len());
        if slug.is_empty() || slug.len() > room {
            let digest = &hex(&Sha256::digest(name))[..DIGEST_DIGITS];
            slug.truncate(room - DIGEST_DIGITS - 1);
            slug = match slug.trim_end_matches(SEPARATORS) {
                "" => digest.to_owned(),
                start => format!("{start}-{digest}"),
            };
        }
        format!("{prefix}{slug}").parse().expect("a slug after the beginning of a name is a name")
    }
}

/// Returns the text in characters of names, with `-` in place of each run of others. Empty if it has no letter and no digit.
fn slug(text: &str) -> String {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let mut slug = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match is_fine(c) {
            true => slug.push(c),
            false if !slug.ends_with('-') => slug.push('-'),
            false => {}
        }
    }
    slug.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

impl InvalidEnvironment {
    /// Proposes the name that is most like the text.
    fn of(text: &str) -> Self {
        let is_pattern = text.ends_with('*');
        let (end, longest) = if is_pattern { ("-*", MAX_PATTERN_BYTES - 2) } else { ("", MAX_BYTES) };
        let mut slug = slug(text);
        slug.truncate(longest);
        let start = match slug.trim_end_matches(SEPARATORS) {
            "" => "review",
            slug => slug,
        };
        Self { proposal: format!("{start}{end}") }
    }
}

impl FromStr for Environment {
    type Err = InvalidEnvironment;

    fn from_str(text: &str) -> Result<Self, InvalidEnvironment> {
        if let Some(built_in) = Self::BUILT_IN.into_iter().find(|one| one.as_str() == text) {
            return Ok(built_in);
        }
        let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_fine = match text.as_bytes() {
            [only] => is_alphanumeric(only),
            [first, middle @ .., last] => {
                is_alphanumeric(first)
                    && middle.iter().all(|byte| is_alphanumeric(byte) || b"._-".contains(byte))
                    && (is_alphanumeric(last) || (*last == b'*' && text.len() <= MAX_PATTERN_BYTES))
            }
            [] => false,
        };
        let name = ArrayString::from(text).ok().filter(|_| is_fine);
        name.map(|name| Self(Name::Other(name))).ok_or_else(|| InvalidEnvironment::of(text))
    }
}

impl TryFrom<String> for Environment {
    type Error = InvalidEnvironment;

    fn try_from(text: String) -> Result<Self, InvalidEnvironment> {
        text.parse()
    }
}

/// The order of the environments, whatever a list is sorted by.
impl Position for Environment {
    fn position(&self, _: Sort) -> String {
        match Self::BUILT_IN.iter().position(|one| one == self) {
            Some(rank) => format!("{rank}"),
            None => format!("{}#{self}", Self::BUILT_IN.len()),
        }
    }
}

impl Serialize for Environment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Display for Environment {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Debug for Environment {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Debug::fmt(self.as_str(), f)
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::PREVIEW
    }
}

/// The treatment of queued deployments when a newer one is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Concurrency {
    /// They run one after the other, in the order of their numbers.
    Queue,
    /// The newer one takes their place.
    Supersede,
}

impl Concurrency {
    /// Returns the name in bodies and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Supersede => "supersede",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Environment {
        text.parse().unwrap()
    }

    #[test]
    fn names_have_bounds_and_a_refusal_proposes_one() {
        let longest = "a".repeat(MAX_BYTES);
        let longest_pattern = format!("{}*", "a".repeat(MAX_PATTERN_BYTES - 1));
        for fine in ["a", "7", "preview", "review-42", "a.b_c-d", "a..b", "a*", "review-*", &longest, &longest_pattern]
        {
            assert_eq!(name(fine).as_str(), fine);
        }
        let too_long = "a".repeat(MAX_BYTES + 1);
        for (wrong, proposal) in [
            ("", "review"),
            (".", "review"),
            ("..", "review"),
            ("*", "review-*"),
            ("/", "review"),
            ("#", "review"),
            ("Review/Foo", "review-foo"),
            ("Review/*", "review-*"),
            ("review-*-x", "review--x"),
            ("review**", "review-*"),
            ("-a", "a"),
            ("a-", "a"),
            ("a.", "a"),
            (".a", "a"),
            ("a b", "a-b"),
            ("a#b", "a-b"),
            ("production ", "production"),
            ("Ünïcode", "n-code"),
            ("a\u{0}b", "a-b"),
            (&too_long, &longest),
        ] {
            let refused = wrong.parse::<Environment>().unwrap_err();
            assert_eq!(refused.proposal, proposal, "{wrong}");
            assert!(refused.proposal.parse::<Environment>().is_ok(), "{wrong}");
        }
    }

    #[test]
    fn the_built_in_ones_come_first_in_the_order_of_promotion() {
        let mut all = ["production", "alpha", "preview", "zeta", "staging", "review-*"].map(name);
        all.sort_unstable();
        assert_eq!(all.map(|one| one.to_string()), ["preview", "staging", "production", "alpha", "review-*", "zeta"]);
        assert_eq!(serde_json::to_string(&all[1]).unwrap(), r#""staging""#);
        assert_eq!(serde_json::from_str::<Environment>(r#""staging""#).unwrap(), Environment::STAGING);
    }

    #[test]
    fn a_pattern_covers_its_members() {
        let pattern = name("review-*");
        assert!(pattern.covers(name("review-42")) && pattern.covers(pattern));
        for other in ["review", "reviews-1", "review-a*", "preview"] {
            assert!(!pattern.covers(name(other)), "{other}");
        }
        assert!(name("review-42").covers(name("review-42")) && !name("review-42").covers(name("review-421")));
        assert!(name("p*").covers(Environment::PREVIEW));
    }

    #[test]
    fn a_member_is_named_after_the_ref() {
        let pattern = name("review-*");
        for (git_ref, member) in [
            ("main", "review-main"),
            ("heads/main", "review-main"),
            ("refs/heads/Feature/Login_2", "review-feature-login_2"),
            ("refs/tags/v1.2", "review-v1.2"),
            ("refs/pull/7/head", "review-pull-7-head"),
            ("dependabot/npm/@types/node", "review-dependabot-npm-types-node"),
            ("3f786850e387550fdab836ed7e6dc881de23001b", "review-3f786850e387550fdab836ed7e-cc3bb1"),
            ("feature/a-very-long-name-that-no-environment-can-have", "review-feature-a-very-long-name-t-3b8c0f"),
            ("ünï/ü", "review-n"),
        ] {
            let found = pattern.of_ref(git_ref);
            assert_eq!(&found.as_str()[..found.as_str().len().min(33)], &member[..member.len().min(33)], "{git_ref}");
            assert!(pattern.covers(found) && found.as_str().len() == member.len(), "{found:?}");
        }
        let long = |end: &str| pattern.of_ref(&format!("{}{end}", "x".repeat(60)));
        assert_ne!(long("a"), long("b"), "names that are cut stay different");
        let longest = name(&format!("{}.*", "a".repeat(MAX_PATTERN_BYTES - 2)));
        for git_ref in ["日本", "a-long-name-of-a-branch", "x", "----------x-y"] {
            assert!(longest.covers(longest.of_ref(git_ref)), "{git_ref}");
        }
        assert!(pattern.covers(pattern.of_ref("日本")), "a ref without any character of a name has a member too");
        assert_eq!(Environment::STAGING.of_ref("main"), Environment::STAGING);
    }
}
