//! Test reports in the XML that JUnit made common (<https://github.com/testmoapp/junitxml>).
//!
//! A report is written by a build, so nothing of it is trusted: its size, its depth and what is kept of it have bounds, and no
//! entity is expanded.

use std::borrow::Cow;
use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use shared::model::{FailedTest, TestSummary};

/// The maximum number of reports of a build.
pub const MAX_FILES: usize = 1000;
/// The maximum size of a report, in bytes.
pub const MAX_BYTES: u64 = 10 << 20;
/// The maximum size of all reports of a build together, in bytes.
pub const MAX_TOTAL_BYTES: u64 = 100 << 20;
/// The maximum depth of elements. Real reports have five levels.
const MAX_DEPTH: usize = 64;
/// The maximum number of test cases in a file.
const MAX_CASES: u64 = 100_000;
/// The maximum size of a name or a message while a file is read, in bytes. The summary has smaller bounds.
const MAX_TEXT_BYTES: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// The test case whose elements are read.
struct Case {
    names: FailedTest,
    outcome: Outcome,
    duration_ms: u64,
    /// Whether the text belongs to the first failure.
    in_failure: bool,
}

/// Reads the tests of a report.
///
/// # Errors
/// Returns why the report can't be read.
pub fn read(report: impl BufRead) -> Result<TestSummary, String> {
    let (mut reader, mut summary) = (Reader::from_reader(report), TestSummary::default());
    let mut suites: Vec<String> = Vec::new();
    let (mut buffer, mut depth, mut case, mut has_root) = (Vec::new(), 0, None::<Case>, false);
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(|error| format!("it is not XML: {error}"))?;
        match event {
            Event::Start(element) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("its elements are nested deeper than {MAX_DEPTH} levels"));
                }
                if depth == 1 {
                    check_root(&element)?;
                    has_root = true;
                }
                open(&element, &mut suites, &mut case);
            }
            Event::Empty(element) => {
                if depth == 0 {
                    check_root(&element)?;
                    has_root = true;
                }
                open(&element, &mut suites, &mut case);
                close(element.local_name().as_ref(), &mut suites, &mut case, &mut summary)?;
            }
            Event::End(element) => {
                depth -= 1;
                close(element.local_name().as_ref(), &mut suites, &mut case, &mut summary)?;
            }
            Event::Text(text) => add_text(&mut case, &text),
            Event::CData(text) => add_text(&mut case, &text),
            Event::GeneralRef(entity) => {
                let text = format!("&{};", String::from_utf8_lossy(&entity));
                add_text(&mut case, unescaped(text.as_bytes()).as_bytes());
            }
            Event::Eof if depth > 0 => return Err("it ends inside of an element".to_owned()),
            Event::Eof if !has_root => return Err("it has no element".to_owned()),
            Event::Eof => return Ok(summary),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn check_root(element: &BytesStart) -> Result<(), String> {
    match element.local_name().as_ref() {
        b"testsuites" | b"testsuite" => Ok(()),
        _ => Err("it has no element `testsuites` or `testsuite` at its top".to_owned()),
    }
}

fn open(element: &BytesStart, suites: &mut Vec<String>, case: &mut Option<Case>) {
    match (element.local_name().as_ref(), case) {
        (b"testsuite", _) => suites.push(attribute(element, "name").unwrap_or_default()),
        (b"testcase", case) => {
            let suite = suites.last().filter(|suite| !suite.is_empty()).cloned();
            let suite = suite.or_else(|| attribute(element, "classname")).unwrap_or_default();
            let name = attribute(element, "name").unwrap_or_default();
            let duration_ms = attribute(element, "time").map_or(0, |time| milliseconds(&time));
            let names = FailedTest { suite, name, message: String::new() };
            *case = Some(Case { names, outcome: Outcome::Passed, duration_ms, in_failure: false });
        }
        (b"failure" | b"error", Some(case)) if case.outcome != Outcome::Failed => {
            case.outcome = Outcome::Failed;
            case.in_failure = true;
            case.names.message = attribute(element, "message").unwrap_or_default();
        }
        (b"skipped", Some(case)) if case.outcome == Outcome::Passed => case.outcome = Outcome::Skipped,
        _ => {}
    }
}

