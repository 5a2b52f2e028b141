//! Revisions, the names that users give commits, and their resolution among a repository's refs.

use std::fmt;
use std::str::FromStr;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use shared::name::{find_unseen, unseen};

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

/// A user's name for a commit: a branch, a tag, a full `refs/...` name, or a full SHA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Sha(CommitSha),
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
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Sha(sha) => sha.fmt(f),
            Form::FullName(name) | Form::ShortName(name) => name.fmt(f),
        }
    }
}

/// A branch or tag of a remote repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// The full name: `refs/heads/main`.
    pub name: String,
    /// The object that the ref points to, with annotated tags peeled. A tag may point to a tree or a blob, which
    /// has no commit; fetching it fails with [`RemoteError::NoSuchCommit`](crate::RemoteError::NoSuchCommit).
    pub target: CommitSha,
}

/// The branches and tags of a remote repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteRefs {
    /// The short name of the branch that HEAD points to. The branch exists only once it has a commit.
    pub default_branch: Option<String>,
    /// The branches and tags.
    pub refs: Vec<RemoteRef>,
}

/// The commit of a [`Revision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The full name of the branch or tag, or `None` for a SHA.
    pub name: Option<String>,
    /// The commit that the revision names.
    pub sha: CommitSha,
}

impl RemoteRefs {
    /// Finds the commit of a revision. A branch takes precedence over a tag of the same name.
    ///
    /// A SHA always resolves to itself. [`find_commit`](crate::Remote::find_commit) checks whether the repository has it.
    pub fn resolve(&self, revision: &Revision) -> Option<Resolved> {
        let found = match &revision.0 {
            Form::Sha(sha) => {
                return Some(Resolved { name: None, sha: *sha });
            }
            Form::FullName(name) => self.find(name),
            Form::ShortName(name) => {
                self.find(&format!("refs/heads/{name}")).or_else(|| self.find(&format!("refs/tags/{name}")))
            }
        };
        found.map(|found| Resolved { name: Some(found.name.clone()), sha: found.target })
    }

    /// Returns the full name of a branch, or else of a tag, that points to the commit.
    pub fn pointing_to(&self, sha: CommitSha) -> Option<&str> {
        let pointing =
            || self.refs.iter().filter(|remote_ref| remote_ref.target == sha).map(|found| found.name.as_str());
        pointing().find(|name| name.starts_with("refs/heads/")).or_else(|| pointing().next())
    }

    fn find(&self, full_name: &str) -> Option<&RemoteRef> {
        self.refs.iter().find(|remote_ref| remote_ref.name == full_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn resolve(text: &str) -> Option<(Option<String>, String)> {
        let refs = [("refs/tags/both", A), ("refs/heads/both", B), ("refs/heads/feature/x", B), ("refs/tags/v1.0", A)];
        let refs = RemoteRefs {
            default_branch: None,
            refs: refs
                .map(|(name, target)| RemoteRef { name: name.to_owned(), target: target.parse().unwrap() })
                .into(),
        };
        let resolved = refs.resolve(&Revision::parse(text).unwrap())?;
        Some((resolved.name, resolved.sha.to_string()))
    }

    #[test]
    fn a_name_resolves_to_a_branch_then_a_tag() {
        let found = |name: &str, sha: &str| Some((Some(name.to_owned()), sha.to_owned()));
        assert_eq!(resolve("both"), found("refs/heads/both", B));
        assert_eq!(resolve("refs/tags/both"), found("refs/tags/both", A));
        assert_eq!(resolve("feature/x"), found("refs/heads/feature/x", B));
        assert_eq!(resolve("v1.0"), found("refs/tags/v1.0", A));
        for text in ["heads/both", "tags/v1.0", "x", "refs/heads/v1.0", "HEAD", "aaaaaaa", "Both"] {
            assert_eq!(resolve(text), None, "{text}");
        }
    }

    #[test]
    fn a_full_sha_resolves_to_itself_in_lower_case() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(resolve(&sha.to_uppercase()), Some((None, sha.to_owned())));
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
