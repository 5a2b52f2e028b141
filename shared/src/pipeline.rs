//! The pipeline of every endpoint: request id and log, panic guard, authentication, rate limit, permission, idempotency key, handler; on
//! the way back the ETag, the envelope and the headers.

mod compress;
mod cross_origin;
mod limit;
mod redirect;
mod repeat;
mod revalidate;

use std::any::Any;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LINK, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;

use self::limit::{admitted, limit};
use self::redirect::redirect;
use self::repeat::repeat;
use self::revalidate::revalidate;
use crate::access::{Access, Caller, SignedIn, TOKEN_EXPIRES_AT};
use crate::app::App;
use crate::clock::Timestamp;
use crate::endpoint::{Early, Endpoint};
use crate::envelope::{ErrorFormat, into_envelope};
use crate::error::{Error, ErrorCode, Result};
use crate::extract::UnknownParameters;
use crate::id::RequestId;
use crate::model::{Quota, RequestOrigin, Subject};
use crate::precondition::refuse_unmatched;
use crate::rate_limit::Verdict;
use crate::route::{Content, Deprecation, Route, WithoutLimiter};
use crate::telemetry::{Level, RequestLine};
use crate::trace::TraceContext;
use crate::usage::Usage;

/// An endpoint with the whole pipeline.
pub type Service = BoxCloneSyncService<lambda_http::Request, Response, Infallible>;

/// Wraps the endpoint's handler in the pipeline. The service never fails: each failure is a response in the envelope.
pub fn service(app: App, endpoint: Endpoint) -> Service {
    let context = Arc::new(Context { app, route: endpoint.route, early: endpoint.early });
    let layers = ServiceBuilder::new()
        .layer(from_fn(compress::compress))
        .layer(from_fn_with_state(context.clone(), observe))
        .layer(from_fn(cross_origin::answer_preflight))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(context.clone(), authenticate))
        .layer(from_fn_with_state(context.clone(), limit))
        .layer(from_fn_with_state(context.clone(), revalidate))
        // A second guard, so that a handler's panic does not keep the limiter from counting.
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(context.clone(), redirect))
        .layer(from_fn_with_state(context.clone(), authorize))
        .layer(from_fn_with_state(context, repeat))
        .service(endpoint.handler);
    BoxCloneSyncService::new(layers.map_request(|request: lambda_http::Request| request.map(axum::body::Body::new)))
}

struct Context {
    app: App,
    route: Route,
    early: Option<Early>,
}

/// The findings of the inner layers about a request, for the outermost layer to log.
#[derive(Default)]
struct Record {
    caller: OnceLock<Caller>,
    verdict: OnceLock<Verdict>,
    limiter_failure: OnceLock<String>,
}

/// Returns the source address that the gateway reports. Ignores the header, which clients can set.
fn source_address(request: &Request) -> IpAddr {
    let address = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref().and_then(|ip| ip.parse().ok()),
        _ => None,
    };
    address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Returns the source address as the limiter counts it.
fn source(request: &Request) -> Subject {
    Subject::source(source_address(request))
}

fn gateway_request_id(request: &Request) -> Option<String> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    }
}

