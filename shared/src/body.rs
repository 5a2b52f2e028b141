//! Response bodies that several endpoints share.

mod account;
mod actor;
mod application;
mod build_machine;
mod caller;
mod change;
mod connection;
mod deployment;
mod environment;
mod hook;
mod invitation;
mod member;
mod repository;
mod session;
mod team;
mod token;
mod trust;
mod variable;
mod webhook;
mod webhook_event;

use serde::Serialize;

pub use account::*;
pub use actor::*;
pub use application::*;
pub use build_machine::*;
pub use caller::*;
pub use change::*;
pub use connection::*;
pub use deployment::*;
pub use environment::*;
pub use hook::*;
pub use invitation::*;
pub use member::*;
pub use repository::*;
pub use session::*;
pub use team::*;
pub use token::*;
pub use trust::*;
pub use variable::*;
pub use webhook::*;
pub use webhook_event::*;

/// The confirmation that a resource was deleted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Deleted {
    /// The ID of the deleted resource, or the name of a variable, as in the path.
    #[schema(examples("team_k3vyq2w7x5m4n6pa"))]
    pub id: String,
    /// Always true.
    #[schema(default = true)]
    pub deleted: bool,
}

impl Deleted {
    /// Returns the confirmation for a resource that existed until this request.
    pub fn new(id: impl ToString) -> Self {
        Self { id: id.to_string(), deleted: true }
    }
}
