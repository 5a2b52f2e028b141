//! The hook of the demo's repository, to which signed pushes can be sent.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::InitError;

use super::secret_file::SecretFile;
use super::{Api, failure, text};

const FILE: SecretFile = SecretFile("demo-hooks.json");

/// A hook that takes pushes in GitHub's form. Only the demo's file has the secret: the table has it encrypted.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DemoHook {
    /// The hook's ID.
    pub id: String,
    /// The secret that signs pushes.
    pub secret: String,
}

/// The hooks by the names of their repositories.
type Hooks = BTreeMap<String, DemoHook>;

impl DemoHook {
    /// Returns the hook of a repository, which it makes unless the data folder has its secret.
    ///
    /// # Errors
    /// Fails if the API refuses, or the file can't be read or written.
    pub async fn ensure(api: &Api, repository: &str, data: &Path) -> Result<Self, InitError> {
        let mut hooks: Hooks = FILE.load(data)?.unwrap_or_default();
        if let Some(hook) = hooks.get(repository) {
            return Ok(hook.clone());
        }
        let created = api.create_hook(repository).await?;
        let hook = Self { id: text(&created["id"]).to_owned(), secret: text(&created["secret"]).to_owned() };
        hooks.insert(repository.to_owned(), hook.clone());
        FILE.save(data, &hooks)?;
        Ok(hook)
    }
}

impl Api {
    async fn create_hook(&self, repository: &str) -> Result<Value, InitError> {
        let path = format!("/v1/repositories/{repository}/hooks");
        let request = self.authorized(self.client.post(self.url(&path)));
        let answer = request.json(&json!({"provider": "github"})).send().await?;
        match answer.status() {
            StatusCode::CREATED => Ok(answer.json().await?),
            _ => Err(format!("the demo's hook can't be made: {}", failure(answer.json().await?)).into()),
        }
    }
}
