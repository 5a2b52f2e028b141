//! The HTTP client of one operation, with its limits.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fetch::Forbidden;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use shared::hosts::Hosts;
use ureq::{Agent, AsSendBody, Body};

use crate::clone_url::{CloneUrl, InvalidCloneUrl, Location};
use crate::credential::Credential;
use crate::error::{Cause, RemoteError};
use crate::sentence::sentence;

/// Some hosts serve smart HTTP only to clients whose name starts with `git/`.
pub(crate) const USER_AGENT: &str = concat!("git/dotgit-", env!("CARGO_PKG_VERSION"));
const MAX_REDIRECTS: usize = 5;

const AWAY: &str = "away from the repository, perhaps to a page to sign in";
const LESS_SECURE: &str = "to a less secure protocol";
const TOO_OFTEN: &str = "too often";

/// The HTTP side of one operation on one remote.
pub(crate) struct Client {
    agent: Agent,
    hosts: Hosts,
    credential: Option<Credential>,
    answered: Arc<AtomicBool>,
    /// Whether a request went to another origin than the credential's. No later one gets the credential.
    strayed: Cell<bool>,
    budget: Budget,
    bytes_left: Cell<u64>,
    /// Whether the rest of the last answer is left unread.
    skips: Cell<bool>,
    failure: RefCell<Option<RemoteError>>,
}

/// The limits of all responses of one operation together.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) deadline: Instant,
    pub(crate) bytes: u64,
    /// The kind of bytes, for the error message.
    pub(crate) of: &'static str,
}

impl Client {
    /// Returns a client that raises the flag when a server begins to answer.
    pub(crate) fn new(hosts: Hosts, credential: Option<Credential>, answered: Arc<AtomicBool>, budget: Budget) -> Self {
        Client {
            agent: fetch::agent(hosts, USER_AGENT),
            hosts,
            credential,
            answered,
            strayed: Cell::new(false),
            budget,
            bytes_left: Cell::new(budget.bytes),
            skips: Cell::new(false),
            failure: RefCell::new(None),
        }
    }

    /// Returns the first failure. gix passes on only the text of an error and loses its kind.
    pub(crate) fn take_failure(&self) -> Option<RemoteError> {
        self.failure.take()
    }

    /// Keeps a failure for [`Self::take_failure`].
    pub(crate) fn record(&self, error: RemoteError) -> io::Error {
        let text = error.to_string();
        self.failure.borrow_mut().get_or_insert(error);
        io::Error::other(text)
    }

    /// Returns the failure of a server that refuses in these words.
    pub(crate) fn refused(&self, words: &[u8]) -> RemoteError {
        if lack_commit(&String::from_utf8_lossy(words)) {
            return RemoteError::NoSuchCommit;
        }
        let secrets = self.credential.as_ref().map(Credential::secrets).unwrap_or_default();
        RemoteError::Refused(sentence(words, &secrets))
    }

    /// Leaves the rest of the last answer unread until the next request. Without that, gix refuses to send another.
    pub(crate) fn skip_rest(&self, skips: bool) {
        self.skips.set(skips);
    }

    /// Returns whether the rest of the last answer is left unread.
    pub(super) fn skips_rest(&self) -> bool {
        self.skips.get()
    }

    /// Takes bytes from the budget.
    pub(super) fn take(&self, count: u64) -> Result<(), RemoteError> {
        let Some(left) = self.bytes_left.get().checked_sub(count) else {
            return Err(RemoteError::TooLarge(self.budget.of, self.budget.bytes));
        };
        self.bytes_left.set(left);
        Ok(())
    }

