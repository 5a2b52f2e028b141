//! Extractors of the path, the query and the body. They refuse malformed requests with an [`Error`].

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lambda_http::RequestExt;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use utoipa::PartialSchema;

pub use crate::number::{LARGEST, Number, Whole, given};

use crate::error::{Detail, Error, ErrorCode, Result};
use crate::id::{DeliveryId, HookId, InvitationId};
use crate::input::Input;
use crate::model::Environment;
use crate::name::VariableName;
use crate::route::Route;

/// The maximum size of a body, in bytes. It leaves room for 32 KiB of variables with JSON's escapes.
pub const MAX_BODY: usize = 256 * 1024;
/// The maximum size of a delivery to a hook, in bytes. Git hosts list the commits of a push, and their paths.
pub const MAX_DELIVERY: usize = 1024 * 1024;

/// Returns a parameter of the route's path.
///
/// API Gateway decodes the path once. This function decodes it again, for `account%252Fname`. Nothing is lost by
/// decoding twice, because no parameter of this API can contain a percent sign.
pub(crate) fn path_parameter(parts: &Parts, name: &str) -> Result<String> {
    decoded_parameter(parts, name)
        .ok_or_else(|| Error::internal(format!("the gateway gave no path parameter '{name}'")))
}

/// Returns the slug of the repository in the path. It has two segments if the gateway took the second of
/// [`Route::keys`](crate::Route::keys).
pub(crate) fn repository_parameter(parts: &Parts) -> Result<String> {
    let slug = path_parameter(parts, "repo_id")?;
    match decoded_parameter(parts, "repo_name") {
        Some(name) => Ok(format!("{slug}/{name}")),
        None => Ok(slug),
    }
}

fn decoded_parameter(parts: &Parts, name: &str) -> Option<String> {
    let value = parts.path_parameters_ref()?.first(name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The ID of the invitation in the path of a public endpoint. The invitation may not exist.
#[derive(Clone, Debug)]
pub struct NamedInvitation(pub InvitationId);

impl<S: Sync> FromRequestParts<S> for NamedInvitation {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let id = path_parameter(parts, "invitation_id")?.parse();
        id.map(Self).map_err(|_| Error::not_found("Invitation"))
    }
}

/// The ID of the delivery in the path. There may be no such delivery.
#[derive(Clone, Debug)]
pub struct PathDelivery(pub DeliveryId);

impl<S: Sync> FromRequestParts<S> for PathDelivery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let id = path_parameter(parts, "delivery_id")?.parse();
        id.map(Self).map_err(|_| Error::not_found("Delivery"))
    }
}

/// The environment in the path, which may not exist.
#[derive(Clone, Copy, Debug)]
pub struct PathEnvironment(pub Environment);

impl<S: Sync> FromRequestParts<S> for PathEnvironment {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let name = path_parameter(parts, "environment")?;
        name.parse().map(Self).map_err(|_| Error::not_found("Environment"))
    }
}

/// The name of the variable in the path. There may be no such variable.
#[derive(Clone, Debug)]
pub struct PathVariable(pub VariableName);

impl<S: Sync> FromRequestParts<S> for PathVariable {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let name = path_parameter(parts, "name")?.parse::<VariableName>();
        name.map(Self).map_err(|error| Error::invalid("name", error.to_string()))
    }
}

/// The path of an artifact in the path, which takes all segments that are left.
///
/// The gateway has decoded it, and it is not decoded again: a file's name can contain a percent sign.
#[derive(Clone, Debug)]
pub struct PathArtifact(pub String);

impl<S: Sync> FromRequestParts<S> for PathArtifact {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let parameters = parts.path_parameters_ref();
        let value = |name| parameters.and_then(|parameters| parameters.first(name));
        let first = value("artifact_path").ok_or_else(|| Error::internal("the gateway gave no path of an artifact"))?;
        Ok(Self(value("proxy").map_or_else(|| first.to_owned(), |rest| format!("{first}/{rest}"))))
    }
}

/// A JSON body. Unknown fields are refused where `T` denies them.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + PartialSchema> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (body, unknown) = Body::with_parameters(request).await?;
        unknown.told_with(Input::of_body(&body)?.parse()).map(Self)
    }
}

/// A JSON body with its canonical form. Bodies with equal meaning have the same canonical form.
#[derive(Clone, Debug)]
pub struct CanonicalJson<T> {
    /// The parsed body.
    pub value: T,
    /// The body without white space, with its members in the order of their names.
    pub canonical: Vec<u8>,
}

impl<S: Send + Sync, T: DeserializeOwned + PartialSchema> FromRequest<S> for CanonicalJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (body, unknown) = Body::with_parameters(request).await?;
        let value = unknown.told_with(Input::of_body(&body)?.parse())?;
        Ok(Self { value, canonical: canonical(&body) })
    }
}

/// The fields of a form in the body (`application/x-www-form-urlencoded`). Unknown fields are refused where `T` denies them.
#[derive(Clone, Copy, Debug)]
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + PartialSchema> FromRequest<S> for Form<T> {
    type Rejection = Error;

    async fn from_request(mut request: Request, _: &S) -> Result<Self> {
        let unknown = UnknownParameters::take(&mut request);
        let Body(body) = Body::of_type("application/x-www-form-urlencoded", "a form", request).await?;
        unknown.told_with(Input::of_form(&body).parse()).map(Self)
    }
}

