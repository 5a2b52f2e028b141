//! The choices about builds that an operator leaves to accounts.

use super::build_machine::{BuildLimits, BuildMachine};
use crate::error::{Error, Result};
use crate::settings::{BUILD_CACHES, InvalidSetting, Settings};

/// The settings of repositories and environments that the operator allows.
#[derive(Clone, Debug)]
pub struct BuildPolicy {
    machines: BuildLimits,
    allows_caches: bool,
}

/// Returns whether the operator lets builds have caches, which is the default.
///
/// # Errors
/// Fails if the setting is malformed.
pub fn allows_caches(settings: &Settings) -> std::result::Result<bool, InvalidSetting> {
    settings.allows(BUILD_CACHES, true)
}

impl BuildPolicy {
    /// Reads the policy.
    ///
    /// # Errors
    /// Fails if a setting is malformed.
    pub fn of(settings: &Settings) -> std::result::Result<Self, InvalidSetting> {
        Ok(Self { machines: BuildLimits::of(settings)?, allows_caches: allows_caches(settings)? })
    }

    /// Checks the machine and the cache that a client asks for.
    ///
    /// # Errors
    /// Fails with `invalid_request` on each field that the operator does not allow.
    pub fn check(&self, machine: &BuildMachine, cache: Option<bool>) -> Result<()> {
        let cache = match cache {
            Some(true) if !self.allows_caches => {
                Err(Error::invalid("cache", "must be false: the operator does not allow caches of builds"))
            }
            _ => Ok(()),
        };
        Error::all([self.machines.check(machine), cache])
    }
}
