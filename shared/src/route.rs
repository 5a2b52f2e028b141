//! The contract of an endpoint: its paths, the authorization that it needs, its answers and its error codes.

use http::Method;
use jiff::civil::Date;

use crate::error::ErrorCode;
use crate::permission::{Permission, Role};
use crate::scope::{Access, Scope};
use crate::sort::Sort;

/// The contract of an endpoint, read by the gateway, the pipeline, the documentation and the templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The crate, the binary, the Lambda function and the sample event.
    pub function: &'static str,
    /// The HTTP method.
    pub method: &'static Method,
    /// API Gateway's form: `/v1/repositories/{repo_id}`, or `$default`.
    pub path: &'static str,
    /// Further paths that the endpoint answers on, for GET and HEAD. They may end in `{proxy+}`, which takes all segments that
    /// are left.
    pub also: &'static [&'static str],
    /// The content of the endpoint's responses.
    pub content: Content,
    /// The token and the scope that the endpoint needs.
    pub access: Access,
    /// The lowest role in the account that may call the endpoint.
    pub role: Role,
    /// The permission needed on the repository in the path, or on the repository of the deployment in the path.
    pub permission: Permission,
    pub(crate) linking: Linking,
    /// The age that the sign-in of a session may have.
    pub sign_in: SignInAge,
    /// Whether requests count against the rate limit.
    pub counting: Counting,
    /// Whether clients follow the resource: answers tell the interval to ask at, and a page after a position that has nothing
    /// new does not count against the plan.
    pub following: bool,
    pub(crate) without_limiter: WithoutLimiter,
    /// The query parameters that the endpoint takes besides those of its list.
    pub parameters: &'static [&'static str],
    /// Whether the endpoint requires a body. Its unknown parameters are told with what is wrong with the body.
    pub takes_body: bool,
    /// The list that the endpoint returns page by page, if any.
    pub list: Option<List>,
    /// The use of the resource's ETag.
    pub etag: Etag,
    /// The treatment of `Idempotency-Key`.
    pub idempotency: IdempotencyKeys,
    /// Whether a 201 carries the URL of the new resource in `Location`.
    pub location: bool,
    /// Whether a success sets or removes the cookie of a session.
    pub cookie: bool,
    /// The end of the endpoint, if it is decided.
    pub deprecation: Option<Deprecation>,
    /// The error codes that the handler itself returns. Those of the pipeline and the extractors follow from the other fields.
    pub refusals: &'static [ErrorCode],
}

/// The content of an endpoint's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// JSON for programs. The OpenAPI document describes it.
    Data,
    /// Pages and their assets for browsers, which are no part of the API's contract.
    Pages,
}

/// A list whose cursors are valid for no other list, and the sorts that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// The name in the list's cursors.
    pub name: &'static str,
    /// The values of `sort`, the default first.
    pub sorts: &'static [Sort],
}

impl List {
    /// The query parameters of every list.
    pub const PARAMETERS: [&str; 5] = ["page", "per_page", "sort", "direction", "cursor"];
}

/// The use that an endpoint makes of its resource's ETag, besides the ETag of every read for `If-None-Match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etag {
    /// Answers don't carry it. A change or a deletion is refused with `If-Match`, unless it is `*`.
    Unused,
    /// Successful answers carry it.
    Sent,
    /// The handler compares it with `If-Match`, and answers that show the resource carry it.
    Compared,
}

/// The treatment of `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdempotencyKeys {
    /// The endpoint does not look at it.
    Ignored,
    /// The pipeline claims the key before the handler, and repeats the response of the request that was carried out.
    ByPipeline,
    /// The handler claims the key.
    ByHandler,
}

/// The treatment of a valid OAuth2 token whose subject has no user yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// Refuses it.
    KnownOnly,
    /// Gives the handler the person who signed in.
    Newcomers,
}

/// The announced end of an endpoint, which every answer of the endpoint and the OpenAPI document tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// The day since which clients should not use the endpoint (RFC 9745).
    pub since: Date,
    /// The first day on which the endpoint may be gone (RFC 8594), at least a year later.
    pub sunset: Date,
    /// The page of the documentation that tells what to use, such as `/docs/guides/versions`.
    pub page: &'static str,
}

/// The age that the sign-in of a session may have. Requests with a token need none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInAge {
    /// Any age that the session itself may have.
    Any,
    /// At most fifteen minutes.
    Recent,
}

