//! An answer of the API.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A response of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The JSON body.
    pub body: Value,
}

/// Returns the JSON body of a function's response, as a gateway gets the response. A long body is compressed if the event accepts
/// gzip.
pub fn body_of(response: &Value) -> Value {
    let body = response["body"].as_str().unwrap();
    let body = match response["isBase64Encoded"] == true {
        true => serde_json::from_reader(GzDecoder::new(&BASE64_STANDARD.decode(body).unwrap()[..])),
        false => serde_json::from_str(body),
    };
    body.unwrap_or_else(|error| panic!("{error}: {response}"))
}

/// The rate limit in the headers of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub limit: i64,
    /// Requests left in the minute.
    pub remaining: i64,
    /// The second since the Unix epoch at which the minute ends.
    pub reset: i64,
    /// Seconds until `reset`.
    pub reset_after: i64,
    /// The size of the token bucket.
    pub burst: i64,
    /// Tokens left in the bucket.
    pub burst_left: i64,
}

impl Answer {
    /// Returns a header's value. Fails the test if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().unwrap()
    }

    /// Asserts the status, the code and the envelope.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.body["error"]["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.body["error"]["request_id"], self.header("x-request-id"), "{self:?}");
        assert_eq!(self.body["error"]["doc_url"], format!("/docs/errors/{code}"), "{self:?}");
        assert!(!self.body["error"]["message"].as_str().unwrap().is_empty());
        self
    }

    /// Returns the rate limit in the headers, which every answer has. Asserts that both kinds of headers agree.
    #[track_caller]
    pub fn rate_limit(&self) -> RateLimit {
        let numbers = |name: &str| {
            let digits = self.header(name).split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
            digits.map(|number| number.parse().unwrap()).collect::<Vec<i64>>()
        };
        let number = |name: &str| self.header(name).parse::<i64>().unwrap_or_else(|_| panic!("no number: {self:?}"));
        let [limit, remaining, reset] = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(number);
        let [per_minute, 60, burst, window] = numbers("ratelimit-policy")[..] else { panic!("{self:?}") };
        let [left, reset_after, burst_left] = numbers("ratelimit")[..] else { panic!("{self:?}") };
        let policy = format!("\"minute\";q={per_minute};w=60, \"burst\";q={burst};w={window}");
        assert_eq!(self.header("ratelimit-policy"), policy);
        assert_eq!(self.header("ratelimit"), format!("\"minute\";r={left};t={reset_after}, \"burst\";r={burst_left}"));
        assert_eq!((per_minute, left), (limit, remaining), "both kinds of headers say the same: {self:?}");
        assert!((0..=limit).contains(&remaining) && (0..=burst).contains(&burst_left), "{self:?}");
        assert!(reset % 60 == 0 && (1..=60).contains(&reset_after), "{self:?}");
        RateLimit { limit, remaining, reset, reset_after, burst, burst_left }
    }

    /// Returns the URL of a relation in `Link`.
    pub fn link(&self, relation: &str) -> Option<String> {
        let ending = format!("; rel=\"{relation}\"");
        let link = self.header("link").split(", ").find_map(|link| link.strip_suffix(&ending))?;
        Some(link.trim_start_matches('<').trim_end_matches('>').to_owned())
    }

    /// Returns one field of every row of a page.
    pub fn column(&self, field: &str) -> Vec<String> {
        let rows = self.body["data"].as_array().unwrap_or_else(|| panic!("no page: {self:?}"));
        rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
    }
}
