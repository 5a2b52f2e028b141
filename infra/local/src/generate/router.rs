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
        let entry = |method| format!("{{ method = \"{method}\", function = \"{}\" }}", route.function);
        let new = route.methods().map(entry);
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, entries)) => entries.extend(new),
            None => paths.push((route.path, new.collect())),
        }
    }
    let lines = paths.into_iter().map(|(path, entries)| match &entries[..] {
        [entry] => format!("\"{path}\" = [{entry}]\n"),
        entries => format!("\"{path}\" = [\n    {},\n]\n", entries.join(",\n    ")),
    });
    lines.chain([fallback]).collect()
}
