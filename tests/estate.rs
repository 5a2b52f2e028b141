//! An account with one of everything that a request can name.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::access::Scope;
use shared::id::TokenId;
use shared::model::{AccessToken, Role};
use tests::{Actor, Answer, GitRepository, World};

/// The parameters that name something of one account.
const IDS: [&str; 7] =
    ["repo_id", "deployment_id", "team_id", "token_id", "user_id", "invitation_id", "application_id"];

/// The values that fill the parameters of a request.
pub(crate) type Parameters = BTreeMap<&'static str, String>;

/// The account, whose ids no other account has.
pub(crate) struct Estate {
    pub owner: Actor,
    /// A member of the team.
    pub member: Actor,
    /// The path parameters of every route, and a few more for bodies.
    pub parameters: Parameters,
}

impl Estate {
    /// Creates the account with a team that has the permission `deploy` on a repository, which has one deployment. The
    /// parameter `{user_id}` is a user who calls nothing.
    pub(crate) async fn new(world: &World, account: &str, source: &GitRepository) -> Self {
        let owner = world.owner(account).await;
        let (member, user) = (world.member(&owner, Role::Member).await, world.member(&owner, Role::Member).await);
        let name = format!("{account}-app");
        let repository = owner.repository(&name, source).await;
        let deployment = owner.deploy(&name, json!({"ref": "main"})).await;
        let team = owner.team(&format!("{account}-team")).await;
        for user in [&member, &user] {
            owner.add_to_team(&team, user).await;
        }
        owner.grant(&team, &name, "deploy").await;
        let invited = owner.post("/v1/invitations", json!({"email": format!("guest@{account}.example")})).await.body;
        let client = format!("{account}-client");
        let application = json!({"name": "CI", "client_id": client, "scopes": ["repositories:read"]});
        assert_eq!(owner.post("/v1/applications", application).await.status, 201);
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();
        let parameters = Parameters::from([
            ("repo_id", text(&repository["id"])),
            ("deployment_id", text(&deployment["id"])),
            ("team_id", text(&team["id"])),
            ("token_id", token_of(world, &member).await),
            ("user_id", user.user_id.as_ref().unwrap().to_string()),
            ("invitation_id", text(&invited["invitation"]["id"])),
            ("application_id", client),
            ("environment", "preview".to_owned()),
            ("full_name", format!("{account}%2F{name}")),
            ("name", name),
            ("clone_url", source.url()),
            ("secret", text(&invited["secret"])),
            ("sha", text(&deployment["sha"])),
        ]);
        Self { owner, member, parameters }
    }

    /// Calls a route with a valid body.
    pub(crate) async fn call(&self, actor: &Actor, route: &str) -> Answer {
        actor.send(request(actor, route, &self.parameters)).await
    }

    /// Returns the caller whom a route serves: a token is changed by its user alone.
    pub(crate) fn caller(&self, route: &str) -> &Actor {
        if route.contains("{token_id}") { &self.member } else { &self.owner }
    }

    /// Returns a valid body for a route.
    pub(crate) fn body(&self, route: &str) -> Value {
        valid_body(route, &self.parameters).unwrap_or_else(|| panic!("{route} has no body"))
    }

    /// Builds a request for a route with another body.
    pub(crate) fn request_with(&self, route: &str, body: &Value) -> RequestBuilder {
        without_body(self.caller(route), route, &self.parameters).json(body)
    }

    /// Returns the path of a route.
    pub(crate) fn path(&self, route: &str) -> String {
        filled(route.split_once(' ').unwrap().1, &self.parameters)
    }

    /// Returns the ids and the names that no other account may learn.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let ids = IDS.iter().chain(&["name"]).map(|name| self.parameters[name].as_str());
        let owner = [self.owner.account_id.as_ref().unwrap().as_str(), self.owner.user_id.as_ref().unwrap().as_str()];
        ids.chain(owner).collect()
    }

    /// Reads every item that has one of the account's ids or names, sorted. The limiter's items are left out.
    pub(crate) async fn items(&self, world: &World) -> Vec<String> {
        let table = world.stack.app().table();
        let mut scanned = table.client().scan().table_name(table.name()).into_paginator().items().send();
        let (mut items, secrets) = (Vec::new(), self.secrets());
        while let Some(item) = scanned.try_next().await.unwrap() {
            let text = shared::table::read_item::<Value>(item).unwrap().to_string();
            if !text.contains("RATE#") && secrets.iter().any(|secret| text.contains(secret)) {
                items.push(text);
            }
        }
        items.sort();
        items
    }
}