/// Whether requests count against the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// They count against the account, or without one against the source address.
    Counted,
    /// They count against the source address, apart from its requests without a valid token.
    BySource,
    /// They neither count nor are refused.
    Free,
}

/// The treatment of a request when DynamoDB does not answer the limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutLimiter {
    /// Fails open: reads change nothing.
    Admit,
    /// Fails closed: an uncounted request must not start work.
    Refuse,
}

impl Route {
    /// A read. It needs a token, counts, and is admitted when the limiter fails.
    pub const fn get(function: &'static str, path: &'static str) -> Self {
        const GET: &Method = &Method::GET;
        Self::new(function, GET, path, WithoutLimiter::Admit)
    }

    /// A write. It needs a token, counts, and is refused when the limiter fails.
    pub const fn post(function: &'static str, path: &'static str) -> Self {
        const POST: &Method = &Method::POST;
        Self::new(function, POST, path, WithoutLimiter::Refuse)
    }

    /// A change of an existing resource, with the defaults of [`Route::post`].
    pub const fn patch(function: &'static str, path: &'static str) -> Self {
        const PATCH: &Method = &Method::PATCH;
        Self::new(function, PATCH, path, WithoutLimiter::Refuse)
    }

    /// An idempotent write, with the defaults of [`Route::post`].
    pub const fn put(function: &'static str, path: &'static str) -> Self {
        const PUT: &Method = &Method::PUT;
        Self::new(function, PUT, path, WithoutLimiter::Refuse)
    }

    /// A deletion, with the defaults of [`Route::post`].
    pub const fn delete(function: &'static str, path: &'static str) -> Self {
        const DELETE: &Method = &Method::DELETE;
        Self::new(function, DELETE, path, WithoutLimiter::Refuse)
    }

