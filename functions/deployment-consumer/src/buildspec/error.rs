//! Rejections of a buildspec.

use std::fmt;

use serde_saphyr::Spanned;

/// The reason why a buildspec is rejected, in words for the repository's owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildspecError {
    /// The line, counted from 1, if it is known.
    pub line: Option<u64>,
    /// The problem and, where there is one, the remedy.
    pub message: String,
}

impl BuildspecError {
    /// The failure code of a deployment with such a buildspec.
    pub const CODE: &str = "buildspec_invalid";

    pub(super) fn new(line: impl Into<Option<u64>>, message: impl Into<String>) -> Self {
        Self { line: line.into(), message: message.into() }
    }

    pub(super) fn at<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self::new(value.referenced.line(), message)
    }
}

impl fmt::Display for BuildspecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for BuildspecError {}

impl From<serde_saphyr::Error> for BuildspecError {
    fn from(error: serde_saphyr::Error) -> Self {
        use serde_saphyr::Error;

        let line = error.location().map(|location| location.line());
        let mut error = error;
        while let Error::AliasError { error: aliased, .. } = error {
            error = *aliased;
        }
        let message = match &error {
            Error::SerdeUnknownField { field, .. } => format!("unknown key `{field}`"),
            Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is given twice"),
            Error::Unexpected { expected: "string scalar", .. } => {
                "expected a string; quote a string that contains `: ` or starts with a special character".to_owned()
            }
            Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
                format!("the file is too complex: {error}")
            }
            _ => error.to_string(),
        };
        let position = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
        let message = position.and_then(|position| message.strip_suffix(&position)).unwrap_or(&message);
        Self::new(line, message)
    }
}
