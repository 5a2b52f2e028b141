//! Explanations of text that is not YAML, in the words of somebody who looks at the file.

use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource};

use super::finding::{Finding, Position};

const NOT_YAML: &str = "this is not valid YAML; check the indentation and the quotes here and in the line before";
const TOO_COMPLEX: &str = "the file is nested too deeply or repeats too much by aliases";
const UNKNOWN_ANCHOR: &str =
    "`*` starts an alias, and no anchor before it has its name; quote a value that starts with `*`";

/// Explains why the file can't be read.
pub(super) fn explain(error: Error, source: &str) -> Finding {
    let mut at = error.location().map(Position::of);
    let mut error = error;
    while let Error::AliasError { error: aliased, .. } = error {
        error = *aliased;
    }
    let message = match &error {
        Error::Eof { .. } => {
            at = Some(Position::START);
            "the file is empty".to_owned()
        }
        Error::MultipleDocuments { .. } => "a second document starts here; a buildspec is one document".to_owned(),
        Error::UnknownAnchor { .. } => UNKNOWN_ANCHOR.to_owned(),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "`<<` can only merge a map, or a list of maps".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => TOO_COMPLEX.to_owned(),
        Error::ExternalMessage { source: parser, .. } => match parser.as_ref() {
            ExternalMessageSource::Parser(error) => {
                of_parser(error.kind(), &rest_of_line(source, at), line(source, at))
            }
            _ => NOT_YAML.to_owned(),
        },
        _ => NOT_YAML.to_owned(),
    };
    Finding::new(at, message)
}

fn line(source: &str, at: Option<Position>) -> &str {
    let index = at.and_then(|at| usize::try_from(at.line).ok()?.checked_sub(1));
    index.and_then(|index| source.lines().nth(index)).unwrap_or_default()
}

fn rest_of_line(source: &str, at: Option<Position>) -> String {
    let column = at.and_then(|at| usize::try_from(at.column).ok()).unwrap_or(1);
    line(source, at).chars().skip(column - 1).collect()
}

/// Returns whether the value in the line starts with a bracket.
fn starts_with_bracket(line: &str) -> bool {
    let item = line.trim_start().trim_start_matches("- ");
    let value = item.split_once(": ").map_or(item, |(_, value)| value);
    item.starts_with(['[', '{']) || value.starts_with(['[', '{'])
}

/// Explains an error of the parser. `rest` is the line from the error's place on.
fn of_parser(kind: &ErrorKind, rest: &str, line: &str) -> String {
    let explained = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::InvalidBlockEntryWhitespace => "a tab can't indent; use spaces",
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            "a quotation mark is not closed"
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "text follows a closing quotation mark; put the whole value into quotation marks, and repeat a mark inside of \
             single ones"
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            "a backslash in double quotation marks starts an escape that YAML does not have; double it, or use single \
             quotation marks"
        }
        ErrorKind::UnclosedFlowCollection { open } => return format!("`{open}` is not closed"),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => return format!("`{open}` is closed by `{close}`"),
        ErrorKind::UnexpectedEofFlowSequence | ErrorKind::ExpectedFlowSequenceSeparator => {
            "`[` is not closed, or a comma is missing; quote a value that starts with `[`"
        }
        ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator => {
            "`{` is not closed, or a comma is missing; quote a value that starts with `{`"
        }
        ErrorKind::MisplacedFlowCollectionEnd => "this bracket closes nothing",
        ErrorKind::UnknownAnchor => UNKNOWN_ANCHOR,
        ErrorKind::UnexpectedCharacter { character } => {
            return format!("a value that starts with {character} must be quoted");
        }
        ErrorKind::BomInsideDocument => "a byte order mark stands inside the file; remove it",
        ErrorKind::RecursionLimitExceeded => TOO_COMPLEX,
        _ if rest.starts_with(':') => {
            "a colon can't stand here; quote a text that contains `: `, and put a space after a key's colon"
        }
        _ if starts_with_bracket(line) => "text follows a closing bracket; quote a value that starts with `[` or `{`",
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidBlockScalarIndent
        | ErrorKind::InvalidQuotedScalarIndent => {
            "the indentation does not match that of the lines above; keys of one map, and items of one list, start in the same \
             column"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => "a key needs a colon and a space after it",
        _ => NOT_YAML,
    };
    explained.to_owned()
}
