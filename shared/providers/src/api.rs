//! Requests to the API of a git host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::clock::Timestamp;
use shared::hosts::Hosts;
use shared::model::Provider;
use shared::name::GitHost;
use ureq::http::header::{ACCEPT, AUTHORIZATION, DATE, LINK};
use ureq::http::{HeaderMap, Request, Response, StatusCode, Uri};
use ureq::{Agent, AsSendBody, Body};

/// The time limit of one request.
const TIME: Duration = Duration::from_secs(4);
/// The maximum size of an answer. A repository takes some kilobytes of a list.
const MAX_BYTES: u64 = 2 * 1024 * 1024;
/// The time to wait for a host that takes no more requests and does not say until when, as GitHub's documentation asks for.
const UNTIL_RESET: Duration = Duration::from_secs(60);
const USER_AGENT: &str = concat!("git-api/", env!("CARGO_PKG_VERSION"));

/// The API of a git host.
#[derive(Clone, Debug)]
pub struct Api {
    agent: Agent,
    root: String,
    deadline: Option<Instant>,
    answered: Arc<AtomicBool>,
}

/// The proof of who asks.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// A token.
    Bearer(SecretString),
    /// A user name and a password or token.
    Basic(String, SecretString),
}

/// The reason why an API could not be used. The message is meant for API clients, as the end of a sentence about the host.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum ApiError {
    #[error("could not be reached")]
    Unreachable(#[source] ureq::Error),
    #[error("took too long to answer")]
    TimedOut,
    #[error("refused the credential (HTTP status {})", .0.as_u16())]
    Refused(StatusCode),
    #[error("answered with the HTTP status {}", .0.as_u16())]
    Status(StatusCode),
    /// A 429 or 5xx, or a 403 that asks to wait, with the time that the host asks to wait.
    #[error("{}", busy(*.0))]
    Busy(StatusCode, Option<Duration>),
    #[error("gave an answer that is not one of its API")]
    Malformed(#[source] serde_json::Error),
}

/// An answer with its headers, which lists are described in.
pub(crate) struct Answer<T> {
    pub(crate) headers: HeaderMap,
    pub(crate) body: T,
}

impl Authorization {
    fn header(&self) -> String {
        match self {
            Self::Bearer(token) => format!("Bearer {}", token.expose_secret()),
            Self::Basic(user, password) => {
                format!("Basic {}", BASE64.encode(format!("{user}:{}", password.expose_secret())))
            }
        }
    }
}

impl Api {
    /// Returns the API of a host, or `None` if the provider has no known one.
    ///
    /// The API is at the host itself. Only GitHub's own cloud has it at another name, which belongs to GitHub too.
    pub fn of(provider: Provider, host: &GitHost, hosts: Hosts) -> Option<Self> {
        let root = host.root(hosts);
        let root = match (provider, host.as_str()) {
            (Provider::Github, "github.com") => "https://api.github.com".to_owned(),
            (Provider::Github, name) if name.ends_with(".ghe.com") => format!("https://api.{name}"),
            (Provider::Github, _) => format!("{root}/api/v3"),
            (Provider::Gitlab, _) => format!("{root}/api/v4"),
            (Provider::Gitea, _) => format!("{root}/api/v1"),
            (Provider::Bitbucket | Provider::Other, _) => return None,
        };
        Some(Self::at(root, hosts))
    }

    fn at(root: String, hosts: Hosts) -> Self {
        Self { agent: fetch::agent(hosts, USER_AGENT), root, deadline: None, answered: Arc::default() }
    }

    /// Lets all requests end at this time, and raises the flag when the host begins to answer one.
    #[must_use]
    pub fn until(self, deadline: Instant, answered: Arc<AtomicBool>) -> Self {
        Self { deadline: Some(deadline), answered, ..self }
    }

    /// Returns the name and the port of the API's host.
    pub fn host(&self) -> Option<String> {
        let root: Uri = self.root.parse().ok()?;
        Some(root.authority()?.as_str().to_ascii_lowercase())
    }

    /// Returns the API of a host for [`report`](Self::report), or `None` if the provider has none that takes commit statuses.
    ///
    /// Bitbucket has it in its cloud, at another name that belongs to Bitbucket too.
    pub fn of_statuses(provider: Provider, host: &GitHost, hosts: Hosts) -> Option<Self> {
        match (provider, host.as_str()) {
            (Provider::Bitbucket, "bitbucket.org") => Some(Self::at("https://api.bitbucket.org/2.0".to_owned(), hosts)),
            _ => Self::of(provider, host, hosts),
        }
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// Fails for any status but 200.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        authorization: &Authorization,
    ) -> Result<Answer<T>, ApiError> {
        let request = Request::get(format!("{}{path}", self.root));
        let request = request.header(AUTHORIZATION, authorization.header()).header(ACCEPT, "application/json");
        let request = request.body(()).map_err(|error| ApiError::Unreachable(error.into()))?;
        answer(self.run(request)?)
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// Fails for any status but 200 and 201.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        authorization: &Authorization,
        body: &Value,
    ) -> Result<Answer<T>, ApiError> {
        answer(self.send(path, authorization, body)?)
    }

    /// Posts JSON and returns the response, whatever its status.
    ///
    /// # Errors
    /// Fails if there is no response.
    pub(crate) fn send(
        &self,
        path: &str,
        authorization: &Authorization,
        body: &Value,
    ) -> Result<Response<Body>, ApiError> {
        let request = Request::post(format!("{}{path}", self.root));
        let request = request
            .header(AUTHORIZATION, authorization.header())
            .header(ACCEPT, "application/json")
            .header("content-type", "application/json");
        let request = request.body(body.to_string()).map_err(|error| ApiError::Unreachable(error.into()))?;
        self.run(request)
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, ApiError> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let time = left.unwrap_or(TIME).min(TIME);
        if time.is_zero() {
            return Err(ApiError::TimedOut);
        }
        let request = self.agent.configure_request(request).timeout_global(Some(time)).build();
        let response = self.agent.run(request).map_err(unreachable)?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(response)
    }
}

impl<T> Answer<T> {
    /// Returns the number of the last page of a list, by the relation `last` of `Link`. `None` if the list has one page.
    pub(crate) fn last_page(&self) -> Option<u64> {
        let link = self.headers.get(LINK)?.to_str().ok()?;
        let last = link.split(',').find(|link| link.contains("rel=\"last\""))?;
        let url = last.split_once('<')?.1.split_once('>')?.0;
        let (_, query) = url.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
    }

    /// Returns a header that is a number.
    pub(crate) fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }
}

