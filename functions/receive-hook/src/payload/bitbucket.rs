//! Events of Bitbucket Cloud and of Bitbucket Data Center. Neither tells which paths changed.
//!
//! <https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push>,
//! <https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html>

use serde::Deserialize;
use shared::Result;
use shared::model::{ChangedPaths, Push, asks_to_skip};

use super::{Content, Message, existing, not_a_push};

/// A push to Bitbucket Cloud, of one or more branches and tags.
#[derive(Deserialize)]
struct CloudPush {
    push: CloudChanges,
}

#[derive(Deserialize)]
struct CloudChanges {
    changes: Vec<CloudChange>,
}

/// A change of a ref. `old` is null if the ref is new, and `new` is null if it was deleted.
#[derive(Deserialize)]
struct CloudChange {
    old: Option<CloudRef>,
    new: Option<CloudRef>,
}

#[derive(Deserialize)]
struct CloudRef {
    r#type: String,
    name: String,
    target: Option<CloudCommit>,
}

#[derive(Deserialize)]
struct CloudCommit {
    hash: String,
    #[serde(default)]
    message: String,
}

/// A push to Bitbucket Data Center.
#[derive(Deserialize)]
struct ServerPush {
    changes: Vec<ServerChange>,
    #[serde(default, rename = "toCommit")]
    to_commit: Option<ServerCommit>,
}

#[derive(Deserialize)]
struct ServerChange {
    #[serde(rename = "refId")]
    ref_id: String,
    #[serde(rename = "toHash")]
    to_hash: String,
}

#[derive(Deserialize)]
struct ServerCommit {
    id: String,
    #[serde(default)]
    message: String,
}

pub(super) fn read(event: &str, message: &Message<'_>) -> Result<Content> {
    match event {
        "repo:push" => {
            let CloudPush { push } = message.parse()?;
            Ok(Ok(push.changes.into_iter().filter_map(of_cloud).collect()))
        }
        "repo:refs_changed" => {
            let ServerPush { changes, to_commit } = message.parse()?;
            Ok(Ok(changes.into_iter().map(|change| of_server(change, to_commit.as_ref())).collect()))
        }
        "diagnostics:ping" => Ok(Err("The git host has tested the hook, which works".to_owned())),
        other => Ok(Err(not_a_push(other))),
    }
}

/// Returns the change of a branch or tag. Bookmarks of Mercurial are neither.
fn of_cloud(CloudChange { old, new }: CloudChange) -> Option<Push> {
    let named = new.as_ref().or(old.as_ref())?;
    let folder = match named.r#type.as_str() {
        "branch" => "refs/heads/",
        "tag" | "annotated_tag" => "refs/tags/",
        _ => return None,
    };
    let ref_name = format!("{folder}{}", named.name);
    let head = match new {
        Some(new) => Some(new.target?),
        None => None,
    };
    let skips = head.as_ref().is_some_and(|head| asks_to_skip(&head.message));
    Some(Push { ref_name, sha: head.and_then(|head| existing(head.hash)), skips, paths: paths() })
}

fn of_server(change: ServerChange, head: Option<&ServerCommit>) -> Push {
    let sha = existing(change.to_hash);
    let head = head.filter(|head| Some(&head.id) == sha.as_ref());
    let skips = head.is_some_and(|head| asks_to_skip(&head.message));
    Push { ref_name: change.ref_id, sha, skips, paths: paths() }
}

fn paths() -> ChangedPaths {
    ChangedPaths::unknown("Bitbucket does not tell which paths a push changed")
}
