//! The limiter itself, with many writers and their clocks.

use std::time::Duration;

use shared::clock::{Clock, Timestamp};
use shared::id::AccountId;
use shared::model::{Quota, Subject};
use shared::rate_limit::Limiter;
use shared::table::Table;
use shared::usage::Usage;
use tests::{NOON, Random, World};
use tokio::task::JoinSet;

const NOON_MILLIS: i64 = NOON.as_millis();

fn limiter(table: &Table, millis_after_noon: i64) -> (Limiter, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(NOON_MILLIS + millis_after_noon));
    (Limiter::new(table.clone(), clock.clone()), clock)
}

/// Lets an execution environment decide by a state that others have changed. In each row exactly one part of one branch's
/// condition fails.
#[tokio::test]
async fn an_environment_that_is_behind_decides_by_the_state_as_it_is() {
    const fn quota(per_minute: u32, burst: u32) -> Quota {
        Quota { per_minute, burst }
    }
    struct Row {
        what: &'static str,
        quota: Quota,
        /// The time of the stale environment's first request, in milliseconds after noon.
        first: i64,
        /// The time of another environment's requests, and their number.
        others: (i64, u32),
        /// The time of the stale environment's second request, and its quota.
        again: (i64, Quota),
        /// Whether the second request is admitted, and the state after it: the minute after noon, `used`, and `tat` in
        /// milliseconds.
        expected: (bool, i64, u32, i64),
    }
    let rows = [
        Row {
            what: "same minute, bucket in use: the minute is full",
            quota: quota(10, 20),
            first: 0,
            others: (0, 9),
            again: (0, quota(10, 20)),
            expected: (false, 0, 10, 60_000),
        },
        Row {
            what: "same minute, bucket in use: the bucket is empty",
            quota: quota(100, 5),
            first: 0,
            others: (0, 4),
            again: (0, quota(100, 5)),
            expected: (false, 0, 5, 3_000),
        },
        Row {
            what: "same minute, bucket full: it is empty",
            quota: quota(100, 5),
            first: 0,
            others: (10_000, 5),
            again: (10_000, quota(100, 5)),
            expected: (false, 0, 6, 13_000),
        },
        Row {
            what: "same minute, bucket full: the minute is more than full, by a smaller plan",
            quota: quota(600, 100),
            first: 0,
            others: (0, 50),
            again: (30_000, quota(40, 20)),
            expected: (false, 0, 51, 5_100),
        },
        Row {
            what: "new minute, bucket in use: the minute has begun",
            quota: quota(10, 5),
            first: 58_000,
            others: (60_000, 1),
            again: (61_000, quota(10, 5)),
            expected: (true, 1, 2, 76_000),
        },
        Row {
            what: "new minute, bucket in use: it is empty",
            quota: quota(10, 5),
            first: 58_000,
            others: (58_000, 4),
            again: (60_000, quota(10, 5)),
            expected: (false, 1, 0, 88_000),
        },
        Row {
            what: "new minute, bucket full: it is in use",
            quota: quota(100, 5),
            first: 50_000,
            others: (59_000, 5),
            again: (60_000, quota(100, 5)),
            expected: (true, 1, 1, 62_600),
        },
        Row {
            what: "new minute, bucket full: the minute has begun",
            quota: quota(100, 5),
            first: 50_000,
            others: (60_000, 3),
            again: (62_000, quota(100, 5)),
            expected: (true, 1, 4, 62_600),
        },
    ];
    let world = World::start().await;
    let table = world.stack.app().table();
    for Row { what, quota, first, others: (at, count), again, expected } in rows {
        let subject = Subject::Account(AccountId::random());
        let (behind, clock) = limiter(table, first);
        assert_eq!(behind.admit(&subject, quota).await.unwrap().refused_for, None, "{what}");
        let (other, _) = limiter(table, at);
        for _ in 0..count {
            assert_eq!(other.admit(&subject, quota).await.unwrap().refused_for, None, "{what}");
        }
        clock.advance(Duration::from_millis((again.0 - first).unsigned_abs()));
        let (verdict, usage) = Usage::of(behind.admit(&subject, again.1)).await;
        let (verdict, state) = (verdict.unwrap(), behind.last_seen(&subject).unwrap());
        let minute = clock.now().as_seconds() / 60;
        let (used, tat) = (state.used(minute), state.tat / 1000 - NOON_MILLIS);
        let minute = minute - NOON_MILLIS / 60_000;
        assert_eq!((verdict.refused_for.is_none(), minute, used, tat), expected, "{what}");
        assert!(usage.calls <= 2, "{what}: {} calls", usage.calls);
    }
}

/// The result of a storm of requests.
#[derive(Default)]
struct Storm {
    /// The admissions by the writers' own clocks, in microseconds.
    admissions: Vec<i64>,
    refusals: usize,
    /// The DynamoDB calls of the admitted requests, and of the refused ones.
    calls: [u32; 2],
}

const WRITERS: usize = 32;
const SKEW_MILLIS: u64 = 200;

