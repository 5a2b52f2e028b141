//! Whoever makes a change.

use serde::Serialize;

use crate::id::UserId;
use crate::model::{ActorKind, AuditActor};

/// The actor of a change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditActor)]
pub struct ActorBody {
    pub(crate) r#type: ActorKind,
    /// The user, or the ID that stands for the application or the trust. Null if the API made the change by itself.
    #[schema(required)]
    pub(crate) id: Option<UserId>,
    /// The user's email address, or the name of the application or the trust, at the time of the change. `system` if the API
    /// made the change by itself.
    #[schema(examples("ada@acme.example"))]
    pub(crate) name: String,
}

impl From<AuditActor> for ActorBody {
    fn from(actor: AuditActor) -> Self {
        let AuditActor { kind, id, name } = actor;
        Self { r#type: kind, id: Some(id), name }
    }
}

/// The API itself is `None`.
impl From<Option<AuditActor>> for ActorBody {
    fn from(actor: Option<AuditActor>) -> Self {
        actor.map_or_else(|| Self { r#type: ActorKind::System, id: None, name: "system".to_owned() }, Self::from)
    }
}
