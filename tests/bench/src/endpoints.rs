//! Sends one request to every endpoint, in warm functions.

use std::time::Duration;

use local::functions::routes;
use local::gateway::Gateway;
use serde_json::{Value, json};
use shared::model::Role;
use tests::{Actor, GitRepository, World};

use crate::Result;
use crate::calls::{Call, Calls};

/// The time to record a token's use concurrently with a request.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of repositories and of deployments, which is more than a page.
const ROWS: usize = 11;
/// A path parameter that names no resource.
const NOTHING: &str = "nothing";

/// The resources that one request used.
pub(crate) struct Served {
    pub function: &'static str,
    pub calls: Vec<Call>,
    pub round_trips: usize,
    pub log_bytes: usize,
}

/// Calls the endpoints one after the other.
struct Walk {
    world: World,
    gateway: Gateway,
    calls: Calls,
    served: Vec<Served>,
}

/// Calls each endpoint once, in the order of the routes.
pub(crate) async fn serve_each() -> Result<Vec<Served>> {
    let mut walk = Walk::start().await?;
    let source = GitRepository::with_commands(&["true"]);
    let owner = walk.world.owner("acme").await.at(walk.gateway.endpoint());
    for number in 1..ROWS {
        owner.repository(&format!("app-{number}"), &source).await;
    }
    walk.account(&owner).await?;
    walk.deployments(&owner, &source).await?;
    walk.teams(&owner).await?;
    let order = |function| routes().position(|route| route.function == function);
    walk.served.sort_by_key(|served| order(served.function));
    let functions: Vec<_> = walk.served.iter().map(|served| served.function).collect();
    if routes().map(|route| route.function).eq(functions.iter().copied()) {
        Ok(walk.served)
    } else {
        Err(format!("not each endpoint once: {functions:?}").into())
    }
}

impl Walk {
    async fn start() -> Result<Self> {
        let (world, calls) = (World::start().await, Calls::default());
        let settings = calls.in_front_of(&world.stack.environment().settings, Duration::ZERO).await?;
        let gateway = world.gateway(settings).await;
        Ok(Self { world, gateway, calls, served: Vec::new() })
    }

    /// Sends a request about no resource, so that the function caches the caller, and then the request to be measured.
    async fn ask(&mut self, function: &str, actor: &Actor, parameters: &[&str], body: Value) -> Result<Value> {
        let route = routes().find(|route| route.function == function).ok_or("no such function")?;
        let send = async |parameters: &[&str], body: &Value| {
            let mut parameters = parameters.iter();
            let segment = |segment: &str| match segment.starts_with(['{', '$']) {
                true => parameters.next().unwrap_or(&NOTHING).to_string(),
                false => segment.to_owned(),
            };
            let path = route.path.trim_start_matches('/').split('/').map(segment).collect::<Vec<_>>().join("/");
            let request = actor.request(route.method.clone(), &format!("/{path}"));
            actor.send(if body.is_null() { request } else { request.json(body) }).await
        };
        send(&[], &if body.is_null() { Value::Null } else { json!({}) }).await;
        tokio::time::sleep(PAUSE).await;
        self.calls.take();
        let answer = send(parameters, &body).await;
        let line = self.world.line_of(&answer);
        if answer.status >= 300 && function != "not-found" {
            return Err(format!("{function}: {answer:?}").into());
        }
        self.served.push(Served {
            function: route.function,
            calls: self.calls.take(),
            round_trips: line["dynamodb_round_trips"].as_u64().unwrap_or_default() as usize,
            log_bytes: line.to_string().len() + 1,
        });
        Ok(answer.body)
    }

    async fn account(&mut self, owner: &Actor) -> Result<()> {
        for function in ["get-account", "get-user", "get-rate-limit", "get-openapi", "not-found"] {
            self.ask(function, owner, &[], Value::Null).await?;
        }
        self.ask("update-account", owner, &[], json!({"permanent_tokens": true})).await?;

        let new = json!({"name": "ci", "scopes": ["repositories:read"]});
        let token = self.ask("create-token", owner, &[], new).await?;
        let token = [text(&token, "id")];
        self.ask("list-tokens", owner, &[], Value::Null).await?;
        self.ask("get-token", owner, &token, Value::Null).await?;
        self.ask("update-token", owner, &token, json!({"name": "other"})).await?;
        self.ask("rotate-token", owner, &token, json!({})).await?;
        self.ask("delete-token", owner, &token, Value::Null).await?;

        let new = json!({"name": "ci", "client_id": "ci", "scopes": ["repositories:read"]});
        self.ask("create-application", owner, &[], new).await?;
        self.ask("list-applications", owner, &[], Value::Null).await?;
        self.ask("delete-application", owner, &["ci"], Value::Null).await?;
        Ok(())
    }

