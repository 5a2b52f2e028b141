//! Requests that arrive at their own times, whether earlier ones are answered or not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use shared::clock::Clock;
use shared::model::{Quota, Subject};
use shared::rate_limit::Limiter;
use tests::Random;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::bounds::Span;
use crate::Result;
use crate::calls::{Call, Calls};
use crate::environment::Environment;
use crate::zae_limiter::ZaeLimiter;

/// An execution environment that answers one request after the other, as Lambda has it.
pub(super) struct Server {
    pub(super) kind: Kind,
    /// The calls that passed the proxy in front of this server's table.
    pub(super) calls: Calls,
}

pub(super) enum Kind {
    /// A function's binary with its event.
    Function(Environment, Value),
    /// The limiter alone, in this process.
    Limiter(Limiter, Subject, Quota),
    ZaeLimiter(ZaeLimiter),
}

/// The times at which requests arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) a_second: f64,
    pub(super) lasts: Duration,
    /// Whether the requests come at equal distances. Otherwise they are a Poisson process.
    pub(super) even: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Admitted,
    Refused,
    /// Answered with 503 or any other error.
    Failed,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    /// The time from the arrival, which includes the wait for an idle server.
    pub(super) took: Duration,
    pub(super) decided: Span,
    /// The number of the limiter's calls, and the time from the first one's start to the last one's end.
    pub(super) calls: usize,
    /// The number of these calls that were throttled.
    pub(super) throttled: usize,
    pub(super) in_calls: Duration,
}

impl Server {
    /// Serves one request that is not measured.
    pub(super) async fn warm_up(&mut self) -> Result<()> {
        self.kind.decide().await?;
        self.calls.take();
        Ok(())
    }

    async fn decide(&mut self, arrived: Instant, clock: &Clock) -> Result<Decision> {
        let sent = clock.now().as_millis();
        let outcome = self.kind.decide().await?;
        let (took, answered) = (arrived.elapsed(), clock.now().as_millis());
        let mut calls = self.calls.take();
        calls.retain(|call| match self.kind {
            Kind::Function(..) => call.counts_a_request,
            Kind::Limiter(..) | Kind::ZaeLimiter(_) => call.is_dynamodb,
        });
        // A lease's arrival is its end, which is later than the answer.
        let arrival = calls.last().and_then(|last| last.arrival).map(|micros| micros / 1000);
        let decided = match arrival.filter(|arrival| (sent..=answered).contains(arrival)) {
            Some(arrival) => (arrival, arrival),
            None => (sent, answered),
        };
        let throttled = calls.iter().filter(|call| call.throttled).count();
        Ok(Decision { outcome, took, decided, calls: calls.len(), throttled, in_calls: time_in(&calls) })
    }
}

fn time_in(calls: &[Call]) -> Duration {
    let (began, ended) = (calls.iter().map(|call| call.began).min(), calls.iter().map(|call| call.ended).max());
    began.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended - began)
}

impl Kind {
    async fn decide(&mut self) -> Result<Outcome> {
        let admitted = match self {
            Self::Function(environment, event) => {
                let answer = environment.invoke(event).await?;
                let response: Value = serde_json::from_slice(&answer.body)?;
                match response["statusCode"].as_u64() {
                    Some(200) => true,
                    Some(429) => false,
                    _ => return Ok(Outcome::Failed),
                }
            }
            Self::Limiter(limiter, subject, quota) => match limiter.admit(subject, *quota).await {
                Ok(verdict) => verdict.refused_for.is_none(),
                Err(_) => return Ok(Outcome::Failed),
            },
            Self::ZaeLimiter(limiter) => limiter.admit().await?,
        };
        Ok(if admitted { Outcome::Admitted } else { Outcome::Refused })
    }
}

impl Load {
    /// Returns the times of the arrivals since the load began.
    fn arrivals(self) -> impl Iterator<Item = Duration> {
        let (mut random, mut at) = (Random::new(1), Duration::ZERO);
        let times = std::iter::repeat_with(move || {
            let uniform = (random.below(1_000_000) + 1) as f64 / 1_000_001.0;
            let gap = if self.even { 1.0 } else { -uniform.ln() };
            at += Duration::from_secs_f64(gap / self.a_second);
            at
        });
        times.take_while(move |at| *at <= self.lasts)
    }

    /// Sends the requests to the servers. The one that is idle for the longest time gets the next request; if none is idle, the
    /// request waits.
    pub(super) async fn offer(self, servers: Vec<Server>) -> Result<Vec<Decision>> {
        let (arrivals, arrived) = mpsc::unbounded_channel();
        // This lock is fair, so idle servers take turns.
        let arrived = Arc::new(Mutex::new(arrived));
        let mut serving = JoinSet::new();
        for server in servers {
            serving.spawn(serve(server, arrived.clone()));
        }
        let began = Instant::now();
        for at in self.arrivals() {
            tokio::time::sleep_until((began + at).into()).await;
            arrivals.send(began + at)?;
        }
        drop(arrivals);
        let mut decisions = Vec::new();
        while let Some(served) = serving.join_next().await {
            decisions.append(&mut served??);
        }
        Ok(decisions)
    }
}

async fn serve(mut server: Server, arrived: Arc<Mutex<mpsc::UnboundedReceiver<Instant>>>) -> Result<Vec<Decision>> {
    let (mut decisions, clock) = (Vec::new(), Clock::system());
    loop {
        let next = arrived.lock().await.recv().await;
        let Some(arrival) = next else { return Ok(decisions) };
        decisions.push(server.decide(arrival, &clock).await?);
    }
}
