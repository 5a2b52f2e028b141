//! Artifacts in a bucket.

use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::model::Deployment;

use super::moto::MOST_LISTED;
use super::{BUCKET, Here, event};

impl Here {
    /// Stores an artifact as a build does.
    async fn put(&self, deployment: &Deployment, path: &str, content: &str) {
        let key = format!("{}/artifacts/{path}", deployment.artifacts_prefix());
        self.moto.put_object(BUCKET, &key, content).await;
    }
}

#[tokio::test]
async fn artifacts_in_a_bucket_are_downloaded_from_signed_urls() {
    let Some(here) = Here::start_with(|options| options.clock = Clock::system()).await else { return };
    let (created, stored) = here.building(json!({})).await;
    here.put(&stored, "dist/a%20b%C3%BC.json", "{\"a\": 1}").await;
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "FAILED")).await.unwrap(), "failed");
    let listed = here.owner.get(&format!("/v1/deployments/{}/artifacts", created["id"].as_str().unwrap())).await;
    assert_eq!(listed.body["data"][0]["path"], "dist/a bü.json", "{listed:?}");
    let url = listed.body["data"][0]["url"].as_str().unwrap();

    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let ask = async |method: Method, url: &str| {
        client.execute(here.owner.request(method, url).build().unwrap()).await.unwrap()
    };
    let found = ask(Method::GET, url).await;
    assert_eq!(found.status(), 302);
    let signed = reqwest::Url::parse(found.headers()[LOCATION].to_str().unwrap()).unwrap();
    let parameter = |name: &str| signed.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned();
    assert_eq!(parameter("X-Amz-Expires"), "300");
    assert_eq!(parameter("response-content-type"), "application/json");
    let disposition = "attachment; filename=\"a b_.json\"; filename*=UTF-8''a%20b%C3%BC.json";
    assert_eq!(parameter("response-content-disposition"), disposition);
    let file = client.get(signed.clone()).send().await.unwrap();
    assert_eq!((file.status().as_u16(), &file.headers()["content-disposition"]), (200, &disposition.parse().unwrap()));
    assert_eq!(file.text().await.unwrap(), "{\"a\": 1}");
    // A signature is for one method.
    let of_head = ask(Method::HEAD, url).await;
    assert_eq!(of_head.status(), 302);
    assert_ne!(of_head.headers()[LOCATION], found.headers()[LOCATION]);
    for path in ["nope", "dist", "dist%2F..%2Fdist", &"n".repeat(1100)] {
        let artifact = format!("/v1/deployments/{}/artifacts/{path}", created["id"].as_str().unwrap());
        here.owner.get(&artifact).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_zip_in_a_bucket_is_made_by_the_first_request_and_downloaded_from_a_signed_url() {
    let Some(here) = Here::start_with(|options| options.clock = Clock::system()).await else { return };
    let (created, stored) = here.building(json!({})).await;
    here.put(&stored, "dist/app.js", "app").await;
    here.put(&stored, "report.xml", "<testsuite/>").await;
    let zip = format!("/v1/deployments/{}/artifacts.zip", created["id"].as_str().unwrap());
    here.owner.get(&zip).await.refused(409, "not_finished");
    here.told(&event(&stored, stored.build.as_ref().unwrap(), "FAILED")).await.unwrap();
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let mut found = Vec::new();
    for method in [Method::GET, Method::GET, Method::HEAD] {
        let answer = client.execute(here.owner.request(method, &zip).build().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 302);
        found.push(reqwest::Url::parse(answer.headers()[LOCATION].to_str().unwrap()).unwrap());
    }
    assert_eq!(found[0].path(), found[1].path(), "the second request finds the zip of the first");
    assert!(found[0].path().contains(&format!("{}/zips/", stored.artifacts_prefix())), "{}", found[0]);
    let parameter = |name: &str| found[0].query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned();
    assert_eq!(
        (parameter("X-Amz-Expires"), parameter("response-content-type")),
        ("300".into(), "application/zip".into())
    );
    let bytes = client.get(found[0].clone()).send().await.unwrap().bytes().await.unwrap();
    let zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names, ["dist/app.js", "report.xml"]);
}

