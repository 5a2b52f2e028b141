//! An extractor of the application that the path names.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::error::{Error, Result};
use crate::extract::path_parameter;
use crate::name::ClientId;

/// The client identifier in the path. The application need not exist.
#[derive(Clone, Debug)]
pub struct NamedApplication(pub ClientId);

impl<S: Sync> FromRequestParts<S> for NamedApplication {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let id = path_parameter(parts, "application_id")?.parse();
        id.map(Self).map_err(|_| Error::not_found("Application"))
    }
}
