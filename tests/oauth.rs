//! Access tokens of an OpenID Connect issuer.

mod linking;
mod provider;
mod token;

use serde_json::json;
use shared::clock::Clock;
use shared::settings::{OIDC_AUDIENCE, OIDC_CLIENT_IDS, OIDC_ISSUER};
use tests::issuer::AUDIENCE;
use tests::{Actor, World};

/// Starts a stack that trusts an issuer.
async fn trusting(issuer: &str, clock: Option<Clock>, cognito: bool) -> World {
    World::start_with(|options| {
        options.overrides.push((OIDC_ISSUER, issuer.to_owned()));
        match cognito {
            true => options.overrides.push((OIDC_CLIENT_IDS, "web, mobile".to_owned())),
            false => options.overrides.push((OIDC_AUDIENCE, AUDIENCE.to_owned())),
        }
        if let Some(clock) = clock {
            options.clock = clock;
        }
    })
    .await
}

/// Creates an account for the mail domain `acme.example`. Returns its owner.
async fn acme(world: &World) -> Actor {
    world
        .bootstrapped(json!({
            "account": "acme", "plan": "pro", "owner_email": "owner@acme.example", "email_domains": ["acme.example"],
        }))
        .await
}
