//! The routes of `cargo lambda watch`, in the workspace's Cargo.toml.

use crate::functions::routes as all;

/// Returns the entries of the router, one for each path.
pub(super) fn routes() -> String {
    let mut paths: Vec<(&str, Vec<String>)> = Vec::new();
    let mut fallback = String::new();
    for route in all() {
        if route.path.starts_with('$') {
            fallback = format!("\"/{{*path}}\" = \"{}\"\n", route.function);
            continue;
        }
        let entry = format!("{{ method = \"{}\", function = \"{}\" }}", route.method, route.function);
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, entries)) => entries.push(entry),
            None => paths.push((route.path, vec![entry])),
        }
    }
    let lines = paths.into_iter().map(|(path, entries)| match &entries[..] {
        [entry] => format!("\"{path}\" = [{entry}]\n"),
        entries => format!("\"{path}\" = [\n    {},\n]\n", entries.join(",\n    ")),
    });
    lines.chain([fallback]).collect()
}
