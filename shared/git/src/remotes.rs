//! The state of endpoints that read remotes.

use axum::extract::FromRef;
use shared::hosts::{Hosts, UnknownHosts};
use shared::{App, Error};

use crate::api::invalid_field;
use crate::clone_url::CloneUrl;
use crate::remote::Remote;

/// The app, and the hosts that repositories may be cloned from.
#[derive(Clone)]
pub struct Remotes {
    app: App,
    hosts: Hosts,
}

impl Remotes {
    /// Reads the allowed hosts from the settings.
    ///
    /// # Errors
    /// Fails if the setting is malformed.
    pub fn new(app: &App) -> Result<Self, UnknownHosts> {
        Ok(Self { hosts: Hosts::of(app.settings())?, app: app.clone() })
    }

    /// Returns the remote of a registered repository.
    ///
    /// # Errors
    /// Fails with `invalid_clone_url` if its URL is not allowed any more.
    pub fn of_repository(&self, clone_url: &str) -> Result<Remote, Error> {
        Ok(Remote::new(CloneUrl::of_repository(clone_url, self.hosts)?, None))
    }

    /// Returns the remote at the `clone_url` in a body.
    ///
    /// # Errors
    /// Fails with `invalid_clone_url` if the URL is malformed or not allowed.
    pub fn of_field(&self, clone_url: &str) -> Result<Remote, Error> {
        CloneUrl::parse(clone_url, self.hosts).map(|url| Remote::new(url, None)).map_err(invalid_field)
    }
}

impl FromRef<Remotes> for App {
    fn from_ref(remotes: &Remotes) -> App {
        remotes.app.clone()
    }
}
