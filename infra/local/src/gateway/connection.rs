//! Serves the gateway's connections.
//!
//! The HTTP server answers a request that it can't read before the gateway sees it, with an empty body. A [`Connection`]
//! gives such an answer the headers and the body that the gateway gives its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::{REQUEST_ID, refusal_body, request_id};

/// The maximum number of headers. HTTP APIs limit only the size of their values; this limits the memory for their names.
const MAX_HEADERS: usize = 1000;
/// The pause after a connection could not be accepted, for example because the process has too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Serves connections until `stop` resolves, and then answers the requests that have arrived.
pub(super) async fn serve(listener: TcpListener, app: Router, mut stop: BoxFuture<'static, ()>) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_headers(MAX_HEADERS);
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "a connection to the gateway could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(app.clone().layer(Extension::<SocketAddr>(peer)));
        let connection = builder.serve_connection(TokioIo::new(Connection::new(stream)), service).into_owned();
        let connection = connections.watch(connection);
        // A client that breaks its connection is no fault of the gateway.
        tokio::spawn(async { drop(connection.await) });
    }
    drop(listener);
    connections.shutdown().await;
}

/// A connection to a client.
struct Connection {
    stream: TcpStream,
    /// The answer that replaces the server's own, as far as it is not written yet.
    replaced: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, replaced: Vec::new() }
    }

    fn poll_replaced(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.replaced.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.replaced))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.replaced.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_replaced(context))?;
        match replacement(bytes) {
            Some(replaced) => {
                self.replaced = replaced;
                Poll::Ready(Ok(bytes.len()))
            }
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_replaced(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_replaced(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Returns the gateway's answer if `bytes` are an answer of the server's own: a refusal that is empty and, unlike all
/// answers of the gateway, has no request id.
fn replacement(bytes: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = b"HTTP/1.1 ";
    const EMPTY: &str = "content-length: 0\r\n";
    let status = StatusCode::from_bytes(bytes.strip_prefix(START)?.get(..3)?).ok()?;
    if !status.is_client_error() {
        return None;
    }
    let (_, headers) = str::from_utf8(bytes).ok()?.split_once("\r\n")?;
    if !headers.contains(EMPTY) || !headers.ends_with("\r\n\r\n") || headers.contains(REQUEST_ID.as_str()) {
        return None;
    }
    // An HTTP API has one limit for the request line and the headers.
    let status = match status {
        StatusCode::URI_TOO_LONG => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        status => status,
    };
    let (body, id) = (refusal_body(status), request_id());
    let length = body.len();
    let own = format!("content-type: application/json\r\ncontent-length: {length}\r\n{REQUEST_ID}: {id}\r\n");
    Some(format!("HTTP/1.1 {status}\r\n{}{body}", headers.replacen(EMPTY, &own, 1)).into_bytes())
}
