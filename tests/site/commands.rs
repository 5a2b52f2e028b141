//! The commands of the documentation, run by a shell against the local stack.

use std::collections::BTreeMap;
use std::process::Stdio;

use local::functions::routes;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};
use shared::Route;
use tests::estate::{Estate, Parameters, in_order};
use tests::{GitRepository, World};
use tokio::process::Command;

/// The base URL in the documentation.
const BASE: &str = "https://api.git.dev";

/// A code block of a page.
struct Block {
    page: &'static str,
    language: String,
    text: String,
}

/// Returns the code blocks of all pages, which their Markdown has too.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for file in get_dashboard::files().iter().filter(|file| file.path.ends_with(".md")) {
        let markdown = String::from_utf8(file.content().unwrap()).unwrap();
        let mut block = None::<Block>;
        for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some(Block { page: file.path, language, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
                Event::Text(text) => block.iter_mut().for_each(|block| block.text.push_str(&text)),
                _ => {}
            }
        }
    }
    blocks
}

/// Returns the route that a command calls, and the path in the command.
fn called(command: &str) -> (Route, &str) {
    let (_, rest) = command.split_once(BASE).unwrap();
    let path = &rest[..rest.find(|c: char| c.is_whitespace() || "?\"'".contains(c)).unwrap_or(rest.len())];
    let method = command.split("-X ").nth(1).map_or("GET", |rest| rest.split(' ').next().unwrap());
    let segments: Vec<_> = path.split('/').collect();
    let takes = |route: &Route| {
        let template: Vec<_> = route.path.split('/').collect();
        let is_taken = |(expected, found): (&&str, &&str)| expected.starts_with('{') || expected == found;
        route.method == method && template.len() == segments.len() && template.iter().zip(&segments).all(is_taken)
    };
    // A literal precedes a parameter.
    let found = routes().filter(takes).min_by_key(|route| route.path.matches('{').count());
    (found.unwrap_or_else(|| panic!("no endpoint takes {method} {path}")), path)
}

/// Returns the command with the stack's URL, and with ids of the estate in the path and in the body.
fn filled(command: &str, url: &str, parameters: &Parameters) -> String {
    let (route, path) = called(command);
    let fill =
        |(template, segment): (&str, &str)| match template.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some("repo_id") => parameters["repo_name"].clone(),
            Some(name) => parameters[name].clone(),
            None => segment.to_owned(),
        };
    let own: Vec<_> = route.path.split('/').zip(path.split('/')).map(fill).collect();
    let mut command = command.replacen(&format!("{BASE}{path}"), &format!("{url}{}", own.join("/")), 1);
    // The resource has another ETag.
    command = command.replace(r#"If-Match: "3.q1Yx3oZsK9l2m0RbVd7Tgw""#, "If-Match: *");
    if let Some((before, rest)) = command.split_once("?key=") {
        let (_, after) = rest.split_once('\'').unwrap();
        command = format!("{before}?key={}'{after}", parameters["hook_key"]);
    }
    if let Some((before, rest)) = command.split_once("-d '") {
        let (body, after) = rest.split_once('\'').unwrap();
        let mut body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        for (name, value) in body.as_object_mut().unwrap() {
            if name == "repository_id" {
                *value = json!(parameters["repo_id"]);
            }
            let of_estate =
                ["access_token", "approval_digest", "clone_url", "invitation_id", "secret", "sha", "token", "user_id"];
            if let Some(own) =
                parameters.get(name.as_str()).filter(|_| value.is_string() && of_estate.contains(&name.as_str()))
            {
                *value = json!(own);
            }
        }
        command = format!("{before}-d '{body}'{after}");
    }
    for (name, own) in [("audience", "trust_id"), ("subject_token", "subject_token")] {
        let field = format!("--data-urlencode '{name}=");
        if let Some((before, rest)) = command.split_once(&field) {
            let (_, after) = rest.split_once('\'').unwrap();
            command = format!("{before}{field}{}'{after}", parameters[own]);
        }
    }
    command.replace(BASE, url)
}

/// Returns whether a block is a workflow of a host that runs jobs, which alone gives a job its token.
fn is_a_workflow(text: &str) -> bool {
    ["runs-on:", "id_tokens:"].iter().any(|key| text.contains(key))
}

fn has(program: &str) -> bool {
    let found =
        std::process::Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let has_it = found.is_ok_and(|status| status.success());
    assert!(has_it || std::env::var_os("CI").is_none(), "CI needs {program}");
    has_it
}

