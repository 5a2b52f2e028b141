//! The body of each function's `main`.

use std::process::ExitCode;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::HOST;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, LambdaEvent};
use lambda_runtime::{Error, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tower::Service as _;

use crate::app::App;
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::error::chain;
use crate::model::key;
use crate::pipeline;
use crate::settings::Settings;
use crate::telemetry::Log;

/// The reason why a function can't start.
pub type InitError = Box<dyn std::error::Error + Send + Sync>;

/// Serves an endpoint until Lambda ends the execution environment.
pub fn serve(endpoint: fn(&App) -> Result<Endpoint, InitError>) -> ExitCode {
    start(async |app| {
        let endpoint = endpoint(&app)?;
        app.table().connect(key::connection_probe(), endpoint.calls_at_once).await;
        let service = pipeline::service(app, endpoint);
        lambda_runtime::run(service_fn(move |event| handle(service.clone(), event))).await
    })
}

/// Runs a function that is not an endpoint until Lambda ends the execution environment.
pub fn run(main: impl AsyncFnOnce(App) -> Result<(), Error>) -> ExitCode {
    start(async |app| {
        app.table().connect(key::connection_probe(), 1).await;
        main(app).await
    })
}

/// Reads the settings and runs a function on a single thread, because a function below 1,769 MB has only one. Reports a
/// missing setting or a lost Runtime API on stderr.
fn start(main: impl AsyncFnOnce(App) -> Result<(), Error>) -> ExitCode {
    let served = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { main(App::new(Settings::from_env(), Clock::system(), Log::stdout())?).await })
    };
    match served() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Serves one event of an API Gateway HTTP API, payload format 2.0: converts it into a request, and the response into
/// the gateway's format.
pub async fn handle(
    service: pipeline::Service,
    event: LambdaEvent<LambdaRequest>,
) -> Result<impl serde::Serialize + Send, std::convert::Infallible> {
    let LambdaEvent { payload, context } = event;
    // The adapter must not live across an await, because it is Send only if the response is Sync.
    let response = Adapter::from(service).call(LambdaEvent { payload: with_valid_uri(payload), context });
    response.await
}

/// Encodes the path again, which API Gateway has decoded. lambda_http 1.3 parses the path and the Host header as a URI,
/// panics if it can't, and takes a decoded `?` for the query. So this function encodes all characters that a path can't
/// contain. It leaves out the host: the gateway has already routed, and links are made from `API_BASE_URL`.
fn with_valid_uri(request: LambdaRequest) -> LambdaRequest {
    const NOT_IN_A_PATH: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'`')
        .add(b'{')
        .add(b'}')
        .add(b'\\')
        .add(b'^')
        .add(b'|');
    match request {
        LambdaRequest::ApiGatewayV2(mut event) => {
            event.headers.remove(HOST);
            event.request_context.domain_name = None;
            // A body that only claims to be base64 is taken as text.
            let is_base64 = |body: &String| BASE64_STANDARD.decode(body).is_ok();
            event.is_base64_encoded = event.is_base64_encoded && event.body.as_ref().is_some_and(is_base64);
            let encode = |text: String| utf8_percent_encode(&text, NOT_IN_A_PATH).to_string();
            event.raw_path = event.raw_path.map(encode).filter(|path| path.starts_with('/'));
            event.raw_query_string = event.raw_query_string.map(|query| query.replace('?', "%3F")).map(encode);
            LambdaRequest::ApiGatewayV2(event)
        }
        other => other,
    }
}
