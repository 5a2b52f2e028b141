//! Reasons that people give.

use super::find_unseen;

name! {
    /// A reason that people give for what they do: a line of 1 to 200 characters, all of which can be seen.
    Reason: 1 to 200 characters,
    pattern r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    example "Hotfix for the payment outage",
    else InvalidReason "must be a line of 1 to 200 characters, all of which can be seen, and not only spaces",
    |text| find_unseen(text).is_none() && !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line_that_people_can_read() {
        for text in ["x", "Hotfix for the payment outage", "本番", &"é".repeat(200)] {
            assert!(text.parse::<Reason>().is_ok(), "{text}");
        }
        for text in ["", "  ", "a\nb", "a\u{202e}b", &"é".repeat(201)] {
            assert!(text.parse::<Reason>().is_err(), "{text:?}");
        }
    }
}
