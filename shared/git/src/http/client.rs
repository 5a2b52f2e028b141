//! The HTTP client of one operation, with its limits.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::rc::Rc;
use std::time::Instant;

use fetch::Forbidden;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use shared::hosts::Hosts;
use ureq::{Agent, AsSendBody, Body, BodyReader};

use crate::clone_url::{CloneUrl, InvalidCloneUrl, Location};
use crate::credential::Credential;
use crate::error::{Cause, RemoteError};

/// Some hosts serve smart HTTP only to clients whose name starts with `git/`.
const USER_AGENT: &str = concat!("git/dotgit-", env!("CARGO_PKG_VERSION"));
const MAX_REDIRECTS: usize = 5;

/// The HTTP side of one operation on one remote.
pub(crate) struct Client {
    agent: Agent,
    hosts: Hosts,
    credential: Option<Credential>,
    budget: Budget,
    bytes_left: Cell<u64>,
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
    pub(crate) fn new(hosts: Hosts, credential: Option<Credential>, budget: Budget) -> Self {
        Client {
            agent: fetch::agent(hosts, USER_AGENT),
            hosts,
            credential,
            budget,
            bytes_left: Cell::new(budget.bytes),
            failure: RefCell::new(None),
        }
    }

    /// Returns the first failure. gix passes on only the text of an error and loses its kind.
    pub(crate) fn take_failure(&self) -> Option<RemoteError> {
        self.failure.take()
    }

    pub(super) fn record(&self, error: RemoteError) -> io::Error {
        let text = error.to_string();
        self.failure.borrow_mut().get_or_insert(error);
        io::Error::other(text)
    }

    /// Takes bytes from the budget.
    fn take(&self, count: u64) -> Result<(), RemoteError> {
        let Some(left) = self.bytes_left.get().checked_sub(count) else {
            return Err(RemoteError::TooLarge(self.budget.of, self.budget.bytes));
        };
        self.bytes_left.set(left);
        Ok(())
    }

    /// Sends one request, with the credential if the request is for its host.
    pub(super) fn run(&self, mut request: Request<impl AsSendBody>) -> Result<Response<Body>, RemoteError> {
        let time_left = self.budget.deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(RemoteError::TimedOut);
        }
        let authorization = self.credential.as_ref().and_then(|credential| credential.authorization_for(request.uri()));
        if let Some(authorization) = authorization.cloned() {
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
        let request = self.agent.configure_request(request).timeout_global(Some(time_left)).build();
        self.agent.run(request).map_err(from_ureq)
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
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            base = self.redirected(&base, tail, location.unwrap_or_default())?;
        }
        Err(protocol("the server redirected too often"))
    }

    fn redirected(&self, base: &str, tail: &str, location: &str) -> Result<String, RemoteError> {
        let from: Uri = base.parse().map_err(protocol)?;
        let (scheme, authority) = (from.scheme_str().unwrap_or_default(), from.authority().map_or("", |a| a.as_str()));
        let location = if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else {
            location.to_owned()
        };
        let target =
            location.strip_suffix(tail).ok_or_else(|| protocol("the server redirected away from the repository"))?;
        let url = CloneUrl::parse(target, self.hosts).map_err(|invalid| match invalid {
            InvalidCloneUrl::NotPublic => RemoteError::ForbiddenAddress,
            other => protocol(other),
        })?;
        match url.location() {
            Location::Http(to) if to.scheme_str() == Some("https") || scheme == "http" => Ok(target.to_owned()),
            _ => Err(protocol("the server redirected to a less secure protocol")),
        }
    }
}

pub(super) fn protocol(cause: impl Into<Cause>) -> RemoteError {
    RemoteError::Protocol(cause.into())
}

fn from_ureq(error: ureq::Error) -> RemoteError {
    match error {
        ureq::Error::Timeout(_) => RemoteError::TimedOut,
        ureq::Error::Other(cause) if cause.is::<Forbidden>() => RemoteError::ForbiddenAddress,
        ureq::Error::HostNotFound => RemoteError::NoSuchHost,
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::BadUri(_) => protocol(error),
        _ => RemoteError::Unreachable(error.into()),
    }
}

pub(super) fn check_status(response: Response<Body>) -> Result<Response<Body>, RemoteError> {
    let status = response.status();
    let cause = || format!("the server answered {status}").into();
    match status {
        StatusCode::OK => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(RemoteError::NotARepository)
        }
        StatusCode::TOO_MANY_REQUESTS => Err(RemoteError::Unreachable(cause())),
        _ if status.is_server_error() => Err(RemoteError::Unreachable(cause())),
        _ => Err(RemoteError::Protocol(cause())),
    }
}

/// A response body whose bytes count towards the operation's [`Budget`].
pub(crate) struct ResponseBody {
    client: Rc<Client>,
    body: BodyReader<'static>,
}

impl ResponseBody {
    pub(super) fn new(client: Rc<Client>, body: Body) -> Self {
        Self { client, body: body.into_reader() }
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let client = &self.client;
        let count = self.body.read(buffer).map_err(|error| client.record(from_ureq(error.into())))?;
        client.take(count as u64).map_err(|error| client.record(error))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connect(url: &str, hosts: Hosts) -> RemoteError {
        let deadline = Instant::now() + Duration::from_secs(5);
        let client = Client::new(hosts, None, Budget { deadline, bytes: 1024, of: "bytes" });
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
    fn public_https_sends_nothing_in_the_clear() {
        let error = connect("http://93.184.215.14/app", Hosts::PublicHttps);
        assert!(matches!(error, RemoteError::Unreachable(_)), "{error:?}");
    }

    #[test]
    fn a_redirect_stays_with_the_repository_and_with_what_is_allowed() {
        let deadline = Instant::now();
        let redirected = |hosts, base: &str, location: &str| {
            let client = Client::new(hosts, None, Budget { deadline, bytes: 0, of: "bytes" });
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
                assert!(matches!(error, RemoteError::Protocol(_)), "{location}: {error:?}");
            }
        }
        let client = Client::new(Hosts::PublicHttps, None, Budget { deadline, bytes: 0, of: "bytes" });
        let error = client.redirected(from, "/info/refs", "https://git.example.com/login").unwrap_err();
        assert!(matches!(error, RemoteError::Protocol(_)), "{error:?}");
    }
}