    /// The route that the gateway takes, for any method, when no other route matches.
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
            also: &[],
            content: Content::Data,
            access: Access::Authenticated,
            role: Role::Member,
            permission: Permission::Read,
            linking: Linking::KnownOnly,
            sign_in: SignInAge::Any,
            counting: Counting::Counted,
            following: false,
            without_limiter,
            parameters: &[],
            takes_body: false,
            list: None,
            etag: Etag::Unused,
            idempotency: IdempotencyKeys::Ignored,
            location: false,
            cookie: false,
            deprecation: None,
            refusals: &[],
        }
    }

    /// Answers GET and HEAD on these paths too.
    pub const fn answers_on(mut self, paths: &'static [&'static str]) -> Self {
        self.also = paths;
        self
    }

    /// Returns pages for browsers. Their query strings are for scripts, so no parameter is refused, and a page may report a
    /// failure itself.
    pub const fn returns_pages(mut self) -> Self {
        self.content = Content::Pages;
        self
    }

    /// Requires the scope, and on a repository the permission that goes with it.
    pub const fn requires(mut self, scope: Scope) -> Self {
        self.access = Access::Scope(scope);
        self.permission = scope.permission();
        self
    }

    /// Requires this permission on the repository, which is higher than the one that goes with the scope.
    pub const fn needs(mut self, permission: Permission) -> Self {
        self.permission = permission;
        self
    }

    /// Requires at least this role.
    pub const fn by(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Requires no token.
    pub const fn public(mut self) -> Self {
        self.access = Access::Public;
        self
    }

    /// Admits people who signed in and belong to no account yet.
    pub const fn admits_newcomers(mut self) -> Self {
        self.linking = Linking::Newcomers;
        self
    }

    /// Requires of a session that its person has signed in recently, because the change outlives the session: a token, a role, an
    /// invitation, an application.
    pub const fn needs_recent_sign_in(mut self) -> Self {
        self.sign_in = SignInAge::Recent;
        self
    }

    /// Exempts requests from the rate limit.
    pub const fn free(mut self) -> Self {
        self.counting = Counting::Free;
        self
    }

    /// Exempts requests from the account's rate limit, and bounds them by source address.
    pub const fn counts_by_source(mut self) -> Self {
        self.counting = Counting::BySource;
        self
    }

    /// Tells clients when to ask again, and takes their position in the query parameter `after`.
    pub const fn follows(mut self) -> Self {
        self.following = true;
        self
    }

    /// Takes these query parameters. All others are refused.
    pub const fn takes(mut self, parameters: &'static [&'static str]) -> Self {
        self.parameters = parameters;
        self
    }

    /// Requires a body.
    pub const fn takes_body(mut self) -> Self {
        self.takes_body = true;
        self
    }

    /// Returns the list page by page.
    pub const fn lists(mut self, list: List) -> Self {
        self.list = Some(list);
        self
    }

    /// Sends the resource's ETag.
    pub const fn sends_etag(mut self) -> Self {
        self.etag = Etag::Sent;
        self
    }

    /// Compares the resource's ETag with `If-Match` in the write.
    pub const fn compares_etag(mut self) -> Self {
        self.etag = Etag::Compared;
        self
    }

    /// Takes `Idempotency-Key`: the pipeline repeats the response of the first request with a key.
    pub const fn takes_idempotency_key(mut self) -> Self {
        self.idempotency = IdempotencyKeys::ByPipeline;
        self
    }

    /// Takes `Idempotency-Key`, which the handler itself claims while it reads what it needs.
    pub const fn claims_idempotency_key(mut self) -> Self {
        self.idempotency = IdempotencyKeys::ByHandler;
        self
    }

    /// Sends the URL of the new resource in `Location`.
    pub const fn sends_location(mut self) -> Self {
        self.location = true;
        self
    }

    /// Sets or removes the cookie of a session.
    pub const fn sets_cookie(mut self) -> Self {
        self.cookie = true;
        self
    }

    /// Announces the end of the endpoint.
    pub const fn ends(mut self, deprecation: Deprecation) -> Self {
        self.deprecation = Some(deprecation);
        self
    }

    /// Declares the error codes that the handler itself returns.
    pub const fn refuses_with(mut self, codes: &'static [ErrorCode]) -> Self {
        self.refusals = codes;
        self
    }

    /// Returns the route key of API Gateway: `GET /v1/repositories`, or `$default`.
    pub fn key(&self) -> String {
        if self.path.starts_with('$') { self.path.to_owned() } else { format!("{} {}", self.method, self.path) }
    }

    /// Returns the methods that the gateway routes to the endpoint: a read answers `HEAD` too.
    pub fn methods(&self) -> impl Iterator<Item = &'static Method> {
        const HEAD: &Method = &Method::HEAD;
        [self.method].into_iter().chain(self.is_safe().then_some(HEAD))
    }

    /// Returns the route keys of all methods and paths.
    ///
    /// A path with a repository has a second form: an HTTP API decodes a path before it looks for a route, so that
    /// `acme%2Fapp` arrives as two segments. A repository whose name is that of a sub-resource, such as `deployments`, can't be
    /// reached by its full name: the path belongs to the sub-resource.
    pub fn keys(&self) -> Vec<String> {
        let is_fallback = self.path.starts_with('$');
        let by_full_name = self.path.replace("{repo_id}", "{repo_id}/{repo_name}");
        let path = (!is_fallback).then_some(self.path);
        let second = (by_full_name != self.path).then_some(by_full_name.as_str());
        let paths: Vec<&str> = path.into_iter().chain(second).chain(self.also.iter().copied()).collect();
        let keys = self.methods().flat_map(|method| paths.iter().map(move |path| format!("{method} {path}")));
        is_fallback.then(|| self.key()).into_iter().chain(keys).collect()
    }

    /// Returns the path of a list with those parameters of a query string that are the list's own, for links.
    pub fn path_with_filters(&self, query: Option<&str>) -> String {
        let given = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let kept = given.filter(|(name, _)| self.parameters.contains(&&**name));
        match form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish() {
            kept if kept.is_empty() => self.path.to_owned(),
            kept => format!("{}?{kept}", self.path),
        }
    }

    /// Returns the query parameters of the endpoint, or `None` for the fallback and for pages, which have no contract.
    pub(crate) fn query_parameters(&self) -> Option<impl Iterator<Item = &'static str> + Clone> {
        let of_list = self.list.map_or(&[][..], |_| &List::PARAMETERS);
        let has_contract = self.content == Content::Data && !self.path.starts_with('$');
        has_contract.then(|| of_list.iter().chain(self.parameters).copied())
    }

    /// Returns whether the endpoint takes `If-Match`: each one that changes or deletes what exists.
    pub fn takes_if_match(&self) -> bool {
        [Method::PATCH, Method::DELETE].contains(self.method)
    }

    /// Returns whether the handler only reads, so that it may run while the limiter decides.
    pub fn is_safe(&self) -> bool {
        self.method.is_safe()
    }

    /// Returns whether the endpoint reads a resource or a list. The fallback, which takes any method, does not.
    pub fn is_read(&self) -> bool {
        self.is_safe() && !self.path.starts_with('$')
    }
}