    async fn deployments(&mut self, owner: &Actor, source: &GitRepository) -> Result<()> {
        self.ask("create-repository", owner, &[], json!({"name": "app", "clone_url": source.url()})).await?;
        self.ask("list-repositories", owner, &[], Value::Null).await?;
        self.ask("get-repository", owner, &["app"], Value::Null).await?;

        let variables = json!({"LOG_LEVEL": "debug"});
        let production = json!({"ref": "main", "environment": "production", "variables": variables});
        for _ in 1..ROWS {
            owner.ended(&owner.deploy("app", production.clone()).await).await;
            source.commit(&[("file", &self.served.len().to_string())]);
        }
        self.ask("preflight-deployment", owner, &["app"], production.clone()).await?;
        let created = self.ask("create-deployment", owner, &["app"], production).await?;
        owner.ended(&created).await;
        let deployment = [text(&created, "id")];
        for function in ["get-deployment", "get-deployment-log", "list-deployment-events"] {
            self.ask(function, owner, &deployment, Value::Null).await?;
        }
        self.ask("list-deployments", owner, &["app"], Value::Null).await?;
        let retried = self.ask("retry-deployment", owner, &deployment, json!({})).await?;
        owner.ended(&retried).await;
        let rollback = self.ask("create-rollback", owner, &["app"], json!({"environment": "production"})).await?;
        owner.ended(&rollback).await;

        self.ask("list-environments", owner, &["app"], Value::Null).await?;
        self.ask("get-environment", owner, &["app", "staging"], Value::Null).await?;
        self.ask("update-environment", owner, &["app", "staging"], json!({"required_approvals": 1})).await?;
        let admin = self.world.member(owner, Role::Admin).await.at(self.gateway.endpoint());
        for act in ["approve-deployment", "reject-deployment", "cancel-deployment"] {
            let waiting = owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
            let body = if act == "approve-deployment" { json!({"sha": waiting["sha"]}) } else { json!({}) };
            self.ask(act, &admin, &[text(&waiting, "id")], body).await?;
            if act == "approve-deployment" {
                owner.ended(&waiting).await;
            }
        }
        Ok(())
    }

    async fn teams(&mut self, owner: &Actor) -> Result<()> {
        let member = self.world.member(owner, Role::Member).await;
        let member = member.user_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let team = self.ask("create-team", owner, &[], json!({"name": "Platform"})).await?;
        let team = text(&team, "id");
        self.ask("list-teams", owner, &[], Value::Null).await?;
        self.ask("get-team", owner, &[team], Value::Null).await?;
        self.ask("update-team", owner, &[team], json!({"description": "It runs the platform"})).await?;
        self.ask("add-team-member", owner, &[team, &member], json!({})).await?;
        self.ask("add-team-repository", owner, &[team, "app"], json!({"permission": "read"})).await?;
        self.ask("list-team-members", owner, &[team], Value::Null).await?;
        self.ask("list-team-repositories", owner, &[team], Value::Null).await?;

        let invited = |name: &str| json!({"email": format!("{name}@example.com"), "teams": [team]});
        let invitation = self.ask("create-invitation", owner, &[], invited("ada")).await?;
        self.ask("list-invitations", owner, &[], Value::Null).await?;
        let stranger = self.world.anonymous().at(self.gateway.endpoint());
        let secret = json!({"secret": invitation["secret"]});
        self.ask("accept-invitation", &stranger, &[text(&invitation["invitation"], "id")], secret).await?;
        let other = owner.post("/v1/invitations", invited("ben")).await.body;
        self.ask("delete-invitation", owner, &[text(&other["invitation"], "id")], Value::Null).await?;

        self.ask("remove-team-repository", owner, &[team, "app"], Value::Null).await?;
        self.ask("remove-team-member", owner, &[team, &member], Value::Null).await?;
        self.ask("delete-team", owner, &[team], Value::Null).await?;
        self.ask("list-members", owner, &[], Value::Null).await?;
        self.ask("update-member", owner, &[&member], json!({"role": "admin"})).await?;
        self.ask("remove-member", owner, &[&member], Value::Null).await?;
        Ok(())
    }
}

fn text<'a>(resource: &'a Value, name: &str) -> &'a str {
    resource[name].as_str().unwrap_or_default()
}
