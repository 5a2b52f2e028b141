//! The media types and codings that a client accepts (RFC 9110, section 12.5).

use http::{HeaderMap, HeaderName};

/// Returns whether the header, `Accept` or one like it, names the value with a weight above zero. A range that includes the
/// value, such as `*/*`, does not name it.
pub fn accepts(headers: &HeaderMap, header: HeaderName, value: &str) -> bool {
    let accepted = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|element| {
        let mut parts = element.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(value));
        let weight = parts.find_map(|parameter| {
            let (name, weight) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight.trim().parse::<f32>().ok())?
        });
        is_named && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::ACCEPT;

    use super::*;

    #[test]
    fn a_value_is_accepted_if_it_is_named_and_not_excluded() {
        for (accept, expected) in [
            ("text/plain", true),
            ("application/json, TEXT/plain;q=0.1", true),
            ("text/plain; charset=utf-8; Q=0.001", true),
            ("text/plain;q=0", false),
            ("text/plain; q=0.000, application/json", false),
            ("text/*, */*", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts(&headers, ACCEPT, "text/plain"), expected, "{accept}");
        }
        assert!(!accepts(&HeaderMap::new(), ACCEPT, "text/plain"));
    }
}
