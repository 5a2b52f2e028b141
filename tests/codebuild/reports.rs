//! Test reports of builds.

use serde_json::{Value, json};
use shared::model::{BUILD_REPORTS_WITHIN, Deployment};

use super::{BUCKET, Here, event};

const REPORT: &str = "<testsuites><testsuite name='cart'><testcase name='adds' time='0.5'/>\
    <testcase name='removes' time='0.25'><failure message='expected hunter22'/></testcase>\
    <testcase name='later'><skipped/></testcase></testsuite></testsuites>";

impl Here {
    /// Starts a build whose buildspec has reports, with a secret variable.
    async fn reporting(&self) -> (Value, Deployment) {
        let reports = "reports:\n  unit: {files: ['**/*.xml'], base-directory: out}\n  all: {files: result.xml}\n";
        self.commit(&(tests::buildspec(&["make"]) + reports));
        self.building(json!({"API_KEY": {"value": "hunter22", "secret": true}})).await
    }

    /// Stores a test report as a build does.
    async fn put_report(&self, deployment: &Deployment, path: &str, content: &str) {
        let key = format!("{}/reports/{path}", deployment.artifacts_prefix());
        self.moto.put_object(BUCKET, &key, content).await;
    }
}

fn summary(message: &str) -> Value {
    json!({
        "total": 3, "passed": 1, "failed": 1, "skipped": 1, "duration_ms": 750,
        "failures": [{"suite": "cart", "name": "removes", "message": message}],
    })
}

#[tokio::test]
async fn a_build_stores_its_test_reports_and_its_deployment_has_their_summary() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.reporting().await;
    let start = here.moto.calls("CodeBuild_20161006.StartBuild").pop().unwrap();
    let spec: Value = serde_json::from_str(start["buildspecOverride"].as_str().unwrap()).unwrap();
    let files = json!({"files": ["buildspec.yml", "out/**/*.xml", "result.xml"]});
    assert_eq!(spec["artifacts"], json!({"secondary-artifacts": {"reports": files}}));
    assert_eq!(start["artifactsOverride"], json!({"type": "NO_ARTIFACTS"}));
    let place = json!([{
        "type": "S3", "location": BUCKET, "path": stored.artifacts_prefix(), "namespaceType": "NONE", "name": "reports",
        "packaging": "NONE", "overrideArtifactName": false, "artifactIdentifier": "reports",
    }]);
    assert_eq!(start["secondaryArtifactsOverride"], place);

    here.put_report(&stored, "buildspec.yml", &tests::buildspec(&["make"])).await;
    here.put_report(&stored, "out/unit.xml", REPORT).await;
    here.put_report(&stored, "large.xml", &format!("{REPORT}{}", " ".repeat(11_000_000))).await;
    here.put_report(&stored, "broken.xml", "<testsuite>").await;
    here.put_report(&stored, "empty.xml", "").await;
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "FAILED")).await.unwrap(), "failed");
    let ended = here.status(&created).await;
    assert_eq!(ended["tests"], summary("expected ***"), "{ended}");
    assert_eq!(here.secrets().await, [""; 0]);
    let artifacts = here.owner.get(&format!("/v1/deployments/{}/artifacts", stored.id)).await;
    assert_eq!(artifacts.body["meta"]["total"], 0, "reports are no artifacts: {artifacts:?}");
}

#[tokio::test]
async fn a_build_without_a_report_has_no_summary() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.reporting().await;
    here.put_report(&stored, "buildspec.yml", &tests::buildspec(&["make"])).await;
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED")).await.unwrap(), "succeeded");
    assert_eq!(here.status(&created).await["tests"], Value::Null);
}

#[tokio::test]
async fn the_sweep_reads_the_reports_of_a_build_whose_events_were_lost() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.reporting().await;
    here.put_report(&stored, "out/unit.xml", REPORT).await;
    here.world.clock.advance(BUILD_REPORTS_WITHIN);
    let swept = here.world.sweep().await.unwrap();
    assert_eq!((&swept["ended"], &swept["failed"]), (&json!(1), &json!(0)), "{swept}");
    let ended = here.status(&created).await;
    assert_eq!((&ended["status"], &ended["tests"]), (&json!("succeeded"), &summary("expected ***")), "{ended}");
}

#[tokio::test]
async fn texts_are_masked_whole_if_the_secrets_can_not_be_read_any_more() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.reporting().await;
    here.put_report(&stored, "out/unit.xml", REPORT).await;
    let secret = json!({"SecretId": here.secrets().await[0], "ForceDeleteWithoutRecovery": true});
    here.moto.call("secretsmanager", "secretsmanager.DeleteSecret", secret).await;
    here.told(&event(&stored, stored.build.as_ref().unwrap(), "FAILED")).await.unwrap();
    let mut expected = summary("***");
    expected["failures"][0]["suite"] = "***".into();
    expected["failures"][0]["name"] = "***".into();
    assert_eq!(here.status(&created).await["tests"], expected);
}

/// The archive can't name an object with an empty name in its path. A build can store one.
#[tokio::test]
async fn a_file_that_the_archive_can_not_name_costs_the_summary_or_the_artifacts_and_nothing_else() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.reporting().await;
    here.put_report(&stored, "out//unit.xml", REPORT).await;
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED")).await.unwrap(), "succeeded");
    assert_eq!(here.status(&created).await["tests"], Value::Null);

    let (created, stored) = here.reporting().await;
    let key = format!("{}/artifacts/dist//app.js", stored.artifacts_prefix());
    here.moto.put_object(BUCKET, &key, "app").await;
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED")).await.unwrap(), "failed");
    let message = "The artifacts are not kept: one of them has a path that the archive can't have";
    assert_eq!(here.status(&created).await["failure"], json!({"code": "artifact_invalid", "message": message}));
    let artifacts = here.owner.get(&format!("/v1/deployments/{}/artifacts", stored.id)).await;
    assert_eq!((artifacts.status, &artifacts.body["meta"]["total"]), (200, &json!(0)), "{artifacts:?}");
}
