//! The OpenAPI document: the operations of the endpoints, completed by their routes and by the table of error codes.

mod examples;
mod headers;
mod links;
mod parameters;
mod responses;
mod webhooks;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use shared::Route;
use shared::access::Access;
use shared::body::WebhookEventBody;
use shared::envelope::{ErrorEnvelope, Problem};
use utoipa::OpenApi as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ArrayItems, Object, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Deprecated, OpenApi, Paths, Ref, RefOr, Required, SecurityRequirement};

use self::examples::Schemas;
use crate::functions::{FUNCTIONS, Trigger};

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

/// Returns the document as it is checked in.
///
/// # Panics
/// Panics if an endpoint's documentation does not have the operation of its route, or a path parameter is not declared.
pub fn text() -> String {
    let documented = FUNCTIONS.iter().filter_map(|function| match function.trigger {
        Trigger::Http { route, documentation: Some(documentation), .. } => Some((route, documentation())),
        _ => None,
    });
    let text = document(documented.collect()).to_pretty_json().expect("a document is plain data");
    format!("{text}\n")
}

/// Returns the document of these routes, each with the documentation of its handler.
fn document(documented: Vec<(Route, OpenApi)>) -> OpenApi {
    let mut document = Api::openapi();
    let mut routes = Vec::new();
    for (route, documentation) in documented {
        document.merge(documentation);
        routes.push(route);
    }
    let mut components = document.components.take().unwrap_or_default();
    refer_to_components(&mut components.schemas);
    components.add_security_scheme("bearer", bearer());

    let mut codes = BTreeMap::new();
    for route in &routes {
        let requires_body = tell_body(operation(&mut document.paths, *route));
        assert_eq!(
            requires_body, route.takes_body,
            "the handler and the route of {} differ about a body",
            route.function
        );
        codes.insert(route.function, responses::codes(*route));
    }
    components.responses = responses::shared(codes.values());
    for route in &routes {
        let operation = operation(&mut document.paths, *route);
        complete(operation, *route, &components.schemas, &routes);
        examples::add(operation, route.function, &components.schemas);
        let others = responses::of_operation(*route, &codes[route.function], &components.responses);
        operation.responses.responses.extend(others);
    }
    let in_operations =
        routes.iter().flat_map(|route| operation(&mut document.paths, *route).responses.responses.clone());
    let own = in_operations.chain(components.responses.clone()).map(|(_, response)| response);
    components.headers = headers::used(own);
    document.webhooks = Some(webhooks::section(&mut components));
    document.components = Some(components);
    document
}

/// Returns the operation of a route.
fn operation(paths: &mut Paths, route: Route) -> &mut Operation {
    let operation = paths.paths.get_mut(route.path).and_then(|item| match *route.method {
        Method::GET => item.get.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PATCH => item.patch.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    });
    operation.unwrap_or_else(|| panic!("{} does not document its route", route.function))
}

/// Adds to an operation and to its successes the parts that follow from its route.
fn complete(operation: &mut Operation, route: Route, schemas: &Schemas, routes: &[Route]) {
    operation.operation_id = Some(route.function.to_owned());
    operation.deprecated = route.deprecation.map(|_| Deprecated::True);
    operation.security = Some(match route.access {
        Access::Public => Vec::new(),
        Access::Authenticated => vec![SecurityRequirement::new("bearer", [""; 0])],
        // OpenAPI 3.1 lets a bearer scheme list the required roles.
        Access::Scope(scope) => vec![SecurityRequirement::new("bearer", [scope.as_str()])],
    });
    parameters::complete(operation, route);
    for (status, response) in &mut operation.responses.responses {
        let status: StatusCode = status.parse().expect("a response's key is its status");
        let RefOr::T(response) = response else { panic!("{} declares no response of its own", route.function) };
        if response.description.is_empty() {
            response.description = status.canonical_reason().unwrap_or_default().to_owned();
        }
        response.headers = headers::of_answer(status, route);
        if status.is_success() {
            response.links = links::of(route, response, schemas, routes);
        }
    }
}

/// Says whether an operation requires its body. One that may be left out is not said to be null.
fn tell_body(operation: &mut Operation) -> bool {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return false };
    for content in body.content.values_mut() {
        if let RefOr::T(content) = content
            && let Some(RefOr::T(Schema::OneOf(choice))) = &content.schema
            && let [schema, null] = &choice.items[..]
            && is_null(null)
        {
            content.schema = Some(schema.clone());
        }
    }
    *body.required.get_or_insert(Required::False) == Required::True
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(Object { schema_type: SchemaType::Type(Type::Null), .. })))
}

/// Replaces the schema of the items of a page by a reference. `utoipa` copies it into each generic type.
fn refer_to_components(schemas: &mut Schemas) {
    for (name, schema) in schemas {
        let row = ["Page_", "SearchPage_", "Timeline_"].iter().find_map(|prefix| name.strip_prefix(prefix));
        if let (Some(row), RefOr::T(Schema::Object(page))) = (row, schema)
            && let Some(RefOr::T(Schema::Array(data))) = page.properties.get_mut("data")
        {
            data.items = ArrayItems::from(Ref::from_schema_name(row));
        }
    }
}

/// Returns the name of a component, such as `NotFound` for `not_found`.
fn pascal_case(name: &str) -> String {
    name.split(['_', '.']).map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// Returns the only scheme: two would make generated clients send the header twice.
fn bearer() -> SecurityScheme {
    let description = "Takes one of three tokens:\n\n\
        - a personal access token (`dgp_…`). It expires after 90 days unless it is permanent.\n\
        - a token that a trust issued (`dgt_…`), from `POST /v1/token`. It expires after an hour.\n\
        - an OAuth2 access token (RFC 9068, or Amazon Cognito's) of the identity provider that the API trusts. A new \
        user joins an account with `POST /v1/user/join` first.\n\n\
        The dashboard has neither. Its browser has a session, which `POST /v1/session` makes, and sends the cookie \
        `__Host-session`. The cookie counts only in requests without `Authorization` that come from the API's own origin.";
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use shared::route::Deprecation;
    use utoipa::openapi::Deprecated;

    use super::*;

    /// No endpoint ends at present.
    #[test]
    fn an_operation_that_ends_says_so_and_its_answers_have_the_headers_of_the_end() {
        let deprecation =
            Deprecation { since: date(2026, 1, 31), sunset: date(2027, 2, 1), page: "/docs/guides/versions" };
        let documented = |ends: bool| {
            let found = FUNCTIONS.iter().find_map(|function| match function.trigger {
                Trigger::Http { route, documentation: Some(documentation), .. } if route.function == "get-team" => {
                    Some((if ends { route.ends(deprecation) } else { route }, documentation()))
                }
                _ => None,
            });
            document(vec![found.unwrap()])
        };
        for ends in [false, true] {
            let mut document = documented(ends);
            let route = Route::get("get-team", "/v1/teams/{team_id}");
            let operation = operation(&mut document.paths, route);
            assert_eq!(operation.deprecated == Some(Deprecated::True), ends);
            for status in ["200", "304"] {
                let headers = match &operation.responses.responses[status] {
                    RefOr::T(response) => response.headers.keys().map(String::as_str).collect(),
                    RefOr::Ref(_) => Vec::new(),
                };
                for name in ["Deprecation", "Sunset", "Link"] {
                    assert_eq!(headers.contains(&name), ends, "{status} {name}");
                }
            }
            let components = document.components.unwrap();
            assert_eq!(components.headers.contains_key("Sunset"), ends, "an unused header is not described");
        }
    }
}
