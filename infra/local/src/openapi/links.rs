//! The links of the OpenAPI document: from a response to the operations that take the ids in it.

use std::collections::BTreeMap;

use shared::Route;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::{RefOr, Response};

use crate::path_parameter::{self, PathParameter};

/// Returns the links of a response of `route` that has the schema. A link gives every parameter of the other's path, one of them
/// at least from the response, the others from the path of the request.
pub(super) fn of(route: Route, response: &Response, routes: &[Route]) -> BTreeMap<String, RefOr<Link>> {
    let schema = schema(response).unwrap_or_default();
    let others = routes.iter().filter(|other| other.function != route.function);
    others.filter_map(|other| Some((other.function.to_owned(), link(route, schema, *other)?.into()))).collect()
}

/// Returns the name of the schema of a JSON response.
fn schema(response: &Response) -> Option<&str> {
    let RefOr::T(content) = response.content.get("application/json")? else { return None };
    let Some(RefOr::Ref(schema)) = &content.schema else { return None };
    schema.ref_location.rsplit('/').next()
}

fn link(route: Route, schema: &str, other: Route) -> Option<Link> {
    let [own, taken] = [route, other].map(|route| path_parameter::of(route.path).expect("the document has the route"));
    let in_response = |parameter: &PathParameter| parameter.found_in.iter().find(|(found_in, _)| *found_in == schema);
    let source = |parameter: &PathParameter| match in_response(parameter) {
        Some((_, place)) => Some(format!("$response.body#{place}")),
        None if own.iter().any(|own| own.name == parameter.name) => Some(format!("$request.path.{}", parameter.name)),
        None => None,
    };
    let mut link = LinkBuilder::new().operation_id(other.function);
    for parameter in &taken {
        link = link.parameter(parameter.name, source(parameter)?);
    }
    taken.iter().any(|parameter| in_response(parameter).is_some()).then(|| link.build())
}
