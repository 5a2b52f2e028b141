//! The client that posts messages to receivers, whom nobody can trust.

use std::io::Read;
use std::time::Duration;

use shared::hosts::Hosts;
use shared::model::{MAX_RESPONSE_BYTES, WebhookUrl};
use ureq::Agent;
use ureq::http::Request;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};

/// The time limit of a request, from the resolution of the host's name to the last byte of the response that is read.
const TIME: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("git-api-webhooks/", env!("CARGO_PKG_VERSION"));

/// The client. It connects to allowed addresses only, and follows no redirect.
#[derive(Clone, Debug)]
pub struct Client(Agent);

/// A message to post.
#[derive(Clone, Debug)]
pub struct Message {
    /// The URL of the receiver.
    pub url: WebhookUrl,
    /// The headers of Standard Webhooks, if the message is signed.
    pub headers: Vec<(&'static str, String)>,
    /// The body, in JSON.
    pub body: Vec<u8>,
}

/// The reaction of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The receiver answered.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The first bytes of the body.
        body: String,
        /// The value of `Retry-After`, if the receiver sent one.
        retry_after: Option<String>,
    },
    /// The receiver did not answer, for this reason.
    Silence(String),
}

impl Client {
    pub(crate) fn new(hosts: Hosts) -> Self {
        Self(fetch::agent(hosts, USER_AGENT))
    }

    /// Posts a message. It blocks for ten seconds at most.
    pub(crate) fn post(&self, message: &Message) -> Response {
        let mut request = Request::post(message.url.as_str()).header(CONTENT_TYPE, "application/json");
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        let Ok(request) = request.body(message.body.as_slice()) else {
            return Response::Silence("The URL can't be requested".to_owned());
        };
        let request = self.0.configure_request(request).timeout_global(Some(TIME)).build();
        match self.0.run(request) {
            Ok(mut response) => {
                let mut body = Vec::new();
                // The status decides. A body that does not end, or is cut, is kept as far as it came.
                let limit = MAX_RESPONSE_BYTES as u64;
                let _ = response.body_mut().as_reader().take(limit).read_to_end(&mut body);
                let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                Response::Answer {
                    status: response.status().as_u16(),
                    retry_after: retry_after.map(str::to_owned),
                    body: text_of(body),
                }
            }
            Err(error) => Response::Silence(reason(&error)),
        }
    }
}

/// Returns the text of bytes that may end within a character.
fn text_of(bytes: Vec<u8>) -> String {
    let text = String::from_utf8_lossy(&bytes);
    // Replacement characters take more bytes than what they replace.
    text[..text.floor_char_boundary(MAX_RESPONSE_BYTES)].to_owned()
}

fn reason(error: &ureq::Error) -> String {
    let reason = match error {
        ureq::Error::Timeout(_) => "took longer than 10 seconds",
        ureq::Error::HostNotFound => "can't be found: its host does not exist",
        ureq::Error::Other(cause) if cause.is::<fetch::Forbidden>() => "is at an address that is not public",
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "has no valid certificate",
        _ => "can't be reached, or its answer is no HTTP",
    };
    format!("The receiver {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_whole_characters() {
        assert_eq!(text_of(b"ok".to_vec()), "ok");
        let cut = text_of("é".repeat(600).into_bytes()[..MAX_RESPONSE_BYTES - 1].to_vec());
        assert!(cut.len() <= MAX_RESPONSE_BYTES && cut.starts_with('é'), "{}", cut.len());
        assert!(text_of(vec![0xff; MAX_RESPONSE_BYTES]).len() <= MAX_RESPONSE_BYTES);
    }
}
