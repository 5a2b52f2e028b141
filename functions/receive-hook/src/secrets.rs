//! The secrets of hooks, and the verification of deliveries by them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use shared::cache::Cache;
use shared::clock::Timestamp;
use shared::id::HookId;
use shared::model::{Hook, HookSecret, RequestOrigin};
use shared::{App, Error, ErrorCode, InitError, Result};
use vault::{Vault, VaultError};

use crate::signature::{Request, proves};

/// The maximum number of hooks whose secrets an execution environment remembers.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
/// The time for which opened secrets are remembered. The row of the hook is read with each delivery, so that a rotation and a
/// deletion take effect at once.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);

/// The message for a request without a secret of the hook that it names, whether or not there is such a hook.
pub const REFUSED: &str =
    "There is no hook with this ID whose secret the request has; compare the URL and the secret with those of the hook";

/// Opens the secrets of hooks. Clones share everything.
#[derive(Clone, Debug)]
pub struct Secrets {
    vault: Arc<Vault>,
    opened: Arc<Cache<HookId, Opened>>,
}

/// The secrets of a hook as its vault gave them, the current one first.
#[derive(Clone)]
struct Opened {
    revision: u64,
    secrets: Arc<[HookSecret]>,
    until: Timestamp,
}

impl Secrets {
    pub(crate) fn new(app: &App) -> Result<Self, InitError> {
        Ok(Self { vault: Arc::new(Vault::new(app)?), opened: Arc::new(Cache::new(REMEMBERED)) })
    }

    /// Returns the hook that a request is for, if the request has one of its secrets.
    ///
    /// # Errors
    /// Fails with `not_found` if there is no such hook, or the request has no secret of it, and with `rate_limited` if the source
    /// address has sent too many such requests.
    pub(crate) async fn verify(
        &self,
        app: &App,
        id: Option<HookId>,
        request: &Request<'_>,
        origin: &RequestOrigin,
    ) -> Result<Hook> {
        let (limiter, source) = (app.limiter(), origin.source_address);
        // A refused source can't make the API look up one hook after the other. Deliveries to hooks that are known go on.
        let is_known = id.as_ref().is_some_and(|id| self.opened.get(id).is_some());
        if limiter.refuses_source(source) && !is_known {
            limiter.count_failure(source).await?;
        }
        if let Some(id) = &id
            && let Some(hook) = Hook::by_id(app.table(), id).await?
            && self.of(&hook, request.at).await?.iter().any(|secret| proves(hook.provider, request, secret))
        {
            return Ok(hook);
        }
        limiter.count_failure(source).await?;
        Err(Error::new(ErrorCode::NotFound, REFUSED))
    }

    /// Returns the secrets of a hook that work at a time.
    async fn of(&self, hook: &Hook, now: Timestamp) -> Result<Vec<HookSecret>> {
        let sealed: Vec<_> = hook.sealed_secrets(now).collect();
        let is_current = |opened: &Opened| {
            opened.revision == hook.revision && opened.secrets.len() >= sealed.len() && opened.until > now
        };
        if let Some(opened) = self.opened.get(&hook.id).filter(is_current) {
            return Ok(opened.secrets.iter().take(sealed.len()).cloned().collect());
        }
        let context = Hook::sealing_context(&hook.account_id, &hook.id);
        let mut secrets = Vec::with_capacity(sealed.len());
        for sealed in sealed {
            let text = self.vault.open(&context, sealed).await.map_err(Error::unavailable)?;
            secrets.push(HookSecret::opened(text).ok_or_else(|| Error::internal(VaultError::Sealed))?);
        }
        let opened =
            Opened { revision: hook.revision, secrets: secrets.clone().into(), until: now.plus(REMEMBERED_FOR) };
        self.opened.insert(hook.id.clone(), opened);
        Ok(secrets)
    }
}
