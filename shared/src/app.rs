//! The state of a function for the lifetime of its execution environment.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use http::HeaderMap;

use crate::authentication::{Authenticator, NewSession, Proof};
use crate::aws::{Aws, AwsConfigError};
use crate::clock::Clock;
use crate::error::Result;
use crate::model::RequestOrigin;
use crate::name::{ClientId, InvalidClientId};
use crate::oauth::{Issuer, Jwt, PublicClient, SignInPage};
use crate::places::Places;
use crate::rate_limit::Limiter;
use crate::settings::{self, Settings};
use crate::table::Table;
use crate::telemetry::{Log, Metrics, Release};
use crate::usage::Usage;

/// The path of the dashboard's page to which the issuer sends people back.
pub const SIGN_IN_PATH: &str = "/sign-in";

/// The settings, clients and caches of a function, made once in init. Clones share them.
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// The state of a handler that needs more than the app, such as a queue or the archive. Extractors take the app from it.
#[derive(Clone, Debug)]
pub struct With<T>(pub App, pub T);

impl<T> FromRef<With<T>> for App {
    fn from_ref(With(app, _): &With<T>) -> App {
        app.clone()
    }
}

#[derive(Debug)]
struct Parts {
    settings: Settings,
    aws: Aws,
    table: Table,
    clock: Clock,
    log: Log,
    release: Release,
    authenticator: Authenticator,
    limiter: Limiter,
    places: Places,
}

impl App {
    /// # Errors
    /// Fails if a setting is missing or unusable.
    pub fn new(settings: Settings, clock: Clock, log: Log) -> Result<Self, AwsConfigError> {
        let aws = Aws::new(&settings)?;
        Self::with_aws(settings, aws, clock, log)
    }

    /// Returns an app that calls AWS with these clients.
    ///
    /// # Errors
    /// Fails if a setting is missing.
    pub fn with_aws(settings: Settings, aws: Aws, clock: Clock, log: Log) -> Result<Self, AwsConfigError> {
        let table = Table::new(aws.dynamodb(), settings.require(settings::TABLE_NAME)?);
        Ok(Self::with_table(settings, aws, table, clock, log))
    }

    /// Returns an app that calls AWS with these clients, and DynamoDB through this table.
    pub fn with_table(settings: Settings, aws: Aws, table: Table, clock: Clock, log: Log) -> Self {
        Self(Arc::new(Parts {
            authenticator: Authenticator::new(
                table.clone(),
                clock.clone(),
                Issuer::new(&settings, &aws),
                base_url(&settings).to_owned(),
            ),
            limiter: Limiter::new(table.clone(), clock.clone()),
            places: Places::new(),
            release: Release::of(&settings),
            log: log.timed_by(clock.clone()),
            settings,
            aws,
            table,
            clock,
        }))
    }

    /// Returns the settings, for those that only some functions read.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Returns the configuration of further clients of AWS.
    pub fn aws(&self) -> &Aws {
        &self.0.aws
    }

    /// Returns the table of the stack, `TABLE_NAME` in the settings.
    pub fn table(&self) -> &Table {
        &self.0.table
    }

    /// Returns the clock that every decision and every row takes its time from.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Returns the log, whose lines have the times of [`App::clock`].
    pub fn log(&self) -> &Log {
        &self.0.log
    }

    /// Returns the metrics of an invocation, for its line in the log.
    pub fn metrics<'a>(&'a self, function: &'a str, duration: Duration, usage: Usage, failed: bool) -> Metrics<'a> {
        Metrics::new(&self.0.release, function, self.0.clock.now(), duration, usage, failed)
    }

    /// Returns the limiter, which has the rate limits that this execution environment has seen.
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Checks that an access token proves that its holder has an OAuth2 client's secret.
    ///
    /// # Errors
    /// Fails with `invalid_request` on `access_token` if the token proves nothing, and with `service_unavailable` if the
    /// issuer does not answer.
    pub async fn check_possession(&self, token: &Jwt, client: &ClientId) -> Result<()> {
        self.authenticator().check_possession(token, client).await
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    pub(crate) fn places(&self) -> &Places {
        &self.0.places
    }

    /// Returns the URL of a path of the API, as clients reach it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", base_url(&self.0.settings))
    }

    /// Makes a session of the dashboard for the sender of a request with these headers.
    ///
    /// # Errors
    /// Fails with a 401 if a token is not valid, with `invalid_request` if a code is not, and with `service_unavailable` if the
    /// issuer does not answer.
    pub async fn sign_in(&self, proof: &Proof, headers: &HeaderMap, origin: &RequestOrigin) -> Result<NewSession> {
        self.authenticator().sign_in(proof, headers, origin).await
    }

    /// Returns the parameters of the issuer's sign-in page, or `None` if there is no issuer.
    ///
    /// # Errors
    /// Fails with `service_unavailable` if the issuer does not answer.
    pub async fn sign_in_page(&self) -> Result<Option<SignInPage>> {
        self.authenticator().sign_in_page().await
    }

    /// Returns the dashboard's client, or `None` if the settings name none.
    ///
    /// # Errors
    /// Fails if the setting is no identifier of a client.
    pub fn dashboard_client(&self) -> Result<Option<PublicClient>, InvalidClientId> {
        let Some(id) = self.0.settings.get(settings::DASHBOARD_CLIENT_ID) else { return Ok(None) };
        Ok(Some(PublicClient { id: id.parse()?, redirect_uri: self.url(SIGN_IN_PATH) }))
    }
}

/// Returns the URL at which clients reach the API, which is the dashboard's origin, too.
fn base_url(settings: &Settings) -> &str {
    settings.get(settings::API_BASE_URL).unwrap_or("https://api.git.dev")
}
