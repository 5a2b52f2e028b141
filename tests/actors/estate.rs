//! An account with one of everything that a request can name, and the valid request of each endpoint.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use local::functions::routes;
use local::path_parameter;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::Route;
use shared::access::Scope;
use shared::id::TokenId;
use shared::model::{AccessToken, Author, Role, Trust, Webhook, WebhookDelivery};

use crate::issuer::AUDIENCE;
use crate::{Actor, Answer, GitRepository, World, sample_event};

/// The path of the artifact that the deployment of an estate has.
pub const ARTIFACT: &str = "report.json";

/// The methods in the order in which one estate can serve requests of all routes.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The valid body of each route that takes one: the body of its sample event. A field that names something of the account is
/// a placeholder, such as `{deployment_id}`.
static BODIES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let takes_a_body = |route: &Route| {
        [Method::POST, Method::PUT, Method::PATCH].contains(route.method)
            && form_of(&sample_event(route.function)).is_none()
    };
    routes().filter(takes_a_body).map(|route| (route.key(), body(route.function))).collect()
});

/// The valid form of each route that takes one: the fields of the form in its sample event.
static FORMS: LazyLock<BTreeMap<String, Vec<(String, String)>>> = LazyLock::new(|| {
    let form = |route: Route| {
        let event = sample_event(route.function);
        let fields = form_of(&event)?;
        let value = |name: &str, value: String| match name {
            "audience" => "{trust_id}".to_owned(),
            "subject_token" => "{subject_token}".to_owned(),
            _ => value,
        };
        Some((route.key(), fields.into_iter().map(|(name, text)| (name.clone(), value(&name, text))).collect()))
    };
    routes().filter_map(form).collect()
});

/// The values that fill the parameters of a request.
pub type Parameters = BTreeMap<&'static str, String>;

/// The account, whose ids no other account has.
pub struct Estate {
    /// The owner of the account.
    pub owner: Actor,
    /// A user who approves the owner's deployments.
    pub admin: Actor,
    /// A member of the team.
    pub member: Actor,
    /// The owner in a session of the dashboard.
    pub session: Actor,
    /// The path parameters of every route, and a few more for bodies.
    pub parameters: Parameters,
}

impl Estate {
    /// Creates an account with everything of an estate.
    pub async fn new(world: &World, account: &str, source: &GitRepository) -> Self {
        Self::of(world, world.owner(account).await, account, source).await
    }

    /// Creates a team that has the permission `deploy` on a repository, which has one deployment, in the account of an owner.
    /// The parameter `{user_id}` is a user who calls nothing.
    pub async fn of(world: &World, owner: Actor, account: &str, source: &GitRepository) -> Self {
        let (member, user) = (world.member(&owner, Role::Member).await, world.member(&owner, Role::Member).await);
        let admin = world.member(&owner, Role::Admin).await;
        let name = format!("{account}-app");
        let repository = owner.repository(&name, source).await;
        let deployment = owner.deploy(&name, json!({"ref": "main"})).await;
        world.put_artifact(&owner, &deployment, ARTIFACT, b"{}").await;
        let team = owner.team(&format!("{account}-team")).await;
        for user in [&member, &user] {
            owner.add_to_team(&team, user).await;
        }
        owner.grant(&team, &name, "deploy").await;
        let invited = invite(&owner, &format!("guest@{account}.example"), &team["id"]).await;
        let client = format!("{account}-client");
        let registered = world.register(&owner, &client).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let (hook_id, hook_key) = deploy_hook(&owner, &name).await;
        let (webhook_id, delivery_id) = webhook(&owner, world).await;
        let (session, _) = world.session(&owner).await;
        let (_, other_session) = world.session(&owner).await;
        let trusted = trust(&owner, world, &format!("{account}/{name}"), &repository["id"]).await;
        let parameters = Parameters::from([
            ("repo_id", text(&repository["id"])),
            ("deployment_id", text(&deployment["id"])),
            ("artifact_path", ARTIFACT.to_owned()),
            ("team_id", text(&team["id"])),
            ("token_id", token_of(world, &member).await),
            ("user_id", user.user_id.as_ref().unwrap().to_string()),
            ("invitation_id", text(&invited["invitation"]["id"])),
            ("application_id", client),
            ("trust_id", text(&trusted["id"])),
            // Nobody is at this port, so that a check has its answer at once.
            ("connection_id", text(&owner.connection("127.0.0.1:1", "deploy-bot", "hunter2").await["id"])),
            ("hook_id", hook_id),
            ("hook_key", hook_key),
            ("webhook_id", webhook_id),
            ("delivery_id", delivery_id),
            ("subject_token", subject_token(world, &format!("{account}/{name}"))),
            ("full_repository", format!("{account}/{name}")),
            ("environment", "preview".to_owned()),
            ("name", "API_URL".to_owned()),
            ("full_name", format!("{account}%2F{name}")),
            ("session_id", other_session),
            ("token", owner.token.clone().unwrap()),
            ("repo_name", name),
            ("clone_url", source.url()),
            ("secret", text(&invited["secret"])),
            ("sha", text(&deployment["sha"])),
            ("access_token", world.issuer.client_token(&new_client(), world.clock.now())),
            ("approval_digest", text(&deployment["approval_digest"])),
        ]);
        Self { owner, admin, member, session, parameters }
    }

