//! The caller and the caller's rights. Holding a value of this module proves the permission: only authentication makes
//! a [`Caller`], and only the extractors make a [`Tenant`], an [`Authorized`] resource or an [`OwnToken`].

mod application;
mod authenticator;
mod authorized;
mod caller;
mod own_token;
mod places;
mod requested;
mod resource;
mod tenant;
mod visible_repository;

pub use application::*;
pub use authenticator::*;
pub use authorized::*;
pub use caller::*;
pub use own_token::*;
pub(crate) use places::Places;
pub use requested::*;
pub use resource::*;
pub use tenant::*;
pub use visible_repository::*;

pub use crate::permission::{Permission, permission};
pub use crate::scope::{Access, Scope, distinct};
