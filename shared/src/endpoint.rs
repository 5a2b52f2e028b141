//! An endpoint: its route with the permission that it needs, and its handler.

use std::convert::Infallible;

use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Method, Request};
use tower::util::BoxCloneSyncService;

use crate::access::{Access, Permission, Resource, Scope, find_early};
use crate::app::App;
use crate::error::ErrorCode;
use crate::model::Role;

/// What the gateway, the pipeline, the documentation and the templates need to know of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The crate, the binary, the Lambda function and the sample event.
    pub function: &'static str,
    pub method: &'static Method,
    /// API Gateway's form: `/v1/repositories/{repo_id}`, or `$default`.
    pub path: &'static str,
    pub access: Access,
    /// The least role in the account that may call it.
    pub role: Role,
    /// What it needs on the repository in its path, or the one of the deployment there.
    pub permission: Permission,
    pub linking: Linking,
    pub counting: Counting,
    pub without_limiter: WithoutLimiter,
    /// The codes of the handler's own. Those of the pipeline and the extractors follow from the rest.
    pub refusals: &'static [ErrorCode],
}

/// What happens to a valid OAuth2 token whose subject is nobody yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// It is refused. Only one function may write users and identities.
    KnownOnly,
    /// It becomes a user, if an account takes it.
    FirstUse,
}

/// Whether requests count against the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    Counted,
    Free,
}

/// What happens to a request when the limiter can't tell, because DynamoDB does not answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutLimiter {
    /// Open: reads change nothing.
    Admit,
    /// Closed: what can't be counted must not start work.
    Refuse,
}

impl Route {
    /// A read: needs a token, counts, and stays open when the limiter fails.
    pub const fn get(function: &'static str, path: &'static str) -> Self {
        const GET: &Method = &Method::GET;
        Self::new(function, GET, path, WithoutLimiter::Admit)
    }

    /// A write: needs a token, counts, and is refused when the limiter fails.
    pub const fn post(function: &'static str, path: &'static str) -> Self {
        const POST: &Method = &Method::POST;
        Self::new(function, POST, path, WithoutLimiter::Refuse)
    }

    /// A change of what exists: as [`Route::post`].
    pub const fn patch(function: &'static str, path: &'static str) -> Self {
        const PATCH: &Method = &Method::PATCH;
        Self::new(function, PATCH, path, WithoutLimiter::Refuse)
    }

    /// A write that can be repeated: as [`Route::post`].
    pub const fn put(function: &'static str, path: &'static str) -> Self {
        const PUT: &Method = &Method::PUT;
        Self::new(function, PUT, path, WithoutLimiter::Refuse)
    }

    /// A removal: as [`Route::post`].
    pub const fn delete(function: &'static str, path: &'static str) -> Self {
        const DELETE: &Method = &Method::DELETE;
        Self::new(function, DELETE, path, WithoutLimiter::Refuse)
    }

    /// What the gateway sends when no other route matches, whatever the method.
    pub const fn fallback(function: &'static str) -> Self {
        Self::get(function, "$default")
    }

    const fn new(
        function: &'static str,
        method: &'static Method,
        path: &'static str,
        without_limiter: WithoutLimiter,
    ) -> Self {
        Self {
            function,
            method,
            path,
            access: Access::Authenticated,
            role: Role::Member,
            permission: Permission::Read,
            linking: Linking::KnownOnly,
            counting: Counting::Counted,
            without_limiter,
            refusals: &[],
        }
    }

    /// Needs the scope, and on a repository the permission that goes with it.
    pub const fn requires(mut self, scope: Scope) -> Self {
        self.access = Access::Scope(scope);
        self.permission = scope.permission();
        self
    }

    /// Is only for callers of at least this role.
    pub const fn by(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Needs no token.
    pub const fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    /// Makes a user of who comes with an OAuth2 token for the first time.
    pub const fn links_subjects(mut self) -> Self {
        self.linking = Linking::FirstUse;
        self
    }

    /// Does not count against the rate limit.
    pub const fn free(mut self) -> Self {
        self.counting = Counting::Free;
        self
    }

    /// Says which codes the handler answers with.
    pub const fn refuses_with(mut self, codes: &'static [ErrorCode]) -> Self {
        self.refusals = codes;
        self
    }

    /// The route as API Gateway names it: `GET /v1/repositories`, or `$default`.
    pub fn key(&self) -> String {
        if self.path.starts_with('$') { self.path.to_owned() } else { format!("{} {}", self.method, self.path) }
    }

    /// That key, and a second one if a repository is in the path: an HTTP API decodes a path before it looks for a
    /// route, so that `acme%2Fapp` arrives as two segments. (Only a repository that is called like a resource of
    /// repositories, `deployments`, can't be reached by its full name: that path is the resource's.)
    pub fn keys(&self) -> Vec<String> {
        let key = self.key();
        let by_full_name = key.contains("{repo_id}").then(|| key.replace("{repo_id}", "{repo_id}/{repo_name}"));
        [key].into_iter().chain(by_full_name).collect()
    }

    /// Whether the handler only reads, so that it may run while the limiter decides.
    pub fn is_safe(&self) -> bool {
        self.method.is_safe()
    }
}

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