    /// Creates the resource of a request that an earlier request for another route may have used up, or that has to be in
    /// another state than the estate's own. Returns the parameters of the request.
    pub async fn ready(&self, world: &World, function: &str) -> Parameters {
        let mut parameters = self.parameters.clone();
        match function {
            "approve-deployment" | "cancel-deployment" | "reject-deployment" => {
                let name = &self.parameters["repo_name"];
                self.owner.set(name, "staging", json!({"required_approvals": 1})).await;
                let waiting = self.owner.deploy(name, json!({"ref": "main", "environment": "staging"})).await;
                parameters.insert("deployment_id", text(&waiting["id"]));
                parameters.insert("sha", text(&waiting["sha"]));
                parameters.insert("approval_digest", text(&waiting["approval_digest"]));
            }
            "add-team-member" | "add-team-repository" => {
                parameters.insert("team_id", text(&self.owner.team(function).await["id"]));
            }
            "delete-environment" => {
                let environments = format!("/v1/repositories/{}/environments", self.parameters["repo_name"]);
                let created = self.owner.post(&environments, json!({"name": "spare"})).await;
                assert!([201, 409].contains(&created.status), "{created:?}");
                parameters.insert("environment", "spare".to_owned());
            }
            "delete-invitation" => {
                let invited = invite(&self.owner, "nobody@example.com", &json!(self.parameters["team_id"])).await;
                parameters.insert("invitation_id", text(&invited["invitation"]["id"]));
            }
            // Later sessions may have pushed the estate's own out. Of sessions of the same millisecond, any may go.
            "delete-session" => {
                world.clock.advance(Duration::from_millis(1));
                parameters.insert("session_id", world.session(&self.owner).await.1);
            }
            // A rotation may have ended the secret of the estate's own hook.
            "receive-hook" => {
                let (hook_id, hook_key) = deploy_hook(&self.owner, &self.parameters["repo_name"]).await;
                parameters.extend([("hook_id", hook_id), ("hook_key", hook_key)]);
            }
            // One changes the variable, and the others create it or find it.
            "set-account-variable" => self.set_variable("/v1/account/variables/{name}").await,
            "delete-account-variable" => self.set_variable("/v1/account/variables/{name}").await,
            "delete-repository-variable" => self.set_variable("/v1/repositories/{repo_id}/variables/{name}").await,
            "delete-environment-variable" => {
                let path = "/v1/repositories/{repo_id}/environments/{environment}/variables/{name}";
                self.set_variable(path).await;
            }
            // Another deployment may have taken the place of the estate's own.
            "get-deployment-artifact" => {
                let deployment = json!({"id": parameters["deployment_id"]});
                world.put_artifact(&self.owner, &deployment, ARTIFACT, b"{}").await;
            }
            // Only a deployment that has ended has a zip of its artifacts and a file of its log.
            "get-deployment-artifacts-zip" | "get-deployment-log-file" => {
                let name = &self.parameters["repo_name"];
                self.owner.set(name, "staging", json!({"required_approvals": 1})).await;
                let waiting = self.owner.deploy(name, json!({"ref": "main", "environment": "staging"})).await;
                world.put_artifact(&self.owner, &waiting, ARTIFACT, b"{}").await;
                world.put_log(&self.owner, &waiting, "Compiling frontend-app").await;
                assert_eq!(self.owner.act(&waiting, "cancel", json!({})).await.status, 200);
                parameters.insert("deployment_id", text(&waiting["id"]));
            }
            "exchange-token" => {
                parameters.insert("subject_token", subject_token(world, &self.parameters["full_repository"]));
            }
            _ => {}
        }
        parameters
    }

