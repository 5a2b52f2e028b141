//! The OpenAPI document: the operations of the endpoints, completed by their routes and by the table of error codes.

mod examples;
mod links;
mod order;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use shared::Route;
use shared::access::{Access, Permission};
use shared::body::WebhookEventBody;
use shared::envelope::{ErrorEnvelope, Problem};
use shared::error::{ErrorCode, Origin};
use shared::model::Role;
use shared::route::{Etag, IdempotencyKeys, SignInAge};
use utoipa::OpenApi as _;

use self::order::Order;
use crate::functions::{FUNCTIONS, Trigger};
use crate::path_parameter;

/// The headers of every response.
const COMMON_HEADERS: [&str; 6] = [
    "X-Request-Id",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
];

/// The name of the response that every path has for other methods than those of its operations.
const METHOD_NOT_ALLOWED: &str = "MethodNotAllowed";

#[derive(utoipa::OpenApi)]
#[openapi(
    components(schemas(ErrorEnvelope, Problem, WebhookEventBody)),
    tags(
        (name = "Repositories", description = "The git repositories of an account"),
        (name = "Connections", description = "Credentials for git hosts, with which private repositories are read"),
        (name = "Deployments", description = "Builds of a commit in an environment, with their status, events and log"),
        (name = "Tokens", description = "Personal access tokens. Users see their own; owners and admins see all tokens of the account"),
        (name = "Sessions", description = "Sessions of the dashboard, which browsers have in the place of a token"),
        (name = "Teams", description = "Groups of members that share permissions on repositories"),
        (name = "Account", description = "The account's settings, which apply to all of its members"),
        (name = "Members", description = "The users of the account, and the invitations to it"),
        (name = "Applications", description = "OAuth2 clients that act for the account with client credentials"),
        (name = "Variables", description = "Variables of accounts, repositories and environments, which builds get"),
        (name = "Hooks", description = "Hooks of repositories, to which git hosts send pushes and programs their wishes to deploy"),
        (name = "Webhooks", description = "URLs to which the account's events are sent"),
        (name = "Trusts", description = "Trust in the tokens of issuers, such as those of continuous integration, which are exchanged for tokens of this API"),
        (name = "Environments", description = "The targets of deployments, each with its live deployment, its queue and its settings"),
        (name = "API", description = "The API itself"),
    ),
    info(
        title = "The .git API",
        description = "Repositories, deployments and team resources. Send a token as `Authorization: Bearer <token>`.\n\n\
            `HEAD` works wherever `GET` does, and returns the status and the headers of `GET` without a body. Every successful \
            `GET` returns an `ETag`. Send it in `If-None-Match`: while the answer is the same, the API returns 304 without a \
            body, and the request does not count against the rate limit of the plan. Each `PATCH` and `DELETE` takes the `ETag` of \
            the resource in `If-Match`, and is refused with 412 `precondition_failed` if somebody else has changed the resource.\n\n\
            A path that does not exist returns 404 `not_found`. A method that the path does not support returns 405 \
            `method_not_allowed`. Both have the error envelope and the headers of every response.",
        version = "1",
        contact(name = "Documentation and support", url = "https://api.git.dev/docs"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "https://api.git.dev")),
    external_docs(url = "https://api.git.dev/docs", description = "Guides, the reference and every error code"),
)]
struct Api;

/// Returns the document as it is served.
///
/// # Panics
/// Panics if an endpoint's documentation does not have the operation of its route, or a path parameter is not declared.
pub fn document() -> Value {
    assemble().0
}

