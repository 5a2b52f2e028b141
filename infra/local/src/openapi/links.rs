//! The links of the OpenAPI document: from a response to the operations that take the ids in it.
//!
//! A change links from the resource that it returns, and a list from its first row to what is below the list's path. The answer to the
//! read of one resource has no link: whoever reads it has its ids.

use std::collections::BTreeMap;

use http::Method;
use shared::Route;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{RefOr, Response};

use super::examples::Schemas;
use crate::path_parameter::{self, PathParameter};

/// A resource in a response: its schema, and its place as a JSON pointer.
#[derive(Clone, Copy)]
struct Found<'a> {
    schema: &'a str,
    place: &'static str,
}

/// Returns the links of a response of `route`. A link gives the parameters of the other's path, one of them at least from the
/// response, the others from the path of the request. It gives no name that the client chooses.
pub(super) fn of(
    route: Route,
    response: &Response,
    schemas: &Schemas,
    routes: &[Route],
) -> BTreeMap<String, RefOr<Link>> {
    let Some(found) = found(route, response, schemas) else { return BTreeMap::new() };
    let is_below = |other: &&Route| !route.is_safe() || other.path.starts_with(route.path);
    let others = routes.iter().filter(|other| other.function != route.function).filter(is_below);
    others.filter_map(|other| Some((other.function.to_owned(), link(route, found, *other)?.into()))).collect()
}

/// Returns the resource of a change, or the first row of a list.
fn found<'a>(route: Route, response: &'a Response, schemas: &'a Schemas) -> Option<Found<'a>> {
    let RefOr::T(content) = response.content.get("application/json")? else { return None };
    let schema = name(content.schema.as_ref()?)?;
    match schemas.get(schema).and_then(row) {
        Some(row) => Some(Found { schema: row, place: "/data/0" }),
        None => (!route.is_safe()).then_some(Found { schema, place: "" }),
    }
}

/// Returns the name of the schema of the rows, if the schema is that of a page.
fn row(schema: &RefOr<Schema>) -> Option<&str> {
    let RefOr::T(Schema::Object(page)) = schema else { return None };
    let RefOr::T(Schema::Array(rows)) = page.properties.get("data")? else { return None };
    let ArrayItems::RefOrSchema(row) = &rows.items else { return None };
    name(row)
}

fn name(schema: &RefOr<Schema>) -> Option<&str> {
    let RefOr::Ref(schema) = schema else { return None };
    schema.ref_location.rsplit('/').next()
}

fn link(route: Route, found: Found<'_>, other: Route) -> Option<Link> {
    let [own, taken] = [route, other].map(|route| path_parameter::of(route.path).expect("the document has the route"));
    let in_response = |parameter: &PathParameter| {
        let (_, place) = parameter.found_in.iter().find(|(found_in, _)| *found_in == found.schema)?;
        let is_same = !parameter.is_chosen || collection(route, parameter) == collection(other, parameter);
        is_same.then_some(*place)
    };
    let source = |parameter: &PathParameter| match in_response(parameter) {
        Some(place) => Some(format!("$response.body#{}{place}", found.place)),
        None => own.iter().any(|own| own.name == parameter.name).then(|| format!("$request.path.{}", parameter.name)),
    };
    let mut link = LinkBuilder::new().operation_id(other.function);
    for parameter in &taken {
        match source(parameter) {
            Some(source) => link = link.parameter(parameter.name, source),
            None if parameter.is_chosen && *other.method == Method::PUT => {}
            None => return None,
        }
    }
    taken.iter().any(|parameter| in_response(parameter).is_some()).then(|| link.build())
}

/// Returns the path of the resources that a parameter distinguishes.
fn collection(route: Route, parameter: &PathParameter) -> &'static str {
    let last = format!("/{{{}}}", parameter.name);
    route.path.split_once(&last).map_or(route.path, |(before, _)| before)
}