    /// Sets the variable that the parameter `{name}` names to another value than a valid body has.
    async fn set_variable(&self, path: &str) {
        let set = self.owner.put(&filled(path, &self.parameters), json!({"value": "before"})).await;
        assert_eq!(set.status, 200, "{set:?}");
    }

    /// Returns a caller with a token of the estate's trust.
    pub async fn program(&self, world: &World) -> Actor {
        let parameters = self.ready(world, "exchange-token").await;
        let anonymous = Actor { token: None, ..self.owner.clone() };
        let issued = anonymous.send(request(&anonymous, "POST /v1/token", &parameters)).await;
        assert_eq!(issued.status, 200, "{issued:?}");
        Actor { user_id: None, ..self.owner.holding(issued.body["access_token"].as_str().unwrap()) }
    }

    /// Calls a route with a valid body.
    pub async fn call(&self, actor: &Actor, route: &str) -> Answer {
        actor.send(request(actor, route, &self.parameters)).await
    }

    /// Returns the caller whom a route serves. A token is changed by its user alone, and a deployment is approved by another
    /// user than its creator. Only a session ends itself.
    pub fn caller(&self, route: &str) -> &Actor {
        match route {
            _ if route.contains("{token_id}") => &self.member,
            "POST /v1/deployments/{deployment_id}/approve" => &self.admin,
            "DELETE /v1/session" => &self.session,
            _ => &self.owner,
        }
    }

    /// Returns a valid body for a route.
    pub fn body(&self, route: &str) -> Value {
        valid_body(route, &self.parameters).unwrap_or_else(|| panic!("{route} has no body"))
    }

    /// Returns a body that changes a resource: the valid one, with the other value of each boolean.
    pub fn changing(&self, route: &str, resource: &Value) -> Value {
        let mut body = self.body(route);
        for (name, value) in body.as_object_mut().unwrap() {
            if let Some(now) = resource[name].as_bool() {
                *value = json!(!now);
            }
        }
        body
    }

    /// Builds a request for a route with another body.
    pub fn request_with(&self, route: &str, body: &Value) -> RequestBuilder {
        without_body(self.caller(route), route, &self.parameters).json(body)
    }

    /// Returns the path of a route.
    pub fn path(&self, route: &str) -> String {
        filled(route.split_once(' ').unwrap().1, &self.parameters)
    }

    /// Returns the path of a request for which everything is [ready](Self::ready).
    pub async fn path_when_ready(&self, world: &World, route: &Route) -> String {
        filled(route.path, &self.ready(world, route.function).await)
    }

    /// Returns the ids and the names that no other account may learn.
    pub fn secrets(&self) -> Vec<&str> {
        let ids = ids().map(|(name, _)| name).chain(["repo_name"]).map(|name| self.parameters[name].as_str());
        let owner = [self.owner.account_id.as_ref().unwrap().as_str(), self.owner.user_id.as_ref().unwrap().as_str()];
        ids.chain(owner).collect()
    }

