//! The responses of the OpenAPI document that are no successes: errors, and 304.

use std::collections::BTreeMap;

use http::StatusCode;
use shared::Route;
use shared::access::{Access, Permission};
use shared::error::{ErrorCode, Origin};
use shared::model::Role;
use shared::route::{IdempotencyKeys, SignInAge};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

use super::headers;

/// The responses of operations, by their statuses.
pub(super) type Responses = BTreeMap<String, RefOr<Response>>;

const NOT_MODIFIED: &str = "NotModified";

/// Returns the components of the responses that several operations share: errors, and the usual 304. `codes` has the codes of each
/// operation.
pub(super) fn shared<'a>(codes: impl Iterator<Item = &'a Vec<ErrorCode>>) -> Responses {
    let mut counts = BTreeMap::<String, (usize, &[ErrorCode])>::new();
    for codes in codes.flat_map(|codes| by_status(codes)) {
        counts.entry(name(codes)).or_insert((0, codes)).0 += 1;
    }
    counts.retain(|_, (count, _)| *count > 1);
    let errors = counts.into_iter().map(|(name, (_, codes))| (name, error(codes).into()));
    let unchanged = not_modified(Route::get("", ""));
    errors.chain([(NOT_MODIFIED.to_owned(), unchanged.into())]).collect()
}

/// Returns the responses of an operation that are no successes. The operation refers to shared ones.
pub(super) fn of_operation(route: Route, codes: &[ErrorCode], shared: &Responses) -> Responses {
    let error = |codes: &[ErrorCode]| {
        let name = name(codes);
        let response = if shared.contains_key(&name) { refer_to(name) } else { error(codes).into() };
        (codes[0].status().as_str().to_owned(), response)
    };
    let unchanged = route.is_read().then(|| {
        let has_more_headers = route.following || route.deprecation.is_some();
        let response = if has_more_headers { not_modified(route).into() } else { refer_to(NOT_MODIFIED.to_owned()) };
        (StatusCode::NOT_MODIFIED.as_str().to_owned(), response)
    });
    by_status(codes).map(error).chain(unchanged).collect()
}

/// Returns the codes that an operation can answer with. An optional body is taken as it is, and what can be wrong with it is the
/// handler's.
pub(super) fn codes(route: Route) -> Vec<ErrorCode> {
    let follows = |code: ErrorCode| match code.origin() {
        Origin::Pipeline | Origin::Input => true,
        Origin::Authentication => route.access != Access::Public,
        Origin::Scope => matches!(route.access, Access::Scope(_)),
        Origin::SignIn => route.sign_in == SignInAge::Recent,
        Origin::Permission => {
            let in_repository = ["{repo_id}", "{deployment_id}"].iter().any(|name| route.path.contains(name));
            route.role > Role::Member || (in_repository && route.permission > Permission::Read)
        }
        Origin::Path => route.path.contains('{'),
        Origin::FormerName => route.is_read() && route.path.contains("{repo_id}"),
        Origin::Body => route.takes_body,
        Origin::Cursor => route.list.is_some(),
        Origin::Precondition => route.takes_if_match(),
        Origin::IdempotencyKey => route.idempotency != IdempotencyKeys::Ignored,
        Origin::Dependency => route.access != Access::Public || !route.is_safe(),
        // Each path has methods that the fallback refuses.
        Origin::Fallback => code == ErrorCode::MethodNotAllowed,
        Origin::Handler => false,
    };
    ErrorCode::ALL.into_iter().filter(|code| follows(*code) || route.refusals.contains(code)).collect()
}

fn by_status(codes: &[ErrorCode]) -> impl Iterator<Item = &[ErrorCode]> {
    codes.chunk_by(|a, b| a.status() == b.status())
}

/// Returns the name of the component with these codes, such as `NameTakenOrLimitReached`.
fn name(codes: &[ErrorCode]) -> String {
    codes.iter().map(|code| super::pascal_case(code.as_str())).collect::<Vec<_>>().join("Or")
}

fn refer_to(name: String) -> RefOr<Response> {
    Ref::from_response_name(name).into()
}

/// Returns the response with these codes, which have one status.
fn error(codes: &[ErrorCode]) -> Response {
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let reason = codes[0].status().canonical_reason().unwrap_or_default();
    let body = |schema: &str| Content::new(Some(Ref::from_schema_name(schema)));
    let mut response = ResponseBuilder::new()
        .description(format!("{reason}: `{}`", names.join("`, `")))
        .content("application/json", body("ErrorEnvelope"))
        .content("application/problem+json", body("Problem"))
        .build();
    response.headers = headers::of_error(codes);
    response
}

fn not_modified(route: Route) -> Response {
    let description = "Not Modified: the client has the answer already. There is no body";
    let mut response = Response::new(description);
    response.headers = headers::of_answer(StatusCode::NOT_MODIFIED, route);
    response
}
