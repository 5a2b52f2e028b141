//! `GET /v1/rate_limit`: where the account stands, without counting.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use shared::access::Tenant;
use shared::model::Plan;
use shared::rate_limit::{Subject, Verdict};
use shared::{App, Endpoint, InitError, Result, Route};

pub const ROUTE: Route = Route::get(env!("CARGO_PKG_NAME"), "/v1/rate_limit").free();

pub fn endpoint(app: &App) -> Result<Endpoint, InitError> {
    Ok(Endpoint::new(ROUTE, get_rate_limit, app.clone()))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RateLimit)]
pub struct RateLimitBody {
    pub plan: Plan,
    /// Requests in a clock minute.
    #[schema(examples(600))]
    pub limit: u32,
    /// Requests left in this minute.
    #[schema(examples(587))]
    pub remaining: u32,
    /// The second since the Unix epoch at which this minute ends.
    #[schema(examples(1733063460))]
    pub reset: i64,
    pub burst: BurstBody,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BurstLimit)]
pub struct BurstBody {
    /// Requests at once.
    #[schema(examples(100))]
    pub limit: u32,
    /// Requests that can be made at once now.
    #[schema(examples(98))]
    pub remaining: u32,
}

/// Get the rate limit
///
/// Tells what is left of the account's rate limit. Does not count against it.
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
    // The headers tell the same.
    Ok((Extension(verdict), Json(body)))
}
