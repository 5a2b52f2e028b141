//! A git host that serves one repository to whoever has its password, so that the demo has a private repository.
//!
//! It runs `git http-backend`. A stack on another machine would name a host such as GitHub instead.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use shared::InitError;
use subtle::ConstantTimeEq;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::server::Server;
use crate::{data, server};

/// The file of the password in the data folder.
const FILE: &str = "git-host-password";
/// The user name that goes with the password.
const USER: &str = "demo";
/// The requests that a client makes to read a repository.
const TAILS: [&str; 2] = ["/info/refs", "/git-upload-pack"];

/// A running git host. Dropping it stops it.
pub struct GitHost {
    server: Server,
    password: String,
}

struct Host {
    repository: PathBuf,
    authorization: String,
}

impl GitHost {
    /// Listens on `address`, which must be on 127.0.0.1, and serves the repository at `repository`. Keeps the password in the data
    /// folder.
    ///
    /// # Errors
    /// Fails if the address can't be bound, or the file in the data folder can't be used.
    pub async fn start(address: SocketAddr, data: &Path, repository: &Path) -> Result<Self, InitError> {
        let password = data::ensure_private(&data.join(FILE), || {
            let mut bytes = [0u8; 32];
            getrandom::fill(&mut bytes)?;
            Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes).into_bytes())
        })?;
        let password = String::from_utf8(password)?;
        let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{password}")));
        let host = Arc::new(Host { repository: repository.to_owned(), authorization });
        let app = Router::new().fallback(serve).with_state(host);
        let server = Server::start(server::bind(address).await?, |listener, stop| async {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "the git host stopped");
            }
        })?;
        Ok(Self { server, password })
    }

    /// Returns the host with its port.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// Returns the URL of the repository.
    #[must_use]
    pub fn clone_url(&self) -> String {
        format!("{}/demo/private-demo.git", self.server.endpoint())
    }

    /// Returns the user name and the password that the host asks for.
    #[must_use]
    pub fn credential(&self) -> (&str, &str) {
        (USER, &self.password)
    }

    /// Stops listening, and waits at most five seconds for running requests.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

async fn serve(
    State(host): State<Arc<Host>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    if !bool::from(given.ct_eq(host.authorization.as_bytes())) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"demo\"")]).into_response();
    }
    let Some(tail) = TAILS.into_iter().find(|tail| uri.path().ends_with(tail)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = http_backend(&host.repository, tail, &method, uri.query().unwrap_or_default(), &headers, &body).await;
    answer.unwrap_or_else(|error| {
        tracing::error!(error = &*error, "git http-backend failed");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// Runs git behind the part of the CGI interface of RFC 3875 that it uses.
async fn http_backend(
    repository: &Path,
    tail: &str,
    method: &Method,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, InitError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let folder = if repository.join(".git").exists() { "/.git" } else { "" };
    let mut child = Command::new("git")
        // The repository may belong to another user, as a mounted one does.
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", repository)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", format!("{folder}{tail}"))
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().ok_or("git has no input")?.write_all(body).await?;
    let output = child.wait_with_output().await?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").ok_or("git gave no header")?;
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end])?.lines() {
        let (name, value) = line.split_once(": ").ok_or("git gave a header without a value")?;
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or_default()),
            _ => response.header(name, value),
        };
    }
    Ok(response.body(Body::from(output[end + 4..].to_vec()))?)
}