/// Returns the document and the order of its properties.
fn assemble() -> (Value, Order) {
    let mut document = Api::openapi();
    let mut documented = Vec::new();
    for function in FUNCTIONS {
        if let Trigger::Http { route, documentation: Some(documentation), .. } = function.trigger {
            document.merge(documentation());
            documented.push(route);
        }
    }
    let order = Order::of(&document);
    let mut document = serde_json::to_value(document).expect("a document is plain data");
    document["components"]["securitySchemes"] = json!({
        // Two schemes would make generated clients send the header twice.
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "Takes one of three tokens:\n\n\
                - a personal access token (`dgp_…`). It expires after 90 days unless it is permanent.\n\
                - a token that a trust issued (`dgt_…`), from `POST /v1/token`. It expires after an hour.\n\
                - an OAuth2 access token (RFC 9068, or Amazon Cognito's) of the identity provider that the API trusts. A new \
                user joins an account with `POST /v1/user/join` first.\n\n\
                The dashboard has neither. Its browser has a session, which `POST /v1/session` makes, and sends the cookie \
                `__Host-session`. The cookie counts only in requests without `Authorization` that come from the API's own origin.",
        },
    });
    document["components"]["headers"] = headers();
    document["components"]["responses"] = json!({METHOD_NOT_ALLOWED: method_not_allowed()});
    for form in ["ErrorBody", "Problem"] {
        let code = &mut document["components"]["schemas"][form]["properties"]["code"];
        code["enum"] = ErrorCode::ALL.map(ErrorCode::as_str).to_vec().into();
        code["description"] = meanings().into();
    }
    refer_to_components(&mut document);
    for route in &documented {
        let method = route.method.as_str().to_lowercase();
        let operation = document["paths"][route.path].get_mut(method);
        complete(operation.unwrap_or_else(|| panic!("{} does not document its route", route.function)), *route);
    }
    document["webhooks"] = webhooks();
    links::add(&mut document, &documented);
    examples::add(&mut document, &documented);
    (document, order)
}

/// Returns the document as it is checked in.
pub fn text() -> String {
    let (document, order) = assemble();
    let text = serde_json::to_string_pretty(&order.apply(&document)).expect("a document is plain data");
    format!("{text}\n")
}

/// Adds to an operation the parts that follow from its route.
fn complete(operation: &mut Value, route: Route) {
    operation["operationId"] = route.function.into();
    if route.deprecation.is_some() {
        operation["deprecated"] = true.into();
    }
    operation["security"] = match route.access {
        Access::Public => json!([]),
        Access::Authenticated => json!([{"bearer": []}]),
        // OpenAPI 3.1 lets a bearer scheme list the required roles.
        Access::Scope(scope) => json!([{"bearer": [scope.as_str()]}]),
    };
    if let Some(body) = operation.get_mut("requestBody") {
        tell_optional(body);
    }
    let codes: Vec<_> = ErrorCode::ALL.into_iter().filter(|code| answers_with(*code, route, operation)).collect();
    let declared = operation["parameters"].as_array().cloned().unwrap_or_default();
    let parameters: Vec<Value> =
        path_parameters(route).chain(declared).chain(idempotency_key(route)).chain(conditions(route)).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(list) = route.list {
        let mut parameters = operation["parameters"].as_array_mut().expect("lists have parameters").iter_mut();
        let sort = parameters.find(|parameter| parameter["name"] == "sort").expect("lists have a sort");
        sort["schema"]["enum"] = json!(list.sorts);
        sort["schema"]["default"] = json!(list.sorts[0]);
    }
    let responses = operation["responses"].as_object_mut().expect("every operation has a response");
    for of_status in codes.chunk_by(|a, b| a.status() == b.status()) {
        responses.insert(of_status[0].status().as_str().to_owned(), error_response(of_status));
    }
    if route.is_read() {
        let description = "Not Modified: the client has the answer already. There is no body";
        responses.insert(StatusCode::NOT_MODIFIED.as_str().to_owned(), json!({"description": description}));
    }
    for (status, response) in responses {
        let status: StatusCode = status.parse().expect("a response's key is its status");
        if response["description"].is_null() {
            response["description"] = status.canonical_reason().into();
        }
        response["headers"] = header_references(header_names(status, route));
    }
    let shared = json!({"$ref": format!("#/components/responses/{METHOD_NOT_ALLOWED}")});
    operation["responses"][StatusCode::METHOD_NOT_ALLOWED.as_str()] = shared;
}

/// Returns the response to a request with a method that its path does not take.
fn method_not_allowed() -> Value {
    let mut response = error_response(&[ErrorCode::MethodNotAllowed]);
    response["headers"] = header_references(COMMON_HEADERS.into_iter().chain(["Allow"]));
    response
}

/// Says of an optional body that it may be left out, and not that it may be null.
fn tell_optional(body: &mut Value) {
    body["required"] = (body["required"] == true).into();
    for media_type in body["content"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some([schema, null]) = media_type["schema"]["oneOf"].as_array().map(Vec::as_slice)
            && null["type"] == "null"
        {
            media_type["schema"] = schema.clone();
        }
    }
}