/// Creates a token of a user, which can only manage tokens. Returns its id.
pub(crate) async fn token_of(world: &World, user: &Actor) -> String {
    let mut id: Option<TokenId> = None;
    let narrowed = |token: &mut AccessToken| {
        token.scopes = vec![Scope::TokensWrite];
        id = Some(token.id.clone());
    };
    world.with_token(user, narrowed).await;
    id.unwrap().to_string()
}

/// Builds a request for a route, such as `GET /v1/teams/{team_id}`. The parameters fill the path and the body.
pub(crate) fn request(actor: &Actor, route: &str, parameters: &Parameters) -> RequestBuilder {
    let request = without_body(actor, route, parameters);
    match valid_body(route, parameters) {
        Some(body) => request.json(&body),
        None => request,
    }
}

fn without_body(actor: &Actor, route: &str, parameters: &Parameters) -> RequestBuilder {
    let (method, path) = route.split_once(' ').unwrap_or(("GET", "/v1/nothing/here"));
    actor.request(method.parse::<Method>().unwrap(), &filled(path, parameters))
}

fn valid_body(route: &str, parameters: &Parameters) -> Option<Value> {
    Some(serde_json::from_str(&filled(&body(route)?.to_string(), parameters)).unwrap())
}

/// Returns the names of the parameters in a route's path, and of those in its body.
pub(crate) fn parameters_of(route: &str) -> [Vec<&'static str>; 2] {
    let body = body(route).map(|body| body.to_string()).unwrap_or_default();
    [route, &body].map(|text| IDS.into_iter().filter(|name| text.contains(&format!("{{{name}}}"))).collect())
}

fn filled(template: &str, parameters: &Parameters) -> String {
    let fill = |text: String, (name, value): (&&str, &String)| text.replace(&format!("{{{name}}}"), value);
    let filled = parameters.iter().fold(template.to_owned(), fill);
    assert!(!template.starts_with('/') || !filled.contains('{'), "nothing fills a parameter of {filled}");
    filled
}

/// Returns a valid body for a route. A string may be a parameter.
fn body(route: &str) -> Option<Value> {
    let body = match route {
        "POST /v1/repositories" => json!({"name": "new", "clone_url": "{clone_url}"}),
        "POST /v1/repositories/{repo_id}/deployments" | "POST /v1/repositories/{repo_id}/deployments/preflight" => {
            json!({"ref": "main"})
        }
        "POST /v1/repositories/{repo_id}/rollback" => {
            json!({"environment": "preview", "deployment_id": "{deployment_id}"})
        }
        "POST /v1/deployments/{deployment_id}/approve" => json!({"sha": "{sha}"}),
        "POST /v1/tokens" => json!({"name": "new", "scopes": ["tokens:write"]}),
        "PATCH /v1/tokens/{token_id}" => json!({"name": "renamed"}),
        "POST /v1/teams" => json!({"name": "new"}),
        "PATCH /v1/teams/{team_id}" => json!({"description": "new"}),
        "PUT /v1/teams/{team_id}/repositories/{repo_id}" => json!({"permission": "read"}),
        "PATCH /v1/repositories/{repo_id}/environments/{environment}" => json!({"time_limit_seconds": 600}),
        "PATCH /v1/account" => json!({"permanent_tokens": true}),
        "PUT /v1/members/{user_id}" => json!({"role": "admin"}),
        "POST /v1/invitations" => json!({"email": "new@example.com", "teams": ["{team_id}"]}),
        "POST /v1/invitations/{invitation_id}/accept" => json!({"secret": "{secret}"}),
        "POST /v1/applications" => json!({"name": "new", "client_id": "new", "scopes": ["repositories:read"]}),
        "$default" => return None,
        _ if ["GET", "DELETE"].iter().any(|method| route.starts_with(method)) => return None,
        _ => json!({}),
    };
    Some(body)
}
