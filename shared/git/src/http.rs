//! Git's smart HTTP over ureq: every connection goes through a resolver that refuses what [`Hosts`] do not
//! allow, so nothing lies between the check of an address and its use.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use gix::error::{ErrorExt, message};
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody, Body, BodyReader, config::Config};

use crate::clone_url::{CloneUrl, Hosts, InvalidCloneUrl, Location};
use crate::error::{Cause, RemoteError};

/// Some hosts serve smart HTTP only to clients whose name starts with `git/`.
const USER_AGENT: &str = concat!("git/dotgit-", env!("CARGO_PKG_VERSION"));
const MAX_REDIRECTS: usize = 5;
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Looks a host up as the system does, and fails if any of its addresses is not allowed.
#[derive(Debug)]
struct AllowedAddresses {
    hosts: Hosts,
    system: DefaultResolver,
}

#[derive(Debug, thiserror::Error)]
#[error("the host has an address that is not allowed")]
struct Forbidden;

impl Resolver for AllowedAddresses {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        if found.iter().all(|address| self.hosts.may_reach(address.ip())) {
            Ok(found)
        } else {
            Err(ureq::Error::Other(Forbidden.into()))
        }
    }
}

/// The HTTP side of one operation on one remote.
pub(crate) struct Client {
    agent: Agent,
    hosts: Hosts,
    budget: Budget,
    bytes_left: Cell<u64>,
    failure: RefCell<Option<RemoteError>>,
}

/// What all responses of one operation may take together.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) deadline: Instant,
    pub(crate) bytes: u64,
    /// What the bytes are of.
    pub(crate) of: &'static str,
}

impl Client {
    pub(crate) fn new(hosts: Hosts, budget: Budget) -> Self {
        let config = Agent::config_builder()
            // A proxy would resolve names itself.
            .proxy(None)
            .https_only(hosts == Hosts::PublicHttps)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIME))
            .user_agent(USER_AGENT)
            .build();
        let resolver = AllowedAddresses { hosts, system: DefaultResolver::default() };
        Client {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            hosts,
            budget,
            bytes_left: Cell::new(budget.bytes),
            failure: RefCell::new(None),
        }
    }

    /// What went wrong first: gix hands on an error's text and loses its kind.
    pub(crate) fn take_failure(&self) -> Option<RemoteError> {
        self.failure.take()
    }

    fn record(&self, error: RemoteError) -> io::Error {
        let text = error.to_string();
        self.failure.borrow_mut().get_or_insert(error);
        io::Error::other(text)
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, RemoteError> {
        let time_left = self.budget.deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return Err(RemoteError::TimedOut);
        }
        let request = self.agent.configure_request(request).timeout_global(Some(time_left)).build();
        self.agent.run(request).map_err(from_ureq)
    }

    /// Sends a GET and follows its redirects to other places of the same repository, each checked like the URL
    /// that the user gave. Returns the response and the base URL that it came from.
    fn get(&self, base: &str, tail: &str, headers: &HeaderMap) -> Result<(Response<Body>, String), RemoteError> {
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
        Err(protocol("too many redirects"))
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
        let target = location.strip_suffix(tail).ok_or_else(|| protocol("redirected away from the repository"))?;
        let url = CloneUrl::parse(target, self.hosts).map_err(|invalid| match invalid {
            InvalidCloneUrl::NotPublic => RemoteError::ForbiddenAddress,
            other => protocol(other),
        })?;
        match url.location() {
            Location::Http(to) if to.scheme_str() == Some("https") || scheme == "http" => Ok(target.to_owned()),
            _ => Err(protocol("redirected to a less secure protocol")),
        }
    }
}

fn protocol(cause: impl Into<Cause>) -> RemoteError {
    RemoteError::Protocol(cause.into())
}

fn from_ureq(error: ureq::Error) -> RemoteError {
    match error {
        ureq::Error::Timeout(_) => RemoteError::TimedOut,
        ureq::Error::Other(cause) if cause.is::<Forbidden>() => RemoteError::ForbiddenAddress,
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::BadUri(_) => protocol(error),
        _ => RemoteError::Unreachable(error.into()),
    }
}

fn check_status(response: Response<Body>) -> Result<Response<Body>, RemoteError> {
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

/// gix's header lines without its name, for which the agent's stands.
fn parse_headers(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<HeaderMap, RemoteError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.as_ref().split_once(':').ok_or_else(|| protocol("a header without a value"))?;
        let name: HeaderName = name.parse().map_err(protocol)?;
        if name != header::USER_AGENT {
            headers.append(name, value.trim().parse().map_err(protocol)?);
        }
    }
    Ok(headers)
}

/// The HTTP requests of gix's smart transport.
pub(crate) struct Connection {
    client: Rc<Client>,
    redirected_base: Option<String>,
}

impl Connection {
    pub(crate) fn new(client: Rc<Client>) -> Self {
        Connection { client, redirected_base: None }
    }

