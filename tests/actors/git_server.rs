//! A git host on this machine: `git http-backend` behind a rule of who may read.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::GitRepository;

/// A git host that serves one repository at every path, as `https://host/owner/name.git`.
pub struct GitServer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that reached the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The header `Authorization`, in plain text if it is basic.
    pub authorization: Option<String>,
}

/// The reply of a host to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The response of git.
    Git,
    /// The response of git, which is not told what the client has.
    GitWithoutHaves,
    /// The response of git for the repository whose `.git` is this folder.
    GitOf(PathBuf),
    /// A redirect to this URL, with the query of the request.
    Redirect(String),
    /// This status, with a challenge if it is a 401.
    Status(StatusCode),
    /// This response.
    Other(Response<Bytes>),
}

struct Host {
    folder: PathBuf,
    protocol: Option<&'static str>,
    seen: Arc<Mutex<Vec<Seen>>>,
    reply: Box<dyn Fn(&Seen) -> Reply + Send + Sync>,
}

impl GitServer {
    /// Starts a host that lets in everybody.
    pub async fn start(source: &GitRepository) -> Self {
        Self::replying(source, |_| Reply::Git).await
    }

    /// Starts a host of the repository whose `.git` is this folder.
    pub async fn of_folder(folder: PathBuf) -> Self {
        Self::serve(anywhere(), folder, None, Router::new(), |_| Reply::Git).await
    }

    /// Starts a host that answers where nobody has answered so far.
    pub async fn at(listener: TcpListener, source: &GitRepository) -> Self {
        Self::serve(listener, folder_of(source), None, Router::new(), |_| Reply::Git).await
    }

    /// Starts a host whose git is told this about the protocol, whatever the client says.
    pub async fn speaking(source: &GitRepository, protocol: &'static str) -> Self {
        Self::serve(anywhere(), folder_of(source), Some(protocol), Router::new(), |_| Reply::Git).await
    }

    /// Starts a host that lets in whoever has this user name and password.
    pub async fn private(source: &GitRepository, user: &str, password: &str) -> Self {
        let expected = format!("Basic {user}:{password}");
        Self::replying(source, move |seen| match seen.authorization.as_deref() == Some(&*expected) {
            true => Reply::Git,
            false => Reply::Status(StatusCode::UNAUTHORIZED),
        })
        .await
    }

    /// Starts a host that replies to each request as a function says.
    pub async fn replying(source: &GitRepository, reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_api(source, Router::new(), reply).await
    }

    /// Starts a host that has an API beside its repository.
    pub async fn with_api(
        source: &GitRepository,
        api: Router,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(anywhere(), folder_of(source), None, api, reply).await
    }

    async fn serve(
        listener: TcpListener,
        folder: PathBuf,
        protocol: Option<&'static str>,
        api: Router,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<_>>::default());
        let host = Host { folder, protocol, seen: Arc::clone(&seen), reply: Box::new(reply) };
        let router = api.merge(Router::new().fallback(respond).with_state(Arc::new(host)));
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, seen }
    }

    /// Returns the host with its port, as connections name it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns the URL of a path at the host.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the requests for the repository so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the credentials that the host was sent so far.
    pub fn credentials(&self) -> Vec<String> {
        self.seen().into_iter().filter_map(|seen| seen.authorization).collect()
    }
}

fn anywhere() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn folder_of(source: &GitRepository) -> PathBuf {
    source.path().join(".git")
}

/// Returns a header `Authorization`, in plain text if it is basic.
pub fn authorization(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap();
    Some(match value.strip_prefix("Basic ") {
        Some(encoded) => format!("Basic {}", String::from_utf8(BASE64.decode(encoded).unwrap()).unwrap()),
        None => value.to_owned(),
    })
}

async fn respond(
    State(host): State<Arc<Host>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let seen = Seen { method, path: uri.path().to_owned(), authorization: authorization(&headers) };
    host.seen.lock().unwrap().push(seen.clone());
    let query = uri.query().unwrap_or_default();
    match (host.reply)(&seen) {
        Reply::Git => http_backend(&host, &host.folder, &seen, query, &headers, &body).await,
        Reply::GitWithoutHaves => {
            http_backend(&host, &host.folder, &seen, query, &headers, &without_haves(&body)).await
        }
        Reply::GitOf(folder) => http_backend(&host, &folder, &seen, query, &headers, &body).await,
        Reply::Redirect(url) => {
            let location = format!("{url}?{query}");
            Response::builder().status(302).header(header::LOCATION, location).body(Body::empty()).unwrap()
        }
        Reply::Other(response) => response.map(Body::from),
        Reply::Status(status) => {
            let challenge = (header::WWW_AUTHENTICATE, "Basic realm=\"git\"");
            Response::builder().status(status).header(challenge.0, challenge.1).body(Body::empty()).unwrap()
        }
    }
}

/// Leaves out the lines in which a client names what it has. The first four digits of each line are its length.
fn without_haves(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (body, Vec::new());
    while let Some(digits) = rest.get(..4) {
        let length = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap().max(4);
        let (line, others) = rest.split_at(length);
        if !line[4..].starts_with(b"have ") {
            kept.extend_from_slice(line);
        }
        rest = others;
    }
    kept
}

/// Runs git behind the part of the CGI interface of RFC 3875 that it uses.
async fn http_backend(
    host: &Host,
    folder: &Path,
    seen: &Seen,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    // Whatever its name in the path, the repository is the only one.
    let tail = ["/info/refs", "/git-upload-pack"].into_iter().find(|tail| seen.path.ends_with(tail));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", host.protocol.unwrap_or(header("git-protocol")))
        .env("REQUEST_METHOD", seen.method.as_str())
        .env("PATH_INFO", tail.unwrap_or_default())
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
