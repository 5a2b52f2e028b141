//! Descriptions of teams.

name! {
    /// The description of a team: at most 300 characters.
    #[derive(Default)]
    Description: 0 to 300 characters,
    example "Builds and runs the shop",
    else TooLong "must have at most 300 characters",
    |_| true
}
