//! Names that users choose. A value of one of these types is valid.

/// Lets serde read a name as [`FromStr`](std::str::FromStr) parses it, and displays its text.
macro_rules! string_conversions {
    ($name:ident, $error:ident) => {
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

mod account_slug;
mod client_id;
mod description;
mod display_name;
mod email;
mod email_domain;
mod repository_name;
mod team_name;

pub use account_slug::*;
pub use client_id::*;
pub use description::*;
pub use display_name::*;
pub use email::*;
pub use email_domain::*;
pub use repository_name::*;
pub use team_name::*;
