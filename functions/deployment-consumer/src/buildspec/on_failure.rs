//! `on-failure` of a phase.

use std::fmt;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use super::node::Node;
use super::reading::Reading;

/// The start of the values that run a phase again.
const RETRY: &str = "RETRY";
/// The number of repetitions if the file names none, as in CodeBuild.
const TIMES: u32 = 3;
/// The maximum number of repetitions, as in CodeBuild.
const MOST_TIMES: u32 = 100;
/// The pattern if the file names none.
const ANY: &str = ".*";
/// The maximum size of a compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The effect of a failed command on its phase and on later phases.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// No later phase runs.
    Abort,
    /// Later phases run. The build has failed all the same.
    Continue,
    /// The phase runs again. After its last failure no later phase runs.
    Retry(Retry),
}

/// The repetition of a failed phase: `RETRY`, `RETRY-count`, `RETRY-regex` or `RETRY-count-regex`.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The maximum number of repetitions.
    pub times: u32,
    pattern: String,
    regex: Regex,
}

impl OnFailure {
    /// Returns the value in the canonical form.
    pub fn canonical(&self) -> String {
        match self {
            Self::Abort => "ABORT".to_owned(),
            Self::Continue => "CONTINUE".to_owned(),
            Self::Retry(retry) => retry.to_string(),
        }
    }
}

impl Retry {
    /// Reads what follows `RETRY`. Fails with the reason why CodeBuild would not take it.
    fn read(rest: &str) -> Result<Self, String> {
        let Some(rest) = rest.strip_prefix('-') else { return Self::new(TIMES, ANY) };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (count, after) = rest.split_at(digits);
        let pattern = match after.strip_prefix('-') {
            _ if count.is_empty() => return Self::new(TIMES, rest),
            None if after.is_empty() => ANY,
            Some(pattern) => pattern,
            None => return Self::new(TIMES, rest),
        };
        match count.parse() {
            Ok(times @ 0..=MOST_TIMES) => Self::new(times, pattern),
            _ => Err(format!("repeats a phase at most {MOST_TIMES} times")),
        }
    }

    fn new(times: u32, pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("ends with a hyphen; write the regular expression after it, or remove it".to_owned());
        }
        let config = Regex::config().utf8_empty(false).nfa_size_limit(Some(MAX_PATTERN_BYTES));
        // Letters, digits and spaces are those of ASCII, as in CodeBuild's expressions.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let regex = Regex::builder().configure(config).syntax(syntax).build(pattern);
        let regex = regex.map_err(|_| format!("has {pattern:?}, which is no regular expression"))?;
        Ok(Self { times, pattern: pattern.to_owned(), regex })
    }

    /// Returns whether a line of the failed command's output, or the message about its failure, matches.
    pub fn matches<'a>(&self, mut lines: impl Iterator<Item = &'a str>) -> bool {
        lines.any(|line| self.regex.is_match(line))
    }

    /// Returns the expression that a line must match, unless any does.
    pub fn pattern(&self) -> Option<&str> {
        (self.pattern != ANY).then_some(&self.pattern)
    }
}

impl Eq for Retry {}

impl PartialEq for Retry {
    fn eq(&self, other: &Self) -> bool {
        (self.times, &self.pattern) == (other.times, &other.pattern)
    }
}

/// Formats the canonical value.
impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RETRY}-{}", self.times)?;
        self.pattern().map_or(Ok(()), |pattern| write!(f, "-{pattern}"))
    }
}

impl Reading {
    pub(super) fn on_failure(&mut self, key: &str, node: &Node) -> Option<OnFailure> {
        let action = self.text(key, node)?;
        let (start, rest) = action.value.split_at_checked(RETRY.len()).unwrap_or((&action.value, ""));
        let is_retry = start.eq_ignore_ascii_case(RETRY) && (rest.is_empty() || rest.starts_with('-'));
        match action.value.to_ascii_uppercase().as_str() {
            "ABORT" => Some(OnFailure::Abort),
            "CONTINUE" => Some(OnFailure::Continue),
            "" => None,
            _ if is_retry => match Retry::read(rest) {
                Ok(retry) => Some(OnFailure::Retry(retry)),
                Err(why) => {
                    self.refuse(action.at, format!("`{key}` {why}"));
                    None
                }
            },
            _ => {
                self.refuse(action.at, format!("`{key}` must be ABORT, CONTINUE or RETRY"));
                None
            }
        }
    }
}
