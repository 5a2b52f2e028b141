//! The test reports of a run, which become one summary.
//!
//! A report that can't be read is a line of the log, and never a failure.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use junit::{MAX_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
use redaction::Redaction;
use shared::model::TestSummary;

use crate::beneath::{Folder, Found};
use crate::buildspec::Report;

/// Reads the files of all reports in a source folder. Returns the summary, and a sentence about each file that is not part of it.
pub(crate) fn read(
    source: &Folder,
    reports: &[Report],
    variables: &BTreeMap<String, String>,
    redaction: &Redaction,
) -> (Option<TestSummary>, Vec<String>) {
    let (files, mut notes) = find(source, reports, variables);
    if files.is_empty() {
        notes.push("No file matches the buildspec's `reports`.".to_owned());
        return (None, notes);
    }
    let (mut summary, mut total, mut has_read) = (TestSummary::default(), 0, false);
    for (at, path) in files.iter().enumerate() {
        let name = path.display();
        if at == MAX_FILES || total > MAX_TOTAL_BYTES {
            let left = files.len() - at;
            notes.push(format!(
                "{left} test report(s) are not read: a deployment has at most {MAX_FILES} of 100 MiB together."
            ));
            break;
        }
        match read_file(source, path) {
            Ok((one, size)) => {
                total += size;
                has_read = true;
                summary.add(one, |text| redaction.redact(text).into_owned());
            }
            Err(why) => notes.push(format!("The test report {name:?} is not read: {why}", name = name.to_string())),
        }
    }
    (has_read.then_some(summary), notes)
}

fn find(source: &Folder, reports: &[Report], variables: &BTreeMap<String, String>) -> (Vec<PathBuf>, Vec<String>) {
    let mut notes = Vec::new();
    let mut selections = Vec::new();
    for report in reports {
        let (selection, unusable) = report.select(source.path(), variables);
        notes.extend(unusable.into_iter().map(|why| format!("Left out of the test reports: {why}")));
        selections.push(selection);
    }
    let mut files = Vec::new();
    source.walk(&mut |relative, found| {
        if matches!(found, Found::File) && selections.iter().any(|selection| selection.place(relative).is_some()) {
            files.push(relative.to_owned());
        }
    });
    (files, notes)
}

/// Reads the tests of a file. Returns them with the size of the file.
fn read_file(source: &Folder, path: &Path) -> Result<(TestSummary, u64), String> {
    let file = source.file(path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    }
    Ok((junit::read(BufReader::new(file.take(MAX_BYTES)))?, size))
}
