//! The headers of responses.

use std::collections::{BTreeMap, BTreeSet};

use http::{Method, StatusCode};
use shared::Route;
use shared::access::Access;
use shared::error::ErrorCode;
use shared::route::{Etag, IdempotencyKeys};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{Header, HeaderBuilder, Object, Ref, RefOr, Response};

/// The headers of every response.
const COMMON: [&str; 6] = [
    "X-Request-Id",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
];

const TOKEN_EXPIRES_AT: &str = "X-Token-Expires-At";

/// The headers of the document, each with its type and its description.
const HEADERS: [(&str, Type, &str); 18] = [
    ("X-Request-Id", Type::String, "The ID of the request. Quote it when you contact support"),
    ("X-RateLimit-Limit", Type::Integer, "The number of requests that the plan allows in a minute"),
    ("X-RateLimit-Remaining", Type::Integer, "The number of requests left in this minute"),
    ("X-RateLimit-Reset", Type::Integer, "The time at which this minute ends, in seconds since the Unix epoch"),
    ("RateLimit-Policy", Type::String, "Both limits, in the form of draft-ietf-httpapi-ratelimit-headers"),
    (
        "RateLimit",
        Type::String,
        "The requests left of both limits, in the form of draft-ietf-httpapi-ratelimit-headers",
    ),
    ("Allow", Type::String, "The methods that the path takes, separated by commas"),
    ("Deprecation", Type::String, "The day since which the endpoint should not be used (RFC 9745)"),
    (
        "ETag",
        Type::String,
        "The version of the answer, for `If-None-Match`. One without `W/` is for `If-Match` too, in a change or a deletion of the resource",
    ),
    (
        "Idempotent-Replayed",
        Type::Boolean,
        "True if the response is that of an earlier request with the same `Idempotency-Key`",
    ),
    (
        "Link",
        Type::String,
        "Links to the first, previous, next and last page (RFC 8288), and `rotate`; see `X-Token-Expires-At`",
    ),
    ("Location", Type::String, "The URL of the new resource, of a repository that has another name now, or of a file"),
    ("Retry-After", Type::Integer, "The number of seconds until a retry can succeed"),
    (
        "Set-Cookie",
        Type::String,
        "The cookie `__Host-session` of the new session, or the removal of that of the ended one",
    ),
    ("Sunset", Type::String, "The day from which on the endpoint may be gone (RFC 8594)"),
    ("WWW-Authenticate", Type::String, "The authentication challenge (RFC 6750)"),
    (
        "X-Poll-Interval",
        Type::Integer,
        "The number of seconds until asking again makes sense: 0 if there is more to read already. Absent once the deployment has ended and nothing follows",
    ),
    (
        TOKEN_EXPIRES_AT,
        Type::String,
        "The time at which the request's token expires. Absent without a token, and for a permanent one. In the token's last 14 days, `Link` has the relation `rotate` to the endpoint that issues a new secret",
    ),
];

/// The references of a response to its headers.
pub(super) type References = BTreeMap<String, RefOr<Header>>;

/// Returns the headers that these responses have, by their names.
pub(super) fn used(responses: impl Iterator<Item = RefOr<Response>>) -> References {
    let names = responses.flat_map(|response| match response {
        RefOr::T(response) => response.headers,
        RefOr::Ref(_) => References::new(),
    });
    let used: BTreeSet<String> = names.map(|(name, _)| name).collect();
    let described = HEADERS.into_iter().filter(|(name, ..)| used.contains(*name));
    let header = |kind: Type, text: &str| {
        HeaderBuilder::new().schema(Some(Object::with_type(kind))).description(Some(text)).build()
    };
    described.map(|(name, kind, text)| (name.to_owned(), header(kind, text).into())).collect()
}

/// Returns the headers of a response that is no error.
pub(super) fn of_answer(status: StatusCode, route: Route) -> References {
    let mut names = COMMON.to_vec();
    let mut add = |name, has: bool| names.extend(has.then_some(name));
    add(TOKEN_EXPIRES_AT, route.access != Access::Public);
    add("Link", status == StatusCode::OK && route.list.is_some() || route.deprecation.is_some());
    let shows_resource = route.etag != Etag::Unused && *route.method != Method::DELETE;
    add("ETag", status == StatusCode::NOT_MODIFIED || status.is_success() && (route.is_read() || shows_resource));
    add("X-Poll-Interval", route.following && [StatusCode::OK, StatusCode::NOT_MODIFIED].contains(&status));
    add("Location", status == StatusCode::FOUND || status == StatusCode::CREATED && route.location);
    add("Idempotent-Replayed", status.is_success() && route.idempotency != IdempotencyKeys::Ignored);
    add("Set-Cookie", status.is_success() && route.cookie);
    add("Deprecation", route.deprecation.is_some());
    add("Sunset", route.deprecation.is_some());
    references(names)
}

/// Returns the headers of an error, which don't depend on the operation. All of these codes have one status.
pub(super) fn of_error(codes: &[ErrorCode]) -> References {
    let (mut names, status) = (COMMON.to_vec(), codes[0].status());
    let mut add = |name, has: bool| names.extend(has.then_some(name));
    add("Allow", status == StatusCode::METHOD_NOT_ALLOWED);
    add(TOKEN_EXPIRES_AT, status != StatusCode::METHOD_NOT_ALLOWED);
    add("Location", status == StatusCode::MOVED_PERMANENTLY);
    add("WWW-Authenticate", [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status));
    add("Retry-After", codes.iter().any(|code| ends(*code)));
    references(names)
}

/// Returns whether the API knows how long the reason for a refusal lasts.
fn ends(code: ErrorCode) -> bool {
    let of_conflicts = [ErrorCode::BuildMinutesExhausted, ErrorCode::EnvironmentFrozen, ErrorCode::IdempotencyKeyInUse];
    [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&code.status())
        || of_conflicts.contains(&code)
}

fn references(names: Vec<&'static str>) -> References {
    let reference = |name: &str| (name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))));
    names.into_iter().map(reference).collect()
}
