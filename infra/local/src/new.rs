//! `cargo local new`: the files of a new endpoint, and its line in the list of functions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use shared::access::{Access, Scope};
use shared::{InitError, Route};

use crate::functions::{Area, FUNCTIONS, Registration, Trigger};
use crate::path_parameter::{self, PathParameter};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const REGISTRATIONS: &str = "infra/local/src/functions.rs";
const DEPENDENCIES: &str = "infra/local/Cargo.toml";

/// A new endpoint. Its name, its route and its area are valid.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    name: String,
    method: &'static str,
    path: String,
    parameters: Vec<PathParameter>,
    area: Area,
    /// The registered endpoint with the longest path in common.
    neighbor: &'static Registration,
    /// The scope of the neighbors that read, or of those that write.
    scope: Option<Scope>,
}

/// The reasons why an endpoint can't be created.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum InvalidEndpoint {
    #[error("'{0}' is not a name: use a verb and a noun in lower case, such as 'get-thing'")]
    Name(String),
    #[error("a function with the name '{0}' already exists")]
    NameTaken(String),
    #[error("'{0}' is not a route: use a method and a path, such as 'GET /v1/things/{{thing_id}}'")]
    Route(String),
    #[error("'{0}' is not a method: use GET, POST, PUT, PATCH or DELETE")]
    Method(String),
    #[error("'{0}' is not a path: it starts with /v1/, and each segment is a word in lower case or a {{parameter}}")]
    Path(String),
    #[error("the path '{0}' has a parameter twice")]
    Twice(String),
    #[error(transparent)]
    Parameter(#[from] path_parameter::Undeclared),
    #[error("'{1}' already takes the requests of '{0}'")]
    RouteTaken(String, &'static str),
    #[error("the endpoints with paths like '{path}' are in {found}: choose one of {} with --area", Area::names())]
    Area { path: String, found: String },
}

impl NewEndpoint {
    /// Checks the name and the route of a new endpoint. Its area is that of the endpoints with the longest path in common,
    /// unless it is given.
    ///
    /// # Errors
    /// Fails if the name or the route is malformed or taken, a path parameter is not declared, or the area is not clear.
    pub fn parse(name: &str, route: &str, area: Option<Area>) -> Result<Self, InvalidEndpoint> {
        if !is_name(name) {
            return Err(InvalidEndpoint::Name(name.to_owned()));
        }
        if FUNCTIONS.iter().any(|function| function.name == name) {
            return Err(InvalidEndpoint::NameTaken(name.to_owned()));
        }
        let (method, path) = route.split_once(' ').ok_or_else(|| InvalidEndpoint::Route(route.to_owned()))?;
        let method = METHODS.into_iter().find(|known| *known == method);
        let method =
            method.ok_or_else(|| InvalidEndpoint::Method(route.split(' ').next().unwrap_or_default().to_owned()))?;
        if !is_path(path) {
            return Err(InvalidEndpoint::Path(path.to_owned()));
        }
        let parameters = path_parameter::of(path)?;
        if parameters.iter().map(|parameter| parameter.name).collect::<BTreeSet<_>>().len() < parameters.len() {
            return Err(InvalidEndpoint::Twice(path.to_owned()));
        }
        if let Some(taken) = FUNCTIONS.iter().find(|function| takes(function, method, path)) {
            return Err(InvalidEndpoint::RouteTaken(route.to_owned(), taken.name));
        }
        let neighbors = neighbors(path);
        let areas: BTreeSet<_> = neighbors.iter().map(|(function, _)| function.area).collect();
        let area = match (area, areas.iter().next()) {
            (Some(area), _) => area,
            (None, Some(area)) if areas.len() == 1 => *area,
            _ => {
                let found: Vec<_> = areas.iter().map(|area| area.name()).collect();
                let found = if found.is_empty() { "no area".to_owned() } else { found.join(" and ") };
                return Err(InvalidEndpoint::Area { path: path.to_owned(), found });
            }
        };
        let in_area = |function: &&'static Registration| {
            function.area == area && matches!(function.trigger, Trigger::Http { documentation: Some(_), .. })
        };
        let mut near = neighbors.iter().map(|(function, _)| *function).filter(in_area);
        let neighbor = near.next_back().or_else(|| FUNCTIONS.iter().rfind(in_area)).unwrap_or(&FUNCTIONS[0]);
        let reads = method == "GET";
        let scope =
            neighbors.iter().filter(|(_, route)| route.is_safe() == reads).find_map(|(_, route)| match route.access {
                Access::Scope(scope) => Some(scope),
                _ => None,
            });
        Ok(Self { name: name.to_owned(), method, path: path.to_owned(), parameters, area, neighbor, scope })
    }

    /// Writes the endpoint into a checkout. Returns the files that were written, from the checkout.
    ///
    /// # Errors
    /// Fails before anything is written if a file already exists or a list has another form than expected.
    pub fn write(&self, checkout: &Path) -> Result<Vec<PathBuf>, InitError> {
        let read = |path: &str| fs::read_to_string(checkout.join(path)).map_err(|error| format!("{path}: {error}"));
        let mut files = self.files();
        if let Some((path, _)) = files.iter().find(|(path, _)| checkout.join(path).exists()) {
            return Err(format!("{} already exists", path.display()).into());
        }
        files.push((REGISTRATIONS.into(), self.register(&read(REGISTRATIONS)?)?));
        files.push((DEPENDENCIES.into(), self.depend(&read(DEPENDENCIES)?)?));
        for (path, text) in &files {
            let path = checkout.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    /// Returns the remaining manual steps, in their order.
    #[must_use]
    pub fn next_steps(&self) -> String {
        let Self { name, method, path, .. } = self;
        let access = match self.scope {
            Some(scope) => format!("With({scope:?})"),
            None => "Authenticated".to_owned(),
        };
        let body = match *method {
            "POST" | "PUT" | "PATCH" => "a valid body, with which the tests call the endpoint",
            _ => "the query string, if it has one",
        };
        format!(
            "1. functions/{name}/src/lib.rs: the scope, role and error codes of the route; the handler and its documentation\n\
             2. functions/{name}/function.yaml: what the handler may do in AWS\n\
             3. events/{name}.json: {body}\n\
             4. tests/authorization.rs, CASES: (\"{method} {path}\", {access}, its role, what else it needs)\n\
             5. cargo fmt, and cargo local generate\n\
             6. tests: the behavior, in the file of the resource\n\
             7. cargo test -p tests -- contract:: inputs:: infra:: authentication:: authorization:: tenants:: binaries:: calls_at_once:: --include-ignored\n"
        )
    }

    fn files(&self) -> Vec<(PathBuf, String)> {
        let folder = PathBuf::from("functions").join(&self.name);
        vec![
            (folder.join("Cargo.toml"), self.manifest()),
            (folder.join("function.yaml"), String::new()),
            (folder.join("src/lib.rs"), self.library()),
            (folder.join("src/main.rs"), self.main()),
            (PathBuf::from(format!("events/{}.json", self.name)), self.event()),
        ]
    }

    /// Returns the tag of the neighbor's operation.
    fn tag(&self) -> String {
        let Trigger::Http { route, documentation: Some(documentation), .. } = self.neighbor.trigger else {
            return "API".to_owned();
        };
        let document = serde_json::to_value(documentation()).expect("a document is plain data");
        let tag = &document["paths"][route.path][route.method.as_str().to_lowercase()]["tags"][0];
        tag.as_str().unwrap_or_default().to_owned()
    }

    fn identifier(&self) -> String {
        self.name.replace('-', "_")
    }

    fn manifest(&self) -> String {
        let name = &self.name;
        format!(
            r#"[package]
name = "{name}"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lints]
workspace = true

[lib]
doctest = false
test = false

[[bin]]
name = "{name}"
test = false

[dependencies]
axum.workspace = true
serde.workspace = true
shared.workspace = true
utoipa.workspace = true
"#
        )
    }

    fn main(&self) -> String {
        format!(
            "//! The entry point in Lambda.\n\nfn main() -> std::process::ExitCode {{\n    shared::serve({}::endpoint)\n}}\n",
            self.identifier()
        )
    }

    /// Returns the source of a handler that finds the resources in the path and answers with an empty object.
    fn library(&self) -> String {
        let Self { method, path, .. } = self;
        let (function, verb) = (self.identifier(), method.to_lowercase());
        let words = self.name.replace('-', " ");
        let summary = words[..1].to_uppercase() + &words[1..];
        let body: String =
            self.name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>() + "Body";
        let mut imports: BTreeSet<&str> = self.parameters.iter().map(|parameter| parameter.extractor).collect();
        let mut extractors: Vec<&str> = Vec::new();
        for parameter in &self.parameters {
            extractors.push(parameter.extractor.rsplit("::").next().unwrap_or_default());
        }
        if extractors.is_empty() {
            imports.insert("access::Tenant");
            extractors.push("Tenant");
        }
        let requires = match self.scope {
            Some(scope) => {
                imports.insert("access::Scope");
                format!(".requires(Scope::{scope:?})")
            }
            None => String::new(),
        };
        let of = |module: &str| {
            let names = imports.iter().filter_map(|import| import.strip_prefix(module)?.strip_prefix("::"));
            match names.collect::<Vec<_>>()[..] {
                [] => String::new(),
                [name] => format!("use shared::{module}::{name};\n"),
                ref names => format!("use shared::{module}::{{{}}};\n", names.join(", ")),
            }
        };
        let tag = self.tag();
        let arguments: String = extractors.iter().map(|extractor| format!("    _: {extractor},\n")).collect();
        format!(
            r#"//! `{method} {path}`: {words}.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
{access}{extract}use shared::{{App, Endpoint, InitError, Result, Route}};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::{verb}(env!("CARGO_PKG_NAME"), "{path}"){requires};

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {{
    Ok(Endpoint::new(ROUTE, {function}, app.clone()))
}}

/// The response.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct {body} {{}}

/// {summary}
#[utoipa::path({verb}, path = ROUTE.path, tag = "{tag}", responses((status = 200, body = {body})))]
pub async fn {function}(
    State(_): State<App>,
{arguments}) -> Result<Json<{body}>> {{
    Ok(Json({body} {{}}))
}}
"#,
            access = of("access"),
            extract = of("extract"),
        )
    }

    /// Returns a request of curl as the gateway passes it to the function.
    fn event(&self) -> String {
        let Self { method, path, .. } = self;
        let mut raw = path.clone();
        let mut parameters = Vec::new();
        for PathParameter { name, example, .. } in &self.parameters {
            raw = raw.replace(&format!("{{{name}}}"), example);
            parameters.push(format!("    \"{name}\": \"{example}\""));
        }
        let parameters = match parameters.is_empty() {
            true => String::new(),
            false => format!("  \"pathParameters\": {{\n{}\n  }},\n", parameters.join(",\n")),
        };
        format!(
            r#"{{
  "version": "2.0",
  "routeKey": "{method} {path}",
  "rawPath": "{raw}",
  "rawQueryString": "",
  "headers": {{
    "accept": "*/*",
    "accept-encoding": "gzip",
    "authorization": "Bearer dgp_0000000000000000000000000000003A6u5b",
    "host": "api.git.dev",
    "user-agent": "curl/8.7.1",
    "x-amzn-trace-id": "Root=1-69243024-5d2f9a7b3c41e80617f6b2a9",
    "x-forwarded-for": "203.0.113.5",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https"
  }},
  "requestContext": {{
    "accountId": "123456789012",
    "apiId": "a1b2c3d4e5",
    "domainName": "api.git.dev",
    "domainPrefix": "api",
    "http": {{
      "method": "{method}",
      "path": "{raw}",
      "protocol": "HTTP/1.1",
      "sourceIp": "203.0.113.5",
      "userAgent": "curl/8.7.1"
    }},
    "requestId": "UgXj4hQxoAMEVdA=",
    "routeKey": "{method} {path}",
    "stage": "$default",
    "time": "24/Nov/2025:10:15:00 +0000",
    "timeEpoch": 1763979300123
  }},
{parameters}  "isBase64Encoded": false
}}
"#
        )
    }

    /// Adds the line of the endpoint after its neighbor's.
    fn register(&self, source: &str) -> Result<String, InitError> {
        let line = |function: &str, area: Area| format!("    endpoint!({area:?}, {function}),\n");
        let neighbor = line(&self.neighbor.name.replace('-', "_"), self.neighbor.area);
        let (before, after) = source
            .split_once(&neighbor)
            .ok_or_else(|| format!("{REGISTRATIONS} does not contain the line{neighbor}"))?;
        Ok(format!("{before}{neighbor}{}{after}", line(&self.identifier(), self.area)))
    }

    /// Adds the dependency of the local stack among those on the other functions, sorted by name.
    fn depend(&self, manifest: &str) -> Result<String, InitError> {
        let name = &self.name;
        let (mut at, mut position) = (0, None);
        for line in manifest.split_inclusive('\n') {
            let dependency = line.split([' ', '.', '=']).next().unwrap_or_default();
            if dependency == name {
                return Err(format!("{DEPENDENCIES} already has a dependency with the name '{name}'").into());
            }
            let end = at + line.len();
            if line.contains("path = \"../../functions/") && (position.is_none() || dependency < name.as_str()) {
                position = Some(if dependency < name.as_str() { end } else { at });
            }
            at = end;
        }
        let position = position.ok_or_else(|| format!("{DEPENDENCIES} has no dependency on a function"))?;
        let (before, after) = manifest.split_at(position);
        Ok(format!("{before}{name} = {{ path = \"../../functions/{name}\" }}\n{after}"))
    }
}

