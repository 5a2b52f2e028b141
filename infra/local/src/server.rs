//! A loopback listener and the task that serves it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The maximum time that running requests may delay a shutdown.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// A server. It stops accepting when it is dropped; running requests still get their responses.
pub(crate) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Binds `address`. Port 0 takes a free one.
///
/// # Errors
///
/// Refuses any address but 127.0.0.1, because nothing behind it authenticates the caller.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() != Ipv4Addr::LOCALHOST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not on 127.0.0.1")));
    }
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            io::Error::new(
                error.kind(),
                format!("port {port} is in use; stop the program that listens there, or choose another port"),
            )
        }
        kind => io::Error::new(kind, format!("can't listen on {address}: {error}")),
    })
}

impl Server {
    /// Runs `serve` with the listener and a future that resolves when the server has to stop.
    pub(crate) fn start<F>(
        listener: TcpListener,
        serve: impl FnOnce(TcpListener, BoxFuture<'static, ()>) -> F,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        // A dropped sender also stops the server, so both outcomes mean that it stops.
        let stopped = Box::pin(async { drop(stopped.await) });
        Ok(Self { address, stop, task: tokio::spawn(serve(listener, stopped)) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, and waits at most five seconds until the running requests have ended. The port is free afterwards.
    pub(crate) async fn shutdown(self) {
        let Self { stop, mut task, .. } = self;
        drop(stop);
        if tokio::time::timeout(SHUTDOWN_LIMIT, &mut task).await.is_err() {
            task.abort();
            drop(task.await);
        }
    }
}
