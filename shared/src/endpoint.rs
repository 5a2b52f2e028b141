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

/// A route and what serves it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub route: Route,
    pub(crate) handler: BoxCloneSyncService<Request<Body>, Response, Infallible>,
    pub(crate) early: Option<Early>,
    pub(crate) calls_at_once: usize,
}

/// Finds what a path names before the handler is called.
pub(crate) type Early = for<'a> fn(&'a mut Parts, &'a App) -> BoxFuture<'a, ()>;

impl Endpoint {
    pub fn new<H, T, S>(route: Route, handler: H, state: S) -> Self
    where
        H: Handler<T, S>,
        T: Send + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let handler = BoxCloneSyncService::new(handler.with_state(state));
        // The limiter's and one of its own.
        Self { route, handler, early: None, calls_at_once: 2 }
    }

    /// How many calls of DynamoDB it makes at once, the limiter's among them, if not two. A list makes three, with its page
    /// and the total.
    pub fn calls_at_once(self, calls_at_once: usize) -> Self {
        Self { calls_at_once, ..self }
    }

    /// Finds the resource in the path while the limiter decides, on an endpoint that is not safe and whose handler has to
    /// wait for it.
    pub fn finds_early<T: Resource>(self) -> Self {
        Self { early: Some(|parts, app| Box::pin(find_early::<T>(parts, app))), ..self }
    }
}