    /// Reads every item that has one of the account's ids or names, sorted. The limiter's items are left out.
    pub async fn items(&self, world: &World) -> Vec<String> {
        let table = world.stack.app().table();
        let mut scanned = table.client().scan().table_name(table.name()).into_paginator().items().send();
        let (mut items, secrets) = (Vec::new(), self.secrets());
        while let Some(mut item) = scanned.try_next().await.unwrap() {
            item.values_mut().for_each(without_bytes);
            let text = shared::table::read_item::<Value>(item).unwrap().to_string();
            if !text.contains("RATE#") && secrets.iter().any(|secret| text.contains(secret)) {
                items.push(text);
            }
        }
        items.sort();
        items
    }
}

/// Replaces bytes, which JSON does not have, by a text.
fn without_bytes(value: &mut AttributeValue) {
    match value {
        AttributeValue::M(inner) => inner.values_mut().for_each(without_bytes),
        AttributeValue::B(_) => *value = AttributeValue::S(format!("{value:?}")),
        _ => {}
    }
}

/// Returns all routes in an order in which one estate can serve a request for each: reads, creations, changes, and removals
/// from the innermost resource outwards.
pub fn in_order() -> Vec<Route> {
    let mut routes: Vec<_> = routes().collect();
    let rank = |route: &Route| METHODS.iter().position(|method| method == route.method);
    routes.sort_by_key(|route| (rank(route), Reverse(route.path.len())));
    routes
}

/// Creates a token of a user, which can only manage tokens. Returns its id.
pub async fn token_of(world: &World, user: &Actor) -> String {
    let mut id: Option<TokenId> = None;
    let narrowed = |token: &mut AccessToken| {
        token.scopes = vec![Scope::TokensWrite];
        id = Some(token.id.clone());
    };
    world.with_token(user, narrowed).await;
    id.unwrap().to_string()
}

/// Builds a valid request for a route, such as `GET /v1/teams/{team_id}`. The parameters fill the path and the body.
pub fn request(actor: &Actor, route: &str, parameters: &Parameters) -> RequestBuilder {
    let request = without_body(actor, route, parameters);
    match encoded_body(route, parameters) {
        Some((content_type, body)) => request.header(CONTENT_TYPE, content_type).body(body),
        None => request,
    }
}

/// Returns a valid body for a route, if it takes one, with its content type.
pub fn encoded_body(route: &str, parameters: &Parameters) -> Option<(&'static str, String)> {
    if let Some(fields) = FORMS.get(route) {
        let fields = fields.iter().map(|(name, value)| (name, filled(value, parameters)));
        return Some((
            "application/x-www-form-urlencoded",
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish(),
        ));
    }
    valid_body(route, parameters).map(|body| ("application/json", body.to_string()))
}

/// Returns the fields of the form in an event, if it has one.
fn form_of(event: &Value) -> Option<Vec<(String, String)>> {
    let is_form = event["headers"]["content-type"] == "application/x-www-form-urlencoded";
    is_form.then(|| form_urlencoded::parse(event["body"].as_str().unwrap().as_bytes()).into_owned().collect())
}

/// Returns a token of a job of a repository, which was not exchanged.
fn subject_token(world: &World, repository: &str) -> String {
    world.issuer.id_token(&world.issuer.job(repository, world.clock.now()))
}

