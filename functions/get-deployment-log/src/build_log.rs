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
use aws_sdk_cloudwatchlogs::error::SdkError;
use aws_sdk_cloudwatchlogs::operation::get_log_events::{GetLogEventsError, GetLogEventsOutput};
use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
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

/// The size of the lines in an answer from which CloudWatch may have cut it, in bytes. An answer has at most 1 MB.
const CUT_BYTES: usize = 500_000;

/// The numbers of consecutive lines.
struct Numbers {
    zero: Timestamp,
    last_ms: Option<i64>,
    place: u64,
}

impl Numbers {
    fn of(deployment: &Deployment) -> Self {
        Self { zero: zero(deployment), last_ms: None, place: 0 }
    }

    /// Returns the next line, which has the number 0 of its millisecond unless a line of it came before.
    fn line(&mut self, event: &OutputLogEvent) -> LogLine {
        let at_ms = event.timestamp().unwrap_or_default();
        self.place = if self.last_ms == Some(at_ms) { self.place + 1 } else { 0 };
        self.last_ms = Some(at_ms);
        let since = Timestamp::from_millis(at_ms).since(self.zero).as_millis() as u64;
        let text = event.message().unwrap_or_default().trim_end_matches(['\r', '\n']);
        LogLine { number: since * NUMBERS_PER_MS + self.place, at_ms, stream: stream(text), text: text.to_owned() }
    }
}

/// Returns the time from which the lines of a deployment's build are numbered.
fn zero(deployment: &Deployment) -> Timestamp {
    Timestamp::from_millis(deployment.created_at.as_millis() - CLOCKS_DIFFER.as_millis() as i64)
}

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

    /// Returns the last lines of the build, at most `limit`.
    pub(crate) async fn read_tail(
        &self,
        deployment: &Deployment,
        build: &BuildId,
        limit: usize,
    ) -> Result<Vec<LogLine>> {
        let Some(group) = &self.group else { return Ok(Vec::new()) };
        let sent = self
            .client
            .get_log_events()
            .log_group_name(group)
            .log_stream_name(deployment.log_stream(build))
            .start_from_head(false)
            .limit(i32::try_from(MAX_EVENTS).expect("at most 10,000"))
            .send()
            .await;
        let Some(answer) = written(sent)? else { return Ok(Vec::new()) };
        let mut numbers = Numbers::of(deployment);
        let lines = answer.events().iter().map(|event| numbers.line(event)).collect::<Vec<_>>();
        let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
        // Of the first millisecond, lines may be missing at its start, without which the others have no number.
        let is_cut = lines.len() as u64 >= MAX_EVENTS || bytes >= CUT_BYTES;
        let first_ms = lines.first().map(|line| line.at_ms).filter(|_| is_cut);
        let known = lines.into_iter().skip_while(|line| Some(line.at_ms) == first_ms).collect::<Vec<_>>();
        let (mut bytes, mut kept) = (0, 0);
        for line in known.iter().rev() {
            if kept == limit || bytes >= MAX_READ_BYTES {
                break;
            }
            (bytes, kept) = (bytes + line.text.len(), kept + 1);
        }
        Ok(known.into_iter().rev().take(kept).rev().collect())
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
        let start = zero(deployment).as_millis().saturating_add_unsigned(after / NUMBERS_PER_MS);
        let skipped = if after < NUMBERS_PER_MS { 0 } else { after % NUMBERS_PER_MS + 1 };
        // One more tells whether there are more.
        let events = (skipped + limit as u64 + 1).min(MAX_EVENTS);
        let mut page = LogPage { lines: Vec::new(), at_end: true };
        let Some(group) = &self.group else { return Ok(page) };
        let (mut token, mut numbers, mut bytes) = (None, Numbers::of(deployment), 0);
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
            let Some(answer) = written(sent)? else { return Ok(page) };
            for event in answer.events() {
                let line = numbers.line(event);
                if line.number <= after {
                    continue;
                }
                if page.lines.len() >= limit || bytes >= MAX_READ_BYTES {
                    page.at_end = false;
                    return Ok(page);
                }
                bytes += line.text.len();
                page.lines.push(line);
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

/// Returns an answer, or `None` if the build has not started to write.
fn written(
    sent: std::result::Result<GetLogEventsOutput, SdkError<GetLogEventsError>>,
) -> Result<Option<GetLogEventsOutput>> {
    match sent {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(None),
        Err(error) if aws::is_passing(aws::code_of(&error)) => Err(Error::unavailable(error)),
        Err(error) => Err(Error::internal(error)),
    }
}

/// Returns the stream of a line. CodeBuild's own lines have a prefix. CodeBuild does not tell stdout and stderr apart.
fn stream(text: &str) -> Stream {
    if text.starts_with("[Container] ") { Stream::System } else { Stream::Stdout }
}
