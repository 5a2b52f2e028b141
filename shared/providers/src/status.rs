//! Statuses of commits
//! (<https://docs.github.com/en/rest/commits/statuses>, <https://docs.gitlab.com/api/commits/#set-commit-pipeline-status>,
//! <https://docs.gitea.com/api/#tag/repository/operation/repoCreateStatus>,
//! <https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/>).

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use shared::clock::Timestamp;
use shared::model::Provider;
use shared::name::shown;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{HeaderMap, StatusCode};

use crate::api::{self, Api, ApiError, Authorization};

/// The maximum number of characters of a description. GitHub has the lowest maximum.
const MAX_DESCRIPTION: usize = 140;
/// The characters of a segment of a path that need no escape.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The status of a commit, as a git host shows it.
#[derive(Clone, Debug)]
pub struct CommitReport<'a> {
    /// The URL that the repository is cloned from.
    pub clone_url: &'a str,
    /// The commit's SHA.
    pub sha: &'a str,
    /// The name that tells the status from others of the commit. A report replaces the last one of the name.
    pub context: &'a str,
    /// The state.
    pub state: CommitState,
    /// A sentence for people. It is cut to 140 characters.
    pub description: &'a str,
    /// The page that the status leads to.
    pub target_url: &'a str,
}

/// The state of a commit. Not every host tells all of them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitState {
    /// The work has not started.
    Pending,
    /// The work has started.
    Running,
    /// The work succeeded.
    Success,
    /// The work failed.
    Failure,
    /// The work was stopped or replaced.
    Canceled,
}

/// The reason why a host did not take a report. The message is meant for people, as the end of a sentence about the host.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The host may take the report later.
    #[error("{cause}")]
    Later {
        /// The cause.
        cause: ApiError,
        /// The time that the host asks to wait.
        wait: Option<Duration>,
    },
    /// The host will not take the report.
    #[error("answered with the HTTP status {}: {meaning}", .status.as_u16())]
    Refused {
        /// The status of the response.
        status: StatusCode,
        /// The likely meaning of the status.
        meaning: &'static str,
    },
}

impl CommitState {
    /// Returns the word for the state in the API of a provider.
    pub const fn word(self, provider: Provider) -> &'static str {
        match (provider, self) {
            (Provider::Gitlab, Self::Running) => "running",
            (Provider::Gitlab, Self::Failure) => "failed",
            (Provider::Gitlab, Self::Canceled) => "canceled",
            (Provider::Bitbucket, Self::Pending | Self::Running) => "INPROGRESS",
            (Provider::Bitbucket, Self::Success) => "SUCCESSFUL",
            (Provider::Bitbucket, Self::Failure) => "FAILED",
            (Provider::Bitbucket, Self::Canceled) => "STOPPED",
            (_, Self::Pending | Self::Running) => "pending",
            (_, Self::Success) => "success",
            (_, Self::Failure) => "failure",
            (_, Self::Canceled) => "error",
        }
    }
}

impl CommitReport<'_> {
    /// Returns the path and the body of the request, or `None` if the provider has no statuses or the URL is not that of one of
    /// its repositories.
    fn request(&self, provider: Provider) -> Option<(String, Value)> {
        let segments = segments(self.clone_url)?;
        let [owner, name] = [segments.first()?, segments.last()?];
        let is_pair = segments.len() == 2;
        let (sha, url, context) = (self.sha, self.target_url, self.context);
        let (state, description) = (self.state.word(provider), shown(self.description, MAX_DESCRIPTION));
        match provider {
            Provider::Github | Provider::Gitea if is_pair => Some((
                format!("/repos/{owner}/{name}/statuses/{sha}"),
                json!({"state": state, "target_url": url, "description": description, "context": context}),
            )),
            Provider::Gitlab => Some((
                format!("/projects/{}/statuses/{sha}", segments.join("%2F")),
                json!({"state": state, "target_url": url, "description": description, "name": context}),
            )),
            Provider::Bitbucket if is_pair => Some((
                format!("/repositories/{owner}/{name}/commit/{sha}/statuses/build"),
                json!({"state": state, "url": url, "description": description, "key": context, "name": context}),
            )),
            _ => None,
        }
    }
}

impl Api {
    /// Reports the status of a commit. A repository whose URL the provider's API can't name is passed over.
    ///
    /// # Errors
    /// Fails if the host can't be reached or does not take the report.
    pub fn report(
        &self,
        provider: Provider,
        authorization: &Authorization,
        report: &CommitReport<'_>,
        now: Timestamp,
    ) -> Result<(), ReportError> {
        let Some((path, body)) = report.request(provider) else { return Ok(()) };
        let later = |cause| ReportError::Later { cause, wait: None };
        let response = self.send(&path, authorization, &body).map_err(later)?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(());
        }
        if provider == Provider::Gitlab && parts.status == StatusCode::BAD_REQUEST {
            let text = body.into_with_config().limit(64 * 1024).read_to_string().unwrap_or_default();
            if is_told(&text) {
                return Ok(());
            }
        }
        Err(refusal(parts.status, &parts.headers, now))
    }
}

/// Returns the segments of a repository's path at its host, without the extension `.git`, each escaped.
fn segments(clone_url: &str) -> Option<Vec<String>> {
    let (_, path) = clone_url.split_once("://")?.1.split_once('/')?;
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let segment = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8().ok()?;
        (!decoded.is_empty() && decoded != "." && decoded != "..")
            .then(|| utf8_percent_encode(&decoded, SEGMENT).to_string())
    };
    path.split('/').map(segment).collect()
}

/// Returns whether GitLab refused a status because the commit has it already. A report that was sent twice is refused so.
fn is_told(answer: &str) -> bool {
    answer.contains("Cannot transition status via")
}

