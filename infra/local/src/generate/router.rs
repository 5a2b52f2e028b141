//! The routes of `cargo lambda watch`, in the workspace's Cargo.toml.

use crate::functions::all_routes;

/// The path that takes all requests.
const ALL: &str = "/{*path}";
/// The methods that the fallback takes on its paths besides those that a route names.
const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Returns the entries of the router, one for each path.
pub(super) fn routes() -> String {
    let mut paths: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |path: &str, method: &str, function: &str| {
        let entry = format!("{{ method = \"{method}\", function = \"{function}\" }}");
        // The router has another name for the greedy parameter of API Gateway.
        let path = path.replace("{proxy+}", "{*path}");
        match paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, entries)) => entries.push(entry),
            None => paths.push((path, vec![entry])),
        }
    };
    for route in all_routes() {
        // `cargo lambda watch` decodes no path, so it needs no second form of one.
        for key in route.keys().iter().filter(|key| !key.contains("{repo_name}")) {
            match key.split_once(' ') {
                Some((method, path)) => add(path, method, route.function),
                None => {
                    for path in [ALL].iter().chain(route.also) {
                        METHODS.iter().for_each(|method| add(path, method, route.function));
                    }
                }
            }
        }
    }
    let lines = paths.into_iter().map(|(path, entries)| match &entries[..] {
        [entry] => format!("\"{path}\" = [{entry}]\n"),
        entries => format!("\"{path}\" = [\n    {},\n]\n", entries.join(",\n    ")),
    });
    lines.collect()
}
