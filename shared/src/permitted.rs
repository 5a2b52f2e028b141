//! Values that prove a permission.

use std::ops::Deref;

use crate::id::AccountId;

/// A value that the caller may use. Only [`access`](crate::access) makes one, after it has checked the permission, so a
/// function that takes one can't be called without that check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted<T>(T);

/// The account of an authenticated caller. The model's reads start from one, so that no request reaches another tenant.
pub type TenantId = Permitted<AccountId>;

impl<T> Permitted<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the value without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Permitted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
