//! Descriptions of teams.

use super::find_unseen_in_text;

name! {
    /// The description of a team: at most 300 characters, all of which can be seen. It may have line feeds and tabs, and no
    /// other control characters, no zero-width, bidirectional or private-use ones.
    #[derive(Default)]
    Description: 0 to 300 characters,
    pattern "^[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]*$",
    example "Builds and runs the shop",
    else InvalidDescription
        "must be at most 300 characters, without ones that can't be seen, such as control and zero-width characters",
    |text| find_unseen_in_text(text).is_none()
}
