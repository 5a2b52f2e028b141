//! Findings about a buildspec: problems, and notes about what is not done as it says.

use std::fmt;

use serde_saphyr::Location;

/// The maximum number of problems that an error's text has.
const SHOWN: usize = 20;

/// A place in the file, counted from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// A sentence about a place in the file, in words for the repository's owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The place, unless the sentence is about the file as a whole.
    pub at: Option<Position>,
    /// The problem and, where there is one, the remedy.
    pub message: String,
}

/// The reasons why a buildspec is rejected: all of them, in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildspecError {
    /// At least one problem.
    pub problems: Vec<Finding>,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The parser counts an empty document's line from 0.
    pub(super) fn of(location: Location) -> Self {
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

impl Finding {
    pub(super) fn new(at: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into() }
    }
}

impl From<Finding> for BuildspecError {
    fn from(problem: Finding) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(Position { line, column }) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Display for BuildspecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().take(SHOWN).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.problems.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for BuildspecError {}
