//! The OpenAPI document: the endpoints' own parts, and what the pipeline does for all of them.

use http::StatusCode;
use serde_json::{Value, json};
use shared::Route;
use shared::access::Access;
use shared::error::{ErrorCode, ErrorEnvelope};
use utoipa::OpenApi as _;

use crate::functions::ENDPOINTS;

#[derive(utoipa::OpenApi)]
#[openapi(
    paths(
        list_repositories::list_repositories,
        create_repository::create_repository,
        get_repository::get_repository,
        create_deployment::create_deployment,
        list_deployments::list_deployments,
        get_deployment::get_deployment,
        get_deployment_log::get_deployment_log,
        get_rate_limit::get_rate_limit,
        get_openapi::get_openapi,
    ),
    components(schemas(ErrorEnvelope)),
    info(
        title = "The .git API",
        description = "Repositories, deployments and team resources. Send a token as `Authorization: Bearer <token>`.",
        version = "1",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "https://api.git.dev")),
)]
struct Endpoints;

/// The document as it is served.
///
/// # Panics
/// When an endpoint has no part in the document.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Endpoints::openapi()).expect("a document is plain data");
    document["components"]["securitySchemes"] = json!({"token": {
        "type": "http", "scheme": "bearer",
        "description": "A personal access token (`dgp_…`). It expires after 90 days unless it is permanent."
    }});
    document["components"]["headers"] = headers();
    let code = &mut document["components"]["schemas"]["ErrorBody"]["properties"]["code"];
    code["enum"] = ErrorCode::ALL.map(ErrorCode::as_str).to_vec().into();
    code["description"] = meanings().into();
    for (route, _) in ENDPOINTS {
        if !route.path.starts_with('$') {
            let method = route.method.as_str().to_lowercase();
            let operation = document["paths"][route.path].get_mut(method).expect("every endpoint is documented");
            complete(operation, route);
        }
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
        Access::Authenticated => json!([{"token": []}]),
        // OpenAPI 3.1 lets a bearer scheme name the roles that it needs.
        Access::Scope(scope) => json!([{"token": [scope.as_str()]}]),
    };
    let mut parameters: Vec<Value> = path_parameters(route.path).collect();
    parameters.extend(operation["parameters"].as_array().into_iter().flatten().cloned());
    operation["parameters"] = parameters.into();
    let has_body = operation.get("requestBody").is_some();
    let responses = operation["responses"].as_object_mut().expect("every operation has a response");
    for status in statuses(route, has_body) {
        responses.entry(status.as_u16().to_string()).or_insert_with(|| error_response(status));
    }
    for (status, response) in responses {
        let mut names = vec![
            "X-Request-Id",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "RateLimit-Policy",
            "RateLimit",
        ];
        names.extend(match (status.as_str(), route.function) {
            ("200", "list-repositories" | "list-deployments") => Some("Link"),
            ("201", _) => Some("Location"),
            ("401" | "403", _) => Some("WWW-Authenticate"),
            ("429" | "503", _) => Some("Retry-After"),
            _ => None,
        });
        let reference = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
        response["headers"] = names.into_iter().map(reference).collect::<serde_json::Map<_, _>>().into();
    }
}

/// The failures that a route can answer with, beside those that its endpoint declares.
fn statuses(route: Route, has_body: bool) -> Vec<StatusCode> {
    let mut statuses =
        vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    if route.access != Access::Public {
        statuses.push(StatusCode::UNAUTHORIZED);
    }
    if matches!(route.access, Access::Scope(_)) {
        statuses.push(StatusCode::FORBIDDEN);
    }
    if route.path.contains('{') {
        statuses.push(StatusCode::NOT_FOUND);
    }
    if has_body {
        statuses.extend([StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE]);
    }
    statuses
}

fn error_response(status: StatusCode) -> Value {
    let codes: Vec<&str> =
        ErrorCode::ALL.into_iter().filter(|code| code.status() == status).map(ErrorCode::as_str).collect();
    json!({
        "description": format!("{}: `{}`", status.canonical_reason().unwrap_or_default(), codes.join("`, `")),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}},
    })
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| {
        let description = match name {
            "repo_id" => "Repository slug or ID: `repo_…`, the name, or `account%2Fname`",
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
        "Link": header("string", "The pages first, prev, next and last (RFC 8288)"),
        "WWW-Authenticate": header("string", "The challenge of RFC 6750"),
    })
}

fn meanings() -> String {
    let row = |code: ErrorCode| format!("- `{}` ({}): {}", code.as_str(), code.status().as_u16(), code.meaning());
    ErrorCode::ALL.map(row).join("\n")
}
