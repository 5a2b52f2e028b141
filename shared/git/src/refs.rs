//! The refs of a remote repository.

use std::collections::HashSet;

use crate::revision::{CommitSha, Revision};

/// The full name of the ref that names the default branch.
pub(crate) const HEAD: &str = "HEAD";
/// The start of the full names of branches.
pub(crate) const BRANCHES: &str = "refs/heads/";
/// The start of the full names of tags.
pub(crate) const TAGS: &str = "refs/tags/";

/// A ref of a remote repository: in most cases a branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// The full name: `refs/heads/main`.
    pub name: String,
    /// The object that the ref points to, with annotated tags peeled. A tag may point to a tree or a blob, which
    /// has no commit; fetching it fails with [`RemoteError::NoSuchCommit`](crate::RemoteError::NoSuchCommit).
    pub target: CommitSha,
    /// The SHA of the annotated tag, if the ref points to one.
    pub tag: Option<CommitSha>,
}

/// Refs of a remote repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteRefs {
    /// The short name of the branch that HEAD points to. The branch exists only once it has a commit.
    pub default_branch: Option<String>,
    /// The commit that HEAD points to.
    pub head: Option<CommitSha>,
    /// The refs that were asked for, without HEAD.
    pub refs: Vec<RemoteRef>,
}

/// The commit of a [`Revision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The full name of the ref, or `None` for a SHA. It is `HEAD` only if HEAD points to no branch.
    pub name: Option<String>,
    /// The commit that the revision names.
    pub sha: CommitSha,
}

impl Resolved {
    /// Returns whether the revision names a branch or a tag.
    pub fn is_branch_or_tag(&self) -> bool {
        self.name.as_ref().is_some_and(|name| name.starts_with(BRANCHES) || name.starts_with(TAGS))
    }
}

/// The branch that a repository's deployments are made from unless a request says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultBranch {
    /// The branch of this name. It exists, or the repository has no commit yet.
    Named(String),
    /// The repository has commits, but no branch of this name.
    Missing(String),
    /// The repository has commits, and HEAD points to no branch, or the server does not tell which.
    Unnamed,
}

impl RemoteRefs {
    /// Finds the commit of a revision that is no SHA. A branch takes precedence over a tag of the same name.
    pub fn resolve(&self, revision: &Revision) -> Option<Resolved> {
        if revision.is_head() {
            return Some(Resolved {
                name: Some(self.default_ref().unwrap_or_else(|| HEAD.to_owned())),
                sha: self.head?,
            });
        }
        let found = revision.full_names().into_iter().find_map(|name| self.find(&name))?;
        Some(Resolved { name: Some(found.name.clone()), sha: found.target })
    }

    /// Returns the full name of a branch, or else of a tag, that points to the commit or to the annotated tag, and that is meant. Prefers
    /// the default branch.
    pub(crate) fn pointing_to(&self, sha: CommitSha, is_meant: impl Fn(&str) -> bool) -> Option<String> {
        let pointing = |prefix: &str| {
            let mut refs = self.refs.iter().filter(|found| found.name.starts_with(prefix) && is_meant(&found.name));
            refs.find(|found| found.target == sha || found.tag == Some(sha)).map(|found| found.name.clone())
        };
        let at_head = self.default_ref().filter(|name| self.head == Some(sha) && is_meant(name));
        at_head.or_else(|| pointing(BRANCHES)).or_else(|| pointing(TAGS))
    }

    /// Returns the branches and tags that are meant, by their full names, with their commits: the default branch, then the other
    /// branches, then the tags, the last names first, which are mostly the newest versions. Each commit is there once.
    pub(crate) fn tips(&self, is_meant: impl Fn(&str) -> bool) -> Vec<(String, CommitSha)> {
        let default = self.default_ref();
        let starting = |prefix: &'static str| self.refs.iter().filter(move |found| found.name.starts_with(prefix));
        let is_default = |found: &&RemoteRef| default.as_ref() == Some(&found.name);
        let (first, branches): (Vec<_>, Vec<_>) = starting(BRANCHES).partition(is_default);
        let mut seen = HashSet::new();
        let all = first.into_iter().chain(branches).chain(starting(TAGS).rev());
        let meant = all.filter(|found| is_meant(&found.name) && seen.insert(found.target));
        meant.map(|found| (found.name.clone(), found.target)).collect()
    }

    /// Returns the full name of the default branch.
    fn default_ref(&self) -> Option<String> {
        self.default_branch.as_ref().map(|branch| format!("{BRANCHES}{branch}"))
    }

    /// Returns whether there is a branch of this short name.
    pub(crate) fn has_branch(&self, name: &str) -> bool {
        self.find(&format!("{BRANCHES}{name}")).is_some()
    }

    /// Keeps the refs whose full names start with one of these. A server may list more than it was asked for.
    pub(crate) fn narrow(mut self, prefixes: &[String]) -> Self {
        self.refs.retain(|found| prefixes.iter().any(|prefix| found.name.starts_with(prefix)));
        self
    }