/// Returns the headers of a response, each as a reference to its description.
fn header_references(names: impl IntoIterator<Item = &'static str>) -> Value {
    let reference = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.into_iter().map(reference).collect::<Map<_, _>>().into()
}

/// Returns whether an operation can answer with a code.
fn answers_with(code: ErrorCode, route: Route, operation: &Value) -> bool {
    // An optional body is taken as it is, and what can be wrong with it is the handler's.
    let has_body = operation.pointer("/requestBody/required") == Some(&json!(true));
    let follows = match code.origin() {
        Origin::Pipeline => true,
        Origin::Authentication => route.access != Access::Public,
        Origin::Scope => matches!(route.access, Access::Scope(_)),
        Origin::SignIn => route.sign_in == SignInAge::Recent,
        Origin::Permission => {
            let in_repository = ["{repo_id}", "{deployment_id}"].iter().any(|name| route.path.contains(name));
            route.role > Role::Member || (in_repository && route.permission > Permission::Read)
        }
        Origin::Path => route.path.contains('{'),
        Origin::FormerName => route.is_read() && route.path.contains("{repo_id}"),
        Origin::Input => true,
        Origin::Body => has_body,
        Origin::Cursor => route.list.is_some(),
        Origin::Precondition => route.takes_if_match(),
        Origin::IdempotencyKey => route.idempotency != IdempotencyKeys::Ignored,
        Origin::Dependency => route.access != Access::Public || !route.is_safe(),
        Origin::Handler | Origin::Fallback => false,
    };
    follows || route.refusals.contains(&code)
}

/// Returns the names of the headers that a response has.
fn header_names(status: StatusCode, route: Route) -> Vec<&'static str> {
    let mut names = COMMON_HEADERS.to_vec();
    let mut add = |name, has: bool| names.extend(has.then_some(name));
    add("X-Token-Expires-At", route.access != Access::Public);
    add("Link", status == StatusCode::OK && route.list.is_some());
    let shows_resource = route.etag != Etag::Unused && *route.method != Method::DELETE;
    add("ETag", status == StatusCode::NOT_MODIFIED || status.is_success() && (route.is_read() || shows_resource));
    add("X-Poll-Interval", route.following && [StatusCode::OK, StatusCode::NOT_MODIFIED].contains(&status));
    let is_redirect = [StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND].contains(&status);
    add("Location", is_redirect || status == StatusCode::CREATED && route.location);
    add("Idempotent-Replayed", status.is_success() && route.idempotency != IdempotencyKeys::Ignored);
    add("Set-Cookie", status.is_success() && route.cookie);
    add("WWW-Authenticate", [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status));
    add("Retry-After", [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status));
    names
}

/// Returns the response for codes that have one status.
fn error_response(codes: &[ErrorCode]) -> Value {
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let reason = codes[0].status().canonical_reason().unwrap_or_default();
    json!({
        "description": format!("{reason}: `{}`", names.join("`, `")),
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}},
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    })
}

/// Returns the message that a webhook in the format `standard` is sent.
fn webhooks() -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": {"type": "string"},
        })
    };
    json!({
        "event": {
            "post": {
                "operationId": "event",
                "summary": "An event of the account",
                "description": "Each webhook in the format `standard` is sent the events that it is for, as Standard Webhooks say. \
                    An event may come more than once, and later than a newer one.",
                "tags": ["Webhooks"],
                "security": [],
                "parameters": [
                    header("webhook-id", "The ID of the event, the same in each message about it"),
                    header("webhook-timestamp", "The time of the attempt, in seconds since the Unix epoch"),
                    header("webhook-signature", "The signatures of the message, separated by spaces: `v1,` and an HMAC-SHA256 in base64"),
                ],
                "requestBody": {
                    "required": true,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/WebhookEvent"}}},
                },
                "responses": {
                    "2XX": {"description": "The event is accepted, and not sent again"},
                    "410": {"description": "The webhook is disabled"},
                },
            },
        },
    })
}

/// Replaces the schema inside a generic type by a reference.
fn refer_to_components(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut().expect("a document has schemas");
    for (name, schema) in schemas {
        if let Some(row) = ["Page_", "SearchPage_", "Timeline_"].iter().find_map(|prefix| name.strip_prefix(prefix)) {
            schema["properties"]["data"]["items"] = json!({"$ref": format!("#/components/schemas/{row}")});
        }
    }
}