/// The bytes of a body.
struct Body(Bytes);

impl Body {
    /// Reads a body whose content type is JSON. Returns it with the parameters of the request that the route does not take.
    async fn with_parameters(mut request: Request) -> Result<(Bytes, UnknownParameters)> {
        let unknown = UnknownParameters::take(&mut request);
        let Self(body) = Self::of_type("application/json", "JSON", request).await?;
        Ok((body, unknown))
    }

    /// Reads a body of this media type, which people call `kind`.
    async fn of_type(media_type: &str, kind: &str, request: Request) -> Result<Self> {
        if let Some(encoding) = request.headers().get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes());
            let message = format!("The body has 'Content-Encoding: {encoding}'; send it without an encoding");
            let refused = Error::new(ErrorCode::UnsupportedMediaType, message);
            return Err(refused.with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        if !is_of_type(media_type, &request) {
            let message = format!("The body must be {kind}; send it with 'Content-Type: {media_type}'");
            return Err(Error::new(ErrorCode::UnsupportedMediaType, message));
        }
        read_body(request.into_body(), MAX_BODY).await.map(Self)
    }
}

/// The bytes of a delivery to a hook, of any content type. Its signature is over these bytes.
#[derive(Clone, Debug)]
pub struct Signed(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Signed {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        read_body(request.into_body(), MAX_DELIVERY).await.map(Self)
    }
}

/// The ID of the hook in the path of a public endpoint. The hook may not exist.
#[derive(Clone, Debug)]
pub struct NamedHook(pub Option<HookId>);

impl<S: Sync> FromRequestParts<S> for NamedHook {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Ok(Self(path_parameter(parts, "hook_id")?.parse().ok()))
    }
}

fn is_of_type(media_type: &str, request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(media_type)
}

/// Returns the canonical form of a body. Bodies with equal meaning have the same; one that is no JSON is its own.
pub(crate) fn canonical(body: &[u8]) -> Vec<u8> {
    let json = serde_json::from_slice::<serde_json::Value>(body).and_then(|value| serde_json::to_vec(&value));
    json.unwrap_or_else(|_| body.to_vec())
}

pub(crate) async fn read_body(body: axum::body::Body, at_most: usize) -> Result<Bytes> {
    match Limited::new(body, at_most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::new(ErrorCode::BodyTooLarge, format!("The body is larger than {} KiB", at_most / 1024)))
        }
        Err(error) => Err(Error::internal(error)),
    }
}

/// The query string of an endpoint with parameters.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let (input, unknown) = query(parts);
        match input.read() {
            Ok(read) if unknown.is_empty() => Ok(Self(read)),
            read => Err(Error::invalid_fields(unknown.into_iter().chain(read.err().unwrap_or_default()).collect())),
        }
    }
}

/// The query string of a list with a filter.
#[derive(Clone, Copy, Debug)]
pub struct Filtered<P, F>(pub P, pub F);

impl<S: Sync, P: DeserializeOwned, F: DeserializeOwned> FromRequestParts<S> for Filtered<P, F> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let (input, unknown) = query(parts);
        match (input.read(), input.read()) {
            (Ok(page), Ok(filter)) if unknown.is_empty() => Ok(Self(page, filter)),
            (page, filter) => {
                let invalid = page.err().into_iter().chain(filter.err()).flatten();
                Err(Error::invalid_fields(unknown.into_iter().chain(invalid).collect()))
            }
        }
    }
}

/// The query parameters of a request to an endpoint that takes none. An endpoint that takes any has an extractor for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnknownParameters(Vec<Detail>);

impl UnknownParameters {
    pub(crate) fn of(route: &Route, query: Option<&str>) -> Self {
        let (Some(query), Some(known)) = (query, route.query_parameters()) else { return Self::default() };
        if known.clone().next().is_some() {
            return Self::default();
        }
        Self(Input::of_query(query).unknown(known))
    }

    /// Takes the parameters out of a request whose body is read.
    fn take(request: &mut Request) -> Self {
        request.extensions_mut().remove().unwrap_or_default()
    }

    /// # Errors
    /// Fails with `invalid_request` if there is any.
    pub(crate) fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid_fields(self.0)) }
    }

    /// Refuses the parameters together with the fields of a body that don't fit.
    fn told_with<T>(self, parsed: Result<T>) -> Result<T> {
        match parsed {
            Ok(parsed) => self.check().map(|()| parsed),
            Err(error) => Err(Error::all([self.check(), Err(error)]).expect_err("the body does not fit")),
        }
    }
}

/// Returns the query string, and its parameters that the route does not take.
fn query(parts: &Parts) -> (Input, Vec<Detail>) {
    let input = Input::of_query(parts.uri.query().unwrap_or_default());
    let known = parts.extensions.get::<Route>().and_then(Route::query_parameters);
    let unknown = known.map(|known| input.unknown(known)).unwrap_or_default();
    (input, unknown)
}
