//! `POST /v1/repositories/{repo_id}/hooks/{hook_id}/rotate`: gives a hook a new secret. The old one stays valid for an overlap.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use shared::access::{AuthorizedHook, Permission, Scope};
use shared::body::HookBody;
use shared::extract::{self, Whole};
use shared::model::{Author, Hook, HookSecret};
use shared::{App, Endpoint, Error, InitError, Result, Route, With};
use vault::Vault;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/hooks/{hook_id}/rotate")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .needs(Permission::Admin)
    .takes_idempotency_key();

const DEFAULT_OVERLAP_SECONDS: u64 = 24 * 60 * 60;

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, rotate_hook, With(app.clone(), Arc::new(Vault::new(app)?)))
        .finds_early::<Hook>()
        .calls_at_once(4))
}

/// The lifetime of the old secret.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HookRotation)]
pub struct Asked {
    /// The number of seconds that the old secret stays valid, at most a week. 0 ends it at once.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 604_800, default = 86_400)]
    overlap_seconds: Option<Whole<u64, 0, 604_800>>,
}

/// Rotate a hook's secret
///
/// Gives the hook a new secret, and returns it once. The old secret works until the overlap is over, so that there is time to
/// enter the new one at the git host. A secret that an earlier rotation replaced ends at once.
#[utoipa::path(post, path = ROUTE.path, tag = "Hooks", request_body = Asked, responses((status = 200, body = HookBody)))]
pub async fn rotate_hook(
    State(With(app, vault)): State<With<Arc<Vault>>>,
    author: Author,
    hook: AuthorizedHook,
    extract::Json(asked): extract::Json<Asked>,
) -> Result<Json<HookBody>> {
    let (secret, now) = (HookSecret::random(), app.clock().now());
    let context = Hook::sealing_context(&hook.account_id, &hook.id);
    let sealed = vault.seal(&context, secret.reveal().as_bytes()).await.map_err(Error::unavailable)?;
    let overlap = Duration::from_secs(asked.overlap_seconds.map_or(DEFAULT_OVERLAP_SECONDS, Whole::get));
    let rotated = hook.into_inner().rotate(app.table(), sealed, now.plus(overlap), &author, now).await?;
    Ok(Json(HookBody::new(&app, rotated, now).with_secret(secret)))
}
