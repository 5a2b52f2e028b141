//! The exact model of both bounds: a token bucket, and the number of requests in a clock minute. Times are in
//! milliseconds since the Unix epoch, as precise as a function's clock.

use shared::model::Quota;

const MINUTE: i64 = 60_000;

/// The first and the last time at which a request can have been decided.
pub(super) type Span = (i64, i64);

/// Returns the time in which a token comes back, in microseconds.
fn interval(quota: Quota) -> i64 {
    let per_minute = i64::from(quota.per_minute);
    (MINUTE * 1000 + per_minute - 1) / per_minute
}

/// Returns the number of requests that both bounds allow of those that came at these times.
pub(super) fn allowed(quota: Quota, mut times: Vec<i64>) -> usize {
    times.sort_unstable();
    let (interval, mut full_at) = (interval(quota), i64::MIN);
    let (mut minute, mut used, mut admitted) = (0, 0, 0);
    for time in times {
        let (micros, own) = (time * 1000, time.div_euclid(MINUTE));
        (minute, used) = if own == minute { (minute, used) } else { (own, 0) };
        if used < quota.per_minute && full_at <= micros + i64::from(quota.burst - 1) * interval {
            full_at = full_at.max(micros) + interval;
            used += 1;
            admitted += 1;
        }
    }
    admitted
}

/// Returns the most admissions in any time beyond those that the bucket allows in it, and those in any clock minute beyond
/// that bound. An admission counts in each time that contains its whole span.
pub(super) fn beyond(quota: Quota, admissions: &[Span]) -> (usize, usize) {
    let mut by_end = admissions.to_vec();
    by_end.sort_unstable_by_key(|(start, end)| (*end, *start));
    // A leased admission takes no time, so that many of a busy account have the same span.
    let spans: Vec<_> = by_end.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as i64)).collect();
    let mut starts: Vec<_> = admissions.iter().map(|(start, _)| *start).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut of_bucket = 0;
    for from in starts {
        let mut count = 0;
        let first = spans.partition_point(|((_, end), _)| *end < from);
        for ((_, to), same) in spans[first..].iter().filter(|((start, _), _)| *start >= from) {
            count += same;
            let refilled = (to - from) * 1000 / interval(quota);
            of_bucket = of_bucket.max(count - i64::from(quota.burst) - refilled);
        }
    }
    let mut minutes: Vec<_> = admissions.iter().map(|(start, end)| (start / MINUTE, end / MINUTE)).collect();
    minutes.retain(|(first, last)| first == last);
    minutes.sort_unstable();
    let most = minutes.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or_default();
    (usize::try_from(of_bucket).unwrap_or_default(), most.saturating_sub(quota.per_minute as usize))
}
