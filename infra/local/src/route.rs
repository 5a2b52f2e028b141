//! Route keys of an HTTP API, and the choice of the one that takes a request.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::http::Method;

use crate::function::Function;

const DEFAULT: &str = "$default";

/// The reason why a set of routes was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum RouteError {
    #[error("the route key {0:?} is neither $default nor a method and a path such as \"GET /pets/{{pet_id}}\"")]
    Key(String),
    #[error("the route key {0:?} takes the same requests as one before it")]
    Conflict(String),
}

/// The routes of one API.
#[derive(Debug)]
pub struct Routes {
    /// The routes, the most specific first.
    routes: Vec<Route>,
    default: Option<Function>,
}

#[derive(Debug)]
struct Route {
    key: String,
    method: Method,
    segments: Vec<Segment>,
    function: Function,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// The route that takes a request.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    pub(crate) key: &'a str,
    pub(crate) function: &'a Function,
    pub(crate) path_parameters: BTreeMap<&'a str, &'a str>,
}

impl Routes {
    /// Parses route keys as in a template, such as `POST /v1/repositories/{repo_id}/deployments` or `$default`. Greedy
    /// parameters and `ANY` are not supported.
    ///
    /// # Errors
    ///
    /// Fails on a key that can't be parsed, and on two keys that take the same requests.
    pub fn new(routes: impl IntoIterator<Item = (impl AsRef<str>, Function)>) -> Result<Self, RouteError> {
        let mut read = Self { routes: Vec::new(), default: None };
        for (key, function) in routes {
            let key = key.as_ref();
            if key == DEFAULT {
                if read.default.replace(function).is_some() {
                    return Err(RouteError::Conflict(key.to_owned()));
                }
                continue;
            }
            let route = Route::new(key, function)?;
            if read.routes.iter().any(|other| other.method == route.method && other.shape() == route.shape()) {
                return Err(RouteError::Conflict(key.to_owned()));
            }
            read.routes.push(route);
        }
        // A literal precedes a parameter. The leftmost segment in which two routes differ decides.
        read.routes.sort_by_cached_key(Route::parameter_positions);
        Ok(read)
    }

    /// Returns the route for a path, given as segments: percent-decoded first, then split at its slashes.
    pub(crate) fn find<'a>(&'a self, method: &Method, segments: &[&'a str]) -> Option<Match<'a>> {
        let route = self.routes.iter().find(|route| route.method == method && route.takes(segments));
        if let Some(route) = route {
            let path_parameters = route
                .segments
                .iter()
                .zip(segments)
                .filter_map(|(segment, value)| match segment {
                    Segment::Parameter(name) => Some((name.as_str(), *value)),
                    Segment::Literal(_) => None,
                })
                .collect();
            return Some(Match { key: &route.key, function: &route.function, path_parameters });
        }
        let function = self.default.as_ref()?;
        Some(Match { key: DEFAULT, function, path_parameters: BTreeMap::new() })
    }
}

impl Route {
    fn new(key: &str, function: Function) -> Result<Self, RouteError> {
        let refused = || RouteError::Key(key.to_owned());
        let (method, path) = key.split_once(' ').ok_or_else(refused)?;
        let method = Method::from_str(method).map_err(|_| refused())?;
        let path = path.strip_prefix('/').ok_or_else(refused)?;
        let is_method = method.as_str().bytes().all(|byte| byte.is_ascii_uppercase()) && method != "ANY";
        if !is_method || path.contains(['+', '%', '?', ' ']) {
            return Err(refused());
        }
        let segments = path
            .split('/')
            .map(|segment| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some("") => Err(refused()),
                Some(name) => Ok(Segment::Parameter(name.to_owned())),
                None if segment.contains(['{', '}']) => Err(refused()),
                None => Ok(Segment::Literal(segment.to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { key: key.to_owned(), method, segments, function })
    }

    /// Returns the path without the names of its parameters.
    fn shape(&self) -> Vec<Option<&str>> {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => Some(text.as_str()),
                Segment::Parameter(_) => None,
            })
            .collect()
    }

    fn parameter_positions(&self) -> Vec<bool> {
        self.segments.iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect()
    }

    fn takes(&self, segments: &[&str]) -> bool {
        self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(segment, value)| match segment {
                Segment::Literal(text) => text == value,
                Segment::Parameter(_) => !value.is_empty(),
            })
    }
}