impl ApiError {
    /// Returns whether another request may succeed, because of what the host answered.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy(..))
    }

    /// Returns whether the host was not reached, or did not answer.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut)
    }

    /// Returns the time that the host asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(_, wait) => *wait,
            _ => None,
        }
    }
}

fn answer<T: DeserializeOwned>(response: Response<Body>) -> Result<Answer<T>, ApiError> {
    let (parts, body) = response.into_parts();
    if !matches!(parts.status, StatusCode::OK | StatusCode::CREATED) {
        return Err(failure(parts.status, &parts.headers));
    }
    let bytes = body.into_with_config().limit(MAX_BYTES).read_to_vec().map_err(unreachable)?;
    let body = serde_json::from_slice(&bytes).map_err(ApiError::Malformed)?;
    Ok(Answer { headers: parts.headers, body })
}

/// Returns the failure that a status means. GitHub refuses what is too much with 403 too, and then tells how long to wait
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>).
fn failure(status: StatusCode, headers: &HeaderMap) -> ApiError {
    let wait = fetch::retry_after(headers).or_else(|| until_reset(headers));
    match status {
        StatusCode::FORBIDDEN if wait.is_some() => ApiError::Busy(status, wait),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ApiError::Refused(status),
        _ if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => ApiError::Busy(status, wait),
        _ => ApiError::Status(status),
    }
}

fn busy(status: StatusCode) -> String {
    let number = status.as_u16();
    match status.is_server_error() {
        true => format!("answered with the HTTP status {number}"),
        false => format!("takes no more requests at the moment (HTTP status {number})"),
    }
}

