//! Extractors of path, query and body. They refuse a malformed request with the envelope.

use std::fmt;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lambda_http::RequestExt;
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, IgnoredAny};

pub use crate::number::{Number, Whole};

use crate::error::{Error, ErrorCode, Result};
use crate::id::InvitationId;
use crate::model::Environment;

/// The largest body that is read, in bytes: the variables' 32 KiB with room for JSON's escapes.
pub const MAX_BODY: usize = 256 * 1024;

/// Returns a parameter of the route's path.
///
/// API Gateway decodes the path once. This decodes it again, for `account%252Fname`. No parameter of this API can contain a
/// percent sign, so that decoding twice loses nothing.
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

/// The environment in the path.
#[derive(Clone, Copy, Debug)]
pub struct PathEnvironment(pub Environment);

impl<S: Sync> FromRequestParts<S> for PathEnvironment {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let name = path_parameter(parts, "environment")?;
        let found = Environment::ALL.into_iter().find(|one| one.as_str() == name);
        found.map(Self).ok_or_else(|| Error::not_found("Environment"))
    }
}

/// A JSON body. Unknown fields are refused where `T` denies them.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let Body(body) = Body::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// A JSON body, also in canonical form: two bodies with one meaning have one text.
#[derive(Clone, Debug)]
pub struct CanonicalJson<T> {
    pub value: T,
    /// The body without white space, with its members in the order of their names.
    pub text: String,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for CanonicalJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let Body(body) = Body::from_request(request, state).await?;
        let value = parse_json(&body)?;
        let text = parse_json::<std::collections::BTreeMap<String, serde_json::Value>>(&body)?;
        Ok(Self { value, text: serde_json::to_string(&text).map_err(Error::internal)? })
    }
}

/// The bytes of a body whose content type is JSON.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        if !is_json(&request) {
            let message = "Send the body with 'Content-Type: application/json'";
            return Err(Error::new(ErrorCode::UnsupportedMediaType, message));
        }
        read_body(request).await.map(Self)
    }
}

fn is_json(request: &Request) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read_body(request: Request) -> Result<Bytes> {
    match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::new(ErrorCode::BodyTooLarge, "The body is larger than 256 KiB"))
        }
        Err(error) => Err(Error::internal(error)),
    }
}

/// Parses a JSON body.
///
/// # Errors
/// Fails with `invalid_json` if the body is not JSON, and with `invalid_request` and the field's path if it does not
/// fit `T`.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let not_json = |why: String| Error::new(ErrorCode::InvalidJson, format!("The body is not JSON: {why}"));
    let text = std::str::from_utf8(body).map_err(|error| not_json(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(text);
    // serde accepts an array of the fields' values in the place of an object.
    let wrong = match text.trim_start().starts_with('[') {
        true => Error::invalid("body", "must be an object"),
        false => match serde_path_to_error::deserialize(&mut json) {
            Ok(parsed) => return json.end().map(|()| parsed).map_err(|error| not_json(error.to_string())),
            Err(error) => wrong_shape(error, "body"),
        },
    };
    // Reads the body again, so that an error of shape does not hide one of syntax.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(error.to_string()))?;
    Err(wrong)
}

/// Returns the refusal of a field that does not fit its type. It never repeats the value, which may be a secret.
fn wrong_shape(error: serde_path_to_error::Error<impl fmt::Display>, whole: &str) -> Error {
    let path = error.path().to_string();
    let text = error.into_inner().to_string();
    // The field's path is more useful than the line.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let inside = |kind: &str| text.strip_prefix(kind)?.strip_prefix(" field `")?.strip_suffix('`').map(str::to_owned);
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| in_json(expected));
    let (field, message) = match (inside("missing"), inside("duplicate"), expected) {
        (Some(field), ..) => (Some(field), "is required".to_owned()),
        (_, Some(field), _) => (Some(field), "is given twice".to_owned()),
        (_, _, Some(fields)) if text.starts_with("unknown field") => (None, format!("is not one of {fields}")),
        (_, _, Some(expected)) if expected.contains("`, `") => (None, format!("must be one of {expected}")),
        (_, _, Some(expected)) => (None, format!("must be {expected}")),
        // serde_json gives this message for a value that can't name a variant.
        _ if text == "expected value" => (None, "must be a string".to_owned()),
        _ => (None, text.to_owned()),
    };
    let field = match (path.as_str(), field) {
        (".", None) => whole.to_owned(),
        (".", Some(field)) => field,
        (_, None) => path,
        (_, Some(field)) => format!("{path}.{field}"),
    };
    Error::invalid(field, message)
}

/// Returns the JSON term for a type of serde's.
fn in_json(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "an array",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        other => other.trim_start_matches("one of "),
    }
}

/// The query string. Parameters that `T` does not know are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| wrong_shape(error, "query"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn code(body: &[u8]) -> ErrorCode {
        parse_json::<HashMap<String, u8>>(body).unwrap_err().code()
    }

    #[test]
    fn syntax_and_shape_have_their_own_codes() {
        for body in [&b""[..], b"{", b"{\"a\": 1} x", b"{\"a\": \"\xff\"}"] {
            assert_eq!(code(body), ErrorCode::InvalidJson, "{}", String::from_utf8_lossy(body));
        }
        for body in [&b"[]"[..], b"{\"a\": \"b\"}", b"null"] {
            assert_eq!(code(body), ErrorCode::InvalidRequest, "{}", String::from_utf8_lossy(body));
        }
    }
}
