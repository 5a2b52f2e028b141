//! The refusals of invalid parameters and fields.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

use super::{Error, ErrorCode, Result};

/// The largest number of fields that one error lists.
pub(crate) const MAX_DETAILS: usize = 20;
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

    pub(crate) fn invalid_fields(mut details: Vec<Detail>) -> Self {
        details.truncate(MAX_DETAILS);
        let message = summary(&details);
        Self { details, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    /// Refuses a request with these invalid parameters and fields, each with its message, if there are any.
    ///
    /// # Errors
    /// Fails with `invalid_request` if there is one.
    pub fn fields(invalid: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Result<()> {
        let detail = |(field, message): (_, _)| Detail { field: Into::into(field), message: Into::into(message) };
        let details: Vec<_> = invalid.into_iter().map(detail).collect();
        if details.is_empty() { Ok(()) } else { Err(Self::invalid_fields(details)) }
    }

    /// Refuses the items of a list about which `problem` returns a message.
    ///
    /// # Errors
    /// Fails with `invalid_request` if there is one.
    pub fn items<T>(
        list: &str,
        items: impl IntoIterator<Item = T>,
        problem: impl Fn(T) -> Option<String>,
    ) -> Result<()> {
        let items = items.into_iter().enumerate();
        Self::fields(items.filter_map(|(at, item)| Some((format!("{list}[{at}]"), problem(item)?))))
    }

    /// Refuses those of the fields that are given, with one message.
    ///
    /// # Errors
    /// Fails with `invalid_request` if one is.
    pub fn given<'a>(fields: impl IntoIterator<Item = (&'a str, bool)>, message: &str) -> Result<()> {
        let given = fields.into_iter().filter(|(_, is_given)| *is_given);
        Self::fields(given.map(|(field, _)| (field, message)))
    }

    /// Joins the refusals of parameters and fields in several checks, so that a client is told all of them at once.
    ///
    /// # Errors
    /// Fails with the first error of a check that is not about a field, with the only refusal of fields, or with `invalid_request` if
    /// several checks refuse fields.
    pub fn all(checks: impl IntoIterator<Item = Result<()>>) -> Result<()> {
        checks.into_iter().filter_map(Result::err).reduce(Self::joined_with).map_or(Ok(()), Err)
    }

    /// Returns the values of two checks, or joins their refusals as [`Error::all`] does.
    ///
    /// # Errors
    /// Fails if a check has.
    pub fn both<A, B>(first: Result<A>, second: Result<B>) -> Result<(A, B)> {
        match (first, second) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Err(first), Err(second)) => Err(first.joined_with(second)),
            (Err(refusal), Ok(_)) | (Ok(_), Err(refusal)) => Err(refusal),
        }
    }

    /// Joins two refusals of fields. Of two errors, one that is about no field takes precedence, and then the first.
    fn joined_with(self, other: Self) -> Self {
        match (self.is_of_fields(), other.is_of_fields()) {
            (true, true) => Self::invalid_fields(self.details.into_iter().chain(other.details).collect()),
            (true, false) => other,
            _ => self,
        }
    }

    fn is_of_fields(&self) -> bool {
        self.code.status() == StatusCode::BAD_REQUEST && !self.details.is_empty()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(error: &Error) -> Vec<&str> {
        error.details().iter().map(|detail| detail.field.as_str()).collect()
    }

    #[test]
    fn refusals_of_fields_are_told_at_once() {
        let url = || Error::new(ErrorCode::InvalidCloneUrl, "clone_url is bad").with_detail("clone_url", "is bad");
        let all = Error::all([Ok(()), Err(url()), Error::fields([("name", "is taken"), ("a[1]", "is unknown")])]);
        let all = all.unwrap_err();
        assert_eq!(fields(&all), ["clone_url", "name", "a[1]"]);
        assert_eq!((all.code(), all.message()), (ErrorCode::InvalidRequest, "3 fields are invalid"));

        let only = Error::all([Err(url()), Ok(())]).unwrap_err();
        assert_eq!((only.code(), only.message()), (ErrorCode::InvalidCloneUrl, "clone_url is bad"));
        let other = Error::all([Err(url()), Err(Error::not_found("Team")), Err(url())]).unwrap_err();
        assert_eq!(other.code(), ErrorCode::NotFound, "another error goes first");
        let unreadable = || Error::new(ErrorCode::RemoteUnavailable, "try again").with_detail("clone_url", "is silent");
        assert_eq!(Error::all([Err(url()), Err(unreadable())]).unwrap_err().code(), ErrorCode::RemoteUnavailable);

        assert_eq!(Error::both(Ok(1), Ok("a")).unwrap(), (1, "a"));
        let both = Error::both(Err::<u8, _>(url()), Err::<u8, _>(Error::invalid("b", "is bad"))).unwrap_err();
        assert_eq!(fields(&both), ["clone_url", "b"]);
        assert_eq!(fields(&Error::both(Ok(1), Err::<u8, _>(url())).unwrap_err()), ["clone_url"]);
        Error::fields([("", ""); 0]).unwrap();
    }

    #[test]
    fn an_error_lists_a_bounded_number_of_fields() {
        let many = Error::fields((0..1000).map(|at| (format!("repositories[{at}]"), "is unknown"))).unwrap_err();
        assert_eq!(many.details().len(), MAX_DETAILS);
        let more = Error::all([Err(many.clone()), Err(many)]).unwrap_err();
        assert_eq!(more.details().len(), MAX_DETAILS);
    }
}