fn path_parameters(route: Route) -> impl Iterator<Item = Value> {
    let parameters = path_parameter::of(route.path).unwrap_or_else(|error| panic!("{}: {error}", route.function));
    parameters.into_iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": "path", "required": true, "description": parameter.description,
            "schema": {"type": "string", "examples": [parameter.example]},
        })
    })
}

/// Returns the headers with the conditions of a request.
fn conditions(route: Route) -> impl Iterator<Item = Value> {
    let condition = |name: &str, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": false, "description": description,
            "schema": {
                "type": "string", "minLength": 1, "pattern": "^(\\*|(W/)?\"[!#-~]*\"(, ?(W/)?\"[!#-~]*\")*)$",
                "examples": [example],
            },
        })
    };
    let if_match = match route.etag {
        Etag::Compared => {
            "The `ETag` of the resource, a list of ETags, or `*`. If what can be changed of the resource has changed \
            since, the response is 412 and nothing is changed"
        }
        Etag::Sent | Etag::Unused => {
            "`*`, or nothing: the resource has no ETag, so that any other condition is refused with 412"
        }
    };
    let if_none_match = "The ETag of the answer that the client has, a list of ETags, or `*`. If the answer is still the \
        same, the response is 304 and does not count against the plan";
    let if_match = route.takes_if_match().then(|| condition("If-Match", if_match, "\"3.q1Yx3oZsK9l2m0RbVd7Tgw\""));
    let example = "W/\"q1Yx3oZsK9l2m0RbVd7Tgw\"";
    if_match.into_iter().chain(route.is_read().then(|| condition("If-None-Match", if_none_match, example)))
}

/// Returns the header that makes a request safe to send again.
fn idempotency_key(route: Route) -> Option<Value> {
    let description = "A key of your choice for this request. A request that is repeated with its key within 24 hours is \
        carried out once, and gets the response of the first one. The key is compared with your other keys for the same \
        endpoint and path only";
    (route.idempotency != IdempotencyKeys::Ignored).then(|| {
        json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "description": description,
            "schema": {
                "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$", "examples": ["release-42"],
            },
        })
    })
}

fn headers() -> Value {
    let header = |kind: &str, description: &str| json!({"description": description, "schema": {"type": kind}});
    json!({
        "X-Request-Id": header("string", "The ID of the request. Quote it when you contact support"),
        "X-RateLimit-Limit": header("integer", "The number of requests that the plan allows in a minute"),
        "X-RateLimit-Remaining": header("integer", "The number of requests left in this minute"),
        "X-RateLimit-Reset": header("integer", "The time at which this minute ends, in seconds since the Unix epoch"),
        "RateLimit-Policy": header("string", "Both limits, in the form of draft-ietf-httpapi-ratelimit-headers"),
        "RateLimit": header("string", "The requests left of both limits, in the form of draft-ietf-httpapi-ratelimit-headers"),
        "Allow": header("string", "The methods that the path takes, separated by commas"),
        "Retry-After": header("integer", "The number of seconds until a retry can succeed"),
        "Location": header("string", "The URL of the new resource, of a repository that has another name now, or of a file"),
        "Link": header("string", "Links to the first, previous, next and last page (RFC 8288), and `rotate`; see `X-Token-Expires-At`"),
        "X-Token-Expires-At": header(
            "string",
            "The time at which the request's token expires. Absent for a permanent token. In the token's last 14 days, `Link` has the relation `rotate` to the endpoint that issues a new secret",
        ),
        "Idempotent-Replayed": header("boolean", "True if the response is that of an earlier request with the same `Idempotency-Key`"),
        "Set-Cookie": header("string", "The cookie `__Host-session` of the new session, or the removal of that of the ended one"),
        "ETag": header("string", "The version of the answer, for `If-None-Match`. One without `W/` is for `If-Match` too, in a change or a deletion of the resource"),
        "X-Poll-Interval": header(
            "integer",
            "The number of seconds until asking again makes sense: 0 if there is more to read already. Absent once the deployment has ended and nothing follows",
        ),
        "WWW-Authenticate": header("string", "The authentication challenge (RFC 6750)"),
    })
}

fn meanings() -> String {
    let row = |code: ErrorCode| format!("- `{}` ({}): {}", code.as_str(), code.status().as_u16(), code.meaning());
    ErrorCode::ALL.map(row).join("\n")
}