/// Runs a program with a script. Returns its output, and whether it succeeded.
async fn run(program: &str, arguments: &[&str], variables: &BTreeMap<&str, String>) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).envs(variables).current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_curl_of_the_documentation_does_what_it_says() {
    if !["curl", "jq", "python3"].iter().all(|program| has(program)) {
        return;
    }
    let world = World::start().await;
    let source = GitRepository::with_commands(&["true"]);
    let mut estate = Estate::new(&world, "acme", &source).await;
    estate.owner.ended(&json!({"id": estate.parameters["deployment_id"]})).await;
    // A roll-back needs two deployments that went live.
    for number in 0..2 {
        source.commit(&[("file", &number.to_string())]);
        let production = json!({"ref": "main", "environment": "production"});
        let deployed = estate.owner.deploy(&estate.parameters["repo_name"], production).await;
        estate.owner.ended(&deployed).await;
        estate.parameters.insert("deployment_id", deployed["id"].as_str().unwrap().to_owned());
        estate.parameters.insert("sha", deployed["sha"].as_str().unwrap().to_owned());
    }

    let mut commands: Vec<_> = blocks()
        .into_iter()
        .filter(|block| block.text.contains(BASE) && block.text.contains("curl ") && !is_a_workflow(&block.text))
        .collect();
    // The guides come before the operations, the last of which remove what the estate has.
    let order: Vec<_> = in_order().iter().map(|route| format!("/docs/reference/{}.md", route.function)).collect();
    commands.sort_by_key(|block| order.iter().position(|page| page == block.page).map_or(0, |at| at + 1));
    let operations = commands.iter().filter(|block| block.page.starts_with("/docs/reference/")).count();
    assert_eq!((operations, commands.len() > operations + 15), (routes().count() - 1, true), "each operation has one");
    for block in commands {
        let (route, _) = called(&block.text);
        // Only a browser has a session's cookie.
        if route.function == "end-session" {
            continue;
        }
        // The account's allowance refills, and the application's access token stays valid for its ten minutes.
        world.clock.advance(std::time::Duration::from_secs(5));
        let parameters = estate.ready(&world, route.function).await;
        let token = estate.caller(&route.key()).token.clone().unwrap();
        let script = format!(
            "set -eu\ncurl() {{ command curl --silent --show-error --fail \"$@\"; }}\n{}",
            filled(&block.text, &world.stack.url(), &parameters)
        );
        let variables = BTreeMap::from([
            ("TOKEN", token),
            ("COMMIT", parameters["sha"].clone()),
            ("RUN_ID", "run-7".to_owned()),
            ("RUN_NUMBER", "7".to_owned()),
        ]);
        // The README's first lines set the token to a placeholder.
        let script = script.replace("export TOKEN=", ": ");
        let (succeeded, output) = run("sh", &["-c", &script], &variables).await;
        assert!(succeeded, "{}: {}\n{output}\n{:?}", block.page, block.text, world.log().last());
        if route.function == "update-environment" {
            let settings = json!({
                "frozen": null, "required_approvals": null, "wait_seconds": null, "refs": null, "freeze_windows": null,
            });
            estate.owner.set(&parameters["repo_name"], &parameters["environment"], settings).await;
        }
    }
}

#[tokio::test]
async fn the_program_that_follows_a_deployment_reports_its_end() {
    if !has("python3") {
        return;
    }
    let program = blocks()
        .into_iter()
        .find(|block| block.page.ends_with("following-a-deployment.md") && block.language == "python");
    let program = program.unwrap().text;
    for (command, status) in [("echo it ran", "succeeded"), ("echo it ran; false", "failed")] {
        let world = World::start().await;
        let source = GitRepository::with_commands(&[command]);
        let owner = world.owner("acme").await;
        owner.repository("app", &source).await;
        let deployment = owner.deploy("app", json!({"ref": "main"})).await;
        owner.ended(&deployment).await;
        let variables =
            BTreeMap::from([("BASE", format!("{}/v1", world.stack.url())), ("TOKEN", owner.token.clone().unwrap())]);
        let (succeeded, output) =
            run("python3", &["-c", &program, deployment["id"].as_str().unwrap()], &variables).await;
        assert_eq!(succeeded, status == "succeeded", "{output}");
        assert!(output.contains("it ran\n") && output.ends_with(&format!("{status}\n")), "{output}");
    }
}
