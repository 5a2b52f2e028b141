//! Events of GitLab. <https://docs.gitlab.com/user/project/integrations/webhook_events/>

use serde::Deserialize;
use shared::Result;
use shared::model::{ChangedPaths, Push, PushContext, asks_to_skip};

use super::{Commit, Content, Message, existing, not_a_push};

/// A push of a branch or tag, also one that creates or deletes it.
#[derive(Deserialize)]
struct PushEvent {
    r#ref: String,
    #[serde(default)]
    before: String,
    after: String,
    /// The ID of the account that pushed.
    #[serde(default)]
    user_id: Option<u64>,
    /// The commit of `after`, which may be an annotated tag. Null if the ref was deleted.
    #[serde(default)]
    checkout_sha: Option<String>,
    /// At most 20 commits.
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    #[serde(default)]
    total_commits_count: usize,
}

pub(super) fn read(message: &Message<'_>) -> Result<Content> {
    let kind = kind(message)?;
    match kind.as_str() {
        "push" | "tag_push" => Ok(Ok(vec![message.parse::<PushEvent>()?.into()])),
        other => Ok(Err(not_a_push(other))),
    }
}

/// Returns the kind of the event. A hook of the whole instance has `event_name` only.
fn kind(message: &Message<'_>) -> Result<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        object_kind: Option<String>,
        #[serde(default)]
        event_name: Option<String>,
    }
    let Named { object_kind, event_name } = message.parse()?;
    let kind = object_kind.or(event_name).unwrap_or_else(|| "unknown".to_owned());
    Ok(kind.chars().take(64).collect())
}

impl From<PushEvent> for Push {
    fn from(event: PushEvent) -> Self {
        let commits = event.commits.unwrap_or_default();
        let sha = existing(event.after).map(|after| event.checkout_sha.unwrap_or(after));
        let head = commits.iter().find(|commit| Some(&commit.id) == sha.as_ref());
        let skips = head.is_some_and(|head| asks_to_skip(&head.message));
        let paths = if commits.is_empty() {
            ChangedPaths::unknown("The push lists no commits")
        } else if event.total_commits_count <= commits.len() {
            ChangedPaths::of(commits.into_iter().flat_map(Commit::paths))
        } else {
            ChangedPaths::unknown("The push does not list all of its commits")
        };
        let context = PushContext::new(existing(event.before), event.user_id.map(|id| id.to_string()));
        Self { ref_name: event.r#ref, sha, skips, paths, context }
    }
}
