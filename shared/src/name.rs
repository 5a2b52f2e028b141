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

/// Declares a name with its bounds, which the parser checks and the document shows. The function checks the rest.
macro_rules! name {
    (
        $(#[$attribute:meta])*
        $name:ident: $shortest:tt to $longest:tt characters,
        $(pattern $pattern:tt,)?
        example $example:tt,
        else $error:ident $message:tt,
        $is_fine:expr
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String")]
        #[schema(
            value_type = String,
            min_length = $shortest,
            max_length = $longest,
            $(pattern = $pattern,)?
            examples($example)
        )]
        pub struct $name(String);

        /// The error for a text outside of these bounds.
        #[derive(Debug, thiserror::Error)]
        #[error($message)]
        pub struct $error;

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let is_fine: fn(&str) -> bool = $is_fine;
                let fits = ($shortest..=$longest).contains(&text.chars().count());
                if fits && is_fine(text) { Ok(Self(text.to_owned())) } else { Err($error) }
            }
        }

        string_conversions!($name, $error);
    };
}

mod account_slug;
mod audience;
mod build_image;
mod client_id;
mod cron;
mod deployed_ref;
mod description;
mod display_name;
mod email;
mod email_domain;
mod full_sha;
mod git_host;
mod git_username;
mod glob;
mod issuer_url;
mod reason;
mod refused_variable;
mod repository_name;
mod source_path;
mod team_name;
mod time_zone;
mod variable_name;
mod visible;
mod webhook_url;

pub use account_slug::*;
pub use audience::*;
pub use build_image::*;
pub use client_id::*;
pub use cron::*;
pub use deployed_ref::*;
pub use description::*;
pub use display_name::*;
pub use email::*;
pub use email_domain::*;
pub use full_sha::*;
pub use git_host::*;
pub use git_username::*;
pub(crate) use glob::select;
pub use glob::{InvalidPathGlob, InvalidRefGlob, PathGlob, RefGlob};
pub use issuer_url::*;
pub use reason::*;
pub use repository_name::*;
pub use source_path::*;
pub use team_name::*;
pub use time_zone::*;
pub use variable_name::*;
pub use visible::*;
pub use webhook_url::*;