    /// Sends one request, with the credential if this request and all before it are for its host. No answer makes it send the
    /// credential again.
    fn run(&self, mut request: Request<impl AsSendBody>) -> Result<Response<Body>, RemoteError> {
        let time_left = self.budget.deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(RemoteError::TimedOut);
        }
        let sent = self.credential.as_ref().filter(|_| !self.strayed.get());
        let authorization = sent.and_then(|credential| credential.authorization_for(request.uri())).cloned();
        let sent = sent.filter(|_| authorization.is_some());
        match authorization {
            Some(authorization) => drop(request.headers_mut().insert(header::AUTHORIZATION, authorization)),
            None => self.strayed.set(true),
        }
        let request = self.agent.configure_request(request).timeout_global(Some(time_left)).build();
        let response = self.agent.run(request).map_err(from_ureq)?;
        self.answered.store(true, Ordering::Relaxed);
        match (sent, response.status()) {
            (Some(sent), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(RemoteError::CredentialRefused(sent.source().to_owned()))
            }
            (Some(sent), StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Err(RemoteError::NotVisible(sent.source().to_owned()))
            }
            _ => Ok(response),
        }
    }

    /// Sends a GET and follows its redirects within the repository, each checked like the URL that the user
    /// gave. Returns the response and the base URL that it came from.
    pub(super) fn get(
        &self,
        base: &str,
        tail: &str,
        headers: &HeaderMap,
    ) -> Result<(Response<Body>, String), RemoteError> {
        let mut base = base.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::get(format!("{base}{tail}")).body(()).map_err(protocol)?;
            request.headers_mut().clone_from(headers);
            let response = self.run(request)?;
            if !response.status().is_redirection() {
                return Ok((check_status(response)?, base));
            }
            base = self.redirected(&base, tail, location(&response))?;
        }
        Err(RemoteError::Redirect(TOO_OFTEN))
    }

    /// Sends a POST, and sends it again to where a 307 or 308 redirects it on the same origin. No other origin gets a body or a
    /// header of the request.
    pub(super) fn post(&self, mut request: Request<Vec<u8>>) -> Result<Response<Body>, RemoteError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.run(request.clone())?;
            if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return check_status(response);
            }
            let target = absolute(request.uri(), location(&response)).parse::<Uri>().ok();
            let target = target.filter(|target| origin(target) == origin(request.uri()));
            *request.uri_mut() = target.ok_or(RemoteError::Redirect("a request that must stay on its host"))?;
        }
        Err(RemoteError::Redirect(TOO_OFTEN))
    }

    fn redirected(&self, base: &str, tail: &str, location: &str) -> Result<String, RemoteError> {
        let from: Uri = base.parse().map_err(protocol)?;
        let location = absolute(&from, location);
        let target = location.strip_suffix(tail).ok_or(RemoteError::Redirect(AWAY))?;
        let url = CloneUrl::parse(target, self.hosts).map_err(|invalid| match invalid {
            InvalidCloneUrl::NotPublic => RemoteError::ForbiddenAddress,
            InvalidCloneUrl::NotHttps => RemoteError::Redirect(LESS_SECURE),
            _ => RemoteError::Redirect(AWAY),
        })?;
        match url.location() {
            Location::Http(to) if to.scheme_str() == Some("https") || from.scheme_str() == Some("http") => {
                Ok(target.to_owned())
            }
            _ => Err(RemoteError::Redirect(LESS_SECURE)),
        }
    }
}

fn location(response: &Response<Body>) -> &str {
    response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default()
}

/// Returns the URL that a `Location` means.
fn absolute(from: &Uri, location: &str) -> String {
    let (scheme, authority) = (from.scheme_str().unwrap_or_default(), from.authority().map_or("", |a| a.as_str()));
    if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    }
}

/// Returns the scheme, the host and the port that a request to this URL goes to.
pub(crate) fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let usual_port = if scheme == "https" { 443 } else { 80 };
    let has_credentials = authority.as_str().contains('@');
    let port = authority.port_u16().unwrap_or(usual_port);
    (!has_credentials).then(|| (scheme.to_owned(), authority.host().to_ascii_lowercase(), port))
}

pub(super) fn protocol(cause: impl Into<Cause>) -> RemoteError {
    RemoteError::Protocol(cause.into())
}

pub(super) fn from_ureq(error: ureq::Error) -> RemoteError {
    match error {
        ureq::Error::Timeout(_) => RemoteError::TimedOut,
        ureq::Error::Other(cause) if cause.is::<Forbidden>() => RemoteError::ForbiddenAddress,
        ureq::Error::HostNotFound => RemoteError::NoSuchHost,
        ureq::Error::Io(cause) if is_cut(&cause) => RemoteError::Cut(cause.into()),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::BadUri(_) => protocol(error),
        _ => RemoteError::Unreachable(error.into()),
    }
}

/// Returns whether these are the words of git's upload-pack, or of JGit, for a commit that it does not have. Other servers use those of
/// git.
fn lack_commit(words: &str) -> bool {
    words.contains("not our ref") || (words.starts_with("want ") && words.trim_end().ends_with("not valid"))
}