    fn fail(&self, error: RemoteError) -> gix::Error {
        self.client.record(error).and_raise(message("the HTTP request failed"))
    }
}

impl Http for Connection {
    type Headers = Part<HeaderLines>;
    type ResponseBody = Part<BufReader<ResponseBody>>;
    type PostBody = RequestBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let tail = url.strip_prefix(base_url).expect("the URL starts with its base, says the trait");
        let (response, base) = parse_headers(headers)
            .and_then(|headers| self.client.get(base_url, tail, &headers))
            .map_err(|error| self.fail(error))?;
        self.redirected_base = Some(base);
        let mut exchange = Exchange::new(Rc::clone(&self.client), None);
        exchange.arrived(response);
        Ok(exchange.into_parts().into())
    }

    /// The request is sent when gix starts to read the response, which it does after it has written the whole
    /// body: a few lines, as a fetch into an empty repository has nothing to negotiate.
    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, RequestBody>> {
        let headers = parse_headers(headers).map_err(|error| self.fail(error))?;
        let mut request = Request::post(url).body(Vec::new()).map_err(|error| self.fail(protocol(error)))?;
        *request.headers_mut() = headers;
        Ok(Exchange::new(Rc::clone(&self.client), Some(request)).into_parts())
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected_base.clone()
    }
}

type HeaderLines = Cursor<Vec<u8>>;

/// A request and its response, which arrives once something reads it.
pub(crate) struct Exchange {
    client: Rc<Client>,
    request: Option<Request<Vec<u8>>>,
    headers: Option<HeaderLines>,
    body: Option<BufReader<ResponseBody>>,
}

impl Exchange {
    fn new(client: Rc<Client>, request: Option<Request<Vec<u8>>>) -> Self {
        Exchange { client, request, headers: None, body: None }
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(request) = self.request.take() {
            let response = self.client.run(request).and_then(check_status);
            self.arrived(response.map_err(|error| self.client.record(error))?);
        }
        Ok(())
    }

    fn arrived(&mut self, response: Response<Body>) {
        let (parts, body) = response.into_parts();
        let mut lines = Vec::new();
        for (name, value) in &parts.headers {
            lines.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        let client = Rc::clone(&self.client);
        self.headers = Some(Cursor::new(lines));
        self.body = Some(BufReader::new(ResponseBody { client, body: body.into_reader() }));
    }

    fn into_parts(self) -> PostResponse<Part<HeaderLines>, Part<BufReader<ResponseBody>>, RequestBody> {
        let exchange = Rc::new(RefCell::new(self));
        PostResponse {
            post_body: RequestBody(Rc::clone(&exchange)),
            headers: Part { exchange: Rc::clone(&exchange), take: |exchange| exchange.headers.take(), reader: None },
            body: Part { exchange, take: |exchange| exchange.body.take(), reader: None },
        }
    }
}

pub(crate) struct RequestBody(Rc<RefCell<Exchange>>);

impl Write for RequestBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0.borrow_mut().request {
            Some(request) => request.body_mut().write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The headers or the body of a response.
pub(crate) struct Part<R> {
    exchange: Rc<RefCell<Exchange>>,
    take: fn(&mut Exchange) -> Option<R>,
    reader: Option<R>,
}

impl<R> Part<R> {
    fn reader(&mut self) -> io::Result<&mut R> {
        if self.reader.is_none() {
            let mut exchange = self.exchange.borrow_mut();
            exchange.send()?;
            self.reader = (self.take)(&mut exchange);
        }
        self.reader.as_mut().ok_or(io::ErrorKind::NotConnected.into())
    }
}

impl<R: Read> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader()?.read(buffer)
    }
}

impl<R: BufRead> BufRead for Part<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(reader) = &mut self.reader {
            reader.consume(amount);
        }
    }
}

/// A body that takes from the operation's [`Budget`].
pub(crate) struct ResponseBody {
    client: Rc<Client>,
    body: BodyReader<'static>,
}

impl Read for ResponseBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let client = &self.client;
        let count = self.body.read(buffer).map_err(|error| client.record(from_ureq(error.into())))?;
        let Some(left) = client.bytes_left.get().checked_sub(count as u64) else {
            return Err(client.record(RemoteError::TooLarge(client.budget.of, client.budget.bytes)));
        };
        client.bytes_left.set(left);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(url: &str, hosts: Hosts) -> RemoteError {
        let deadline = Instant::now() + Duration::from_secs(5);
        let client = Client::new(hosts, Budget { deadline, bytes: 1024, of: "bytes" });
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
            let client = Client::new(hosts, Budget { deadline, bytes: 0, of: "bytes" });
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
        let client = Client::new(Hosts::PublicHttps, Budget { deadline, bytes: 0, of: "bytes" });
        let error = client.redirected(from, "/info/refs", "https://git.example.com/login").unwrap_err();
        assert!(matches!(error, RemoteError::Protocol(_)), "{error:?}");
    }
}
