//! The content of a delivery, in the words of each git host.
//!
//! Only what is used is read, and hosts may add fields at any time. A delivery that tells of no push has a reason why nothing is
//! done, and is kept all the same, so that people see that it came.

mod bitbucket;
mod github;
mod gitlab;

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared::model::{HookProvider, Push, Received};
use shared::name::find_unseen;
use shared::{Error, ErrorCode, Result};

/// The maximum length of the ID and the event that a sender gives, in bytes.
const MAX_HEADER: usize = 255;
/// The maximum length of a ref's full name, in bytes. Git hosts have the limits of a file system, which are shorter.
const MAX_REF: usize = 511;
/// The maximum number of refs of a push that is followed. A push of all tags would start as many deployments.
const MAX_REFS: usize = 20;

/// The headers and the body of a delivery that was verified.
struct Message<'a> {
    headers: &'a HeaderMap,
    body: &'a [u8],
}

/// The content of an event: the changes of refs, or the reason why there is nothing to do.
type Content = std::result::Result<Vec<Push>, String>;

/// Reads a delivery that was verified.
///
/// # Errors
/// Fails with `invalid_json` if the body is not what the host sends with the event.
pub(crate) fn read(provider: HookProvider, headers: &HeaderMap, body: &[u8]) -> Result<Received> {
    let message = Message { headers, body };
    let (event, sent_as) = match provider {
        HookProvider::Github => (message.header("x-github-event"), message.header("x-github-delivery")),
        HookProvider::Gitlab => {
            let id = ["webhook-id", "idempotency-key", "x-gitlab-event-uuid"];
            (message.header("x-gitlab-event"), id.into_iter().find_map(|id| message.header(id)))
        }
        HookProvider::Gitea => {
            let first = |names: [&str; 2]| names.into_iter().find_map(|name| message.header(name));
            (first(["x-gitea-event", "x-forgejo-event"]), first(["x-gitea-delivery", "x-forgejo-delivery"]))
        }
        HookProvider::Bitbucket => {
            let id = ["x-request-uuid", "x-request-id"];
            (message.header("x-event-key"), id.into_iter().find_map(|id| message.header(id)))
        }
        HookProvider::Deploy => (Some("deploy"), message.header("idempotency-key")),
    };
    let Some(event) = event else {
        return Ok(Received {
            sent_as: sent_as.map(str::to_owned),
            event: "unknown".to_owned(),
            pushes: Vec::new(),
            skipped: Some("The delivery does not name its event".to_owned()),
        });
    };
    let content = match provider {
        HookProvider::Github | HookProvider::Gitea => github::read(event, &message)?,
        HookProvider::Gitlab => gitlab::read(&message)?,
        HookProvider::Bitbucket => bitbucket::read(event, &message)?,
        // The hook says what to deploy.
        HookProvider::Deploy => Ok(Vec::new()),
    };
    let (pushes, skipped) = match content {
        Ok(pushes) if pushes.is_empty() && provider != HookProvider::Deploy => {
            (pushes, Some("The push changed no branch and no tag".to_owned()))
        }
        Ok(pushes) if pushes.len() > MAX_REFS => {
            (Vec::new(), Some(format!("The push changed more than {MAX_REFS} branches and tags at once")))
        }
        Ok(pushes) if !pushes.iter().all(has_a_valid_ref) => {
            (Vec::new(), Some("The push is not about a branch or tag with a valid name".to_owned()))
        }
        Ok(pushes) => (pushes, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    Ok(Received { sent_as: sent_as.map(str::to_owned), event: event.to_owned(), pushes, skipped })
}

impl Message<'_> {
    /// Returns a header that has a usable length.
    fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok()?;
        (1..=MAX_HEADER).contains(&value.len()).then_some(value)
    }

    /// Parses the body, which is JSON, or a form with the JSON in its field `payload`.
    fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let content_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let is_form = content_type.starts_with("application/x-www-form-urlencoded");
        let json = match is_form {
            true => {
                let payload = form_urlencoded::parse(self.body).find(|(name, _)| name == "payload");
                payload.map(|(_, payload)| Cow::Owned(payload.into_owned().into_bytes())).unwrap_or_default()
            }
            false => Cow::Borrowed(self.body),
        };
        serde_json::from_slice(&json).map_err(|error| {
            let message =
                "The body is not the JSON that the git host sends with this event; check the provider of the hook";
            Error::new(ErrorCode::InvalidJson, message).because(error)
        })
    }
}

fn has_a_valid_ref(push: &Push) -> bool {
    let is_of_a_kind = push.ref_name != push.short_name() && !push.short_name().is_empty();
    is_of_a_kind && push.ref_name.len() <= MAX_REF && find_unseen(&push.ref_name).is_none()
}

/// Returns the reason for doing nothing about an event that is no push.
fn not_a_push(event: &str) -> String {
    format!("Only pushes are deployed, and the event '{event}' is none")
}

/// Returns a commit that exists, or `None` for the zeros that stand for no commit.
fn existing(sha: String) -> Option<String> {
    sha.bytes().any(|digit| digit != b'0').then_some(sha)
}

/// A commit of a push, as GitHub, GitLab and Gitea tell it.
#[derive(Deserialize)]
struct Commit {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    added: Option<Vec<String>>,
    #[serde(default)]
    removed: Option<Vec<String>>,
    #[serde(default)]
    modified: Option<Vec<String>>,
}

impl Commit {
    fn paths(self) -> impl Iterator<Item = String> {
        [self.added, self.removed, self.modified].into_iter().flatten().flatten()
    }
}

#[cfg(test)]
mod tests;
