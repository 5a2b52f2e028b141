//! `POST /v1/repositories/{repo_id}/hooks`: makes an address to which a git host sends pushes, or a program its wishes to deploy.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use shared::access::{AuthorizedRepository, Permission, Scope};
use shared::body::HookBody;
use shared::id::{HookId, UserId};
use shared::model::{Author, Environment, Hook, HookProvider, HookSecret, Repository};
use shared::{App, Endpoint, Error, ErrorCode, InitError, Result, Route, With, extract};
use vault::Vault;

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::post(env!("CARGO_PKG_NAME"), "/v1/repositories/{repo_id}/hooks")
    .takes_body()
    .requires(Scope::RepositoriesWrite)
    .needs(Permission::Admin)
    .refuses_with(&[ErrorCode::LimitReached])
    .takes_idempotency_key();

/// The maximum length of a ref, in characters.
const MAX_REF: usize = 255;

/// Returns the endpoint with its dependencies.
///
/// # Errors
/// Fails if a setting is missing or malformed.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, create_hook, With(app.clone(), Arc::new(Vault::new(app)?))).finds_early::<Repository>())
}

/// The hook to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHook {
    provider: HookProvider,
    /// The environment that a call of a deploy hook deploys to. Default: `preview`. Only for the provider `deploy`: pushes of a git
    /// host follow the repository's deploy rules.
    environment: Option<Environment>,
    /// The ref that a call of a deploy hook deploys, in any form that a deployment takes. Default: the default branch. Only for
    /// the provider `deploy`.
    #[schema(min_length = 1, max_length = 255, examples("main"))]
    r#ref: Option<String>,
}

/// Create a hook
///
/// Makes a URL that deploys the repository. A git host sends its pushes there, and signs them with the secret: enter both in the
/// settings of the repository at the host, with the content type JSON. Each push of a branch or tag is deployed as the
/// repository's `deploy_rules` say. A hook of the provider `deploy` has no host: a call of its URL with the secret deploys one ref to one
/// environment. The secret is in this response only.
#[utoipa::path(
    post, path = ROUTE.path, tag = "Hooks", request_body = NewHook, responses((status = 201, body = HookBody))
)]
pub async fn create_hook(
    State(With(app, vault)): State<With<Arc<Vault>>>,
    author: Author,
    repository: AuthorizedRepository,
    extract::Json(new): extract::Json<NewHook>,
) -> Result<(StatusCode, Json<HookBody>)> {
    let NewHook { provider, environment, r#ref: git_ref } = new;
    let fits = check(provider, environment, git_ref.as_deref());
    let named = environment.filter(|_| provider == HookProvider::Deploy).map(|name| ("environment".to_owned(), name));
    Error::all([fits, repository.check_environments(app.table(), named).await])?;
    let (id, secret, now) = (HookId::random(), HookSecret::random(), app.clock().now());
    let context = Hook::sealing_context(&repository.account_id, &id);
    let sealed = vault.seal(&context, secret.reveal().as_bytes()).await.map_err(Error::unavailable)?;
    let hook = Hook {
        audit_retention: author.retention(),
        id,
        account_id: repository.account_id.clone(),
        repository_id: repository.id.clone(),
        user_id: UserId::random(),
        provider,
        environment: (provider == HookProvider::Deploy).then(|| environment.unwrap_or_default()),
        git_ref,
        sealed: ByteBuf::from(sealed),
        previous: None,
        revision: 0,
        created_by: author.user_id().clone(),
        created_at: now,
        owned_by: None,
        last_delivery_at: None,
    };
    hook.create(app.table(), &repository, &author).await?;
    Ok((StatusCode::CREATED, Json(HookBody::new(&app, hook, now).with_secret(secret))))
}

fn check(provider: HookProvider, environment: Option<Environment>, git_ref: Option<&str>) -> Result<()> {
    if provider != HookProvider::Deploy {
        let given = [("environment", environment.is_some()), ("ref", git_ref.is_some())];
        return Error::given(
            given,
            "must be null unless the provider is 'deploy'; pushes of a git host follow the repository's deploy_rules",
        );
    }
    match git_ref {
        Some(git_ref) if !(1..=MAX_REF).contains(&git_ref.chars().count()) => {
            Err(Error::invalid("ref", format!("must be 1 to {MAX_REF} characters long")))
        }
        Some(git_ref) if shared::name::find_unseen(git_ref).is_some() => {
            Err(Error::invalid("ref", "must not contain characters that can't be seen"))
        }
        _ => Ok(()),
    }
}