/// Trusts the jobs of a repository in the world's issuer.
async fn trust(owner: &Actor, world: &World, of: &str, repository: &Value) -> Value {
    let new = json!({
        "name": "CI", "issuer": world.issuer.url(), "claims": {"repository": of}, "scopes": Trust::SCOPES,
        "audience": AUDIENCE, "repository_id": repository,
    });
    let created = owner.post("/v1/trusts", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    created.body
}

/// Creates a webhook with a delivery that nobody has sent yet. Returns the IDs of both. Nobody is at the webhook's port.
async fn webhook(owner: &Actor, world: &World) -> (String, String) {
    let new = json!({"name": "Board", "url": "http://127.0.0.1:1/", "events": ["webhook.tested"]});
    let created = owner.post("/v1/webhooks", new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let (table, account) = (world.stack.app().table(), owner.account_id.as_ref().unwrap());
    let webhook = Webhook::load(table, account, &text(&created.body["id"]).parse().unwrap()).await.unwrap().unwrap();
    let author = Author::operator(account, owner.user_id.as_ref().unwrap());
    let delivery = WebhookDelivery::test(&webhook, table, &author, world.clock.now()).await.unwrap();
    (webhook.id.to_string(), delivery.id.to_string())
}

/// Makes a deploy hook. Returns its ID, and its secret as the parameter of its URL.
async fn deploy_hook(owner: &Actor, repository: &str) -> (String, String) {
    let new = json!({"provider": "deploy", "environment": "preview", "ref": "main"});
    let hook = owner.post(&format!("/v1/repositories/{repository}/hooks"), new).await;
    assert_eq!(hook.status, 201, "{hook:?}");
    let key = form_urlencoded::byte_serialize(text(&hook.body["secret"]).as_bytes()).collect();
    (text(&hook.body["id"]), key)
}

/// Returns the ids in a route's path, and those in its body, each with an id that nothing has.
pub fn ids_of(route: &str) -> [Vec<(&'static str, &'static str)>; 2] {
    let body = BODIES.get(route).map(Value::to_string).unwrap_or_default();
    [route, &body].map(|text| ids().filter(|(name, _)| text.contains(&format!("{{{name}}}"))).collect())
}

/// Returns the path parameters that name something of one account, each with an id that nothing has.
fn ids() -> impl Iterator<Item = (&'static str, &'static str)> {
    let parameters = path_parameter::PARAMETERS.iter().map(|parameter| (parameter.name, parameter.example));
    parameters.filter(|(name, _)| name.ends_with("_id"))
}

/// Returns the client that the sample event of `create-application` registers.
fn new_client() -> String {
    text(&BODIES["POST /v1/applications"]["client_id"])
}

/// Invites a person into a team.
async fn invite(owner: &Actor, email: &str, team: &Value) -> Value {
    let invited = owner.post("/v1/invitations", json!({"email": email, "teams": [team]})).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    invited.body
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn without_body(actor: &Actor, route: &str, parameters: &Parameters) -> RequestBuilder {
    let (method, path) = match route.split_once(' ') {
        // The secret of a hook is in its URL.
        Some(("POST", "/v1/hooks/{hook_id}")) => ("POST", "/v1/hooks/{hook_id}?key={hook_key}"),
        route => route.unwrap_or(("GET", "/v1/nothing/here")),
    };
    actor.request(method.parse::<Method>().unwrap(), &filled(path, parameters))
}

/// Returns a valid body for a route, if it takes one.
pub fn valid_body(route: &str, parameters: &Parameters) -> Option<Value> {
    Some(serde_json::from_str(&filled(&BODIES.get(route)?.to_string(), parameters)).unwrap())
}

fn filled(template: &str, parameters: &Parameters) -> String {
    let fill = |text: String, (name, value): (&&str, &String)| text.replace(&format!("{{{name}}}"), value);
    let filled = parameters.iter().fold(template.to_owned(), fill);
    assert!(!template.starts_with('/') || !filled.contains('{'), "nothing fills a parameter of {filled}");
    filled
}

/// Returns the body of a function's sample event with placeholders.
fn body(function: &str) -> Value {
    let mut body = match sample_event(function)["body"].as_str() {
        Some(body) => serde_json::from_str(body).unwrap(),
        None => json!({}),
    };
    match function {
        // The sample event names no team, because no account that receives it has one.
        "create-invitation" => body["teams"] = json!(["{team_id}"]),
        // The sample event leaves the choice of the deployment to the API.
        "create-rollback" => body["deployment_id"] = json!(""),
        _ => {}
    }
    let names = ids().map(|(name, _)| name).chain([
        "access_token",
        "approval_digest",
        "clone_url",
        "environment",
        "secret",
        "sha",
        "token",
    ]);
    for name in names.filter(|name| body.get(name).is_some_and(Value::is_string)).collect::<Vec<_>>() {
        body[name] = json!(format!("{{{name}}}"));
    }
    body
}
