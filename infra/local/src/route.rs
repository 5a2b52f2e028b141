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
    /// `{name+}` at the end of a path, which takes all segments that are left.
    Greedy(String),
}

/// The route that takes a request.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    pub(crate) key: &'a str,
    pub(crate) function: &'a Function,
    pub(crate) path_parameters: BTreeMap<&'a str, String>,
}

impl Routes {
    /// Parses route keys as in a template, such as `POST /v1/repositories/{repo_id}/deployments`, `GET /docs/{proxy+}` or
    /// `$default`. `ANY` is not supported.
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
        // A greedy route comes after all others, and a literal precedes a parameter. The leftmost segment in which two routes
        // differ decides.
        read.routes.sort_by_cached_key(Route::rank);
        Ok(read)
    }

    /// Returns the route for a path, given as segments: percent-decoded first, then split at its slashes.
    pub(crate) fn find<'a>(&'a self, method: &Method, segments: &[&'a str]) -> Option<Match<'a>> {
        let route = self.routes.iter().find(|route| route.method == method && route.takes(segments));
        if let Some(route) = route {
            let path_parameters = route.segments.iter().enumerate().filter_map(|(at, segment)| match segment {
                Segment::Parameter(name) => Some((name.as_str(), segments[at].to_owned())),
                Segment::Greedy(name) => Some((name.as_str(), segments[at..].join("/"))),
                Segment::Literal(_) => None,
            });
            let path_parameters = path_parameters.collect();
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
        if !is_method || path.contains(['%', '?', ' ']) {
            return Err(refused());
        }
        let last = path.split('/').count() - 1;
        let segments = path
            .split('/')
            .enumerate()
            .map(|(at, segment)| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some("" | "+") => Err(refused()),
                Some(name) => match name.strip_suffix('+') {
                    Some(name) if at == last => Ok(Segment::Greedy(name.to_owned())),
                    Some(_) => Err(refused()),
                    None => Ok(Segment::Parameter(name.to_owned())),
                },
                None if segment.contains(['{', '}', '+']) => Err(refused()),
                None => Ok(Segment::Literal(segment.to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { key: key.to_owned(), method, segments, function })
    }

    /// Returns the path without the names of its parameters.
    fn shape<'a>(&'a self) -> Vec<(u8, &'a str)> {
        let shape = |segment: &'a Segment| match segment {
            Segment::Literal(text) => (0, text.as_str()),
            Segment::Parameter(_) => (1, ""),
            Segment::Greedy(_) => (2, ""),
        };
        self.segments.iter().map(shape).collect()
    }

    /// Returns the place of the route among others that take the same request: whether it is greedy, and the kinds of its
    /// segments.
    fn rank(&self) -> (bool, Vec<u8>) {
        let kinds: Vec<_> = self.shape().iter().map(|(kind, _)| *kind).collect();
        (self.is_greedy(), kinds)
    }

    fn is_greedy(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Greedy(_)))
    }

    fn takes(&self, segments: &[&str]) -> bool {
        let has_length = match self.is_greedy() {
            true => self.segments.len() <= segments.len(),
            false => self.segments.len() == segments.len(),
        };
        has_length
            && self.segments.iter().zip(segments).all(|(segment, value)| match segment {
                Segment::Literal(text) => text == value,
                Segment::Parameter(_) => !value.is_empty(),
                Segment::Greedy(_) => segments.len() > self.segments.len() || !value.is_empty(),
            })
    }
}
