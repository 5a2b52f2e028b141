//! The layer that counts each request. [`rate_limit`](crate::rate_limit) decides.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::IF_NONE_MATCH;
use http::request::Parts;

use super::{Context, Record, record, source, source_address};
use crate::access::Caller;
use crate::error::Result;
use crate::model::{Quota, Subject};
use crate::poll::NothingNew;
use crate::rate_limit::Verdict;
use crate::route::{Counting, Route, WithoutLimiter};
use crate::table::TableError;

/// Counts the request. A safe handler reads while the limiter decides. Any other handler waits for the limiter, and
/// for the caller's current rows, which are read meanwhile.
pub(super) async fn limit(State(context): State<Arc<Context>>, request: Request, next: Next) -> Result<Response> {
    let record = record(&request);
    if let Some(caller) = record.caller.get().filter(|_| may_bring_nothing_new(&context.route, &request)) {
        return follow(&context, &record, caller, request, next).await;
    }
    let (subject, quota) = match (context.route.counting, record.caller.get()) {
        (Counting::Free, _) => return Ok(next.run(request).await),
        (Counting::BySource, _) => (Subject::uncounted(source_address(&request)), Quota::ANONYMOUS),
        (Counting::Counted, Some(caller)) => (Subject::Account(caller.account().id.clone()), caller.account().quota()),
        (Counting::Counted, None) => (source(&request), Quota::ANONYMOUS),
    };
    let limiter = context.app.limiter();
    let admission = async {
        let verdict = limiter.admit(&subject, quota).await;
        let is_admitted = verdict.as_ref().is_ok_and(|verdict| verdict.refused_for.is_none());
        if is_admitted && context.route.counting == Counting::BySource {
            // The headers tell of the account's limit, which the request does not count against.
            return Ok(());
        }
        admitted(&record, verdict, context.route.without_limiter)
    };
    if context.route.is_safe() && !limiter.refuses(&subject, quota) {
        let handled = async { Ok(next.run(request).await) };
        let ((), response) = futures_util::future::try_join(admission, handled).await?;
        return Ok(response);
    }
    let (parts, body) = request.into_parts();
    let parts = if limiter.refuses(&subject, quota) {
        admission.await?;
        confirm(&context, parts).await?
    } else {
        let (admitted, confirmed) = futures_util::future::join(admission, confirm(&context, parts)).await;
        admitted?;
        confirmed?
    };
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Returns whether the client asks for what has changed only.
fn may_bring_nothing_new(route: &Route, request: &Request) -> bool {
    let continues =
        || request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with("after=")));
    let is_conditional = request.headers().contains_key(IF_NONE_MATCH) || (route.following && continues());
    route.is_read() && route.counting == Counting::Counted && is_conditional
}

/// Counts a request that may bring nothing new. Counts it against the user's allowance for following while the handler
/// reads, and then against the plan, unless the answer has nothing new. So the plan never admits an answer that it has not
/// counted.
async fn follow(context: &Context, record: &Record, caller: &Caller, request: Request, next: Next) -> Result<Response> {
    let (limiter, account) = (context.app.limiter(), caller.account());
    let (subject, quota) = (Subject::Following(caller.user_id().clone()), account.quota().for_following());
    let allowed = async {
        match limiter.admit(&subject, quota).await {
            Ok(verdict) => verdict.check("allowance for following"),
            Err(error) => {
                let _ = record.limiter_failure.set(error.to_string());
                Ok(())
            }
        }
    };
    let response = if limiter.refuses(&subject, quota) {
        allowed.await?;
        next.run(request).await
    } else {
        let handled = async { Ok(next.run(request).await) };
        futures_util::future::try_join(allowed, handled).await?.1
    };
    let has_nothing_new =
        response.status() == StatusCode::NOT_MODIFIED || response.extensions().get::<NothingNew>().is_some();
    if !has_nothing_new {
        let counted = limiter.admit(&Subject::Account(account.id.clone()), account.quota()).await;
        admitted(record, counted, context.route.without_limiter)?;
    }
    Ok(response)
}

/// Replaces the caller, whom authentication may have remembered, by the caller as the table has them now. Meanwhile finds
/// the resource that the endpoint declares early. The resource was authorized for the remembered caller, so it is kept
/// only if nothing about the caller has changed.
async fn confirm(context: &Context, mut parts: Parts) -> Result<Parts> {
    let Some(remembered) = parts.extensions.get::<Caller>().cloned() else { return Ok(parts) };
    let mut with_resource = parts.clone();
    let find = async {
        if let Some(early) = context.early {
            early(&mut with_resource, &context.app).await;
        }
    };
    let (current, ()) = futures_util::future::join(context.app.authenticator().confirm(&remembered), find).await;
    let current = current?;
    if current == remembered {
        return Ok(with_resource);
    }
    parts.extensions.insert(current);
    Ok(parts)
}

pub(super) fn admitted(record: &Record, verdict: Result<Verdict, TableError>, otherwise: WithoutLimiter) -> Result<()> {
    match verdict {
        Ok(verdict) => {
            let _ = record.verdict.set(verdict);
            verdict.check("rate limit")
        }
        Err(error) => {
            let _ = record.limiter_failure.set(error.to_string());
            match otherwise {
                WithoutLimiter::Admit => Ok(()),
                WithoutLimiter::Refuse => Err(error.into()),
            }
        }
    }
}
