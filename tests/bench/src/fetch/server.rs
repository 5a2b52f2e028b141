//! `git http-backend` behind HTTP on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, header};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::repository;
use crate::Result;

/// The maximum size of a request.
const MAX_BYTES: usize = 1024 * 1024;

/// A server of the repositories in a folder.
pub(super) struct Server(SocketAddr);

impl Server {
    pub(super) async fn start(root: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(serve).with_state(root.to_owned());
        tokio::spawn(async { axum::serve(listener, router).await });
        Ok(Self(address))
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.0)
    }
}

async fn serve(State(root): State<PathBuf>, request: Request) -> Response<Body> {
    backend(&root, request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error.to_string()));
        *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Runs git behind the part of the CGI interface of RFC 3875 that it uses.
async fn backend(root: &Path, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, MAX_BYTES).await?;
    let mut child = Command::from(repository::git())
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", text(&parts.headers, "git-protocol"))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(&parts.headers, "content-type"))
        .env("HTTP_CONTENT_ENCODING", text(&parts.headers, "content-encoding"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("it is piped").write_all(&body).await?;
    let output = child.wait_with_output().await?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").ok_or("git http-backend has no head")?;
    let head = std::str::from_utf8(&output[..end])?;
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").ok_or("git http-backend has a bad header")?;
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or_default().parse::<u16>()?),
            name => response.header(name, value),
        };
    }
    let body = Bytes::from(output).slice(end + 4..);
    Ok(response.header(header::CONTENT_LENGTH, body.len()).body(Body::from(body))?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
