//! Traces in the form of W3C Trace Context (<https://www.w3.org/TR/trace-context/>): from a request to the messages that it
//! sends, and on to those that their consumers send.

use aws_lambda_events::sqs::SqsMessage;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

/// The name of the header, and of the attribute of a message.
pub(crate) const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Option<TraceContext>;
}

/// A span in a trace: that of a request or of a message. Its parent is the caller's or the sender's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceContext {
    trace_id: String,
    parent_id: String,
    span_id: String,
}

impl TraceContext {
    /// Returns a new span below the one in the header of a request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Self::below(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    /// Returns a new span below the one that sent a message.
    pub fn from_message(message: &SqsMessage) -> Option<Self> {
        Self::below(message.message_attributes.get(TRACEPARENT)?.string_value.as_deref()?)
    }

    /// Returns a new span below the one in a `traceparent`. Returns `None` if that is malformed.
    fn below(traceparent: &str) -> Option<Self> {
        let mut fields = traceparent.split('-');
        let mut hex = |length: usize| {
            let field = fields.next()?;
            let lower_hex = field.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            (field.len() == length && lower_hex).then(|| field.to_owned())
        };
        let (version, trace_id, parent_id, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let valid = version != "ff" && !zero(&trace_id) && !zero(&parent_id);
        valid.then(|| {
            let mut span = [0u8; 8];
            getrandom::fill(&mut span).expect("the operating system gives random bytes");
            Self { trace_id, parent_id, span_id: crate::hex::hex(&span) }
        })
    }

    /// Does work as a part of a span, so that the messages that it sends tell the span.
    pub fn within<F: Future>(span: Option<Self>, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(span, work)
    }

    /// Returns the span of the running request or message, if it is a part of a trace.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// Returns the span as a `traceparent`. The log has each span, so it is sampled.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// Returns the value of `traceresponse`, which tells the caller the span of this request
    /// (<https://w3c.github.io/trace-context/#traceresponse-header>).
    pub(crate) fn response(&self) -> HeaderValue {
        HeaderValue::try_from(self.traceparent()).expect("hexadecimal digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_traceparent_is_no_trace() {
        let good = TraceContext::below("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(good.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        let next = TraceContext::below(&good.traceparent()).unwrap();
        assert_eq!((&next.trace_id, &next.parent_id), (&good.trace_id, &good.span_id));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::below(bad), None, "{bad}");
        }
    }
}
