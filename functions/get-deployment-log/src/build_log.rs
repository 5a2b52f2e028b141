//! The log of a build by CodeBuild, from CloudWatch Logs.
//!
//! CloudWatch has no line numbers, only times, and many lines can have the same millisecond. So a line's number is its
//! millisecond since an hour before the deployment was created, times a million, plus its place among the lines of that
//! millisecond. The number stays below 2^53 for a hundred days. A reader can continue from a number with one call, and
//! then skips the lines of that millisecond up to the number. CloudWatch keeps a build's lines in the order of their
//! arrival, and a build's only writer sends its lines in order.

use std::time::Duration;

use archive::{LogLine, LogPage, MAX_READ_BYTES, Stream};
use aws_sdk_cloudwatchlogs::Client;
use shared::aws;
use shared::clock::Timestamp;
use shared::model::{BuildId, Deployment};
use shared::{App, Error, InitError, Result};

/// The setting with the log group of builds by CodeBuild.
pub const BUILD_LOG_GROUP: &str = "BUILD_LOG_GROUP";

/// The numbers for the lines of one millisecond. It is also the first number of a build's line: the pipeline's own
/// lines, which come before, are counted from 1.
pub(crate) const NUMBERS_PER_MS: u64 = 1_000_000;
/// The maximum time by which a machine's clock may lag behind that of the machine that created the deployment.
const CLOCKS_DIFFER: Duration = Duration::from_secs(3600);
/// The maximum number of lines that one call returns.
const MAX_EVENTS: u64 = 10_000;
/// CloudWatch may return pages without lines before the next lines.
const MAX_CALLS: u32 = 10;

#[derive(Clone, Debug)]
pub(crate) struct BuildLog {
    client: Client,
    /// The log group of builds. `None` if no builds run.
    group: Option<String>,
}

impl BuildLog {
    /// # Errors
    /// Fails if the setting is not the name of a log group.
    pub(crate) fn new(app: &App) -> Result<Self, InitError> {
        let group = app.settings().get(BUILD_LOG_GROUP).map(str::to_owned);
        let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/#".contains(&b));
        if let Some(other) = group.as_ref().filter(|name| !plain(name)) {
            return Err(format!("{BUILD_LOG_GROUP} is not the name of a log group: {other:?}").into());
        }
        Ok(Self { client: Client::new(&app.aws().client("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS")), group })
    }

    /// Returns at most `limit` of the build's lines after a number. If `has_ended`, asks CloudWatch until it says whether
    /// there are more; a build that still runs would only give another answer a moment later.
    pub(crate) async fn read(
        &self,
        deployment: &Deployment,
        build: &BuildId,
        after: u64,
        limit: usize,
        has_ended: bool,
    ) -> Result<LogPage> {
        let zero = Timestamp::from_millis(deployment.created_at.as_millis() - CLOCKS_DIFFER.as_millis() as i64);
        let start = zero.as_millis().saturating_add_unsigned(after / NUMBERS_PER_MS);
        let skipped = if after < NUMBERS_PER_MS { 0 } else { after % NUMBERS_PER_MS + 1 };
        // One more tells whether there are more.
        let events = (skipped + limit as u64 + 1).min(MAX_EVENTS);
        let mut page = LogPage { lines: Vec::new(), at_end: true };
        let Some(group) = &self.group else { return Ok(page) };
        let (mut token, mut last_ms, mut place, mut bytes) = (None, None, 0, 0);
        for _ in 0..MAX_CALLS {
            let sent = self
                .client
                .get_log_events()
                .log_group_name(group)
                .log_stream_name(deployment.log_stream(build))
                .start_from_head(true)
                .start_time(start)
                .limit(i32::try_from(events).expect("at most 10,000"))
                .set_next_token(token.clone())
                .send()
                .await;
            let answer = match sent {
                Ok(answer) => answer,
                // The build has not started to write.
                Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                    return Ok(page);
                }
                Err(error) if aws::is_passing(aws::code_of(&error)) => return Err(Error::unavailable(error)),
                Err(error) => return Err(Error::internal(error)),
            };
            for event in answer.events() {
                let at_ms = event.timestamp().unwrap_or_default();
                place = if last_ms == Some(at_ms) { place + 1 } else { 0 };
                last_ms = Some(at_ms);
                let since = Timestamp::from_millis(at_ms).since(zero).as_millis() as u64;
                let number = since * NUMBERS_PER_MS + place;
                if number <= after {
                    continue;
                }
                if page.lines.len() >= limit || bytes >= MAX_READ_BYTES {
                    page.at_end = false;
                    return Ok(page);
                }
                let text = event.message().unwrap_or_default().trim_end_matches(['\r', '\n']);
                bytes += text.len();
                page.lines.push(LogLine { number, at_ms, stream: stream(text), text: text.to_owned() });
            }
            // At the end, CloudWatch returns the token of the request.
            page.at_end = answer.next_forward_token().is_none() || answer.next_forward_token == token;
            if page.at_end || !(has_ended || page.lines.is_empty()) {
                return Ok(page);
            }
            token = answer.next_forward_token;
        }
        Ok(page)
    }
}

/// Returns the stream of a line. CodeBuild's own lines have a prefix. CodeBuild does not tell stdout and stderr apart.
fn stream(text: &str) -> Stream {
    if text.starts_with("[Container] ") { Stream::System } else { Stream::Stdout }
}
