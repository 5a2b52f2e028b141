//! Sessions of the dashboard.

use std::net::IpAddr;

use serde::Serialize;

use crate::clock::Rfc3339;
use crate::id::SessionId;
use crate::model::{Session, SignInMethod};

/// A session of the dashboard.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
pub struct SessionBody {
    id: SessionId,
    /// The time of the sign-in.
    created_at: Rfc3339,
    /// The time of the last request, precise to five minutes.
    last_used_at: Rfc3339,
    /// The time at which the session ends at the latest. It ends before if it is not used for twelve hours.
    expires_at: Rfc3339,
    /// The IP address of the sign-in.
    #[schema(value_type = String, examples("203.0.113.5"))]
    source_address: IpAddr,
    /// The browser as it named itself at the sign-in. Null if it did not.
    #[schema(required, examples("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"))]
    user_agent: Option<String>,
    method: SignInMethod,
    /// Whether the session is that of the request.
    current: bool,
}

impl SessionBody {
    /// Returns the body of a session, for a request that has this session.
    pub fn new(session: Session, current: Option<&SessionId>) -> Self {
        Self {
            current: current == Some(&session.id),
            method: session.method(),
            id: session.id,
            created_at: session.created_at.into(),
            last_used_at: session.last_used_at.into(),
            expires_at: session.valid_until.into(),
            source_address: session.source_address,
            user_agent: session.user_agent,
        }
    }
}
