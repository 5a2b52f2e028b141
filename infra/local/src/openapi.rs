//! The OpenAPI document: the endpoints' own parts, and what the pipeline does for all of them.

use http::StatusCode;
use serde_json::{Value, json};
use shared::Route;
use shared::access::{Access, Permission};
use shared::error::{ErrorCode, ErrorEnvelope};
use shared::model::Role;
use shared::page::List;
use utoipa::OpenApi as _;

use crate::functions::{FUNCTIONS, Trigger, routes};

#[derive(utoipa::OpenApi)]
#[openapi(
    components(schemas(ErrorEnvelope)),
    tags(
        (name = "Repositories", description = "The git repositories of an account"),
        (name = "Deployments", description = "What was built from a repository, where and how it went"),
        (name = "Tokens", description = "Personal access tokens, one's own or, for owners and admins, the account's"),
        (name = "Teams", description = "Members of the account who share permissions on repositories"),
        (name = "Account", description = "What holds for every member of the account"),
        (name = "Members", description = "The account's users and those who are invited"),
        (name = "Applications", description = "OAuth2 clients whose client credentials act for the account"),
        (name = "Environments", description = "Where a repository is deployed to: what is live there, what waits, and what is set"),
        (name = "API", description = "The API itself"),
    ),
    info(
        title = "The .git API",
        description = "Repositories, deployments and team resources. Send a token as `Authorization: Bearer <token>`.\n\n\
            A path that does not exist answers 404 `not_found`, another method on one that does 405 \
            `method_not_allowed`, both in the same envelope and with the same headers as any error.",
        version = "1",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "https://api.git.dev")),
)]
struct Api;

/// The lists, with the sorts that each has.
const LISTS: [(Route, List); 9] = [
    (list_repositories::ROUTE, list_repositories::LIST),
    (list_deployments::ROUTE, list_deployments::LIST),
    (list_tokens::ROUTE, list_tokens::LIST),
    (list_applications::ROUTE, list_applications::LIST),
    (list_teams::ROUTE, list_teams::LIST),
    (list_team_members::ROUTE, list_team_members::LIST),
    (list_team_repositories::ROUTE, list_team_repositories::LIST),
    (list_members::ROUTE, list_members::LIST),
    (list_invitations::ROUTE, list_invitations::LIST),
];

/// The document as it is served.
///
/// # Panics
/// When an endpoint has no part in the document.
pub fn document() -> Value {
    let mut document = Api::openapi();
    for registration in FUNCTIONS {
        if let Trigger::Http { documentation: Some(documentation), .. } = registration.trigger {
            document.merge(documentation());
        }
    }
    let mut document = serde_json::to_value(document).expect("a document is plain data");
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "A personal access token (`dgp_…`). It expires after 90 days unless it is permanent.",
        },
        "oauth2": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "An OAuth2 access token (RFC 9068, or Amazon Cognito's) of the identity provider that the API is \
                set up with. Who comes for the first time calls `GET /v1/user` first.",
        },
    });
    document["components"]["headers"] = headers();
    let code = &mut document["components"]["schemas"]["ErrorBody"]["properties"]["code"];
    code["enum"] = ErrorCode::ALL.map(ErrorCode::as_str).to_vec().into();
    code["description"] = meanings().into();
    refer_to_components(&mut document);
    for route in routes() {
        if !route.path.starts_with('$') {
            let method = route.method.as_str().to_lowercase();
            let operation = document["paths"][route.path].get_mut(method).expect("every endpoint is documented");
            complete(operation, route);
        }
    }
    for (route, list) in LISTS {
        let parameters =
            document["paths"][route.path]["get"]["parameters"].as_array_mut().expect("lists have parameters");
        let sort = parameters.iter_mut().find(|parameter| parameter["name"] == "sort").expect("lists have a sort");
        sort["schema"]["enum"] = json!(list.sorts);
    }
    document
}

/// The document as it is checked in.
pub fn text() -> String {
    let text = serde_json::to_string_pretty(&document()).expect("a document is plain data");
    format!("{text}\n")
}

/// Adds what follows from the route.
fn complete(operation: &mut Value, route: Route) {
    operation["operationId"] = route.function.into();
    operation["security"] = match route.access {
        Access::Public => json!([]),
        Access::Authenticated => json!([{"token": []}, {"oauth2": []}]),
        // OpenAPI 3.1 lets a bearer scheme name the roles that it needs.
        Access::Scope(scope) => json!([{"token": [scope.as_str()]}, {"oauth2": [scope.as_str()]}]),
    };
    let codes = codes(route, operation);
    let mut parameters: Vec<Value> = path_parameters(route.path).collect();
    parameters.extend(operation["parameters"].as_array().into_iter().flatten().cloned());
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let responses = operation["responses"].as_object_mut().expect("every operation has a response");
    for of_status in codes.chunk_by(|a, b| a.status() == b.status()) {
        responses.insert(of_status[0].status().as_str().to_owned(), error_response(of_status));
    }
    for (status, response) in responses {
        if response["description"].is_null() {
            let status: StatusCode = status.parse().expect("a response's key is its status");
            response["description"] = status.canonical_reason().into();
        }
        let mut names = vec![
            "X-Request-Id",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "RateLimit-Policy",
            "RateLimit",
        ];
        if route.access != Access::Public {
            names.push("X-Token-Expires-At");
        }
        names.extend(match (status.as_str(), route.function) {
            ("200", _) if LISTS.iter().any(|(list, _)| list.function == route.function) => Some("Link"),
            ("200", "get-team" | "update-team" | "get-account" | "update-account") => Some("ETag"),
            // They can be seen in their lists only.
            ("201", "create-invitation" | "create-application") => None,
            ("201", _) => Some("Location"),
            ("401" | "403", _) => Some("WWW-Authenticate"),
            ("429" | "503", _) => Some("Retry-After"),
            _ => None,
        });
        if (status.as_str(), route.function) == ("201", "create-team") {
            names.push("ETag");
        }
        let reference = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
        response["headers"] = names.into_iter().map(reference).collect::<serde_json::Map<_, _>>().into();
    }
}

