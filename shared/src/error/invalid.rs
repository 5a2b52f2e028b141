//! The refusals of invalid parameters and fields.

use std::borrow::Cow;

use serde::Serialize;

use super::{Error, ErrorCode, Result};

/// The message about a field that is missing.
pub(crate) const REQUIRED: &str = "is required";

/// One invalid parameter or body field.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct Detail {
    /// The parameter's name, or the field's path in the body.
    #[schema(examples("variables.AWS_X"))]
    pub field: String,
    /// The problem, as a phrase that follows the name of the field.
    #[schema(examples("has a name that starts with AWS_"))]
    pub message: String,
}

impl Error {
    /// Refuses a request with one invalid parameter or field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![Detail { field: field.into(), message: message.into() }])
    }

    pub(crate) fn invalid_fields(details: Vec<Detail>) -> Self {
        let message = summary(&details);
        Self { details, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    /// Joins the refusals of parameters and fields in several checks, so that a client is told all of them at once.
    ///
    /// # Errors
    /// Fails with `invalid_request` if a check has, or with the first other error of a check.
    pub fn all(checks: impl IntoIterator<Item = Result<()>>) -> Result<()> {
        let mut details = Vec::new();
        for check in checks {
            match check {
                Err(error) if !error.details.is_empty() => details.extend(error.details),
                other => other?,
            }
        }
        if details.is_empty() { Ok(()) } else { Err(Self::invalid_fields(details)) }
    }

    pub(crate) fn details(&self) -> &[Detail] {
        &self.details
    }

    /// Replaces the message about a field, if it is one of the invalid ones.
    #[must_use]
    pub fn explain(self, field: &str, message: &str) -> Self {
        self.explain_if(|detail| detail.field == field, message)
    }

    /// Replaces the message about a required field, if it is missing.
    #[must_use]
    pub fn explain_missing(self, field: &str, message: &str) -> Self {
        self.explain_if(|detail| detail.field == field && detail.message == REQUIRED, message)
    }

    fn explain_if(mut self, is_meant: impl Fn(&Detail) -> bool, message: &str) -> Self {
        let mut meant = self.details.iter_mut().filter(|detail| is_meant(detail)).peekable();
        if meant.peek().is_none() {
            return self;
        }
        meant.for_each(|detail| message.clone_into(&mut detail.message));
        Self { message: summary(&self.details), ..self }
    }

    /// Names a parameter or field that caused the error.
    pub fn with_detail(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.details.push(Detail { field: field.into(), message: message.into() });
        self
    }
}

fn summary(details: &[Detail]) -> Cow<'static, str> {
    match details {
        [one] => format!("{} {}", one.field, one.message).into(),
        many => format!("{} fields are invalid", many.len()).into(),
    }
}
