//! The caller's rights. Holding a value of this module proves the permission: only the extractors make a [`Tenant`], an
//! [`Authorized`] resource, an [`OwnToken`] or an [`OwnSession`].

mod application;
mod authorized;
mod delivered;
mod own_session;
mod own_token;
mod requested;
mod resource;
mod tenant;
mod visible_repository;

pub use application::*;
pub use authorized::*;
pub use delivered::*;
pub use own_session::*;
pub use own_token::*;
pub use requested::*;
pub use resource::*;
pub use tenant::*;
pub use visible_repository::*;

pub use crate::authentication::*;
pub use crate::permission::{Permission, permission};
pub use crate::scope::{Access, Scope, distinct};
