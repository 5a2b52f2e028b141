mod model;
mod saturation;
mod simulation;

use std::time::Duration;

use proptest::prelude::*;

use super::knowledge::{Knowledge, Outcome, Step};
use super::take::Take;
use super::verdict::{Instant, Verdict, refusal};
use crate::clock::Timestamp;
use crate::model::{Quota, State};

/// Writes to the table, which answers.
fn write(table: &mut Option<State>, take: &Take) -> Outcome {
    match take.apply(table.as_ref()) {
        Some(after) => {
            *table = Some(after.clone());
            Outcome::Written(after)
        }
        None => Outcome::Refused(table.clone()),
    }
}

/// Decides a request of one environment that is alone with the table. Returns the verdict and the number of writes.
fn alone(known: &mut Knowledge, table: &mut Option<State>, quota: Quota, time: Timestamp) -> (Verdict, u32) {
    let mut step = known.begin(quota, time);
    let mut writes = 0;
    loop {
        match step {
            Step::Decided(verdict) => return (verdict, writes),
            Step::Write(take) => {
                writes += 1;
                let outcome = write(table, &take);
                step = known.learn(take, outcome);
            }
        }
    }
}

proptest! {
    /// The exact model: the bucket's tokens and the minute's requests. Small plans have no leases, so nothing is refused
    /// early, and each admission costs a write.
    #[test]
    fn both_bounds_hold_and_nothing_is_refused_early(
        per_minute in 1u32..200,
        burst in 8u32..50,
        gaps in prop::collection::vec(0i64..3000, 1..400),
    ) {
        let quota = Quota { per_minute, burst };
        prop_assume!(!quota.is_large());
        let (mut known, mut table) = (Knowledge::default(), None);
        let mut millis = 1_800_000_000_000i64;
        let mut tokens_at = (quota.capacity(), millis * 1000);
        let mut in_minute = (0i64, 0u32);
        for gap in gaps {
            millis += gap;
            let time = Timestamp::from_millis(millis);
            // The bucket's tokens in units of their interval, refilled by the elapsed time.
            let refilled = (tokens_at.0 + millis * 1000 - tokens_at.1).min(quota.capacity());
            let minute = millis.div_euclid(60_000);
            let used = if in_minute.0 == minute { in_minute.1 } else { 0 };
            let allowed = refilled >= quota.interval() && used < per_minute;
            let (verdict, writes) = alone(&mut known, &mut table, quota, time);
            prop_assert_eq!(verdict.refused_for.is_none(), allowed);
            prop_assert_eq!(writes, u32::from(allowed));
            tokens_at = (refilled, millis * 1000);
            in_minute = (minute, used);
            if let Some(seconds) = verdict.refused_for {
                // A retry at the told time is admitted; a second earlier it is refused.
                let later = |s: u64| {
                    let time = Timestamp::from_millis(millis).plus(Duration::from_secs(s));
                    refusal(table.as_ref(), quota, Instant::from(time), 0)
                };
                prop_assert_eq!(later(seconds), None);
                prop_assert!(later(seconds - 1).is_some());
            } else {
                tokens_at.0 -= quota.interval();
                in_minute.1 += 1;
            }
            prop_assert_eq!(verdict.remaining, per_minute - in_minute.1);
        }
    }

    /// The numbers left in a verdict are those that the client can send at once, and no number is out of range.
    #[test]
    fn what_is_left_is_what_is_admitted(
        (per_minute, burst) in (1u32..200, 1u32..50),
        (minute, used, ahead) in (-2i64..=0, 0u32..250, -90_000_000i64..90_000_000),
        millis in 0i64..60_000,
        never_seen in prop::bool::weighted(0.1),
    ) {
        let quota = Quota { per_minute, burst };
        prop_assume!(!quota.is_large());
        let time = Timestamp::from_millis(1_800_000_000_000 + millis);
        let now = Instant::from(time);
        let state = State { minutes: vec![(now.minute + minute, used)], tat: now.micros + ahead };
        let mut table = (!never_seen).then_some(state);
        let told = Verdict::new(quota, table.as_ref(), now, None);
        prop_assert!(told.remaining <= per_minute && told.burst_remaining <= burst);
        prop_assert_eq!(told.reset, (now.minute + 1) * 60);
        prop_assert_eq!(told.reset_after, told.reset - time.as_seconds());
        prop_assert!((1..=60).contains(&told.reset_after));
        let mut admissions = 0;
        let mut known = Knowledge::default();
        table.iter().for_each(|state| known.observe(state.clone()));
        while alone(&mut known, &mut table, quota, time).0.refused_for.is_none() {
            admissions += 1;
        }
        prop_assert_eq!(admissions, told.remaining.min(told.burst_remaining));
    }
}