    fn find(&self, full_name: &str) -> Option<&RemoteRef> {
        self.refs.iter().find(|found| found.name == full_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const T: &str = "cccccccccccccccccccccccccccccccccccccccc";

    fn refs(default_branch: Option<&str>, refs: &[(&str, &str, Option<&str>)]) -> RemoteRefs {
        let sha = |text: &str| text.parse().unwrap();
        RemoteRefs {
            default_branch: default_branch.map(str::to_owned),
            head: Some(sha(B)),
            refs: refs
                .iter()
                .map(|(name, target, tag)| RemoteRef {
                    name: (*name).to_owned(),
                    target: sha(target),
                    tag: tag.map(sha),
                })
                .collect(),
        }
    }

    #[test]
    fn a_name_resolves_to_a_branch_then_a_tag_then_another_ref() {
        let refs = refs(
            Some("main"),
            &[
                ("refs/tags/both", A, None),
                ("refs/heads/both", B, None),
                ("refs/heads/feature/x", B, None),
                ("refs/tags/v1.0", A, Some(T)),
                ("refs/pull/7/head", A, None),
                ("refs/heads/heads/odd", A, None),
                ("refs/heads/odd", B, None),
            ],
        );
        let resolve = |text: &str| {
            let resolved = refs.resolve(&Revision::parse(text).unwrap())?;
            Some((resolved.name.unwrap(), resolved.sha.to_string()))
        };
        for (text, name, sha) in [
            ("both", "refs/heads/both", B),
            ("heads/both", "refs/heads/both", B),
            ("tags/both", "refs/tags/both", A),
            ("refs/tags/both", "refs/tags/both", A),
            ("feature/x", "refs/heads/feature/x", B),
            ("v1.0", "refs/tags/v1.0", A),
            ("tags/v1.0", "refs/tags/v1.0", A),
            ("refs/pull/7/head", "refs/pull/7/head", A),
            ("pull/7/head", "refs/pull/7/head", A),
            ("heads/odd", "refs/heads/heads/odd", A),
            ("HEAD", "refs/heads/main", B),
            ("@", "refs/heads/main", B),
        ] {
            assert_eq!(resolve(text), Some((name.to_owned(), sha.to_owned())), "{text}");
        }
        for text in ["x", "refs/heads/v1.0", "aaaaaaa", "Both", "head", "refs/heads/HEAD", "7/head"] {
            assert_eq!(resolve(text), None, "{text}");
        }
    }

    #[test]
    fn a_detached_head_is_a_ref_of_its_own() {
        let resolved = refs(None, &[]).resolve(&Revision::parse("HEAD").unwrap()).unwrap();
        assert_eq!((resolved.name.as_deref(), resolved.sha.to_string().as_str()), (Some("HEAD"), B));
    }

    #[test]
    fn what_points_to_a_commit_is_the_default_branch_then_a_branch_then_a_tag() {
        let found = |default_branch, list: &[_], sha: &str| {
            refs(default_branch, list).pointing_to(sha.parse().unwrap(), |_| true)
        };
        let (branch, tag) = (("refs/heads/x", B, None), ("refs/tags/v1", A, Some(T)));
        let pull = ("refs/pull/7/head", T, None);
        assert_eq!(found(Some("main"), &[branch], B).as_deref(), Some("refs/heads/main"));
        assert_eq!(found(None, &[branch], B).as_deref(), Some("refs/heads/x"));
        assert_eq!(found(None, &[tag], A).as_deref(), Some("refs/tags/v1"));
        assert_eq!(found(None, &[tag], T).as_deref(), Some("refs/tags/v1"));
        assert_eq!(found(None, &[tag, ("refs/heads/y", A, None)], A).as_deref(), Some("refs/heads/y"));
        assert_eq!(found(Some("main"), &[pull], T), None);
    }

    #[test]
    fn of_all_that_points_to_a_commit_the_meant_one_is_found() {
        let list = [("refs/heads/main", B, None), ("refs/heads/x", B, None), ("refs/tags/v1", B, None)];
        let found =
            |meant: &str| refs(Some("main"), &list).pointing_to(B.parse().unwrap(), |name| name.ends_with(meant));
        for name in ["refs/heads/main", "refs/heads/x", "refs/tags/v1"] {
            assert_eq!(found(name).as_deref(), Some(name));
        }
        assert_eq!(found("refs/heads/y"), None);
    }

    #[test]
    fn tips_begin_with_the_default_branch_and_end_with_the_oldest_tag() {
        let list = [
            ("refs/heads/a", A, None),
            ("refs/heads/main", B, None),
            ("refs/heads/z", B, None),
            ("refs/pull/7/head", T, None),
            ("refs/tags/v1", A, None),
            ("refs/tags/v2", T, None),
            ("refs/tags/v3", "dddddddddddddddddddddddddddddddddddddddd", Some(T)),
        ];
        let tips = |meant: fn(&str) -> bool| {
            refs(Some("main"), &list).tips(meant).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let all = ["refs/heads/main", "refs/heads/a", "refs/tags/v3", "refs/tags/v2"];
        assert_eq!(tips(|_| true), all, "each commit once, and no other refs");
        assert_eq!(tips(|name| name.ends_with("v1") || name.ends_with('z')), ["refs/heads/z", "refs/tags/v1"]);
    }
}
