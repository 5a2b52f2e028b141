//! Events of GitHub and Gitea, which has taken over GitHub's.
//!
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>, <https://docs.gitea.com/usage/repository/webhooks>

use serde::Deserialize;
use shared::Result;
use shared::model::{ChangedPaths, Push, PushContext, asks_to_skip};

use super::{Commit, Content, Message, existing, not_a_push};

/// The number of commits that GitHub lists at most.
const MAX_COMMITS: usize = 2048;

/// A push of a branch or tag, also one that creates or deletes it.
#[derive(Deserialize)]
struct PushEvent {
    r#ref: String,
    #[serde(default)]
    before: String,
    after: String,
    #[serde(default)]
    sender: Option<Sender>,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    head_commit: Option<Commit>,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    /// The number of all commits. Only Gitea tells it.
    #[serde(default)]
    total_commits: Option<usize>,
}

/// The account that pushed.
#[derive(Deserialize)]
struct Sender {
    #[serde(default)]
    id: Option<u64>,
}

/// A deletion of a branch or tag. Gitea tells of a deletion with this event only.
#[derive(Deserialize)]
struct DeleteEvent {
    /// The short name.
    r#ref: String,
    ref_type: RefType,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RefType {
    Branch,
    Tag,
}

pub(super) fn read(event: &str, message: &Message<'_>) -> Result<Content> {
    match event {
        "push" => Ok(Ok(vec![message.parse::<PushEvent>()?.into()])),
        "delete" => Ok(Ok(vec![message.parse::<DeleteEvent>()?.into()])),
        "ping" => Ok(Err("The git host has tested the hook, which works".to_owned())),
        other => Ok(Err(not_a_push(other))),
    }
}

impl From<PushEvent> for Push {
    fn from(event: PushEvent) -> Self {
        let commits = event.commits.unwrap_or_default();
        // The head of an annotated tag is the commit, and `after` is the tag.
        let head = event.head_commit;
        let sha = existing(event.after).filter(|_| !event.deleted);
        let told = head.as_ref().map(|head| head.id.clone()).filter(|id| !id.is_empty());
        let sha = sha.map(|after| told.unwrap_or(after));
        let skips = head.as_ref().is_some_and(|head| asks_to_skip(&head.message));
        let is_complete = commits.len() < MAX_COMMITS && event.total_commits.is_none_or(|total| total <= commits.len());
        let paths = if commits.is_empty() {
            ChangedPaths::unknown("The push lists no commits")
        } else if event.forced {
            ChangedPaths::unknown("The push was forced")
        } else if is_complete {
            ChangedPaths::of(commits.into_iter().flat_map(Commit::paths))
        } else {
            ChangedPaths::unknown("The push does not list all of its commits")
        };
        let account = event.sender.and_then(|sender| sender.id).map(|id| id.to_string());
        let context = PushContext::new(existing(event.before), account);
        Self { ref_name: event.r#ref, sha, skips, paths, context }
    }
}

impl From<DeleteEvent> for Push {
    fn from(event: DeleteEvent) -> Self {
        let folder = match event.ref_type {
            RefType::Branch => "refs/heads/",
            RefType::Tag => "refs/tags/",
        };
        let ref_name = format!("{folder}{}", event.r#ref);
        let paths = ChangedPaths::unknown("The ref was deleted");
        Self { ref_name, sha: None, skips: false, paths, context: PushContext::default() }
    }
}