/// A large plan of which one environment serves 50 requests a second.
#[test]
fn a_busy_environment_writes_once_for_many_requests() {
    let quota = Quota { per_minute: 6_000, burst: 500 };
    let (mut known, mut table) = (Knowledge::default(), None);
    let (mut writes, mut admitted) = (0, 0);
    for request in 0..6_000 {
        let time = Timestamp::from_millis(1_800_000_000_000 + request * 20);
        let (verdict, written) = alone(&mut known, &mut table, quota, time);
        admitted += u32::from(verdict.refused_for.is_none());
        writes += written;
        assert!(verdict.remaining < 6_000 - (request % 3_000) as u32, "{request}: {verdict:?}");
    }
    assert_eq!(admitted, 6_000);
    assert!(writes < 600, "{writes} writes");
}

/// An environment whose leases lapse unused gives them back with its next write.
#[test]
fn unused_admissions_go_back_to_the_minute() {
    let quota = Quota { per_minute: 6_000, burst: 500 };
    let (mut known, mut table) = (Knowledge::default(), None);
    let start = 1_800_000_000_000;
    for burst in 0..5 {
        for request in 0..20 {
            let time = Timestamp::from_millis(start + burst * 10_000 + request);
            assert_eq!(alone(&mut known, &mut table, quota, time).0.refused_for, None);
        }
    }
    let last = alone(&mut known, &mut table, quota, Timestamp::from_millis(start + 55_000)).0;
    assert_eq!(last.remaining, 6_000 - 101, "{table:?}");
}

/// An environment with an unused lease learns that others have filled the minute. It gives the lease back, of which others
/// take what it does not need.
#[test]
fn unused_admissions_of_a_full_minute_are_given_back() {
    let quota = Quota { per_minute: 6_000, burst: 500 };
    let (mut known, mut table) = (Knowledge::default(), None);
    let start = 1_800_000_000_000;
    for request in 0..20 {
        let verdict = alone(&mut known, &mut table, quota, Timestamp::from_millis(start + request)).0;
        assert_eq!(verdict.refused_for, None);
    }
    // Others take the rest of the minute, one by one.
    let (mut other, mut by_others, mut now) = (Knowledge::default(), 0, start + 1_000);
    while table.as_ref().unwrap().used(start / 60_000) < quota.per_minute {
        now += 5;
        let Step::Write(take) = other.begin_with(quota, Timestamp::from_millis(now).into(), |_| 1) else { continue };
        if let Outcome::Written(state) = write(&mut table, &take) {
            other.observe(state);
            by_others += 1;
        }
    }
    let unused = quota.per_minute - 20 - by_others;
    assert!(unused > 0 && now < start + 58_000, "{unused} are unused");
    known.observe(table.clone().unwrap());
    now += 1_000;
    let mut newcomer = Knowledge::default();
    let mut admitted = 0;
    for environment in [&mut known, &mut newcomer] {
        while alone(environment, &mut table, quota, Timestamp::from_millis(now)).0.refused_for.is_none() {
            admitted += 1;
            now += 10;
            if admitted == unused / 2 {
                break;
            }
        }
    }
    assert_eq!(admitted, unused);
}

