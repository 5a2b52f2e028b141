//! A git host on this machine.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, Response, Uri};
use http::request::Parts;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::GitRepository;

/// Answers a request in place of git, or returns `None`.
type Answer = dyn Fn(&Method, &Uri) -> Option<Response<Body>> + Send + Sync;

/// A smart HTTP server of one repository: `git http-backend`. It lives as long as the runtime of the test.
pub struct GitServer {
    url: String,
}

struct Host {
    folder: PathBuf,
    protocol: Option<&'static str>,
    answer: Box<Answer>,
}

impl GitServer {
    /// Serves a repository.
    pub async fn start(repository: &GitRepository) -> Self {
        Self::answering(repository, |_, _| None).await
    }

    /// Serves the repository whose `.git` is this folder.
    pub async fn of_folder(folder: PathBuf) -> Self {
        Self::serve(folder, None, Box::new(|_, _| None)).await
    }

    /// Serves a repository whose git is told this about the protocol, whatever the client says.
    pub async fn speaking(repository: &GitRepository, protocol: &'static str) -> Self {
        Self::serve(folder_of(repository), Some(protocol), Box::new(|_, _| None)).await
    }

    /// Serves a repository, but answers some requests in another way.
    pub async fn answering(
        repository: &GitRepository,
        answer: impl Fn(&Method, &Uri) -> Option<Response<Body>> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(folder_of(repository), None, Box::new(answer)).await
    }

    async fn serve(folder: PathBuf, protocol: Option<&'static str>, answer: Box<Answer>) -> Self {
        let host = Arc::new(Host { folder, protocol, answer });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/app.git", listener.local_addr().unwrap());
        let router = Router::new().fallback(respond).with_state(host);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url }
    }

    /// Returns the clone URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn folder_of(repository: &GitRepository) -> PathBuf {
    repository.path().join(".git")
}

async fn respond(State(host): State<Arc<Host>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Some(answer) = (host.answer)(&parts.method, &parts.uri) {
        return answer;
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    http_backend(&host, &parts, body).await
}

/// Runs git behind the part of the CGI interface of RFC 3875 that it uses.
async fn http_backend(host: &Host, request: &Parts, body: Bytes) -> Response<Body> {
    let header = |name: &str| request.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let path = request.uri.path().strip_prefix("/app.git").unwrap_or("/");
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", &host.folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", host.protocol.unwrap_or(header("git-protocol")))
        .env("REQUEST_METHOD", request.method.as_str())
        .env("PATH_INFO", path)
        .env("QUERY_STRING", request.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&body).await.unwrap();
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(&value[..3]),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