#[tokio::test]
async fn a_list_goes_on_beyond_the_objects_of_one_answer_of_the_bucket() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    let paths: Vec<_> = (0..MOST_LISTED + 5).map(|n| format!("{n:04}.txt")).collect();
    for some in paths.chunks(50) {
        join_all(some.iter().map(|path| here.put(&stored, path, "x"))).await;
    }
    let list = format!("/v1/deployments/{}/artifacts?per_page=100", created["id"].as_str().unwrap());
    let last = here.owner.walk(&list, "next").await.pop().unwrap();
    assert_eq!(
        (&last.body["meta"]["total"], &last.body["data"][4]["path"]),
        (&json!(MOST_LISTED + 5), &json!(paths.last()))
    );
}

/// The clock of the stack stands still in the past, so that the bucket stores each object after the end.
#[tokio::test]
async fn a_file_that_was_stored_after_the_builds_end_is_no_artifact() {
    let Some(here) = Here::start().await else { return };
    let (created, stored) = here.building(json!({})).await;
    here.put(&stored, "a.json", "{}").await;
    let list = format!("/v1/deployments/{}/artifacts", created["id"].as_str().unwrap());
    assert_eq!(here.owner.get(&list).await.body["meta"]["total"], 1, "while the build runs");
    here.told(&event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED")).await.unwrap();
    assert_eq!(here.owner.get(&list).await.body["meta"]["total"], 0);
    here.owner.get(&format!("{list}/a.json")).await.refused(404, "not_found");
}

#[tokio::test]
async fn artifacts_of_a_build_that_exceed_the_plan_are_not_kept_and_fail_the_deployment() {
    let Some(here) = Here::start().await else { return };
    let starter = here.world.owner_on("starter", "small").await;
    starter.repository("app", &here.source).await;
    here.moto.put_object(BUCKET, "large", &"x".repeat(60 << 20)).await;
    let put_large = async |deployment: &Deployment, path: &str| {
        here.moto.copy_object(BUCKET, "large", &format!("{}/artifacts/{path}", deployment.artifacts_prefix())).await;
    };
    let why = "The artifacts are not kept: they are at least 2 file(s) of 125829120 bytes, and the account's plan allows 10000 files \
               of 100 MiB together; name fewer files in the buildspec's artifacts";
    for (status, code, message) in [
        ("SUCCEEDED", "artifacts_too_large", why.to_owned()),
        ("FAILED", "build_fault", format!("CodeBuild gave no reason for the failure of the build. {why}")),
    ] {
        let created = starter.deploy("app", json!({"ref": "main"})).await;
        let stored = here.started(&starter, &created).await;
        here.world.queue_is_empty().await;
        put_large(&stored, "a.bin").await;
        put_large(&stored, "b.bin").await;
        let mut ended = event(&stored, stored.build.as_ref().unwrap(), status);
        ended["detail"]["additional-information"]["phases"] = json!([]);
        ended["detail"]["additional-information"]["exported-environment-variables"] =
            json!([{"name": "VERSION", "value": "1"}]);
        assert_eq!(here.told(&ended).await.unwrap(), "failed");
        let ended = starter.deployment(&created).await;
        assert_eq!(ended["failure"], json!({"code": code, "message": message}), "{ended}");
        assert_eq!(ended["outputs"], Value::Null);
        let list = format!("/v1/deployments/{}/artifacts", stored.id);
        assert_eq!(starter.get(&list).await.body["meta"]["total"], 0, "{status}");
        starter.get(&format!("{list}/a.bin")).await.refused(404, "not_found");
        starter.get(&format!("{list}.zip")).await.refused(404, "not_found");
        here.world.clock.advance(std::time::Duration::from_secs(60));
    }

    let created = starter.deploy("app", json!({"ref": "main"})).await;
    let stored = here.started(&starter, &created).await;
    here.world.queue_is_empty().await;
    put_large(&stored, "a.bin").await;
    assert_eq!(here.told(&event(&stored, stored.build.as_ref().unwrap(), "SUCCEEDED")).await.unwrap(), "succeeded");
}
