//! Requests with an `Idempotency-Key`: the first one is carried out, and its repetitions get its response.
//!
//! The transaction of the change completes the claim on the key, so that a request changes something at most once. The response
//! is kept in a second write.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::Context;
use crate::access::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::extract::{MAX_BODY, canonical, read_body};
use crate::model::{
    Completed, Idempotency, IdempotencyClaim, IdempotencyKey, IdempotencyScope, KeptResponse, NoResponse,
};
use crate::route::IdempotencyKeys;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The headers of a response that belong to it, and not to the request.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

/// Carries out a request with a key that is new, and repeats the response of a request that was carried out.
pub(super) async fn repeat(State(context): State<Arc<Context>>, request: Request, next: Next) -> Result<Response> {
    if context.route.idempotency != IdempotencyKeys::ByPipeline {
        return Ok(next.run(request).await);
    }
    let (Some(key), Some(caller)) =
        (IdempotencyKey::of(request.headers())?, request.extensions().get::<Caller>().cloned())
    else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let body = read_body(body, MAX_BODY).await?;
    let (app, authenticator) = (&context.app, context.app.authenticator());
    let credential =
        authenticator.secret(&parts.headers).ok_or_else(|| Error::internal("a caller has no credential"))?;
    let (account, actor) = (&caller.account().id, caller.user_id());
    let scope = IdempotencyScope { account, actor, endpoint: context.route.function, resource: parts.uri.path() };
    let mut asked = canonical(&body);
    asked.extend(parts.uri.query().into_iter().flat_map(|query| [b"?", query.as_bytes()].concat()));
    match IdempotencyClaim::take(app.table(), scope, &key, &asked, app.clock().now()).await? {
        Idempotency::New(claim) => {
            parts.extensions.insert(claim.clone());
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            settle(&context, claim, &credential, response).await
        }
        Idempotency::Done(completed) => {
            // A response may have a secret. So only a caller whose rights are current gets it again.
            authenticator.confirm(&caller).await?;
            repeated(&completed, &credential)
        }
        Idempotency::InFlight(lease) => Err(Error::in_flight(lease)),
        Idempotency::Reused => Err(Error::key_reused()),
    }
}

/// Keeps the response of a request that was carried out, and releases the key of one that was not.
async fn settle(
    context: &Context,
    claim: IdempotencyClaim,
    credential: &SecretString,
    response: Response,
) -> Result<Response> {
    let (app, credential) = (&context.app, credential.expose_secret().as_bytes());
    if !response.status().is_success() {
        if let Err(error) = claim.release(app.table()).await {
            app.log().warn("an idempotency key could not be released; its lease will end", &error);
        }
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(Error::internal)?;
    let kept = KeptResponse {
        status: parts.status.as_u16(),
        headers: kept_headers(&parts.headers),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    if let Err(error) = claim.keep(app.table(), credential, &kept).await {
        app.log().warn("the response of a request with an idempotency key was not kept", &error);
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = |name: HeaderName| Some((name.to_string(), headers.get(&name)?.to_str().ok()?.to_owned()));
    KEPT_HEADERS.into_iter().filter_map(kept).collect()
}

fn repeated(completed: &Completed, credential: &SecretString) -> Result<Response> {
    let kept = match completed.response(credential.expose_secret().as_bytes()) {
        Ok(kept) => kept,
        Err(NoResponse::NotYet(lease)) => return Err(Error::in_flight(lease)),
        Err(NoResponse::Never) => return Err(not_kept(completed)),
    };
    let status = StatusCode::from_u16(kept.status).map_err(Error::internal)?;
    let mut response = (status, kept.body).into_response();
    for (name, value) in kept.headers {
        let name = HeaderName::try_from(name).map_err(Error::internal)?;
        response.headers_mut().insert(name, HeaderValue::try_from(value).map_err(Error::internal)?);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn not_kept(completed: &Completed) -> Error {
    let of = completed.target_id.as_ref().map(|id| format!(". It created or changed {id}")).unwrap_or_default();
    let message = format!(
        "The request with this Idempotency-Key was carried out, and its response can't be repeated to this token{of}"
    );
    Error::new(ErrorCode::ResponseNotKept, message)
}
