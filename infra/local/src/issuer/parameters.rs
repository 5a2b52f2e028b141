//! The parameters of a request.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use url::form_urlencoded;

use super::refusal::Refusal;

/// The parameters of a query or a form. A parameter without a value counts as absent (RFC 6749, section 3.1).
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// # Errors
    /// Fails with `invalid_request` if a parameter is there twice.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text).filter(|(_, value)| !value.is_empty()) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Refusal::invalid("a parameter is repeated; send each parameter once"));
            }
        }
        Ok(Self(parameters))
    }

    /// Reads the form in a request's body.
    ///
    /// # Errors
    /// Fails with `invalid_request` if the body is not a form, or a parameter is there twice.
    pub(super) fn of_form(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::invalid(
                "the body is not a form; send Content-Type application/x-www-form-urlencoded",
            ));
        }
        Self::parse(body)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// # Errors
    /// Fails with `invalid_request` if the parameter is absent.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::invalid(format!("{name} is missing")))
    }
}