/// Sends requests of one subject in rounds. Each writer has its own limiter and its own clock. In a round some or all of
/// them send a few requests at once. Then time passes.
async fn storm(table: &Table, subject: &Subject, quota: Quota, rounds: usize, mut random: Random) -> Storm {
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| limiter(table, (writer as u64 * SKEW_MILLIS / (WRITERS as u64 - 1)).cast_signed()))
        .collect();
    let mut storm = Storm::default();
    for _ in 0..rounds {
        let share = [1, 4, 16, 32, 32][random.below(5)];
        let mut running = JoinSet::new();
        let mut idle = Vec::new();
        for (limiter, clock) in writers.drain(..) {
            if random.below(WRITERS) >= share {
                idle.push((limiter, clock));
                continue;
            }
            let (subject, requests) = (subject.clone(), 1 + random.below(4));
            running.spawn(async move {
                let mut own = Storm::default();
                for _ in 0..requests {
                    let (verdict, usage) = Usage::of(limiter.admit(&subject, quota)).await;
                    let verdict = verdict.unwrap();
                    assert!(usage.calls <= 2, "{} calls for one request", usage.calls);
                    assert_eq!(
                        verdict.reset,
                        (clock.now().as_seconds() / 60 + 1) * 60,
                        "the answer tells its own minute"
                    );
                    own.calls[usize::from(verdict.refused_for.is_some())] += usage.calls;
                    match verdict.refused_for {
                        None => own.admissions.push(clock.now().as_millis() * 1000),
                        Some(wait) => {
                            assert!(wait >= 1 && verdict.remaining.min(verdict.burst_remaining) == 0, "{verdict:?}");
                            own.refusals += 1;
                        }
                    }
                }
                (limiter, clock, own)
            });
        }
        writers = idle;
        for (limiter, clock, own) in running.join_all().await {
            writers.push((limiter, clock));
            storm.admissions.extend(own.admissions);
            storm.refusals += own.refusals;
            storm.calls = [storm.calls[0] + own.calls[0], storm.calls[1] + own.calls[1]];
        }
        let step = Duration::from_millis([30, 170, 900, 2_500, 11_000, 61_000][random.below(6)]);
        writers.iter().for_each(|(_, clock)| clock.advance(step));
    }
    storm
}

/// Asserts both bounds for the admissions, by the clocks of their writers.
fn assert_bounds(quota: Quota, mut admissions: Vec<i64>) {
    admissions.sort_unstable();
    let interval = (60_000_000 + i64::from(quota.per_minute) - 1) / i64::from(quota.per_minute);
    let mut full_at = i64::MIN;
    for &clock in &admissions {
        full_at = full_at.max(clock) + interval;
        assert!(
            full_at <= clock + i64::from(quota.burst) * interval,
            "{clock} is more than the bucket allows, {quota:?}"
        );
    }
    for minute in admissions.chunk_by(|a, b| a.div_euclid(60_000_000) == b.div_euclid(60_000_000)) {
        assert!(minute.len() <= quota.per_minute as usize, "{} in a minute, {quota:?}", minute.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_with_different_clocks_never_admit_too_much_and_decide_within_two_calls() {
    let world = World::start().await;
    let table = world.stack.app().table();
    let quotas = [(600, 100), (60, 20), (30, 60), (6_000, 3), (20, 15), (6_000, 500)];
    let (mut requests, mut admitted) = (0, 0);
    for (seed, (per_minute, burst)) in quotas.into_iter().enumerate() {
        let quota = Quota { per_minute, burst };
        let subject = Subject::Account(AccountId::random());
        let Storm { admissions, refusals, calls } = storm(table, &subject, quota, 40, Random::new(seed as u64)).await;
        println!("{quota:?}: {} admitted by {} calls, {refusals} refused by {}", admissions.len(), calls[0], calls[1]);
        requests += admissions.len() + refusals;
        admitted += admissions.len();
        assert_bounds(quota, admissions);
    }
    assert!(requests > 5_000 && admitted > 1_000 && requests - admitted > 500, "{admitted} of {requests}");
}

/// Requests of many environments at one instant, which all see the bucket full: each of the bucket's tokens is taken, and
/// each other request is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contention_neither_admits_nor_refuses() {
    let world = World::start().await;
    let subject = Subject::Account(AccountId::random());
    let quota = Quota { per_minute: 60, burst: 20 };
    let mut running = JoinSet::new();
    for _ in 0..64 {
        let ((limiter, _), subject) = (limiter(world.stack.app().table(), 0), subject.clone());
        running.spawn(async move {
            let (verdict, usage) = Usage::of(limiter.admit(&subject, quota)).await;
            (verdict.unwrap(), usage.calls)
        });
    }
    let outcomes = running.join_all().await;
    let mut admitted: Vec<_> = outcomes.iter().filter(|(verdict, _)| verdict.refused_for.is_none()).collect();
    admitted.sort_by_key(|(verdict, _)| verdict.remaining);
    let told: Vec<_> = admitted.iter().map(|(verdict, _)| verdict.remaining).collect();
    assert_eq!(told, (40..60).collect::<Vec<_>>(), "each answer tells its own state");
    assert!(outcomes.iter().all(|(_, calls)| *calls <= 2));
}

#[tokio::test]
async fn a_steady_client_costs_one_write_a_request() {
    let world = World::start().await;
    let (limiter, clock) = limiter(world.stack.app().table(), 0);
    let subject = Subject::Account(AccountId::random());
    let quota = Quota { per_minute: 600, burst: 100 };
    let mut calls = 0;
    for gap in (0..300).map(|request| if request % 50 == 0 { 15_000 } else { 40 }) {
        clock.advance(Duration::from_millis(gap));
        let (verdict, usage) = Usage::of(limiter.admit(&subject, quota)).await;
        assert_eq!(verdict.unwrap().refused_for, None);
        calls += usage.calls;
    }
    assert_eq!(calls, 300, "over two minutes, with pauses that fill the bucket and bursts across minutes");
}
