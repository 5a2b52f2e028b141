//! The parameters of operations that follow from their routes.

use shared::Route;
use shared::route::{Etag, IdempotencyKeys, List};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{RefOr, Required};

use crate::path_parameter;

/// Adds to the declared parameters of an operation those that follow from its route.
pub(super) fn complete(operation: &mut Operation, route: Route) {
    let mut declared = operation.parameters.take().unwrap_or_default();
    if let Some(list) = route.list {
        tell_sorts(&mut declared, list);
    }
    let followers = idempotency_key(route).into_iter().chain(conditions(route)).map(RefOr::T);
    let parameters: Vec<_> = in_path(route).map(RefOr::T).chain(declared).chain(followers).collect();
    operation.parameters = (!parameters.is_empty()).then_some(parameters);
}

/// Says which sorts a list has.
fn tell_sorts(parameters: &mut [RefOr<Parameter>], list: List) {
    let sort = parameters.iter_mut().find_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.name == "sort" => parameter.schema.as_mut(),
        _ => None,
    });
    let Some(RefOr::T(Schema::Object(sort))) = sort else { panic!("the list of {} has no sort", list.name) };
    let names = list.sorts.iter().map(|sort| serde_json::to_value(sort).expect("a sort has a name"));
    let names: Vec<_> = names.collect();
    sort.default = names.first().cloned();
    sort.enum_values = Some(names);
}

fn in_path(route: Route) -> impl Iterator<Item = Parameter> {
    let parameters = path_parameter::of(route.path).unwrap_or_else(|error| panic!("{}: {error}", route.function));
    parameters.into_iter().map(|parameter| {
        let schema =
            ObjectBuilder::new().schema_type(Type::String).pattern(parameter.pattern).examples([parameter.example]);
        described(parameter.name, ParameterIn::Path, Required::True, parameter.description, schema)
    })
}

/// Returns the headers with the conditions of a request.
fn conditions(route: Route) -> impl Iterator<Item = Parameter> {
    let condition = |name: &str, description: &str, example: &str| {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .pattern(Some("^(\\*|(W/)?\"[!#-~]*\"(, ?(W/)?\"[!#-~]*\")*)$"))
            .examples([example]);
        described(name, ParameterIn::Header, Required::False, description, schema)
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
fn idempotency_key(route: Route) -> Option<Parameter> {
    let description = "A key of your choice for this request. A request that is repeated with its key within 24 hours is \
        carried out once, and gets the response of the first one. The key is compared with your other keys for the same \
        endpoint and path only";
    (route.idempotency != IdempotencyKeys::Ignored).then(|| {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[ -~]+$"))
            .examples(["release-42"]);
        described("Idempotency-Key", ParameterIn::Header, Required::False, description, schema)
    })
}

/// Returns a parameter of the type `string`.
pub(super) fn described(
    name: &str,
    parameter_in: ParameterIn,
    required: Required,
    description: &str,
    schema: ObjectBuilder,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(parameter_in)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}
