//! An embedded SQS: standard queues with visibility timeouts, long polling and redrive, in memory.
//!
//! A waiting receive gets a message as soon as it is sent. The engine checks visibility timeouts once a second, so a
//! message whose timeout ends reaches waiting receives up to a second later.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use rustack_sqs_core::config::SqsConfig;
use rustack_sqs_core::handler::RustackSqsHandler;
use rustack_sqs_core::provider::RustackSqs;
use rustack_sqs_http::dispatch::SqsHandler;
use rustack_sqs_http::response::error_to_response;
use rustack_sqs_http::router::resolve_operation;
use uuid::Uuid;

use crate::server::Server;
use crate::{ACCOUNT_ID, REGION, server};

/// A running SQS. Dropping it stops it, and its queues and messages are gone.
pub struct Sqs {
    server: Server,
    queues: Arc<RustackSqs>,
}

impl Sqs {
    /// Listens on `address`, which must be on 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if the address can't be bound.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = server::bind(address).await?;
        let address = listener.local_addr()?;
        let queues = Arc::new(RustackSqs::new(SqsConfig {
            skip_signature_validation: true,
            default_region: REGION.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
            host: address.ip().to_string(),
            port: address.port(),
        }));
        let handler = Arc::new(RustackSqsHandler::new(Arc::clone(&queues)));
        let app = Router::new().fallback(handle).with_state(handler);
        let server = Server::start(listener, |listener, stop| async {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "SQS stopped");
            }
        })?;
        Ok(Self { server, queues })
    }

    /// Returns the endpoint URL for an SDK client, such as `http://127.0.0.1:49152`. Queue URLs start with it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Ends the waiting receives, and stops listening. All messages are lost.
    pub async fn shutdown(self) {
        self.queues.shutdown_all().await;
        self.server.shutdown().await;
    }
}

async fn handle(State(handler): State<Arc<RustackSqsHandler>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let response = match resolve_operation(&headers) {
        Ok(operation) => handler.handle_operation(operation, body).await,
        Err(error) => Err(error),
    };
    response.unwrap_or_else(|error| error_to_response(&error, &Uuid::new_v4().to_string())).map(Body::new)
}
