//! Resources that were changed, and their fields.

use serde::Serialize;
use serde_json::Value;

use crate::model::{FieldChange, Target, TargetKind};

/// The resource that was changed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditTarget)]
pub struct TargetBody {
    pub(crate) r#type: TargetKind,
    #[schema(examples("team_k3vyq2w7x5m4n6pa"))]
    pub(crate) id: String,
    /// The resource's name at the time of the change. Null if it has none.
    #[schema(required, examples("platform"))]
    pub(crate) name: Option<String>,
}

/// A field with its values before and after a change.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = FieldChange)]
pub struct FieldChangeBody {
    #[schema(examples("role"))]
    pub(crate) field: String,
    /// The value before the change. Null for a new resource.
    #[schema(required, examples("member"))]
    pub(crate) from: Value,
    /// The value after the change. Null for a deleted resource.
    #[schema(required, examples("admin"))]
    pub(crate) to: Value,
}

impl From<Target> for TargetBody {
    fn from(Target { kind, id, name }: Target) -> Self {
        Self { r#type: kind, id, name }
    }
}

impl From<FieldChange> for FieldChangeBody {
    fn from(FieldChange { field, from, to }: FieldChange) -> Self {
        Self { field, from, to }
    }
}