/// Returns whether a text is a verb and at least one noun. No such name is a keyword of Rust.
fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.contains('-') && name.split('-').all(is_word)
}

fn is_path(path: &str) -> bool {
    let is_segment = |segment: &str| {
        let word = segment.strip_prefix('{').map_or(Some(segment), |rest| rest.strip_suffix('}'));
        word.is_some_and(|word| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte))
        })
    };
    path.strip_prefix("/v1/").is_some_and(|rest| rest.split('/').all(is_segment))
}

/// Returns whether a function has the route of the method and the path, whatever the names of its parameters.
fn takes(function: &Registration, method: &str, path: &str) -> bool {
    let shape = |path: &str| -> Vec<String> {
        path.split('/')
            .map(|segment| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() })
            .collect()
    };
    function.route().is_some_and(|route| {
        let mut keys = route.keys().into_iter();
        keys.any(|key| key.split_once(' ').is_some_and(|(verb, other)| verb == method && shape(other) == shape(path)))
    })
}

/// Returns the endpoints that have the longest path in common with this path, beyond the version.
fn neighbors(path: &str) -> Vec<(&'static Registration, Route)> {
    let common = |route: &Route| route.path.split('/').zip(path.split('/')).take_while(|(a, b)| a == b).count();
    let endpoints = || FUNCTIONS.iter().filter_map(|function| Some((function, function.route()?)));
    let longest = endpoints().map(|(_, route)| common(&route)).max().unwrap_or_default();
    // A common path of "/v1" alone does not count.
    let near = endpoints().filter(|(_, route)| longest > 2 && common(route) == longest);
    near.collect()
}
