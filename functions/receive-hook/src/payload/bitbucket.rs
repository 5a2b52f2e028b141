//! Events of Bitbucket Cloud and of Bitbucket Data Center. Neither tells which paths changed.
//!
//! <https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push>,
//! <https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html>

use serde::Deserialize;
use shared::Result;
use shared::model::{ChangedPaths, Push, PushContext, asks_to_skip};

use super::{Content, Message, existing, not_a_push};

/// A push to Bitbucket Cloud, of one or more branches and tags.
#[derive(Deserialize)]
struct CloudPush {
    push: CloudChanges,
    #[serde(default)]
    actor: Option<CloudActor>,
}

/// The account that pushed.
#[derive(Deserialize)]
struct CloudActor {
    #[serde(default)]
    account_id: Option<String>,
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
    #[serde(default)]
    actor: Option<ServerActor>,
    #[serde(default, rename = "toCommit")]
    to_commit: Option<ServerCommit>,
}

/// The account that pushed.
#[derive(Deserialize)]
struct ServerActor {
    #[serde(default)]
    id: Option<u64>,
}

#[derive(Deserialize)]
struct ServerChange {
    #[serde(rename = "refId")]
    ref_id: String,
    #[serde(default, rename = "fromHash")]
    from_hash: String,
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
            let CloudPush { push, actor } = message.parse()?;
            let account = actor.and_then(|actor| actor.account_id);
            Ok(Ok(push.changes.into_iter().filter_map(|change| of_cloud(change, account.clone())).collect()))
        }
        "repo:refs_changed" => {
            let ServerPush { changes, actor, to_commit } = message.parse()?;
            let account = actor.and_then(|actor| actor.id).map(|id| id.to_string());
            let of_server = |change| of_server(change, to_commit.as_ref(), account.clone());
            Ok(Ok(changes.into_iter().map(of_server).collect()))
        }
        "diagnostics:ping" => Ok(Err("The git host has tested the hook, which works".to_owned())),
        other => Ok(Err(not_a_push(other))),
    }
}

/// Returns the change of a branch or tag. Bookmarks of Mercurial are neither.
fn of_cloud(CloudChange { old, new }: CloudChange, account: Option<String>) -> Option<Push> {
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
    let before = old.and_then(|old| old.target).and_then(|before| existing(before.hash));
    let context = PushContext::new(before, account);
    Some(Push { ref_name, sha: head.and_then(|head| existing(head.hash)), skips, paths: paths(), context })
}

fn of_server(change: ServerChange, head: Option<&ServerCommit>, account: Option<String>) -> Push {
    let sha = existing(change.to_hash);
    let head = head.filter(|head| Some(&head.id) == sha.as_ref());
    let skips = head.is_some_and(|head| asks_to_skip(&head.message));
    let context = PushContext::new(existing(change.from_hash), account);
    Push { ref_name: change.ref_id, sha, skips, paths: paths(), context }
}

fn paths() -> ChangedPaths {
    ChangedPaths::unknown("Bitbucket does not tell which paths a push changed")
}
