//! `Range` and `If-Range` of a download (RFC 9110, sections 14.2 and 13.1.5).

use std::ops::{Bound, Range};

use headers::HeaderMapExt;
use http::header::{CONTENT_RANGE, IF_RANGE};
use http::{HeaderMap, HeaderValue};
use shared::{Error, ErrorCode, Result};

/// The part of a file that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Of(Range<u64>),
}

impl Part {
    /// Returns the part that the headers ask for. A request for several parts, or with a header that is no range of bytes, gets the
    /// whole file, and so does one whose `If-Range` is not the file's ETag.
    ///
    /// # Errors
    /// Fails with `range_not_satisfiable` if the file has none of the bytes.
    pub(crate) fn of(request: &HeaderMap, size: u64, etag: Option<&str>) -> Result<Self> {
        let Some(range) = request.typed_get::<headers::Range>() else { return Ok(Self::Whole) };
        let condition = request.get(IF_RANGE).map(|condition| condition.to_str().ok());
        if condition.is_some_and(|condition| condition.is_none() || condition != etag) {
            return Ok(Self::Whole);
        }
        let is_single = |value: &HeaderValue| !value.as_bytes().contains(&b',');
        if !request.get(http::header::RANGE).is_some_and(is_single) {
            return Ok(Self::Whole);
        }
        if size > 0 && suffix(request).is_some_and(|length| length >= size) {
            return Ok(Self::Of(0..size));
        }
        let start = |bound: Bound<u64>| match bound {
            Bound::Included(start) => start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = |bound: Bound<u64>| match bound {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => end,
            Bound::Unbounded => size,
        };
        let found = range.satisfiable_ranges(size).next().map(|(first, last)| start(first)..end(last).min(size));
        match found.filter(|range| !range.is_empty()) {
            Some(range) => Ok(Self::Of(range)),
            None => {
                let error = Error::new(ErrorCode::RangeNotSatisfiable, format!("The file has {size} bytes"));
                let size = HeaderValue::try_from(format!("bytes */{size}")).expect("a number is ASCII");
                Err(error.with_header(CONTENT_RANGE, size))
            }
        }
    }

    /// Returns the bytes of a file of this size.
    pub(crate) fn range(&self, size: u64) -> Range<u64> {
        match self {
            Self::Whole => 0..size,
            Self::Of(range) => range.clone(),
        }
    }
}

/// Returns the length of the end of a file that the headers ask for. The crate refuses one that is longer than the file, and RFC 9110,
/// section 14.1.2, takes the whole file.
fn suffix(request: &HeaderMap) -> Option<u64> {
    request.get(http::header::RANGE)?.to_str().ok()?.trim().strip_prefix("bytes=-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::header::RANGE;

    use super::*;

    #[test]
    fn a_range_is_cut_to_the_file() {
        for (value, expected) in [
            ("bytes=0-0", Some(Part::Of(0..1))),
            ("bytes=2-4", Some(Part::Of(2..5))),
            ("bytes=2-", Some(Part::Of(2..10))),
            ("bytes=-3", Some(Part::Of(7..10))),
            ("bytes=-30", Some(Part::Of(0..10))),
            ("bytes=9-18446744073709551615", Some(Part::Of(9..10))),
            ("bytes=0-1,4-5", Some(Part::Whole)),
            ("lines=1-2", Some(Part::Whole)),
            ("bytes=5-2", None),
            ("bytes=10-", None),
            ("bytes=-0", None),
        ] {
            let request = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(value))]);
            let found = Part::of(&request, 10, Some("\"x\""));
            match expected {
                Some(expected) => assert_eq!(found.unwrap(), expected, "{value}"),
                None => assert_eq!(found.unwrap_err().code(), ErrorCode::RangeNotSatisfiable, "{value}"),
            }
        }
        assert!(Part::of(&HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-"))]), 0, None).is_err());
    }

    #[test]
    fn a_range_of_another_version_gets_the_whole_file() {
        for (condition, expected) in [("\"x\"", Part::Of(0..1)), ("\"y\"", Part::Whole), ("Wed", Part::Whole)] {
            let headers = [(RANGE, "bytes=0-0"), (IF_RANGE, condition)];
            let request = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            assert_eq!(Part::of(&HeaderMap::from_iter(request), 10, Some("\"x\"")).unwrap(), expected, "{condition}");
        }
    }
}