fn close(
    element: &[u8],
    suites: &mut Vec<String>,
    case: &mut Option<Case>,
    summary: &mut TestSummary,
) -> Result<(), String> {
    match element {
        b"testsuite" => drop(suites.pop()),
        b"failure" | b"error" => {
            if let Some(case) = case {
                case.in_failure = false;
            }
        }
        b"testcase" => {
            let Some(Case { mut names, outcome, duration_ms, .. }) = case.take() else { return Ok(()) };
            if summary.total == MAX_CASES {
                return Err(format!("it has more than {MAX_CASES} test cases"));
            }
            summary.total += 1;
            summary.duration_ms = summary.duration_ms.saturating_add(duration_ms);
            match outcome {
                Outcome::Passed => summary.passed += 1,
                Outcome::Skipped => summary.skipped += 1,
                Outcome::Failed => {
                    names.message = names.message.trim().to_owned();
                    summary.fail(names);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Adds to the message of a failure that has no attribute `message`.
fn add_text(case: &mut Option<Case>, text: &[u8]) {
    if let Some(Case { names, in_failure: true, .. }) = case
        && names.message.len() < MAX_TEXT_BYTES
    {
        names.message.push_str(bounded(&String::from_utf8_lossy(text)));
    }
}

/// Returns the value of an attribute, in which only XML's own five entities and the numbers of characters are replaced.
fn attribute(element: &BytesStart, name: &str) -> Option<String> {
    let found =
        element.attributes().filter_map(Result::ok).find(|found| found.key.local_name().as_ref() == name.as_bytes());
    found.map(|found| bounded(&unescaped(&found.value)).to_owned())
}

fn unescaped(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    quick_xml::escape::unescape(&text).map_or_else(|_| text.to_string(), Cow::into_owned)
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// Returns a time in seconds, such as `1.25` or `1,234.5`, in milliseconds. A time that makes no sense is 0.
fn milliseconds(seconds: &str) -> u64 {
    let seconds: f64 = seconds.trim().replace(',', "").parse().unwrap_or(0.0);
    if seconds.is_finite() && seconds > 0.0 { (seconds * 1000.0).round() as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_counted_and_failures_named() {
        let report = br#"<?xml version="1.0" encoding="UTF-8"?>
            <!DOCTYPE testsuites>
            <testsuites name="all" tests="99">
              <testsuite name="web">
                <properties><property name="a" value="b"/></properties>
                <testsuite name="inner"><testcase classname="C" name="deep" time="0.25"/></testsuite>
                <testcase name="adds &amp; subtracts" time="1,000.5"><failure message="1 &lt; 2" type="Assert">trace</failure></testcase>
                <testcase name="later" time="NaN"><skipped/></testcase>
                <testcase name="throws"><error><![CDATA[ line 1 ]]>&#x26; 2</error><failure message="again"/></testcase>
                <testcase name="ok"><system-out>words</system-out></testcase>
              </testsuite>
              <testsuite><testcase classname="pkg.Class" name="m"><failure/></testcase></testsuite>
            </testsuites>"#;
        let found = read(&report[..]).unwrap();
        let counts = [found.total, found.passed, found.failed, found.skipped, found.duration_ms];
        assert_eq!(counts, [6, 2, 3, 1, 1_000_750]);
        let failures: Vec<_> = found.failures.iter().map(|one| [&*one.suite, &*one.name, &*one.message]).collect();
        let expected =
            [["web", "adds & subtracts", "1 < 2trace"], ["web", "throws", "line 1 & 2"], ["pkg.Class", "m", ""]];
        assert_eq!(failures, expected);
    }

    #[test]
    fn a_hostile_report_is_refused_or_read_as_it_stands() {
        let laughs = br#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
            <testsuite name="&b;"><testcase name="&f;"><failure>&b;&f;</failure></testcase></testsuite>"#;
        let found = read(&laughs[..]).unwrap();
        let failure = &found.failures[0];
        assert_eq!(
            [&*failure.suite, &*failure.name, &*failure.message],
            ["&b;", "&f;", "&b;&f;"],
            "no entity is expanded"
        );

        let deep = "<testsuite>".repeat(100_000);
        for (report, why) in [
            (deep.as_bytes(), "its elements are nested deeper than 64 levels"),
            (b"", "it has no element"),
            (b"plain text", "it has no element"),
            (b"<testsuite><testcase>", "it ends inside of an element"),
            (b"<html><body/></html>", "it has no element `testsuites` or `testsuite` at its top"),
        ] {
            assert_eq!(read(report).unwrap_err(), why);
        }
        for broken in
            [&b"<testsuite></testsuites>"[..], b"<testsuite", b"<testsuite><!--", b"<testsuite></testsuite></a>"]
        {
            assert!(read(broken).is_err(), "{}", String::from_utf8_lossy(broken));
        }
        let found =
            read(&b"<testsuite name=\"\xff\xfe\"><testcase name=a><failure>\xff</failure></testcase></testsuite>"[..])
                .unwrap();
        assert_eq!((found.total, found.failures[0].suite.as_str()), (1, "\u{fffd}\u{fffd}"));
        let long = format!("<testsuite><testcase name='{}'><error/></testcase></testsuite>", "é".repeat(1 << 20));
        assert!(read(long.as_bytes()).unwrap().failures[0].name.len() <= MAX_TEXT_BYTES);
    }
}
