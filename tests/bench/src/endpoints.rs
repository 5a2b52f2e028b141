//! Sends one request to every endpoint, in warm functions.

use std::time::Duration;

use local::functions::routes;
use local::gateway::Gateway;
use serde_json::{Value, json};
use shared::Route;
use tests::estate::{Estate, in_order, request, valid_body};
use tests::{GitRepository, World};

use crate::Result;
use crate::calls::{Call, Calls};

/// The time to record a token's use concurrently with a request.
const PAUSE: Duration = Duration::from_millis(50);
/// The number of repositories and of deployments, which is more than a page.
const ROWS: usize = 11;
/// The value of a parameter that names no resource.
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
}

/// Calls each endpoint once. Returns them in the order of the routes.
pub(crate) async fn serve_each() -> Result<Vec<Served>> {
    let walk = Walk::start().await?;
    let source = GitRepository::with_commands(&["true"]);
    let owner = walk.world.owner("acme").await.at(walk.gateway.endpoint());
    for number in 1..ROWS {
        owner.repository(&format!("app-{number}"), &source).await;
    }
    let mut estate = Estate::of(&walk.world, owner, "acme", &source).await;
    estate.owner.ended(&json!({"id": estate.parameters["deployment_id"]})).await;
    estate.parameters.insert("environment", "production".to_owned());
    for number in 1..ROWS {
        source.commit(&[("file", &number.to_string())]);
        let variables = json!({"API_KEY": {"value": "hunter22", "secret": true}});
        let production = json!({"ref": "main", "environment": "production", "variables": variables});
        let deployed = estate.owner.deploy(&estate.parameters["repo_name"], production).await;
        estate.owner.ended(&deployed).await;
        estate.parameters.insert("deployment_id", text(&deployed, "id").to_owned());
    }
    let mut served = Vec::new();
    for route in in_order() {
        served.push(walk.ask(&estate, &route).await?);
    }
    served.sort_by_key(|served| routes().position(|route| route.function == served.function));
    Ok(served)
}

impl Walk {
    async fn start() -> Result<Self> {
        let (world, calls) = (World::start().await, Calls::default());
        let settings = calls.in_front_of(&world.stack.environment().settings, Duration::ZERO).await?;
        let gateway = world.gateway(settings).await;
        Ok(Self { world, gateway, calls })
    }

    /// Sends a request about no resource, so that the function caches the caller, and then the request to be measured.
    async fn ask(&self, estate: &Estate, route: &Route) -> Result<Served> {
        let (function, key) = (route.function, route.key());
        let (caller, parameters) = (estate.caller(&key), estate.ready(&self.world, function).await);
        let nothing = parameters.keys().map(|name| (*name, NOTHING.to_owned())).collect();
        let about_nothing = request(caller, &key, &nothing);
        let about_nothing = match valid_body(&key, &nothing) {
            Some(_) => about_nothing.body("{}"),
            None => about_nothing,
        };
        caller.send(about_nothing).await;
        tokio::time::sleep(PAUSE).await;
        self.calls.take();
        let answer = caller.send(request(caller, &key, &parameters)).await;
        let line = self.world.line_of(&answer);
        if answer.status >= 300 && function != "not-found" {
            return Err(format!("{function}: {answer:?}").into());
        }
        let served = Served {
            function,
            calls: self.calls.take(),
            round_trips: line["dynamodb_round_trips"].as_u64().unwrap_or_default() as usize,
            log_bytes: line.to_string().len() + 1,
        };
        if answer.body["status"] == "queued" {
            estate.owner.ended(&answer.body).await;
        }
        Ok(served)
    }
}

fn text<'a>(resource: &'a Value, name: &str) -> &'a str {
    resource[name].as_str().unwrap_or_default()
}