/// Returns whether a connection ended too early.
pub(crate) fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn check_status(response: Response<Body>) -> Result<Response<Body>, RemoteError> {
    let status = response.status();
    match status {
        // Azure Repos asks to sign in with a 203.
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(RemoteError::NotARepository)
        }
        _ if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            Err(RemoteError::Failed(status, fetch::retry_after(response.headers())))
        }
        _ => Err(protocol(format!("the server answered {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::settings::{CLONE_HOSTS, Settings};

    use super::*;

    fn connect(url: &str, hosts: Hosts) -> RemoteError {
        connect_within(Duration::from_secs(5), url, hosts)
    }

    fn connect_within(time: Duration, url: &str, hosts: Hosts) -> RemoteError {
        let deadline = Instant::now() + time;
        let client = Client::new(hosts, None, Arc::default(), Budget { deadline, bytes: 1024, of: "bytes" });
        client.run(Request::get(url).body(()).unwrap()).unwrap_err()
    }

    #[test]
    fn the_resolver_refuses_every_spelling_of_a_forbidden_address() {
        for host in [
            "localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "10.0.0.1",
            "167772161",
            "169.254.169.254",
            "2852039166",
            "[fd00:ec2::254]",
            "[64:ff9b::7f00:1]",
            "[fe80::1]",
        ] {
            let error = connect(&format!("https://{host}:1/app"), Hosts::PublicHttps);
            assert!(matches!(error, RemoteError::ForbiddenAddress), "{host}: {error:?}");
        }
    }

    #[test]
    fn also_local_reaches_loopback_and_nothing_private() {
        for host in ["localhost", "127.0.0.1", "2130706433"] {
            let error = connect(&format!("http://{host}:1/app"), Hosts::AlsoLocal);
            assert!(matches!(error, RemoteError::Unreachable(_)), "{host}: {error:?}");
        }
        for host in ["10.0.0.1", "167772161", "169.254.169.254", "192.168.0.1", "[fd00:ec2::254]"] {
            let error = connect(&format!("http://{host}:1/app"), Hosts::AlsoLocal);
            assert!(matches!(error, RemoteError::ForbiddenAddress), "{host}: {error:?}");
        }
    }

    #[test]
    fn a_list_reaches_its_private_hosts_and_no_others() {
        let list = "10.20.0.0/16,localhost".to_owned();
        let hosts = Hosts::of(&Settings::from([(CLONE_HOSTS, list)])).unwrap();
        // 169082881 is 10.20.0.1.
        for host in ["10.20.0.1", "169082881"] {
            let error = connect_within(Duration::from_millis(200), &format!("https://{host}:1/app"), hosts);
            assert!(!matches!(error, RemoteError::ForbiddenAddress), "{host}: {error:?}");
        }
        for host in ["10.21.0.1", "192.168.0.1", "169.254.169.254", "2852039166", "localhost", "127.0.0.1"] {
            let error = connect(&format!("https://{host}:1/app"), hosts);
            assert!(matches!(error, RemoteError::ForbiddenAddress), "{host}: {error:?}");
        }
        let error = connect("http://10.20.0.1/app", hosts);
        assert!(matches!(error, RemoteError::Unreachable(_)), "{error:?}");
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        let same = |a: &str, b: &str| origin(&a.parse().unwrap()) == origin(&b.parse().unwrap());
        let from = "https://git.example.com/app/git-upload-pack";
        for to in ["https://git.example.com:443/x", "HTTPS://GIT.example.com/x?y=z"] {
            assert!(same(from, to), "{to}");
        }
        for to in [
            "http://git.example.com/x",
            "https://git.example.com:8443/x",
            "https://example.com/x",
            "https://git.example.com.evil.test/x",
            "https://a@git.example.com/x",
            "/x",
        ] {
            assert!(!same(from, to), "{to}");
        }
    }

    #[test]
    fn public_https_sends_nothing_in_the_clear() {
        let error = connect("http://93.184.215.14/app", Hosts::PublicHttps);
        assert!(matches!(error, RemoteError::Unreachable(_)), "{error:?}");
    }

    #[test]
    fn a_redirect_stays_with_the_repository_and_with_what_is_allowed() {
        let deadline = Instant::now();
        let redirected = |hosts, base: &str, location: &str| {
            let client = Client::new(hosts, None, Arc::default(), Budget { deadline, bytes: 0, of: "bytes" });
            client.redirected(
                base,
                "/info/refs?service=git-upload-pack",
                &format!("{location}/info/refs?service=git-upload-pack"),
            )
        };
        let from = "https://git.example.com:8443/old";
        for (location, base) in [
            ("https://other.example.com/new.git", "https://other.example.com/new.git"),
            ("//other.example.com/new", "https://other.example.com/new"),
            ("/acme/new", "https://git.example.com:8443/acme/new"),
        ] {
            assert_eq!(redirected(Hosts::PublicHttps, from, location).unwrap(), base);
        }
        for location in ["https://127.0.0.1/new", "https://169.254.169.254/latest", "https://[::1]/new"] {
            let error = redirected(Hosts::PublicHttps, from, location).unwrap_err();
            assert!(matches!(error, RemoteError::ForbiddenAddress), "{location}: {error:?}");
        }
        for location in [
            "http://git.example.com/new",
            "file:///etc",
            "ssh://git.example.com/new",
            "https://a:b@git.example.com/new",
            "new",
            "",
        ] {
            for hosts in [Hosts::PublicHttps, Hosts::AlsoLocal] {
                let error = redirected(hosts, from, location).unwrap_err();
                assert!(matches!(error, RemoteError::Redirect(_)), "{location}: {error:?}");
            }
        }
        let client = Client::new(Hosts::PublicHttps, None, Arc::default(), Budget { deadline, bytes: 0, of: "bytes" });
        let error = client.redirected(from, "/info/refs", "https://git.example.com/login").unwrap_err();
        assert!(matches!(error, RemoteError::Redirect(AWAY)), "{error:?}");
    }
}
