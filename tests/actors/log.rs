//! The log of a world's functions, and the tokens that must not be in it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The tokens that the world's actors have held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets(Arc<Mutex<BTreeSet<String>>>);

impl Secrets {
    /// Keeps the secret part of a token. Ignores text that is no token.
    pub(crate) fn keep(&self, token: &str) {
        let secret = match token.rsplit_once('.') {
            // The header and the claims of a JWT are not secret, but its signature is.
            Some((_, signature)) if token.matches('.').count() == 2 => signature,
            _ if ["dgp_", "dgs_"].iter().any(|prefix| token.starts_with(prefix)) => &token[4..],
            _ => return,
        };
        // Malformed tokens that tests make up may be shorter. They are no secrets.
        if secret.len() >= 36 {
            self.0.lock().unwrap().insert(secret.to_owned());
        }
    }

    /// Keeps any text.
    pub(crate) fn hide(&self, secret: &str) {
        self.0.lock().unwrap().insert(secret.to_owned());
    }

    /// Returns a secret that the text contains.
    pub(crate) fn among(&self, text: &str) -> Option<String> {
        self.0.lock().unwrap().iter().find(|secret| text.contains(secret.as_str())).cloned()
    }
}

/// The log of a world's functions. When it is dropped, it fails the test if a token was logged.
pub(crate) struct Watched {
    pub(crate) log: Captured,
    pub(crate) secrets: Secrets,
}

impl Watched {
    /// Returns the lines so far that contain the text.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<Value> {
        let log = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let text = String::from_utf8_lossy(&self.log.0.lock().unwrap()).into_owned();
            assert_eq!(self.secrets.among(&text), None, "a token was logged");
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the DynamoDB calls and the capacity units in a line of the log.
pub fn cost_of(line: &Value) -> (u64, f64) {
    (line["dynamodb_calls"].as_u64().unwrap(), line["dynamodb_capacity_units"].as_f64().unwrap())
}