/// What an operation can answer with when it fails, in the order of the statuses.
fn codes(route: Route, operation: &Value) -> Vec<ErrorCode> {
    use ErrorCode as E;
    let has = |parameter: &str| {
        operation["parameters"].as_array().into_iter().flatten().any(|found| found["name"] == parameter)
    };
    let has_body = operation.get("requestBody").is_some();
    let mut codes = ErrorCode::ALL.to_vec();
    codes.retain(|code| {
        route.refusals.contains(code)
            || match code {
                E::RateLimited | E::InternalError => true,
                E::MissingToken
                | E::InvalidToken
                | E::TokenExpired
                | E::TokenRevoked
                | E::TokenRotated
                | E::NotLinked => route.access != Access::Public,
                // A public endpoint that reads nothing stays open when the limiter fails.
                E::ServiceUnavailable => route.access != Access::Public || !route.is_safe(),
                E::InsufficientScope => matches!(route.access, Access::Scope(_)),
                E::InsufficientPermission => {
                    let in_repository = ["{repo_id}", "{deployment_id}"].iter().any(|name| route.path.contains(name));
                    route.role > Role::Member || (in_repository && route.permission > Permission::Read)
                }
                E::NotFound => route.path.contains('{'),
                E::InvalidRequest => has_body || operation.get("parameters").is_some(),
                E::InvalidJson | E::BodyTooLarge | E::UnsupportedMediaType => has_body,
                E::InvalidCursor => has("cursor"),
                // Handlers have these, and `$default` a method that is not allowed.
                E::InvalidRef
                | E::InvalidCloneUrl
                | E::SelfApproval
                | E::NameTaken
                | E::AlreadyFinished
                | E::NotFinished
                | E::EnvironmentFrozen
                | E::StaleRequest
                | E::IdempotencyKeyInUse
                | E::NothingToRollBack
                | E::NotAwaitingApproval
                | E::ShaMismatch
                | E::IdempotencyKeyReused
                | E::RemoteUnavailable
                | E::MethodNotAllowed => false,
                E::EmailTaken | E::LastOwner | E::LimitReached | E::InvitationExpired | E::PreconditionFailed => false,
            }
    });
    codes
}

/// A failure with one of these codes, which have the same status.
fn error_response(codes: &[ErrorCode]) -> Value {
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let reason = codes[0].status().canonical_reason().unwrap_or_default();
    json!({
        "description": format!("{reason}: `{}`", names.join("`, `")),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}},
    })
}

/// A generic type has its parameter's schema inside. This puts a reference in its place.
fn refer_to_components(document: &mut Value) {
    let schemas = document["components"]["schemas"].as_object_mut().expect("a document has schemas");
    for (name, schema) in schemas {
        if let Some(row) = name.strip_prefix("Page_") {
            schema["properties"]["data"]["items"] = json!({"$ref": format!("#/components/schemas/{row}")});
        }
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let description = match name {
            "repo_id" => "Repository slug or ID: `repo_…`, the name, or `account%2Fname`",
            "application_id" => "Application ID: the OAuth2 client's identifier",
            "token_id" => "Token ID: `tok_…`, and not its secret",
            "team_id" => "Team ID: `team_…`",
            "user_id" => "User ID: `user_…`",
            "invitation_id" => "Invitation ID: `inv_…`",
            "environment" => "`preview`, `staging` or `production`",
            _ => "Deployment ID: `deploy_…`",
        };
        json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string"}})
    })
}

fn headers() -> Value {
    let header = |kind: &str, description: &str| json!({"description": description, "schema": {"type": kind}});
    json!({
        "X-Request-Id": header("string", "The request's id, to quote to support"),
        "X-RateLimit-Limit": header("integer", "Requests that the plan allows in a minute"),
        "X-RateLimit-Remaining": header("integer", "Requests left in this minute"),
        "X-RateLimit-Reset": header("integer", "The second since the Unix epoch at which this minute ends"),
        "RateLimit-Policy": header("string", "Both limits, as draft-ietf-httpapi-ratelimit-headers has it"),
        "RateLimit": header("string", "What is left of both, as draft-ietf-httpapi-ratelimit-headers has it"),
        "Retry-After": header("integer", "Seconds until a retry can succeed"),
        "Location": header("string", "The URL of what was created"),
        "Link": header("string", "The pages first, prev, next and last (RFC 8288), and `rotate` as below"),
        "X-Token-Expires-At": header(
            "string",
            "When the token of the request stops working, unless it is permanent. With less than 14 days left, `Link` has \
             the relation `rotate`, a call that gives the token a new secret",
        ),
        "ETag": header("string", "The resource's version, for `If-Match`"),
        "WWW-Authenticate": header("string", "The challenge of RFC 6750"),
    })
}

fn meanings() -> String {
    let row = |code: ErrorCode| format!("- `{}` ({}): {}", code.as_str(), code.status().as_u16(), code.meaning());
    ErrorCode::ALL.map(row).join("\n")
}
