//! An API Gateway HTTP API with Lambda proxy integrations of payload format 2.0.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//!
//! As in AWS, a path is percent-decoded before routing, so an encoded slash splits segments. `rawPath` and path
//! parameters arrive decoded; `rawQueryString` arrives as it was sent. Bytes that aren't UTF-8 are replaced, a case
//! that AWS does not document.
//!
//! The gateway refuses requests that exceed its limits. AWS documents the limits. The statuses and messages are those that
//! clients of HTTP APIs report.

mod connection;
mod file;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::route::{Match, Routes};
use crate::server::Server;
use crate::{ACCOUNT_ID, server};
use shared::clock::Clock;

/// The maximum size of a request body.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
pub const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// The maximum size of the request line and the values of all headers together, from the same page.
pub const HEAD_LIMIT: usize = 10_240;

/// The time that HTTP APIs wait for an integration, from the same page.
pub const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

const API_ID: &str = "local";
const STAGE: &str = "$default";
const REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");

/// Headers that concern one connection (RFC 9110, 7.6.1), and those that a server sets itself.
const NOT_FORWARDED: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A running HTTP API. Dropping it stops it.
pub struct Gateway {
    server: Server,
}

struct Api {
    routes: Routes,
    clock: Clock,
    port: u16,
    integration_timeout: Duration,
}

/// The response of a function that returned a `statusCode`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyResponse {
    status_code: u16,
    headers: Option<BTreeMap<String, String>>,
    cookies: Option<Vec<String>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

impl Gateway {
    /// Listens on `address`, which must be on 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Fails if the address can't be bound.
    pub async fn start(address: SocketAddr, routes: Routes, clock: Clock) -> io::Result<Self> {
        Self::start_on(server::bind(address).await?, routes, clock, INTEGRATION_TIMEOUT)
    }

    /// Starts an API on a bound listener, for functions that need the API's URL before.
    pub(crate) fn start_on(
        listener: TcpListener,
        routes: Routes,
        clock: Clock,
        integration_timeout: Duration,
    ) -> io::Result<Self> {
        let port = listener.local_addr()?.port();
        let api = Arc::new(Api { routes, clock, port, integration_timeout });
        let app = Router::new().fallback(handle).with_state(api);
        Ok(Self { server: Server::start(listener, |listener, stop| connection::serve(listener, app, stop))? })
    }

