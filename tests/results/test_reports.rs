//! The summary of test reports.

use serde_json::json;
use tests::buildspec;

use super::Results;

const REPORT: &str = "<testsuites><testsuite name='cart'><testcase name='adds' time='0.5'/>\
    <testcase name='removes' time='0.25'><failure message='expected $API_KEY'/></testcase>\
    <testcase name='later'><skipped/></testcase></testsuite></testsuites>";

fn reporting(commands: &[&str], reports: &str) -> String {
    format!("{}reports:\n{reports}", buildspec(commands))
}

#[tokio::test]
async fn the_tests_of_a_failed_build_are_on_its_deployment() {
    let write = format!("\"mkdir -p out && echo \\\"{REPORT}\\\" | tee out/a.xml > out/b.xml\"");
    let groups =
        "  unit:\n    files: ['*.xml']\n    base-directory: out\n  other: {files: x.json, file-format: CUCUMBERJSON}\n";
    let results = Results::of(&reporting(&[&write, "exit 1"], groups)).await;
    let ended = results.deployed(json!({"API_KEY": {"value": "hunter22", "secret": true}})).await;
    let log = results.owner.log(&ended).await;
    assert_eq!(ended["failure"]["code"], "command_failed", "{log:?}");
    let failure = json!({"suite": "cart", "name": "removes", "message": "expected ***"});
    let expected = json!({
        "total": 6, "passed": 2, "failed": 2, "skipped": 2, "duration_ms": 1500, "failures": [failure, failure],
    });
    assert_eq!(ended["tests"], expected, "{log:?}");
    assert!(log.contains(&"system: Tests: 6, failed: 2, skipped: 2".to_owned()), "{log:?}");
    let note = "`reports.other` is ignored: its files are CUCUMBERJSON, and only JUNITXML is read";
    assert!(log.iter().any(|line| line.ends_with(note)), "{log:?}");
    let list = results.owner.get("/v1/repositories/app/deployments").await.body;
    assert_eq!(list["data"][0]["tests"], json!(null), "a list has none");
}

#[tokio::test]
async fn a_report_that_cant_be_read_is_a_line_of_the_log_and_no_failure() {
    let commands = [
        "ln -s /etc/passwd link.xml",
        "head -c 11000000 /dev/zero > large.xml",
        "\"printf '<testsuite>%.0s' $(seq 1000) > deep.xml\"",
        "\"printf '\\\\377\\\\376<' > bytes.xml\"",
        "\"echo '<testsuite><testcase/></testsuite>' > good.xml\"",
    ];
    let results = Results::of(&reporting(&commands, "  unit: {files: ['*.xml']}\n")).await;
    let ended = results.deployed(json!({})).await;
    let log = results.owner.log(&ended).await;
    assert_eq!((&ended["status"], &ended["tests"]["total"]), (&json!("succeeded"), &json!(1)), "{log:?}");
    for note in [
        "The test report \"large.xml\" is not read: it is larger than 10 MiB",
        "The test report \"deep.xml\" is not read: its elements are nested deeper than 64 levels",
        "The test report \"bytes.xml\" is not read: it is not XML: ",
    ] {
        assert!(log.iter().any(|line| line.starts_with(&format!("system: {note}"))), "{note}: {log:?}");
    }
    assert!(!log.iter().any(|line| line.contains("link.xml\" is")), "a link is no file: {log:?}");

    let none = Results::of(&reporting(&["true"], "  unit: {files: ['*.xml']}\n")).await;
    let ended = none.deployed(json!({})).await;
    assert_eq!((&ended["status"], &ended["tests"]), (&json!("succeeded"), &json!(null)));
    let log = none.owner.log(&ended).await;
    assert!(log.contains(&"system: No file matches the buildspec's `reports`.".to_owned()), "{log:?}");
}
