//! Deployments that CodeBuild runs, through the AWS SDK against moto's server (<https://docs.getmoto.org>), which knows
//! CodeBuild, S3, Secrets Manager, CloudWatch Logs and EventBridge; the table and the queue are the embedded ones.
//!
//! moto reports every build as succeeded, does not keep the input of StartBuild, and sends no events. So the functions'
//! requests are recorded on their way to moto, and the events are those of AWS's documentation.

mod artifacts;
mod cache;
mod capabilities;
mod capacity;
mod clock;
mod log;
mod machine;
pub(crate) mod moto;
mod outputs;
mod refusals;
mod reports;
mod values_from_aws;

use std::ffi::OsStr;
use std::io::{Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::model::{BUILD_REPORTS_WITHIN, BuildId, Deployment, LEASE_GRACE};
use tests::{Actor, GitRepository, World, eventually, read_file, sample_event, without_queue};

use moto::Moto;

const PROJECT: &str = "git-api-test";
const LOG_GROUP: &str = "/aws/codebuild/git-api-test";
const BUCKET: &str = "archive";
const LEASE: Duration = Duration::from_secs(60);

/// A stack whose deployments CodeBuild runs.
struct Here {
    world: World,
    moto: Moto,
    owner: Actor,
    source: GitRepository,
}

impl Here {
    async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// Starts the stack. Returns `None` if moto can't be installed.
    async fn start_with(change: impl FnOnce(&mut local::stack::Options)) -> Option<Self> {
        let moto = Moto::start().await?;
        moto.create_bucket(BUCKET).await;
        moto.create_key().await;
        let project = json!({
            "name": PROJECT,
            "source": {"type": "S3", "location": format!("{BUCKET}/none.zip")},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": {
                "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL",
            },
            "serviceRole": "arn:aws:iam::123456789012:role/build",
        });
        moto.call("codebuild", "CodeBuild_20161006.CreateProject", project).await;
        let url = moto.url();
        let world = World::start_with(|options| {
            options.overrides.extend([
                (deployment_consumer::RUNNER, "codebuild".to_owned()),
                (builds::CODEBUILD_PROJECT, PROJECT.to_owned()),
                (shared::settings::ARCHIVE_URL, format!("s3://{BUCKET}")),
                ("AWS_ENDPOINT_URL_S3", url.clone()),
                ("AWS_ENDPOINT_URL_CODEBUILD", url.clone()),
                ("AWS_ENDPOINT_URL_KMS", url.clone()),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", url),
            ]);
            change(options);
        })
        .await;
        let owner = world.owner("acme").await;
        let source = GitRepository::with_commands(&["make"]);
        owner.repository("app", &source).await;
        Some(Self { world, moto, owner, source })
    }

    /// Commits a buildspec, and waits until no function uses the branch's cached commit. Returns the SHA.
    fn commit(&self, buildspec: &str) -> String {
        self.world.clock.advance(Duration::from_secs(60));
        self.source.commit(&[("buildspec.yml", buildspec)])
    }

    /// Creates a deployment and waits until it is in a build by CodeBuild.
    async fn building_in(&self, environment: &str, variables: Value) -> (Value, Deployment) {
        let body = json!({"ref": "main", "environment": environment, "variables": variables});
        let created = self.owner.deploy("app", body).await;
        let stored = self.started(&self.owner, &created).await;
        self.world.queue_is_empty().await;
        (created, stored)
    }

    /// Waits until a deployment is in a build by CodeBuild.
    async fn started(&self, owner: &Actor, created: &Value) -> Deployment {
        eventually("the build", async || {
            let stored = self.world.stored(owner, created).await;
            assert!(stored.failure.is_none(), "{stored:?}");
            stored.build.is_some().then_some(stored)
        })
        .await
    }

    async fn building(&self, variables: Value) -> (Value, Deployment) {
        self.building_in("preview", variables).await
    }

    /// Invokes build-events with an event and returns the outcome.
    async fn told(&self, event: &Value) -> Result<String, String> {
        let function = self.world.stack.environment().build_events().unwrap();
        let handled = function.invoke(event.clone()).await.map_err(|error| error.to_string())?;
        Ok(handled["outcome"].as_str().unwrap().to_owned())
    }

    async fn status(&self, deployment: &Value) -> Value {
        self.owner.get(deployment["url"].as_str().unwrap()).await.body
    }

    /// Returns the build minutes that an account has used.
    async fn minutes(&self, owner: &Actor) -> Value {
        owner.get("/v1/account").await.body["build_minutes"]["used"].take()
    }

    async fn secrets(&self) -> Vec<String> {
        let listed = self.moto.call("secretsmanager", "secretsmanager.ListSecrets", json!({})).await;
        let secrets = listed["SecretList"].as_array().unwrap().iter();
        secrets.map(|secret| secret["Name"].as_str().unwrap().to_owned()).collect()
    }

    /// Claims the deployment for a runner that starts a build and dies before it records the build.
    async fn lose_a_runner(&self, deployment: &Value) -> (Deployment, BuildId) {
        let claimed = self.world.lose_a_runner(&self.owner, deployment).await;
        let started =
            self.moto.call("codebuild", "CodeBuild_20161006.StartBuild", json!({"projectName": PROJECT})).await;
        (claimed, started["build"]["id"].as_str().unwrap().parse().unwrap())
    }
}

