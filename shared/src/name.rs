//! Names that users choose. A value of one of these types is valid.

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
