use std::fs;
use std::path::PathBuf;

use local::functions::Area;
use local::new::{InvalidEndpoint, NewEndpoint};
use serde_json::{Value, json};
use tests::{checkout, sample_event};

#[test]
fn a_new_endpoint_is_written_into_the_checkout() {
    let copy = tempfile::tempdir().unwrap();
    let lists = ["infra/local/src/functions.rs", "infra/local/Cargo.toml"];
    for list in lists {
        let to = copy.path().join(list);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(checkout().join(list), to).unwrap();
    }
    let read = |path: &str| fs::read_to_string(copy.path().join(path)).unwrap();
    let lines_before = lists.map(|list| read(list).lines().count());

    let endpoint = NewEndpoint::parse("list-team-hooks", "GET /v1/teams/{team_id}/hooks", None).unwrap();
    let written = endpoint.write(copy.path()).unwrap();
    let files = [
        "functions/list-team-hooks/Cargo.toml",
        "functions/list-team-hooks/function.yaml",
        "functions/list-team-hooks/src/lib.rs",
        "functions/list-team-hooks/src/main.rs",
        "events/list-team-hooks.json",
    ];
    assert_eq!(written, files.into_iter().chain(lists).map(PathBuf::from).collect::<Vec<_>>());

    assert_eq!(lists.map(|list| read(list).lines().count()), lines_before.map(|lines| lines + 1));
    assert!(read(lists[0]).contains("    endpoint!(Teams, list_team_hooks),\n"));
    let dependencies = read(lists[1]);
    let sorted = "list-sessions = { path = \"../../functions/list-sessions\" }\n\
                  list-team-hooks = { path = \"../../functions/list-team-hooks\" }\n";
    assert!(dependencies.contains(sorted), "{dependencies}");

    let mut event: Value = serde_json::from_str(&read(files[4])).unwrap();
    let mut sample = sample_event("get-team");
    assert_eq!(
        (&event["routeKey"], &event["rawPath"]),
        (&json!("GET /v1/teams/{team_id}/hooks"), &json!("/v1/teams/team_k3vyq2w7x5m4n6pa/hooks"))
    );
    for event in [&mut event, &mut sample] {
        for pointer in ["/routeKey", "/rawPath", "/requestContext/routeKey", "/requestContext/http/path"] {
            *event.pointer_mut(pointer).unwrap() = Value::Null;
        }
    }
    assert_eq!(event, sample);

    let library = read(files[2]);
    for part in [
        "\"/v1/teams/{team_id}/hooks\").requires(Scope::TeamsRead);",
        "use shared::access::{AuthorizedTeam, Scope};",
        "tag = \"Teams\"",
        "    _: AuthorizedTeam,",
    ] {
        assert!(library.contains(part), "{part} is not in {library}");
    }
    assert!(endpoint.next_steps().contains("With(TeamsRead)"), "{}", endpoint.next_steps());

    let again = endpoint.write(copy.path()).unwrap_err().to_string();
    assert_eq!(again, "functions/list-team-hooks/Cargo.toml already exists");
}

#[test]
fn an_endpoint_that_cant_be_made_is_refused_with_a_reason() {
    let refused = |name: &str, route: &str| NewEndpoint::parse(name, route, None).unwrap_err().to_string();
    for name in ["hooks", "Get-hook", "get_hook", "get--hook", "-get-hook", "get-hook-", "get-1", ""] {
        assert_eq!(
            NewEndpoint::parse(name, "GET /v1/teams/x", None).unwrap_err(),
            InvalidEndpoint::Name(name.to_owned())
        );
    }
    assert_eq!(refused("get-team", "GET /v1/teams/x"), "a function with the name 'get-team' already exists");
    assert_eq!(
        refused("sweep-all", "GET"),
        "'GET' is not a route: use a method and a path, such as 'GET /v1/things/{thing_id}'"
    );
    assert_eq!(refused("get-hook", "get /v1/teams/x"), "'get' is not a method: use GET, POST, PUT, PATCH or DELETE");
    for path in
        ["/teams", "/v1/", "/v1/teams/", "/v1//teams", "/v1/Teams", "/v1/teams/{team_id", "/v1/teams/{}", "/v1/teams?x"]
    {
        let error = NewEndpoint::parse("get-hook", &format!("GET {path}"), None).unwrap_err();
        assert_eq!(error, InvalidEndpoint::Path(path.to_owned()));
    }
    assert_eq!(
        refused("get-alert", "GET /v1/teams/{team_id}/alerts/{alert_id}"),
        "the path parameter {alert_id} is not declared; add it to infra/local/src/path_parameter.rs"
    );
    assert_eq!(
        refused("get-hook", "GET /v1/teams/{team_id}/hooks/{team_id}"),
        "the path '/v1/teams/{team_id}/hooks/{team_id}' has a parameter twice"
    );
    assert_eq!(
        refused("find-team", "GET /v1/teams/{user_id}"),
        "'get-team' already takes the requests of 'GET /v1/teams/{user_id}'"
    );
    assert_eq!(
        refused("find-deployments", "GET /v1/repositories/{repo_id}/{environment}/deployments"),
        "'list-deployments' already takes the requests of 'GET /v1/repositories/{repo_id}/{environment}/deployments'"
    );
    assert_eq!(
        refused("list-alerts", "GET /v1/alerts"),
        "the endpoints with paths like '/v1/alerts' are in no area: choose one of repositories, deployments, teams, identity, \
         builds, service with --area"
    );
    assert_eq!(
        refused("list-alerts", "GET /v1/repositories/{repo_id}/alerts"),
        "the endpoints with paths like '/v1/repositories/{repo_id}/alerts' are in repositories and deployments: choose one of \
         repositories, deployments, teams, identity, builds, service with --area"
    );
    assert!(NewEndpoint::parse("list-alerts", "GET /v1/alerts", Some(Area::Service)).is_ok());
}
