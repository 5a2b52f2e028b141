//! The links of the OpenAPI document: from a response to the operations that take the ids in it.

use serde_json::{Map, Value, json};
use shared::Route;

use crate::path_parameter::{self, PathParameter};

/// Adds to the successful responses of each operation that changes something its links to other operations. A link gives
/// every parameter of the other's path, one of them at least from the response, the others from the path of the request.
pub(super) fn add(document: &mut Value, routes: &[Route]) {
    for route in routes.iter().filter(|route| !route.is_safe()) {
        let method = route.method.as_str().to_lowercase();
        let responses = document["paths"][route.path][method]["responses"].as_object_mut();
        for (status, response) in responses.expect("every operation has a response") {
            let schema = response.pointer("/content/application~1json/schema/$ref").and_then(Value::as_str);
            let schema = schema.and_then(|reference| reference.rsplit('/').next()).unwrap_or_default();
            let others = routes.iter().filter(|other| other.function != route.function);
            let links = others.filter_map(|other| Some((other.function.to_owned(), link(*route, schema, *other)?)));
            let links: Map<String, Value> = links.collect();
            if status.starts_with('2') && !links.is_empty() {
                response["links"] = links.into();
            }
        }
    }
}

/// Returns the link from a response of `route` that has the schema.
fn link(route: Route, schema: &str, other: Route) -> Option<Value> {
    let [own, taken] = [route, other].map(|route| path_parameter::of(route.path).expect("the document has the route"));
    let in_response = |parameter: &PathParameter| parameter.found_in.iter().find(|(found_in, _)| *found_in == schema);
    let source = |parameter: &PathParameter| match in_response(parameter) {
        Some((_, place)) => Some(format!("$response.body#{place}")),
        None if own.iter().any(|own| own.name == parameter.name) => Some(format!("$request.path.{}", parameter.name)),
        None => None,
    };
    let parameters = taken.iter().map(|parameter| Some((parameter.name.to_owned(), source(parameter)?.into())));
    let parameters: Map<String, Value> = parameters.collect::<Option<_>>()?;
    let follows = taken.iter().any(|parameter| in_response(parameter).is_some());
    follows.then(|| json!({"operationId": other.function, "parameters": parameters}))
}
