//! The table of endpoints, for readers of the documentation.

use shared::access::Access;

use crate::functions::routes;

/// Returns the table in Markdown.
pub(super) fn table() -> String {
    let rows = routes().map(|route| {
        let call = if route.path.starts_with('$') { "anything else".to_owned() } else { format!("`{}`", route.key()) };
        let scope = match route.access {
            Access::Public => "public".to_owned(),
            Access::Authenticated => "any token".to_owned(),
            Access::Scope(scope) => format!("`{}`", scope.as_str()),
        };
        format!("| {call} | {scope} | {} |\n", route.function)
    });
    let head = "\nA `HEAD` request is answered like the `GET` of its path, without a body.\n";
    ["| call | scope | function |\n|---|---|---|\n".to_owned()]
        .into_iter()
        .chain(rows)
        .chain([head.to_owned()])
        .collect()
}