    /// Returns the address and port that the API listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the API's base URL, such as `http://127.0.0.1:3000`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Stops listening, and waits at most five seconds for running requests.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

async fn handle(
    State(api): State<Arc<Api>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let request_id = request_id();
    let mut response = api.answer(peer, request, &request_id).await.unwrap_or_else(refusal);
    let request_id = HeaderValue::try_from(request_id).expect("base64 is a header value");
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// Returns a request id of an HTTP API: 16 characters of base64, the last of which is padding.
fn request_id() -> String {
    BASE64_STANDARD.encode(&Uuid::new_v4().as_bytes()[..11])
}

impl Api {
    /// Answers a request. An error is a status for which [`refusal`] has AWS's text.
    async fn answer(&self, peer: SocketAddr, request: Request, request_id: &str) -> Result<Response<Body>, StatusCode> {
        let (parts, body) = request.into_parts();
        if head_size(&parts) > HEAD_LIMIT {
            discard(body).await;
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let raw_path = decode_path(parts.uri.path()).ok_or(StatusCode::BAD_REQUEST)?;
        let segments: Vec<_> = raw_path[1..].split('/').collect();
        let matched = self.routes.find(&parts.method, &segments).ok_or(StatusCode::NOT_FOUND)?;
        let body = read_body(body).await?;
        let function = matched.function;
        let event = self.event(&parts, &raw_path, body, peer, request_id, matched);

        // A function that exceeds the gateway's time limit runs on, as in Lambda.
        let Ok(response) = tokio::time::timeout(self.integration_timeout, function.invoke(event)).await else {
            tracing::error!(function = function.name(), "no response within the integration time-out");
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        };
        match response {
            Ok(response) => {
                let unreadable = || io::Error::other("the response is not one that an HTTP API can read");
                let response = write_response(response).ok_or_else(unreadable);
                let response = async { file::with_named_file(response?).await }.await;
                response.map_err(|error| {
                    tracing::error!(function = function.name(), %error, "the response can't be sent");
                    StatusCode::INTERNAL_SERVER_ERROR
                })
            }
            Err(error) => {
                tracing::error!(function = function.name(), %error, "the function failed");
                Err(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    fn event(
        &self,
        parts: &Parts,
        raw_path: &str,
        body: Vec<u8>,
        peer: SocketAddr,
        request_id: &str,
        matched: Match<'_>,
    ) -> Value {
        let now = self.clock.now().as_millis();
        let raw_query = parts.uri.query().unwrap_or_default();
        let mut headers = forwarded_headers(&parts.headers, peer);
        headers.insert(CONTENT_LENGTH.to_string(), body.len().to_string());
        headers.insert("x-forwarded-port".to_owned(), self.port.to_string());
        headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
        headers.entry("x-amzn-trace-id".to_owned()).or_insert_with(|| trace_id(now));
        let host = headers.get(HOST.as_str()).map_or("", String::as_str);
        let domain = host.rsplit_once(':').map_or(host, |(name, _port)| name);

        let mut event = json!({
            "version": "2.0",
            "routeKey": matched.key,
            "rawPath": raw_path,
            "rawQueryString": raw_query,
            "requestContext": {
                "accountId": ACCOUNT_ID,
                "apiId": API_ID,
                "domainName": domain,
                "domainPrefix": domain.split('.').next(),
                "http": {
                    "method": parts.method.as_str(),
                    "path": raw_path,
                    "protocol": format!("{:?}", parts.version),
                    "sourceIp": peer.ip(),
                    "userAgent": headers.get(USER_AGENT.as_str()).map_or("", String::as_str),
                },
                "requestId": request_id,
                "routeKey": matched.key,
                "stage": STAGE,
                "time": log_time(now),
                "timeEpoch": now,
            },
            "headers": &headers,
            "isBase64Encoded": false,
        });

        // AWS leaves empty fields out.
        let cookies = cookies(&parts.headers);
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        let query = decode_query(raw_query);
        if !query.is_empty() {
            event["queryStringParameters"] = query.into();
        }
        if !matched.path_parameters.is_empty() {
            event["pathParameters"] = json!(matched.path_parameters);
        }
        if !body.is_empty() {
            let (text, is_base64) = encode_body(parts.headers.get(CONTENT_TYPE), body);
            event["body"] = text.into();
            event["isBase64Encoded"] = is_base64.into();
        }
        event
    }
}

/// Returns the size of the request line and the values of all headers.
fn head_size(parts: &Parts) -> usize {
    let line = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
    line.len() + parts.headers.values().map(HeaderValue::len).sum::<usize>()
}

/// Decodes a path. Bytes that aren't UTF-8 become U+FFFD. Returns `None` for the target `*`, which is no path.
fn decode_path(path: &str) -> Option<String> {
    path.starts_with('/').then(|| percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned())
}

fn decode_query(raw: &str) -> Map<String, Value> {
    let mut parameters = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in url::form_urlencoded::parse(raw.as_bytes()) {
        parameters.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    parameters.into_iter().map(|(name, values)| (name, values.join(",").into())).collect()
}

async fn read_body(mut body: Body) -> Result<Vec<u8>, StatusCode> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
        if read.len() + data.len() > BODY_LIMIT {
            discard(body).await;
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Reads the rest of a body. Without this, a client that still writes would get a reset connection instead of the
/// response.
async fn discard(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn forwarded_headers(headers: &HeaderMap, peer: SocketAddr) -> BTreeMap<String, String> {
    let mut forwarded = BTreeMap::new();
    for name in headers.keys().filter(|name| !NOT_FORWARDED.contains(name) && *name != COOKIE) {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        forwarded.insert(name.as_str().to_owned(), values.join(","));
    }
    forwarded
        .entry("x-forwarded-for".to_owned())
        .and_modify(|addresses| *addresses = format!("{addresses}, {}", peer.ip()))
        .or_insert_with(|| peer.ip().to_string());
    forwarded
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .split(';')
                .map(|cookie| cookie.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// Returns the body as in the event, and whether it is base64. HTTP APIs encode every body whose content type isn't
/// known to be text, including a form's.
fn encode_body(content_type: Option<&HeaderValue>, body: Vec<u8>) -> (String, bool) {
    let media_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = media_type.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&media_type.as_str());
    if !is_text {
        return (BASE64_STANDARD.encode(body), true);
    }
    match String::from_utf8(body) {
        Ok(text) => (text, false),
        Err(error) => (BASE64_STANDARD.encode(error.as_bytes()), true),
    }
}

/// Returns a trace id. <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-traceids>
fn trace_id(now: i64) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("Root=1-{:08x}-{}", now / 1000, &random[..24])
}

/// Formats the time as in a common log file, such as `12/Mar/2020:19:03:58 +0000`.
fn log_time(now: i64) -> String {
    let now = Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH);
    now.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// Converts a function's response into HTTP. Returns `None` if API Gateway can't read the response.
fn write_response(response: Value) -> Option<Response<Body>> {
    if response.get("statusCode").is_none() {
        let mut inferred = Response::new(Body::from(response.to_string()));
        inferred.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Some(inferred);
    }
    let response: ProxyResponse = serde_json::from_value(response).ok()?;
    let status = StatusCode::from_u16(response.status_code).ok().filter(|status| !status.is_informational())?;
    let text = response.body.unwrap_or_default();
    let body =
        if response.is_base64_encoded == Some(true) { BASE64_STANDARD.decode(text).ok()? } else { text.into_bytes() };

    let mut headers = HeaderMap::new();
    for (name, value) in response.headers.unwrap_or_default() {
        let name = HeaderName::try_from(name).ok()?;
        if !NOT_FORWARDED.contains(&name) {
            headers.insert(name, HeaderValue::try_from(value).ok()?);
        }
    }
    if !body.is_empty() {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    for cookie in response.cookies.unwrap_or_default() {
        headers.append(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }

    let mut written = Response::new(Body::from(body));
    *written.status_mut() = status;
    *written.headers_mut() = headers;
    Some(written)
}

/// Returns the gateway's own response for a status.
fn refusal(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(refusal_body(status)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns the body of the gateway's own response, in API Gateway's words.
fn refusal_body(status: StatusCode) -> String {
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        other => other.canonical_reason().unwrap_or_default(),
    };
    json!({ "message": message }).to_string()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::Ipv4Addr;

    use lambda_runtime::{LambdaEvent, service_fn};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::function::Function;

    #[tokio::test]
    async fn a_function_that_takes_too_long_is_service_unavailable() {
        let clock = Clock::manual(shared::clock::Timestamp::from_millis(0));
        let service = service_fn(async |_: LambdaEvent<Value>| Ok::<Value, Infallible>(std::future::pending().await));
        let function = Function::events("slow", service, INTEGRATION_TIMEOUT, clock.clone());
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let routes = Routes::new([("$default", function)]).unwrap();
        let gateway = Gateway::start_on(listener, routes, clock, Duration::from_millis(50)).unwrap();

        let mut connection = TcpStream::connect(gateway.address()).await.unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\nhost: local\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\n{\"message\":\"Service Unavailable\"}"), "{response}");
    }
}