/// Returns the event of AWS's documentation for this build.
fn event(deployment: &Deployment, build: &BuildId, status: &str) -> Value {
    let mut event = sample_event("build-events");
    let detail = &mut event["detail"];
    detail["build-status"] = json!(status);
    detail["project-name"] = json!(PROJECT);
    detail["build-id"] = json!(format!("arn:aws:codebuild:us-east-1:123456789012:build/{build}"));
    for variable in detail["additional-information"]["environment"]["environment-variables"].as_array_mut().unwrap() {
        variable["value"] = match variable["name"].as_str().unwrap() {
            "DEPLOYMENT_ID" => json!(deployment.id),
            "DEPLOYMENT_ACCOUNT" => json!(deployment.account_id),
            "DEPLOYMENT_ATTEMPT" => json!(deployment.attempt.to_string()),
            _ => continue,
        };
    }
    event
}

/// Returns the event that a phase of a build has ended. It has no status of the build.
fn phase_change(deployment: &Deployment, phase: &str) -> Value {
    let mut event = event(deployment, deployment.build.as_ref().unwrap(), "");
    event["detail-type"] = json!("CodeBuild Build Phase Change");
    let detail = event["detail"].as_object_mut().unwrap();
    detail.remove("build-status");
    detail.extend([
        ("completed-phase".to_owned(), json!(phase)),
        ("completed-phase-status".to_owned(), json!("SUCCEEDED")),
    ]);
    let phases = [("SUBMITTED", Some("SUCCEEDED")), (phase, Some("SUCCEEDED"))];
    detail["additional-information"]["phases"] = phases
        .map(|(phase, status)| json!({"phase-type": phase, "phase-status": status, "phase-context": []}))
        .into_iter()
        .collect();
    event
}

/// Returns the event of a build in which one phase did not succeed.
fn failed(deployment: &Deployment, status: &str, phase: &str, phase_status: &str, context: &str) -> Value {
    let mut event = event(deployment, deployment.build.as_ref().unwrap(), status);
    let phases = event["detail"]["additional-information"]["phases"].as_array_mut().unwrap();
    phases[1]["phase-type"] = json!(phase);
    phases[1]["phase-status"] = json!(phase_status);
    phases[1]["phase-context"] = json!([context]);
    event
}

