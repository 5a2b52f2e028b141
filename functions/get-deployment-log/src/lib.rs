//! `GET /v1/deployments/{deployment_id}/log`: returns the log lines after a position, also while the deployment runs.
//!
//! The archive has the lines of a run by the consumer. If the consumer hands the deployment to CodeBuild, the archive
//! has the lines up to that point, and the build's own lines come from CloudWatch Logs.

mod build_log;

use std::time::Duration;

use archive::{Archive, LogLine, LogPage};
use axum::Json;
use axum::extract::{FromRef, State};
use serde::{Deserialize, Serialize};
use shared::access::{AuthorizedDeployment, Scope};
use shared::capability::conceal;
use shared::clock::{Rfc3339, Timestamp};
use shared::extract::{LARGEST, Number, Query};
use shared::poll::{NothingNew, PollInterval};
use shared::{App, Endpoint, Error, InitError, Result, Route};

pub use build_log::BUILD_LOG_GROUP;
use build_log::{BuildLog, NUMBERS_PER_MS};

/// The time after a deployment's end within which the last lines of its build appear in CloudWatch Logs. CodeBuild
/// sends them before it reports the end, and they become readable some seconds later. AWS promises no limit.
const LINES_SETTLE: Duration = Duration::from_secs(15);

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/deployments/{deployment_id}/log")
    .requires(Scope::DeploymentsRead)
    .follows()
    .takes(&["after", "limit"]);

/// Returns the endpoint with its clients.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    let (archive, builds) = (Archive::new(app)?, BuildLog::new(app)?);
    Ok(Endpoint::new(ROUTE, get_deployment_log, Logs { app: app.clone(), archive, builds }))
}

/// The app, the archive with the consumer's lines, and CloudWatch Logs with the builds' lines.
#[derive(Clone)]
pub struct Logs {
    app: App,
    archive: Archive,
    builds: BuildLog,
}

impl FromRef<Logs> for App {
    fn from_ref(logs: &Logs) -> App {
        logs.app.clone()
    }
}

/// The position in the log, and the size of the page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogPosition {
    /// The number of the last line that the client has. The response starts after it.
    #[serde(default)]
    #[param(value_type = u64, minimum = 0, default = 0)]
    after: Number<0, { LARGEST }, 0>,
    /// The maximum number of lines to return.
    #[serde(default)]
    #[param(value_type = u32, minimum = 1, maximum = 1000, default = 1000)]
    limit: Number<1, 1000, 1000>,
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
    /// The line's number, which increases from line to line: 1, 2, 3, … The numbers of a build by AWS CodeBuild have
    /// gaps. Every number is below 2^53.
    #[schema(examples(12))]
    number: u64,
    /// The time at which the line was written.
    at: Rfc3339,
    /// `stdout` or `stderr` of a command, or `system` for the pipeline's own lines. AWS CodeBuild reports both streams
    /// as `stdout`.
    #[schema(examples("stdout"))]
    stream: &'static str,
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
/// Keeps up to 10 MiB of text, in which a line end counts as one byte. Of a longer log, keeps the first 8 MiB and the
/// last 2 MiB. A line of the stream `system` then says how many lines and bytes are left out between them. The last
/// 2 MiB become readable when the run ends. A line has at most 16 KiB; longer output is split into several lines. The log
/// of a build by AWS CodeBuild is in CloudWatch Logs and has no such bounds.
#[utoipa::path(get, path = ROUTE.path, tag = "Deployments", params(LogPosition), responses((status = 200, body = LogBody)))]
pub async fn get_deployment_log(
    State(Logs { app, archive, builds }): State<Logs>,
    Query(position): Query<LogPosition>,
    deployment: AuthorizedDeployment,
) -> Result<(Option<PollInterval>, Option<NothingNew>, Json<LogBody>)> {
    let after = position.after.get();
    let limit = usize::try_from(position.limit.get()).expect("at most 1000");
    let settled = |ended: Timestamp| deployment.build.is_none() || app.clock().now().since(ended) >= LINES_SETTLE;
    let has_ended = deployment.finished_at.is_some_and(settled);
    // The log is complete before the deployment ends, and the state was read before the log.
    let mut page = match after < NUMBERS_PER_MS || deployment.build.is_none() {
        true => archive.read_log(&deployment.log_prefix(), after, limit).await.map_err(failed)?,
        false => LogPage { lines: Vec::new(), at_end: true },
    };
    // The archive's part is complete before a build exists.
    if let Some(build) = &deployment.build
        && page.at_end
    {
        let limit = limit - page.lines.len();
        let of_build = builds.read(&deployment, build, after, limit, has_ended).await?;
        page.lines.extend(of_build.lines);
        page.at_end = of_build.at_end;
    }
    let LogPage { lines, at_end } = page;
    let meta = LogMeta { next_after: lines.last().map_or(after, |line| line.number), complete: has_ended && at_end };
    let interval = match at_end {
        true if has_ended => None,
        true => Some(PollInterval::of(&deployment).unwrap_or(PollInterval::WAITING)),
        false => Some(PollInterval::NOW),
    };
    let nothing_new = lines.is_empty().then_some(NothingNew);
    Ok((interval, nothing_new, Json(LogBody { data: lines.into_iter().map(LogLineBody::from).collect(), meta })))
}

fn failed(error: archive::Error) -> Error {
    if error.is_passing() { Error::unavailable(error) } else { Error::internal(error) }
}

impl From<LogLine> for LogLineBody {
    fn from(line: LogLine) -> Self {
        let LogLine { number, at_ms, stream, text } = line;
        Self {
            number,
            at: Timestamp::from_millis(at_ms).into(),
            stream: stream.as_str(),
            text: conceal(&text).into_owned(),
        }
    }
}
