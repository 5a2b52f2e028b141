//! Revisions, the names that users give commits.

use std::fmt;
use std::str::FromStr;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use shared::name::{find_unseen, unseen};

use crate::refs::{BRANCHES, HEAD, TAGS};

const MAX_LENGTH: usize = 255;

/// The full SHA-1 of a commit. Its text is 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitSha(ObjectId);

/// The error for a text that is not 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a commit's full SHA: 40 hexadecimal digits")]
pub struct InvalidCommitSha;

impl CommitSha {
    pub(crate) fn new(id: ObjectId) -> Self {
        CommitSha(id)
    }

    pub(crate) fn id(self) -> ObjectId {
        self.0
    }
}

impl FromStr for CommitSha {
    type Err = InvalidCommitSha;

    fn from_str(text: &str) -> Result<Self, InvalidCommitSha> {
        // from_hex also accepts SHA-256 if a build enables it.
        if text.len() != 40 {
            return Err(InvalidCommitSha);
        }
        let id = ObjectId::from_hex(text.as_bytes()).map_err(|_| InvalidCommitSha)?;
        Ok(CommitSha(id))
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A user's name for a commit: a branch, a tag, `HEAD`, another ref with or without its `refs/`, or a full SHA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Sha(CommitSha),
    /// `HEAD`, or `@` for short.
    Head(String),
    FullName(String),
    ShortName(String),
}

/// The reason why a text is not a [`Revision`]. The message is meant for API clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum InvalidRevision {
    #[error("must not be empty")]
    Empty,
    #[error("must be at most {MAX_LENGTH} bytes long")]
    TooLong,
    #[error("must be a valid name of a branch or tag")]
    Malformed,
    #[error("{}", unseen(*.0))]
    Unseen(char),
}

impl Revision {
    /// Parses a revision by the rules of `git check-ref-format`, without characters that can't be seen. As in git, 40 hexadecimal digits are always a SHA.
    pub fn parse(text: &str) -> Result<Self, InvalidRevision> {
        if text.is_empty() {
            return Err(InvalidRevision::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(InvalidRevision::TooLong);
        }
        if let Ok(sha) = text.parse() {
            return Ok(Revision(Form::Sha(sha)));
        }
        if [HEAD, "@"].contains(&text) {
            return Ok(Revision(Form::Head(text.to_owned())));
        }
        let (form, full_name) = if text.starts_with("refs/") {
            (Form::FullName(text.to_owned()), text.to_owned())
        } else {
            (Form::ShortName(text.to_owned()), format!("refs/heads/{text}"))
        };
        let is_valid = gix::validate::reference::name(full_name.as_bytes().as_bstr()).is_ok();
        // No branch or tag can start with a dash (`git check-ref-format --branch`).
        if !is_valid || text.starts_with('-') {
            return Err(InvalidRevision::Malformed);
        }
        if let Some(char) = find_unseen(text) {
            return Err(InvalidRevision::Unseen(char));
        }
        Ok(Revision(form))
    }

    /// Returns the SHA, if the revision is one.
    pub fn sha(&self) -> Option<CommitSha> {
        match self.0 {
            Form::Sha(sha) => Some(sha),
            _ => None,
        }
    }

    /// Returns whether the revision is `HEAD`.
    pub(crate) fn is_head(&self) -> bool {
        matches!(self.0, Form::Head(_))
    }

    /// Returns the full names that the revision may stand for, unless it is a SHA or `HEAD`. The first one that exists is meant.
    pub(crate) fn full_names(&self) -> Vec<String> {
        match &self.0 {
            Form::Sha(_) | Form::Head(_) => vec![],
            Form::FullName(name) => vec![name.clone()],
            Form::ShortName(name) => {
                let mut names = vec![format!("{BRANCHES}{name}"), format!("{TAGS}{name}")];
                names.extend(name.contains('/').then(|| format!("refs/{name}")));
                names
            }
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Sha(sha) => sha.fmt(f),
            Form::Head(name) | Form::FullName(name) | Form::ShortName(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_sha_is_a_sha_in_lower_case() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(Revision::parse(&sha.to_uppercase()).unwrap().sha().unwrap().to_string(), sha);
    }

    #[test]
    fn a_revision_may_stand_for_few_full_names() {
        let names = |text: &str| Revision::parse(text).unwrap().full_names();
        assert_eq!(names("main"), ["refs/heads/main", "refs/tags/main"]);
        assert_eq!(names("tags/v1"), ["refs/heads/tags/v1", "refs/tags/tags/v1", "refs/tags/v1"]);
        assert_eq!(names("refs/pull/7/head"), ["refs/pull/7/head"]);
        for text in ["HEAD", "@", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(names(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn refuses_what_git_check_ref_format_refuses() {
        assert_eq!(Revision::parse(""), Err(InvalidRevision::Empty));
        assert_eq!(Revision::parse(&"a".repeat(256)), Err(InvalidRevision::TooLong));
        assert!(Revision::parse(&"a".repeat(255)).is_ok());
        for text in [
            "a b",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "a@{1}",
            "a\nb",
            "a\0b",
            "a\x7f",
            "-a",
            "--upload-pack=id",
            "refs/",
            "refs/heads/",
        ] {
            assert_eq!(Revision::parse(text), Err(InvalidRevision::Malformed), "{text:?}");
        }
        for text in ["main", "feature/x", "v1.0", "refs/heads/x", "é", "@", "a-b", "a@b", "HEAD"] {
            assert!(Revision::parse(text).is_ok(), "{text:?}");
        }
    }
}