#[tokio::test]
async fn codebuild_gets_the_source_the_variables_by_reference_and_tells_the_end() {
    let Some(here) = Here::start().await else { return };
    let stores = "env:\n  secrets-manager:\n    API_KEY: app:key\n  shell: bash\n";
    let rest = "artifacts:\n  files: dist/**\nreports:\n  unit: {files: '*.xml'}\n";
    let spec = tests::buildspec(&["make"]) + stores + rest;
    let read = json!({
        "version": "0.2",
        "env": {"shell": "bash"},
        "phases": {"build": {"commands": ["make"]}},
        "artifacts": {"files": ["dist/**"], "secondary-artifacts": {"reports": {"files": ["buildspec.yml", "*.xml"]}}},
    });
    std::fs::create_dir(here.source.path().join("bin")).unwrap();
    std::fs::write(here.source.path().join("bin/run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(here.source.path().join("bin/run"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    symlink("bin/run", here.source.path().join("run")).unwrap();
    std::fs::write(here.source.path().join(OsStr::from_bytes(b"caf\xe9")), "latin-1\n").unwrap();
    let sha = here.commit(&spec);

    let (created, stored) = here.building(json!({"API_KEY": {"value": "hunter22", "secret": true}, "EMPTY": ""})).await;
    let (id, account) = (stored.id.to_string(), stored.account_id.to_string());
    assert_eq!((stored.attempt, stored.lease_until), (1, None));
    assert_eq!(here.status(&created).await["status"], "in_progress");

    let starts = here.moto.calls("CodeBuild_20161006.StartBuild");
    let variable = |kind: &str, name: &str, value: &str| json!({"name": name, "value": value, "type": kind});
    let secret = format!("{PROJECT}/{}", stored.secret_name());
    assert_eq!(
        starts,
        [json!({
            "projectName": PROJECT,
            "idempotencyToken": format!("{id}-1"),
            "sourceTypeOverride": "S3",
            "sourceLocationOverride": format!("{BUCKET}/{}/source.zip", stored.source_prefix()),
            "buildspecOverride": format!("{read:#}"),
            "artifactsOverride": {
                "type": "S3", "location": BUCKET, "path": stored.artifacts_prefix(), "namespaceType": "NONE",
                "name": "artifacts", "packaging": "NONE", "overrideArtifactName": false,
            },
            "secondaryArtifactsOverride": [{
                "type": "S3", "location": BUCKET, "path": stored.artifacts_prefix(), "namespaceType": "NONE",
                "name": "reports", "packaging": "NONE", "overrideArtifactName": false, "artifactIdentifier": "reports",
            }],
            "logsConfigOverride": {"cloudWatchLogs": {
                "status": "ENABLED", "groupName": LOG_GROUP, "streamName": stored.log_stream_prefix(),
            }},
            "environmentVariablesOverride": [
                variable("PLAINTEXT", "DEPLOYMENT_ID", &id),
                variable("PLAINTEXT", "DEPLOYMENT_ACCOUNT", &account),
                variable("PLAINTEXT", "DEPLOYMENT_ATTEMPT", "1"),
                variable("PLAINTEXT", "CODEBUILD_BUILD_NUMBER", "1"),
                variable("PLAINTEXT", "CODEBUILD_BUILD_URL", created["url"].as_str().unwrap()),
                variable("PLAINTEXT", "CODEBUILD_INITIATOR", stored.created_by.as_str()),
                variable("PLAINTEXT", "CODEBUILD_RESOLVED_SOURCE_VERSION", &sha),
                variable("PLAINTEXT", "CODEBUILD_SOURCE_REPO_URL", &stored.clone_url),
                variable("PLAINTEXT", "CODEBUILD_SOURCE_VERSION", "main"),
                variable("PLAINTEXT", "CODEBUILD_WEBHOOK_HEAD_REF", "refs/heads/main"),
                variable("PLAINTEXT", "CODEBUILD_WEBHOOK_TRIGGER", "branch/main"),
                variable("PLAINTEXT", "DEPLOYMENT_ENVIRONMENT", "preview"),
                variable("PLAINTEXT", "EMPTY", ""),
                variable("PLAINTEXT", "GIT_REF", "main"),
                variable("PLAINTEXT", "GIT_SHA", &sha),
                variable("SECRETS_MANAGER", "API_KEY", &format!("{secret}:API_KEY")),
            ],
            "timeoutInMinutesOverride": 10,
            "queuedTimeoutInMinutesOverride": 60,
        })]
    );
    let kept = here.moto.call("secretsmanager", "secretsmanager.GetSecretValue", json!({"SecretId": secret})).await;
    let kept: Value = serde_json::from_str(kept["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(kept, json!({"API_KEY": "hunter22"}));

    let zip = here.moto.object(BUCKET, &format!("{}/source.zip", stored.source_prefix())).await;
    let mut zip = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    let names = (0..zip.len()).map(|n| zip.by_index(n).unwrap().name_raw().to_vec()).collect::<Vec<_>>();
    let (of_git, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.starts_with(b".git/"));
    assert_eq!(names, [&b"bin/"[..], b"bin/run", b"buildspec.yml", b"caf\xe9", b"run"]);
    assert!(of_git.contains(&b".git/HEAD".to_vec()), "{of_git:?}");
    let committed: i64 = here.source.git(&["log", "-1", "--format=%ct"]).parse().unwrap();
    // The time of a zip's entry is a date and a time of day, in steps of two seconds.
    let committed = jiff::Timestamp::from_second(committed - committed % 2).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    for name in ["bin/run", "buildspec.yml"] {
        let time = zip.by_name(name).unwrap().last_modified().unwrap();
        assert_eq!(jiff::civil::DateTime::try_from(time).unwrap(), committed.datetime(), "{name}");
    }
    let mut text = String::new();
    zip.by_name("buildspec.yml").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, spec);
    assert_eq!(zip.by_name("bin/run").unwrap().unix_mode().unwrap() & 0o777, 0o755);
    assert!(zip.by_name("run").unwrap().is_symlink());

    let build = stored.build.clone().unwrap();
    assert_eq!(here.told(&event(&stored, &build, "IN_PROGRESS")).await.unwrap(), "started");
    here.world.clock.advance(Duration::from_secs(90));
    assert_eq!(here.told(&event(&stored, &build, "SUCCEEDED")).await.unwrap(), "succeeded");
    let ended = here.status(&created).await;
    assert_eq!((&ended["status"], &ended["finished_at"]), (&json!("succeeded"), &json!("2026-01-01T12:02:30Z")));
    assert_eq!(here.secrets().await, [""; 0], "the secret goes with the build");

    // Events that are delivered twice or late.
    let events = here.world.stored(&here.owner, &created).await.events;
    for status in ["SUCCEEDED", "IN_PROGRESS", "FAILED", "STOPPED"] {
        assert_eq!(here.told(&event(&stored, &build, status)).await.unwrap(), "already_ended", "{status}");
    }
    here.world.deliver(&here.owner, &created).await;
    here.world.queue_is_empty().await;
    assert_eq!(here.world.stored(&here.owner, &created).await.events, events, "nothing more has happened");
    assert_eq!(here.status(&created).await, ended);
    assert_eq!(here.moto.calls("CodeBuild_20161006.StartBuild").len(), 1);
    assert_eq!(here.moto.calls("CodeBuild_20161006.StopBuild").len(), 0);
}

#[tokio::test]
async fn a_build_that_did_not_succeed_says_why() {
    let Some(here) = Here::start().await else { return };
    let command = "COMMAND_EXECUTION_ERROR: Error while executing command: make. Reason: exit status 2";
    for (status, phase, phase_status, context, code, message) in [
        ("FAILED", "BUILD", "FAILED", command, "command_failed", format!("A command failed in phase BUILD: {command}")),
        (
            "FAILED",
            "DOWNLOAD_SOURCE",
            "CLIENT_ERROR",
            "CLIENT_ERROR: AccessDenied",
            "source_unavailable",
            "CodeBuild could not download the source in phase DOWNLOAD_SOURCE: CLIENT_ERROR: AccessDenied".to_owned(),
        ),
        ("TIMED_OUT", "BUILD", "TIMED_OUT", ": ", "timed_out", "The time limit was reached in phase BUILD".to_owned()),
        ("STOPPED", "BUILD", "STOPPED", "", "build_stopped", "The build was stopped in phase BUILD".to_owned()),
        ("FAULT", "PROVISIONING", "FAULT", "", "build_fault", "CodeBuild failed in phase PROVISIONING".to_owned()),
    ] {
        let (created, stored) = here.building(json!({"A": "1"})).await;
        let event = failed(&stored, status, phase, phase_status, context);
        assert_eq!(here.told(&event).await.unwrap(), "failed");
        let ended = here.status(&created).await;
        assert_eq!(ended["failure"], json!({"code": code, "message": message}), "{status}");
        let phases: Vec<_> = ended["phases"].as_array().unwrap().iter().map(|phase| &phase["name"]).collect();
        let is_of_buildspec = ["INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"].contains(&phase);
        assert_eq!(phases, [&json!(phase.to_lowercase())][..usize::from(is_of_buildspec)]);
        assert_eq!(here.secrets().await, [""; 0]);
    }
    let total = here.owner.get("/v1/repositories/app/deployments?status=failed").await.body["meta"]["total"].clone();
    assert_eq!(total, 5, "the counts are exact");
}

/// A stop that no user requested is `build_stopped`, as above.
#[tokio::test]
async fn a_build_that_was_stopped_because_somebody_asked_for_it_is_a_cancellation() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building_in("production", json!({"A": "1"})).await;
    let build = stored.build.clone().unwrap();
    let next = here.owner.deploy("app", json!({"ref": "main", "environment": "production"})).await;
    here.world.queue_is_empty().await;

    let asked = here.owner.act(&created, "cancel", json!({})).await;
    assert_eq!((asked.status, &asked.body["status"]), (202, &json!("in_progress")));
    here.world.queue_is_empty().await;
    assert_eq!(here.moto.calls("CodeBuild_20161006.StopBuild"), [json!({"id": build})]);
    assert_eq!(here.status(&created).await["status"], "in_progress", "its commands may still run");

    assert_eq!(here.told(&event(&stored, &build, "IN_PROGRESS")).await.unwrap(), "started");
    assert_eq!(here.told(&failed(&stored, "STOPPED", "BUILD", "STOPPED", "")).await.unwrap(), "canceled");
    let ended = here.status(&created).await;
    assert_eq!((&ended["status"], &ended["failure"]), (&json!("canceled"), &Value::Null));
    let started = format!("3 in_progress runner: build {build} was started");
    assert_eq!(
        here.owner.events(&created).await[2..],
        [
            started.as_str(),
            "4 in_progress user: asked to stop",
            "5 in_progress runner: the build has a machine",
            "6 canceled runner: stopped"
        ]
    );
    assert_eq!(here.told(&event(&stored, &build, "STOPPED")).await.unwrap(), "already_ended");
    here.owner.act(&created, "cancel", json!({})).await.refused(409, "already_finished");

    // The next deployment of the lane is built.
    let stored = eventually("the next build", async || {
        let stored = here.world.stored(&here.owner, &next).await;
        stored.build.is_some().then_some(stored)
    })
    .await;
    here.world.queue_is_empty().await;

    // If the build ends before it is stopped, its result stands.
    assert_eq!(here.owner.act(&next, "cancel", json!({})).await.status, 202);
    here.world.queue_is_empty().await;
    let build = stored.build.as_ref().unwrap();
    assert_eq!(here.told(&event(&stored, build, "SUCCEEDED")).await.unwrap(), "succeeded");
    assert_eq!(here.status(&next).await["status"], "succeeded");
    assert_eq!(here.secrets().await, [""; 0]);
}

#[tokio::test]
async fn an_event_of_anything_else_changes_nothing() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    let build = stored.build.clone().unwrap();
    let other: BuildId = format!("{PROJECT}:00000000-0000-4000-8000-000000000000").parse().unwrap();
    let mut older = stored.clone();
    older.attempt = 0;
    let mut gone = stored.clone();
    gone.id = "deploy_aaaaaaaaaaaaaaaa".parse().unwrap();
    let mut anothers = stored.clone();
    anothers.account_id = "acct_aaaaaaaaaaaaaaaa".parse().unwrap();
    let changed = |change: fn(&mut Value)| {
        let mut event = event(&stored, &build, "FAILED");
        change(&mut event);
        event
    };
    for (what, event, outcome) in [
        ("another build", event(&stored, &other, "FAILED"), "not_its_build"),
        ("an older attempt's build", event(&older, &other, "SUCCEEDED"), "not_its_build"),
        ("a deployment that is gone", event(&gone, &build, "FAILED"), "gone"),
        ("another account's", event(&anothers, &build, "FAILED"), "gone"),
        ("a batch", changed(|event| event["detail-type"] = json!("CodeBuild Build Batch State Change")), "ignored"),
        ("another project", changed(|event| event["detail"]["project-name"] = json!("other")), "ignored"),
        (
            "a build that somebody started by hand",
            changed(|event| {
                event["detail"]["additional-information"]["environment"]["environment-variables"] = json!([]);
            }),
            "ignored",
        ),
    ] {
        assert_eq!(here.told(&event).await.unwrap(), outcome, "{what}");
    }
    for (what, event) in [
        ("no detail of a build", changed(|event| event["detail"] = json!({}))),
        ("a build without a name", changed(|event| event["detail"]["build-id"] = json!("x"))),
        ("a status that nobody knows", changed(|event| event["detail"]["build-status"] = json!("DREAMING"))),
    ] {
        assert!(here.told(&event).await.is_err(), "{what} is reported");
    }
    assert_eq!(here.world.stored(&here.owner, &created).await.events, stored.events);
    assert_eq!(here.status(&created).await["status"], "in_progress");
}

#[tokio::test]
async fn a_build_that_its_runner_could_not_write_down_is_not_lost_and_not_run_twice() {
    let Some(here) = Here::start_with(without_queue).await else { return };
    let body = json!({"ref": "main"});

    let created = here.owner.deploy("app", body).await;
    let (claimed, build) = here.lose_a_runner(&created).await;
    assert_eq!(here.told(&event(&claimed, &build, "IN_PROGRESS")).await.unwrap(), "handed_over");
    let stored = here.world.stored(&here.owner, &created).await;
    assert_eq!((stored.build.as_ref(), stored.lease_until), (Some(&build), None));
    here.world.clock.advance(LEASE + LEASE_GRACE);
    here.world.deliver(&here.owner, &created).await;
    here.world.queue_is_empty().await;
    assert_eq!(here.world.stored(&here.owner, &created).await.attempt, 1, "its message starts no second build");

    // The first deployment still holds its lane.
    let body = json!({"ref": "main", "environment": "staging"});
    let created = here.owner.deploy("app", body.clone()).await;
    let (claimed, build) = here.lose_a_runner(&created).await;
    assert_eq!(here.told(&event(&claimed, &build, "SUCCEEDED")).await.unwrap(), "succeeded");
    assert_eq!(here.status(&created).await["status"], "succeeded", "the first that is heard of it may be its end");

    let created = here.owner.deploy("app", body.clone()).await;
    let (first, build) = here.lose_a_runner(&created).await;
    here.world.clock.advance(LEASE);
    let (second, own) = here.lose_a_runner(&created).await;
    for status in ["SUCCEEDED", "FAILED"] {
        assert_eq!(here.told(&event(&first, &build, status)).await.unwrap(), "not_its_build", "{status}");
    }
    assert_eq!(here.told(&event(&second, &own, "SUCCEEDED")).await.unwrap(), "succeeded");

    let created = here.owner.deploy("app", body).await;
    let (first, build) = here.lose_a_runner(&created).await;
    here.world.clock.advance(LEASE + LEASE_GRACE);
    here.world.deliver(&here.owner, &created).await;
    here.world.queue_is_empty().await;
    let second = here.world.stored(&here.owner, &created).await;
    assert_eq!(second.attempt, 2);
    assert_eq!(here.told(&event(&first, &build, "IN_PROGRESS")).await.unwrap(), "stopped");
    assert_eq!(here.moto.calls("CodeBuild_20161006.StopBuild"), [json!({"id": build})]);
    assert_eq!(here.told(&event(&first, &build, "STOPPED")).await.unwrap(), "not_its_build");
    let own = second.build.clone().unwrap();
    assert_eq!(here.told(&event(&second, &own, "SUCCEEDED")).await.unwrap(), "succeeded");
}

#[tokio::test]
async fn the_sweep_asks_for_builds_whose_events_never_came() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({"A": "1"})).await;
    let (lost, _) = here.building_in("staging", json!({})).await;
    here.world.clock.advance(BUILD_REPORTS_WITHIN - Duration::from_millis(1));
    let swept = |ended: u32, unchanged: u32| json!({"sent": 0, "ended": ended, "unchanged": unchanged, "failed": 0, "removed": 0, "deleted": 0, "repaired": 0, "complete": true});
    assert_eq!(here.world.sweep().await.unwrap(), swept(0, 0));
    assert_eq!(here.moto.calls("CodeBuild_20161006.BatchGetBuilds").len(), 0);

    here.world.clock.advance(Duration::from_millis(1));
    here.moto.say_that_builds_are_in(json!([{"phaseType": "QUEUED"}]));
    assert_eq!(here.world.sweep().await.unwrap(), swept(0, 2));
    assert_eq!(here.world.sweep().await.unwrap(), swept(0, 0), "they are asked for again later");
    assert_eq!(here.world.stored(&here.owner, &created).await.events, stored.events);

    here.moto.say_that_builds_run(false);
    let (pk, build) = (format!("ACCT#{}#DEPLOY#{}", stored.account_id, lost["id"].as_str().unwrap()), "build");
    let unknown = AttributeValue::S(format!("{PROJECT}:00000000-0000-4000-8000-000000000000"));
    here.world.set_attribute((&pk, "DEPLOY"), build, unknown).await;
    here.world.clock.advance(BUILD_REPORTS_WITHIN);
    let (one, other) = tokio::join!(here.world.sweep(), here.world.sweep());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one["ended"].as_u64().unwrap() + other["ended"].as_u64().unwrap(), 2, "{one} {other}");
    assert_eq!(here.status(&created).await["status"], "succeeded");
    let failure = json!({"code": "build_fault", "message": "CodeBuild has no record of the build"});
    assert_eq!(here.status(&lost).await["failure"], failure);
    assert_eq!(here.secrets().await, [""; 0]);
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "FAILED")).await.unwrap(), "already_ended");

    here.world.clock.advance(BUILD_REPORTS_WITHIN * 10);
    assert_eq!(here.world.sweep().await.unwrap(), swept(0, 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_deployment_is_told_before_a_build_starts() {
    let Some(here) = Here::start().await else { return };
    here.commit("version: 0.1\n");
    let created = here.owner.deploy("app", json!({"ref": "main"})).await;
    assert_eq!(here.owner.ended(&created).await["failure"]["code"], "buildspec_invalid");

    here.commit(&(tests::buildspec(&["make"]) + "env:\n  parameter-store:\n    TOKEN: /app/token\n"));
    let created = here.owner.deploy("app", json!({"ref": "main"})).await;
    assert_eq!(here.owner.ended(&created).await["failure"]["code"], "variables_missing");

    here.commit(&tests::buildspec(&["make"]));
    let variables = json!({"CONTROLS": {"value": "\u{1}".repeat(11_000), "secret": true}});
    let created = here.owner.deploy("app", json!({"ref": "main", "variables": variables})).await;
    let ended = here.owner.ended(&created).await;
    assert_eq!(ended["failure"]["code"], "variables_too_large", "each is six bytes in JSON: {ended}");
    assert_eq!(here.moto.calls("CodeBuild_20161006.StartBuild").len(), 0);
    assert_eq!(here.secrets().await, [""; 0]);
}

/// Tests the template's rule in moto's EventBridge.
#[tokio::test]
async fn the_rule_lets_state_changes_of_the_project_through_and_nothing_else() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    let template: Value = serde_saphyr::from_str(&read_file("infra/builds.yaml")).unwrap();
    let pattern = template["Resources"]["BuildEventsRule"]["Properties"]["EventPattern"].to_string();
    let pattern = pattern.replace("\"Stack\"", &format!("\"{PROJECT}\""));

    here.moto.call("logs", "Logs_20140328.CreateLogGroup", json!({"logGroupName": "/aws/events/all"})).await;
    let target = json!({"Id": "log", "Arn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/events/all"});
    let events =
        async |operation: &str, body: Value| here.moto.call("events", &format!("AWSEvents.{operation}"), body).await;
    events("PutRule", json!({"Name": "builds", "EventPattern": pattern})).await;
    events("PutTargets", json!({"Rule": "builds", "Targets": [target]})).await;
    let own = event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED");
    let mut others = [own.clone(), own.clone(), own.clone()];
    others[0]["detail"]["project-name"] = json!("other");
    others[1] = phase_change(&stored, "PROVISIONING");
    others[2]["source"] = json!("somebody");
    let left_queue = phase_change(&stored, "QUEUED");
    for event in others.iter().chain([&left_queue, &own]) {
        let entry = json!({
            "Source": event["source"], "DetailType": event["detail-type"], "Detail": event["detail"].to_string(),
        });
        assert_eq!(events("PutEvents", json!({"Entries": [entry]})).await["FailedEntryCount"], 0);
    }
    let passed =
        here.moto.call("logs", "Logs_20140328.FilterLogEvents", json!({"logGroupName": "/aws/events/all"})).await;
    let passed = passed["events"].as_array().unwrap().iter();
    let passed: Vec<Value> =
        passed.map(|event| serde_json::from_str(event["message"].as_str().unwrap()).unwrap()).collect();
    let [left, ended] = &passed[..] else { panic!("two events pass: {passed:?}") };
    assert_eq!((&left["detail"], &ended["detail"]), (&left_queue["detail"], &own["detail"]));
    assert_eq!(here.told(left).await.unwrap(), "started");
    assert_eq!(here.told(ended).await.unwrap(), "succeeded");
    assert_eq!(here.status(&created).await["status"], "succeeded");
}
