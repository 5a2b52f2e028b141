//! `GET /v1/deployments/{deployment_id}/log`: returns the log lines after a position, also while the deployment runs.
//!
//! The archive has the lines of a run by the consumer, and those of a build by CodeBuild, which `build-log` copies.

mod position;
mod text;

use archive::{Archive, Gaps, LogLine, LogPage, Stream};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::VARY;
use serde::Serialize;
use shared::access::{AuthorizedDeployment, Scope};
use shared::capability::conceal;
use shared::clock::{Rfc3339, Timestamp};
use shared::extract::Query;
use shared::poll::{NothingNew, PollInterval};
use shared::{App, Endpoint, InitError, Result, Route, With};

pub use position::LogPosition;
use position::Start;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/log")
    .requires(Scope::DeploymentsRead)
    .follows()
    .takes(&["after", "limit", "tail"]);

/// Returns the endpoint with the archive.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_deployment_log, With(app.clone(), Archive::new(app)?)))
}

/// The lines of a log after a position.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Log)]
pub struct LogBody {
    /// The lines, oldest first.
    data: Vec<LogLineBody>,
    meta: LogMeta,
}

/// A line of a log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = LogLine)]
pub struct LogLineBody {
    /// The line's number: 1, 2, 3, … A line that stands for lines that are left out has the number of the last of them.
    #[schema(examples(12))]
    number: u64,
    /// The time at which the line was written.
    at: Rfc3339,
    /// The source of the line. AWS CodeBuild reports both streams of a command as `stdout`.
    stream: Stream,
    /// The text of the line, in which secret values are replaced by `***`.
    #[schema(examples("Compiling frontend-app"))]
    text: String,
}

/// The position to continue from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LogMeta {
    /// The value of `after` for the next request.
    #[schema(examples(12))]
    next_after: u64,
    /// Whether the deployment has ended and no more lines follow this page. For a build by AWS CodeBuild, it becomes
    /// true 15 seconds after the end, because the last lines can arrive that late.
    pub complete: bool,
}

/// Get a deployment's log
///
/// Returns the log lines after a position. To follow the log, repeat the request with `after` set to `meta.next_after`
/// after `X-Poll-Interval` seconds, until `meta.complete` is true, which it is on the page with the last line. A page without
/// lines does not count against the plan.
///
/// With `tail`, returns the last lines instead, from which `meta.next_after` goes on.
///
/// With `Accept: text/plain`, returns the texts of the lines alone. Without `limit`, such a page has up to 1 MiB of text. While
/// more lines follow or can still come, `Link` has the relation `next`. After the end, `…/log.txt` downloads them all.
///
/// Keeps up to 10 MiB of text, in which a line end counts as one byte. Of a longer log, keeps the first 8 MiB and the
/// last 2 MiB. A line of the stream `system` then says how many lines are left out between them. The last
/// 2 MiB become readable when the run ends. A line has at most 16 KiB; longer output is split into several lines. The lines of a build by AWS
/// CodeBuild are in the order in which they were delivered, which may differ from that of their times.
#[utoipa::path(get, path = ROUTE.path, tag = "Deployments", params(LogPosition), responses((status = 200, content((LogBody = "application/json"), (String = "text/plain", examples(("response" = (value = json!("Compiling frontend-app\n")))))))))]
pub async fn get_deployment_log(
    State(With(app, archive)): State<With<Archive>>,
    Query(position): Query<LogPosition>,
    headers: HeaderMap,
    deployment: AuthorizedDeployment,
) -> Result<Response> {
    let as_text = text::is_asked_for(&headers);
    let start = position.start(as_text)?;
    let has_ended = deployment.has_whole_log(app.clock().now());
    // The log is complete before the deployment ends, and the state was read before the log.
    let gaps = if has_ended { Gaps::Mark } else { Gaps::Wait };
    let (archive, prefix) = (&archive, deployment.log_prefix());
    let LogPage { lines, at_end } = match start {
        Start::After(after, limit) => archive.read_log(&prefix, after, limit, gaps).await?,
        Start::Tail(count) => archive.read_log_tail(&prefix, count, gaps).await?,
    };
    let next_after = lines.last().map_or(start.after(), |line| line.number);
    let meta = LogMeta { next_after, complete: has_ended && at_end };
    let interval = match at_end {
        true if has_ended => None,
        true => Some(PollInterval::of(&deployment).unwrap_or(PollInterval::WAITING)),
        false => Some(PollInterval::NOW),
    };
    let nothing_new = lines.is_empty().then_some(NothingNew);
    let lines = lines.into_iter().map(LogLineBody::from).collect();
    let body = match as_text {
        true => text::body(lines, &meta, &app.url(&format!("/v1/deployments/{}/log", deployment.id))),
        false => Json(LogBody { data: lines, meta }).into_response(),
    };
    Ok((interval, nothing_new, [(VARY, "Accept")], body).into_response())
}

impl From<LogLine> for LogLineBody {
    fn from(line: LogLine) -> Self {
        let LogLine { number, at_ms, stream, text } = line;
        Self { number, at: Timestamp::from_millis(at_ms).into(), stream, text: conceal(&text).into_owned() }
    }
}