/// Returns whether a host says that the requests of a credential are used up.
pub(crate) fn is_used_up(headers: &HeaderMap) -> bool {
    number(headers, "x-ratelimit-remaining") == Some(0)
}

/// Returns the time at which a host takes requests of a credential again.
pub(crate) fn reset(headers: &HeaderMap) -> Option<Timestamp> {
    number(headers, "x-ratelimit-reset").map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)))
}

/// Returns the time until a host takes requests of a credential again, if they are used up. The time counts from the host's own `Date`.
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let date = || Timestamp::of_http_date(headers.get(DATE)?.to_str().ok()?);
    let wait = || Some(reset(headers)?.since(date()?));
    is_used_up(headers).then(|| wait().unwrap_or(UNTIL_RESET))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn unreachable(error: ureq::Error) -> ApiError {
    match error {
        ureq::Error::Timeout(_) => ApiError::TimedOut,
        error => ApiError::Unreachable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_at_the_host_itself_but_for_githubs_own_cloud() {
        let root =
            |provider, host: &str| Api::of(provider, &host.parse().unwrap(), Hosts::PublicHttps).map(|api| api.root);
        for (provider, host, expected) in [
            (Provider::Github, "github.com", "https://api.github.com"),
            (Provider::Github, "acme.ghe.com", "https://api.acme.ghe.com"),
            (Provider::Github, "git.example.com:8443", "https://git.example.com:8443/api/v3"),
            (Provider::Github, "evil-ghe.com", "https://evil-ghe.com/api/v3"),
            (Provider::Gitlab, "gitlab.example.com", "https://gitlab.example.com/api/v4"),
            (Provider::Gitea, "codeberg.org", "https://codeberg.org/api/v1"),
        ] {
            assert_eq!(root(provider, host).as_deref(), Some(expected));
        }
        assert!(
            root(Provider::Other, "git.example.com").is_none() && root(Provider::Bitbucket, "bitbucket.org").is_none()
        );
    }

    #[test]
    fn a_403_is_a_refused_credential_unless_the_host_asks_to_wait() {
        const NOW: (&str, &str) = ("date", "Thu, 01 Jan 1970 00:16:40 GMT");
        let (used_up, left) = (("x-ratelimit-remaining", "0"), ("x-ratelimit-remaining", "12"));
        let reset = ("x-ratelimit-reset", "1090");
        for (status, told, wait) in [
            (403, &[][..], None),
            (403, &[left, reset, NOW], None),
            (401, &[("retry-after", "30")], None),
            (403, &[("retry-after", "30")], Some(30)),
            (403, &[used_up, reset, NOW], Some(90)),
            (403, &[used_up, ("x-ratelimit-reset", "1"), NOW], Some(0)),
            (403, &[used_up, reset], Some(60)),
            (429, &[used_up], Some(60)),
        ] {
            let headers =
                HeaderMap::from_iter(told.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())));
            let failure = failure(StatusCode::from_u16(status).unwrap(), &headers);
            assert_eq!(failure.retry_after().map(|wait| wait.as_secs()), wait, "{status} {told:?}");
            assert_eq!(failure.may_pass(), wait.is_some(), "{status} {told:?}");
            assert_eq!(matches!(failure, ApiError::Refused(_)), wait.is_none(), "{status} {told:?}");
        }
        let failed = failure(StatusCode::BAD_GATEWAY, &HeaderMap::new());
        assert!(failed.may_pass() && failed.retry_after().is_none(), "{failed}");
    }

    #[test]
    fn the_last_page_is_that_of_link() {
        let page = |link: &str| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            Answer { headers, body: () }.last_page()
        };
        let next = "<https://api.github.com/user/repos?per_page=1&page=2>; rel=\"next\"";
        let last = "<https://api.github.com/user/repos?per_page=1&page=57>; rel=\"last\"";
        assert_eq!(page(&format!("{next}, {last}")), Some(57));
        for link in ["", next, "<>; rel=\"last\"", "<https://x/?page=a>; rel=\"last\"", "rel=\"last\""] {
            assert_eq!(page(link), None, "{link}");
        }
    }
}