/// A throttled environment refuses all requests for a while, and then goes on.
#[test]
fn an_environment_whose_write_is_throttled_rests() {
    let quota = Quota { per_minute: 600, burst: 100 };
    let (mut known, mut table) = (Knowledge::default(), None);
    let at = |millis: i64| Timestamp::from_millis(1_800_000_000_000 + millis);
    assert_eq!(alone(&mut known, &mut table, quota, at(0)).0.remaining, 599);
    let Step::Write(take) = known.begin(quota, at(100)) else { panic!("the bucket is not empty") };
    let Step::Decided(refused) = known.learn(take, Outcome::Throttled(300_000)) else {
        panic!("a throttled write decides")
    };
    assert_eq!((refused.refused_for, refused.contended), (Some(1), true));
    for (millis, remaining) in [(100, 497), (399, 495)] {
        let (verdict, writes) = alone(&mut known, &mut table, quota, at(millis));
        // The requests that are left if others have taken all that the bucket allows.
        assert_eq!((verdict.refused_for, verdict.contended, verdict.remaining, writes), (Some(1), true, remaining, 0));
        assert!(known.refuses(quota, at(millis).into()));
    }
    assert!(!known.refuses(quota, at(400).into()));
    let (verdict, writes) = alone(&mut known, &mut table, quota, at(400));
    assert_eq!((verdict.refused_for, verdict.remaining, writes), (None, 598, 1));
}

/// A lease misses the bound of the minute, and another environment uses the full bucket first. Two writes don't decide, and the
/// request is refused for a second.
#[test]
fn an_undecided_request_is_refused_for_a_second() {
    let quota = Quota { per_minute: 6_000, burst: 500 };
    let now = Instant::from(Timestamp::from_millis(1_800_000_000_000));
    let mut table = Some(State { tat: now.micros - 1, minutes: vec![(now.minute, 5_998)] });
    let [mut known, mut other] = [(); 2].map(|()| {
        let mut known = Knowledge::default();
        known.observe(table.clone().unwrap());
        known
    });
    let Step::Write(first) = known.begin_with(quota, now, |_| 3) else { panic!("the minute is not full") };
    let refused = write(&mut table, &first);
    let Step::Write(second) = known.learn(first, refused) else { panic!("the minute has two requests left") };
    assert_eq!(alone(&mut other, &mut table, quota, Timestamp::from_millis(1_800_000_000_000)).0.refused_for, None);
    let refused = write(&mut table, &second);
    let Step::Decided(verdict) = known.learn(second, refused) else { panic!("a third write") };
    assert_eq!((verdict.refused_for, verdict.contended), (Some(1), true));
}

/// A write that gives a lease back may have been applied although its answer is lost. The second write gives nothing back
/// again.
#[test]
fn a_lease_is_given_back_once() {
    let quota = Quota { per_minute: 6_000, burst: 500 };
    let minute = 1_800_000_000_000 / 60_000;
    for (outcome, is_applied, gives_back_again) in
        [(Outcome::Unanswered, true, false), (Outcome::Unanswered, false, false), (Outcome::Refused(None), false, true)]
    {
        let (mut known, mut table) = (Knowledge::default(), None);
        for request in 0..20 {
            let time = Timestamp::from_millis(1_800_000_000_000 + request);
            assert_eq!(alone(&mut known, &mut table, quota, time).0.refused_for, None);
        }
        let Step::Write(take) = known.begin(quota, Timestamp::from_millis(1_800_000_010_000)) else {
            panic!("the lease has lapsed")
        };
        assert!(take.returned > 0, "{take:?}");
        if is_applied {
            write(&mut table, &take);
        }
        let Step::Write(second) = known.learn(take.clone(), outcome) else { panic!("the bucket is not empty") };
        assert_eq!(second.returned, if gives_back_again { take.returned } else { 0 });
        write(&mut table, &second);
        assert!(table.unwrap().used(minute) >= 21);
    }
}

/// A large plan at twice its limit. An environment takes many admissions with one write while the bucket is full. Each admission is a
/// write once the bucket is empty.
#[test]
fn near_a_bound_each_admission_is_a_write() {
    let quota = Quota { per_minute: 6_000, burst: 500 };
    let (mut known, mut table) = (Knowledge::default(), None);
    let mut seconds = [(0, 0); 10];
    for request in 0..2_000 {
        let time = Timestamp::from_millis(1_800_000_000_000 + request * 5);
        let (verdict, written) = alone(&mut known, &mut table, quota, time);
        let (admitted, writes) = &mut seconds[request as usize / 200];
        *admitted += u32::from(verdict.refused_for.is_none());
        *writes += written;
    }
    let (admitted, writes) = seconds[1];
    assert!(admitted == 200 && writes * 5 < admitted, "{seconds:?}");
    for (admitted, writes) in &seconds[7..] {
        assert!((99..=101).contains(admitted) && writes >= admitted, "{seconds:?}");
    }
}
