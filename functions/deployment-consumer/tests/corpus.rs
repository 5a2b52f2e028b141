//! Buildspecs, one construct each, with their expected readings beside them.
//!
//! `buildspecs/<construct>/<case>.yml` is the file. The `.json` beside it says how it is read, and was written by hand:
//!
//! - `buildspec`: the canonical form, which CodeBuild is handed too;
//! - `stored`: the variables that the deployment must have, with the store that the file names;
//! - `notes`: what is not done as the file says, as `line:column sentence`;
//! - `problems`: all reasons to reject the file, in the same form. A rejected file has nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use deployment_consumer::buildspec::{Buildspec, Finding};
use serde_json::{Value, json};

fn told(findings: &[Finding]) -> Value {
    let sentence = |finding: &Finding| match finding.at {
        Some(at) => format!("{}:{} {}", at.line, at.column, finding.message),
        None => finding.message.clone(),
    };
    findings.iter().map(sentence).collect()
}

fn reading(text: &[u8]) -> Value {
    let buildspec = match Buildspec::parse(text) {
        Ok(buildspec) => buildspec,
        Err(error) => return json!({"problems": told(&error.problems)}),
    };
    let mut reading = json!({"buildspec": buildspec.canonical(&BTreeMap::new())});
    if !buildspec.stored.is_empty() {
        let stored: BTreeMap<_, _> = buildspec.stored.iter().map(|(name, stored)| (name, stored.store.key())).collect();
        reading["stored"] = json!(stored);
    }
    if !buildspec.notes.is_empty() {
        reading["notes"] = told(&buildspec.notes);
    }
    reading
}

/// Returns each file of the corpus with its name, its text and its expected reading.
fn corpus() -> Vec<(String, Vec<u8>, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/buildspecs");
    let folder = |path: &Path| -> Vec<PathBuf> {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
    };
    let files = folder(&root).into_iter().flat_map(|construct| folder(&construct));
    let (cases, readings): (Vec<_>, Vec<_>) = files.partition(|file| file.extension().is_some_and(|end| end == "yml"));
    assert_eq!(cases.len(), readings.len(), "each file has one reading");
    let case = |file: PathBuf| {
        let expected =
            fs::read_to_string(file.with_extension("json")).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        (name, fs::read(file).unwrap(), serde_json::from_str(&expected).unwrap())
    };
    cases.into_iter().map(case).collect()
}

#[test]
fn each_file_is_read_as_it_is_written() {
    let mut different = Vec::new();
    for (name, text, expected) in corpus() {
        let read = reading(&text);
        if read != expected {
            different
                .push(format!("{name}\n{}\nread     {read:#}\nexpected {expected:#}", String::from_utf8_lossy(&text)));
        }
    }
    assert!(different.is_empty(), "{}\n{} files", different.join("\n\n"), different.len());
}

/// CodeBuild reads the canonical form again.
#[test]
fn the_canonical_form_is_read_as_itself() {
    for (name, text, _) in corpus() {
        let Ok(buildspec) = Buildspec::parse(&text) else { continue };
        let canonical = buildspec.canonical(&BTreeMap::new());
        assert_eq!(reading(format!("{canonical:#}").as_bytes()), json!({"buildspec": canonical}), "{name}");
        // With the values that CodeBuild takes from AWS.
        let canonical = buildspec.canonical(&buildspec.stored);
        let again = Buildspec::parse(format!("{canonical:#}").as_bytes()).unwrap();
        let references = |buildspec: &Buildspec| -> Vec<_> {
            let stored = buildspec.stored.iter();
            stored.map(|(name, stored)| (name.clone(), stored.store, stored.reference.clone())).collect()
        };
        assert_eq!(references(&again), references(&buildspec), "{name}");
    }
}

/// Files that CodeBuild runs and a deployment rejects, by AWS's documentation. All other files that are rejected count as mistakes that
/// CodeBuild rejects too.
const REJECTED: [&str; 12] = [
    "batch/fanout.yml",
    "batch/fast-fail-alone.yml",
    "batch/graph-of-everything.yml",
    "batch/graph.yml",
    "batch/list-of-everything.yml",
    "batch/list.yml",
    "batch/matrix.yml",
    "batch/without-phases.yml",
    "shell/cmd.yml",
    "shell/powershell.yml",
    "yaml/billion-laughs.yml",
    "yaml/too-deep.yml",
];

/// Compares the figures of `infra/docs/buildspec.md` with the corpus.
#[test]
fn at_least_95_of_100_files_that_codebuild_runs_are_accepted() {
    let corpus = corpus();
    let is_accepted = |text: &[u8]| Buildspec::parse(text).is_ok();
    let constructs: BTreeSet<_> = corpus.iter().map(|(name, ..)| name.split('/').next().unwrap()).collect();
    let accepted = corpus.iter().filter(|(_, text, _)| is_accepted(text)).count();
    let noted = corpus.iter().filter(|(_, text, _)| Buildspec::parse(text).is_ok_and(|read| !read.notes.is_empty()));
    let rejected: Vec<_> =
        corpus.iter().filter(|(name, text, _)| REJECTED.contains(&name.as_str()) && !is_accepted(text)).collect();
    assert_eq!(rejected.len(), REJECTED.len(), "each of them is a file that is rejected");
    let run = accepted + rejected.len();
    assert!(accepted * 100 >= run * 95, "{accepted} of {run}");
    let figures = format!(
        "{} files in {} groups of constructs. CodeBuild runs {run} of them, of which {accepted} are accepted, {} of these with a note.",
        corpus.len(),
        constructs.len(),
        noted.count()
    );
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/docs/buildspec.md");
    let page = fs::read_to_string(page).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&figures), "the page has other figures than: {figures}");
}
