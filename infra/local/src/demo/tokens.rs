//! The tokens of the demo's accounts.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::InitError;

use super::secret_file::SecretFile;
use crate::issuer::{DEMO_DOMAIN, OWNER};
use crate::stack::Stack;

const FILE: SecretFile = SecretFile("demo-tokens.json");

/// The demo's tokens. Only the demo's file has them: the table has their hashes.
#[derive(Debug, Deserialize, Serialize)]
pub struct Tokens {
    /// The token of the account `demo-starter`, whose plan is Starter.
    pub starter: String,
    /// The token of the account `demo`, whose plan is Pro.
    pub pro: String,
}

impl Tokens {
    /// Creates the demo's accounts, unless the data folder has their tokens already.
    ///
    /// # Errors
    /// Fails if the accounts can't be created or the tokens can't be stored.
    pub async fn ensure(stack: &Stack, data: &Path) -> Result<Self, InitError> {
        if let Some(tokens) = Self::load(data)? {
            return Ok(tokens);
        }
        let starter = Self::create(stack, "demo-starter", "starter", &[]).await?;
        let tokens = Self { starter, pro: Self::create(stack, "demo", "pro", &[DEMO_DOMAIN]).await? };
        FILE.save(data, &tokens)?;
        Ok(tokens)
    }

    /// Returns the tokens of a stack that was started before.
    ///
    /// # Errors
    /// Fails if the file can't be read.
    pub fn load(data: &Path) -> Result<Option<Self>, InitError> {
        FILE.load(data)
    }

    async fn create(stack: &Stack, account: &str, plan: &str, domains: &[&str]) -> Result<String, InitError> {
        let event = json!({"account": account, "plan": plan, "owner_email": OWNER.email, "email_domains": domains});
        let created = stack.bootstrap(event).await?;
        Ok(created["token"].as_str().ok_or("bootstrap gave no token")?.to_owned())
    }
}