fn refusal(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> ReportError {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let seconds = |seconds: i64| Duration::from_secs(seconds.try_into().unwrap_or(0));
    let reset = api::reset(headers).filter(|_| api::is_used_up(headers));
    let until_reset = || reset.map(|at| at.as_seconds() - now.as_seconds());
    let wait = number(RETRY_AFTER.as_str()).or_else(until_reset).map(seconds);
    let meaning = match status {
        // GitHub refuses what is too much with 403 too, and tells how long to wait.
        StatusCode::FORBIDDEN if wait.is_some() => "",
        StatusCode::UNAUTHORIZED => "it does not accept the connection's credential",
        StatusCode::FORBIDDEN => "the connection's credential may not write commit statuses",
        StatusCode::NOT_FOUND => "it has no such repository, or does not show it to the connection",
        StatusCode::UNPROCESSABLE_ENTITY => "it does not have the commit, or the commit has too many statuses",
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => "",
        status if status.is_server_error() => "",
        status if status.is_redirection() => "the repository has moved; change its clone URL",
        _ => "it does not take commit statuses in this form",
    };
    match meaning {
        "" => ReportError::Later { cause: ApiError::Status(status), wait },
        meaning => ReportError::Refused { status, meaning },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [CommitState; 5] =
        [CommitState::Pending, CommitState::Running, CommitState::Success, CommitState::Failure, CommitState::Canceled];

    fn report(clone_url: &str) -> CommitReport<'_> {
        CommitReport {
            clone_url,
            sha: "3f78",
            context: "dotgit/production",
            state: CommitState::Success,
            description: "Deployment 7 succeeded",
            target_url: "https://api.git.dev/deployments/deploy_x",
        }
    }

    #[test]
    fn each_provider_has_its_path() {
        let path = |provider, url: &str| report(url).request(provider).map(|(path, _)| path);
        for (provider, url, expected) in [
            (Provider::Github, "https://github.com/acme/app.git", "/repos/acme/app/statuses/3f78"),
            (Provider::Github, "https://github.com/acme/app", "/repos/acme/app/statuses/3f78"),
            (Provider::Gitea, "https://codeberg.org/acme/a.b.git/", "/repos/acme/a.b/statuses/3f78"),
            (Provider::Gitlab, "https://gitlab.com/acme/web/app.git", "/projects/acme%2Fweb%2Fapp/statuses/3f78"),
            (Provider::Gitlab, "https://gitlab.com/acme/%C3%BC%2Fx", "/projects/acme%2F%C3%BC%2Fx/statuses/3f78"),
            (
                Provider::Bitbucket,
                "https://bitbucket.org/acme/app.git",
                "/repositories/acme/app/commit/3f78/statuses/build",
            ),
        ] {
            assert_eq!(path(provider, url).as_deref(), Some(expected), "{url}");
        }
        for (provider, url) in [
            (Provider::Other, "https://git.example.com/acme/app"),
            (Provider::Github, "https://github.com/app"),
            (Provider::Github, "https://github.com/acme/web/app"),
            (Provider::Gitlab, "https://gitlab.com/acme/%2e%2e/app"),
            (Provider::Gitlab, "/srv/git/app.git"),
        ] {
            assert_eq!(path(provider, url), None, "{url}");
        }
    }

    #[test]
    fn each_provider_has_its_words() {
        for (provider, words) in [
            (Provider::Github, ["pending", "pending", "success", "failure", "error"]),
            (Provider::Gitea, ["pending", "pending", "success", "failure", "error"]),
            (Provider::Gitlab, ["pending", "running", "success", "failed", "canceled"]),
            (Provider::Bitbucket, ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"]),
        ] {
            assert_eq!(STATES.map(|state| state.word(provider)), words, "{provider:?}");
        }
    }

    #[test]
    fn a_description_is_cut() {
        let long = "é".repeat(200);
        let report = CommitReport { description: &long, ..report("https://github.com/acme/app") };
        let (_, body) = report.request(Provider::Github).unwrap();
        assert_eq!(body["description"].as_str().unwrap().chars().count(), MAX_DESCRIPTION);
    }

    #[test]
    fn a_refusal_is_final_unless_the_host_may_change_its_mind() {
        let now = Timestamp::from_millis(1_000_000);
        let headers = |all: &[(&'static str, &str)]| {
            HeaderMap::from_iter(all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())))
        };
        let reset = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1060")];
        for (status, told, wait) in [
            (429, &[("retry-after", "30")][..], Some(30)),
            (429, &[], None),
            (403, &[("retry-after", "60")], Some(60)),
            (403, &reset, Some(60)),
            (503, &[("retry-after", "-1")], Some(0)),
            (500, &[("retry-after", "soon")], None),
            (408, &[], None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            match refusal(status, &headers(told), now) {
                ReportError::Later { wait: found, .. } => assert_eq!(found, wait.map(Duration::from_secs), "{status}"),
                refused => panic!("{status}: {refused}"),
            }
        }
        let left = [("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1060")];
        for (status, told) in [(401, &[][..]), (403, &[]), (403, &left), (404, &[]), (422, &[]), (301, &[]), (400, &[])]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let refused = refusal(status, &headers(told), now);
            assert!(matches!(refused, ReportError::Refused { .. }), "{refused}");
        }
    }

    #[test]
    fn gitlab_refuses_a_status_that_a_commit_has() {
        assert!(is_told(r#"{"message":"Cannot transition status via :enqueue from :pending (Reason(s): …)"}"#));
        assert!(!is_told(r#"{"error":"state does not have a valid value"}"#));
    }
}