/// Runs the outermost layer: gives the request its id, writes the envelope and the headers, and logs one line.
async fn observe(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = RequestId::random();
    let record = Arc::new(Record::default());
    let (source, source_address) = (source(&request), source_address(&request));
    let trace = TraceContext::from_headers(request.headers());
    let gateway_request_id = gateway_request_id(&request);
    let by_https = request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let lambda_request_id = request.lambda_context_ref().map(|lambda| lambda.request_id.clone());
    request.extensions_mut().insert(record.clone());
    // The extractors read the route, for the permission on the resource that they load.
    request.extensions_mut().insert(context.route);
    let origin = RequestOrigin { source_address, request_id: request_id.clone() };
    request.extensions_mut().insert(origin);
    let format = ErrorFormat::of(request.headers());
    let is_head = request.method() == Method::HEAD;

    let (response, usage) = TraceContext::within(trace.clone(), Usage::of(next.run(request))).await;

    let (mut response, error) = match is_page(&context.route, &response) {
        true => (response, None),
        false => into_envelope(response, format, &request_id),
    };
    let caller = record.caller.get();
    let account = caller.map(Caller::account);
    let told = response.extensions().get::<Verdict>().or(record.verdict.get()).copied();
    let verdict = told.unwrap_or_else(|| {
        let limiter = context.app.limiter();
        match account {
            Some(account) => limiter.recall(&Subject::Account(account.id.clone()), account.quota()),
            None => limiter.recall(&source, Quota::ANONYMOUS),
        }
    });
    set_security_headers(response.headers_mut(), by_https);
    set_rate_limit_headers(response.headers_mut(), &verdict);
    if context.route.content == Content::Data {
        cross_origin::share(response.headers_mut());
    }
    if let Some(deprecation) = &context.route.deprecation {
        set_deprecation_headers(response.headers_mut(), deprecation);
    }
    if let Some(trace) = &trace {
        response.headers_mut().insert("traceresponse", trace.response());
    }
    if let Some(caller) = caller {
        set_expiry_headers(response.headers_mut(), caller, context.app.clock().now());
    }
    let id = HeaderValue::try_from(request_id.as_str()).expect("ids are ASCII");
    response.headers_mut().insert("x-request-id", id);

    let status = response.status();
    let failed = status.is_server_error();
    // A customer's git host that is down must not stop a rollout.
    let is_remote = error.as_ref().is_some_and(|error| error.code() == ErrorCode::RemoteUnavailable);
    context.app.log().write(&RequestLine {
        metrics: context.app.metrics(context.route.function, started.elapsed(), usage, failed && !is_remote),
        level: if failed { Level::Error } else { Level::Info },
        request_id: &request_id,
        gateway_request_id: gateway_request_id.as_deref(),
        lambda_request_id: lambda_request_id.as_deref(),
        trace: trace.as_ref(),
        route: context.route.path,
        status: status.as_u16(),
        account_id: account.map(|account| &account.id),
        actor_id: caller.map(Caller::user_id),
        token_id: caller.and_then(Caller::token_id),
        client_id: caller.and_then(Caller::client_id),
        session_id: caller.and_then(Caller::session_id),
        source_address,
        code: error.as_ref().map(|error| error.code().as_str()),
        cause: error.as_ref().and_then(Error::cause_chain),
        limiter_failure: record.limiter_failure.get().cloned(),
    });
    if is_head { response.map(|_| axum::body::Body::empty()) } else { response }
}

/// Returns whether a response is a page that tells a browser's user what is wrong with the request. It is no envelope.
fn is_page(route: &Route, response: &Response) -> bool {
    let failed = response.extensions().get::<Error>().is_some() || response.status().is_server_error();
    route.content == Content::Pages && !failed
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<String>().cloned();
    let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Error::internal(format!("panic: {}", message.unwrap_or_default())).into_response()
}

fn record(request: &Request) -> Arc<Record> {
    request.extensions().get::<Arc<Record>>().cloned().unwrap_or_default()
}

