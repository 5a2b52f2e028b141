//! `GET /v1/rate_limit`: returns the state of the account's rate limit. The request counts against its source address.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use shared::access::Tenant;
use shared::model::Plan;
use shared::model::Subject;
use shared::rate_limit::Verdict;
use shared::{App, Endpoint, InitError, Result, Route};

/// The contract of the endpoint. The pipeline enforces it, and the templates and the OpenAPI document follow from it.
pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/rate_limit").counts_by_source();

/// Returns the endpoint with the app as its state.
pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_rate_limit, app.clone()))
}

/// The state of the account's rate limit.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RateLimit)]
pub struct RateLimitBody {
    plan: Plan,
    /// The number of requests that the plan allows in a clock minute.
    #[schema(examples(600))]
    limit: u32,
    /// The number of requests left in this minute.
    #[schema(examples(587))]
    remaining: u32,
    /// The time at which this minute ends, in seconds since the Unix epoch.
    #[schema(examples(1733063460))]
    reset: i64,
    burst: BurstBody,
}

/// The limit on requests at once.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BurstLimit)]
pub struct BurstBody {
    /// The number of requests that the plan allows at once.
    #[schema(examples(100))]
    limit: u32,
    /// The number of requests that the caller can make at once now.
    #[schema(examples(98))]
    remaining: u32,
}

/// Get the rate limit
///
/// Returns the state of the account's rate limit, at most a second old. This request does not count against the account's
/// limit. A source address can make 60 such requests a minute, and 20 at once; more get `rate_limited` until `Retry-After`.
#[utoipa::path(get, path = ROUTE.path, tag = "API", responses((status = 200, body = RateLimitBody)))]
pub async fn get_rate_limit(
    State(app): State<App>,
    tenant: Tenant,
) -> Result<(Extension<Verdict>, Json<RateLimitBody>)> {
    let account = tenant.account();
    let subject = Subject::Account(account.id.clone());
    let verdict = app.limiter().peek(&subject, account.quota()).await?;
    let body = RateLimitBody {
        plan: account.plan,
        limit: verdict.quota.per_minute,
        remaining: verdict.remaining,
        reset: verdict.reset,
        burst: BurstBody { limit: verdict.quota.burst, remaining: verdict.burst_remaining },
    };
    // The headers have the same values.
    Ok((Extension(verdict), Json(body)))
}
