//! An endpoint: its [`Route`] and its handler.

use std::convert::Infallible;

use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::Request;
use http::request::Parts;
use tower::util::BoxCloneSyncService;

use crate::access::{Resource, find_early};
use crate::app::App;
use crate::route::Route;
use crate::scope::Access;

/// A route and its handler.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The contract by which the pipeline treats each request.
    pub route: Route,
    pub(crate) handler: BoxCloneSyncService<Request<Body>, Response, Infallible>,
    pub(crate) early: Option<Early>,
    /// The number of concurrent calls of DynamoDB, for which init opens connections.
    pub calls_at_once: usize,
}

/// Finds the resource in the path before the handler is called.
pub(crate) type Early = for<'a> fn(&'a mut Parts, &'a App) -> BoxFuture<'a, ()>;

impl Endpoint {
    /// Makes an endpoint whose handler gets `state`. Init opens as many connections as handlers of the route's method
    /// usually need at once: see [`Endpoint::calls_at_once`].
    pub fn new<H, T, S>(route: Route, handler: H, state: S) -> Self
    where
        H: Handler<T, S>,
        T: Send + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let handler = BoxCloneSyncService::new(handler.with_state(state));
        // The limiter's call and another one are concurrent: a safe handler's, or the read of the caller's current rows. A
        // list reads its page and its total at once. A public endpoint has no caller.
        let calls_at_once = match (route.access, route.list) {
            (Access::Public, _) => 1,
            (_, None) => 2,
            (_, Some(_)) => 3,
        };
        Self { route, handler, early: None, calls_at_once }
    }

    /// Sets the number of concurrent calls of DynamoDB, the limiter's among them, for an endpoint that does not make
    /// as many as others with its method do.
    pub fn calls_at_once(self, calls_at_once: usize) -> Self {
        Self { calls_at_once, ..self }
    }

    /// Finds the resource in the path while the limiter decides. Only an endpoint that is not safe needs this, because
    /// its handler waits for the limiter.
    pub fn finds_early<T: Resource>(self) -> Self {
        let early: Early = |parts, app| Box::pin(find_early::<T>(parts, app));
        Self { early: Some(early), calls_at_once: self.calls_at_once + 1, ..self }
    }
}