/// Authenticates the caller. A request that fails here counts against its source address.
async fn authenticate(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Result<Response> {
    if context.route.access == Access::Public {
        return Ok(next.run(request).await);
    }
    let record = record(&request);
    let (authenticator, limiter) = (context.app.authenticator(), context.app.limiter());
    let source = source(&request);
    // A refused source can't make the API look up one token after the other. Its callers that are known go on.
    if limiter.refuses(&source, Quota::ANONYMOUS) && !authenticator.knows(request.headers()) {
        admitted(&record, limiter.admit(&source, Quota::ANONYMOUS).await, WithoutLimiter::Admit)?;
    }
    let error = match authenticator.authenticate(request.headers(), context.route.linking, limiter).await {
        // A newcomer has no account, so that the request counts against its source.
        Ok(signed_in) => {
            record_use(&context.app, &signed_in);
            match signed_in {
                SignedIn::Newcomer(newcomer) => drop(request.extensions_mut().insert(newcomer)),
                SignedIn::Caller(caller) => {
                    request.extensions_mut().insert(caller.clone());
                    let _ = record.caller.set(caller);
                }
            }
            return Ok(next.run(request).await);
        }
        Err(error) => error,
    };
    if error.code().status().is_client_error() {
        let counted = limiter.admit(&source, Quota::ANONYMOUS).await;
        // If the limiter fails, the refusal that the request gets anyway is enough.
        admitted(&record, counted, WithoutLimiter::Admit)?;
    }
    Err(error)
}

/// Records the use of the token or the session in the background, so that the request does not wait. If the environment is frozen after the
/// response, the recording ends with the next request. Dropping it with the response would close its connection.
fn record_use(app: &App, signed_in: &SignedIn) {
    let Some(unrecorded) = app.authenticator().unrecorded_use(signed_in) else { return };
    let log = app.log().clone();
    tokio::spawn(async move {
        if let Err(error) = unrecorded.record().await {
            log.warn("the use of a token or a session was not recorded", &error);
        }
    });
}

/// Checks the permission that the route declares, and refuses parameters and conditions of an endpoint without any.
async fn authorize(State(context): State<Arc<Context>>, mut request: Request, next: Next) -> Result<Response> {
    if let Some(caller) = request.extensions().get::<Caller>() {
        caller.check(&context.route, context.app.clock().now())?;
    }
    let unknown = UnknownParameters::of(&context.route, request.uri().query());
    match context.route.takes_body {
        true => drop(request.extensions_mut().insert(unknown)),
        false => unknown.check()?,
    }
    refuse_unmatched(&context.route, request.headers())?;
    Ok(next.run(request).await)
}

/// Forbids caches to keep a response that does not say otherwise, and browsers to guess its type. `by_https` says whether the
/// gateway got the request over https: browsers ignore `Strict-Transport-Security` on anything else, and the local stack has
/// no https to insist on.
fn set_security_headers(headers: &mut HeaderMap, by_https: bool) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if by_https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

/// Sets the header with the token's expiry, and a link to the rotation if the token expires soon.
fn set_expiry_headers(headers: &mut HeaderMap, caller: &Caller, now: Timestamp) {
    let Some(expires_at) = caller.expires_at() else { return };
    let expires_at = HeaderValue::try_from(expires_at.to_string()).expect("times are ASCII");
    headers.insert(TOKEN_EXPIRES_AT, expires_at);
    if let Some(id) = caller.token_to_rotate(now) {
        // The URL is relative to the request, so that functions need no setting for it.
        add_to_list(headers, LINK, &format!("</v1/tokens/{id}/rotate>; rel=\"rotate\""));
    }
}

/// Adds to the list in a header. There is only one header with the name, because API Gateway's format allows a name only once.
fn add_to_list(headers: &mut HeaderMap, name: HeaderName, element: &str) {
    let list = match headers.get(&name).and_then(|list| list.to_str().ok()) {
        Some(list) => format!("{list}, {element}"),
        None => element.to_owned(),
    };
    headers.insert(name, HeaderValue::try_from(list).expect("lists in headers are ASCII"));
}

/// Tells since when the endpoint should not be used, when it ends, and where to read what to do.
fn set_deprecation_headers(headers: &mut HeaderMap, deprecation: &Deprecation) {
    let midnight = |day: Date| day.to_zoned(TimeZone::UTC).expect("a day of our time is in range");
    let text = |text: String| HeaderValue::try_from(text).expect("dates are ASCII");
    headers.insert("deprecation", text(format!("@{}", midnight(deprecation.since).timestamp().as_second())));
    let sunset = midnight(deprecation.sunset).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    headers.insert("sunset", text(sunset));
    add_to_list(headers, LINK, &format!("<{}>; rel=\"deprecation\"", deprecation.page));
}

/// Sets the contract's three headers, and those of the IETF draft (draft-ietf-httpapi-ratelimit-headers-10).
fn set_rate_limit_headers(headers: &mut HeaderMap, verdict: &Verdict) {
    let Verdict { quota: Quota { per_minute, burst }, remaining, burst_remaining, reset, reset_after, .. } = *verdict;
    let burst_window = (u64::from(burst) * 60).div_ceil(u64::from(per_minute.max(1)));
    let mut set = |name: &'static str, value: String| {
        let value = HeaderValue::try_from(value).expect("numbers and quotes are ASCII");
        headers.insert(HeaderName::from_static(name), value);
    };
    set("x-ratelimit-limit", per_minute.to_string());
    set("x-ratelimit-remaining", remaining.to_string());
    set("x-ratelimit-reset", reset.to_string());
    set("ratelimit-policy", format!("\"minute\";q={per_minute};w=60, \"burst\";q={burst};w={burst_window}"));
    set("ratelimit", format!("\"minute\";r={remaining};t={reset_after}, \"burst\";r={burst_remaining}"));
}
