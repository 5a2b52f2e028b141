//! Names that give access.
//!
//! # Invariant: a name is a capability
//!
//! All builds share one role, and it can use whatever its policy's patterns match. So a build can read each object and each
//! secret whose name it knows. The names of a build's secret, source, artifacts and log stream therefore contain random
//! bits, and no response, log line or event shows them. The exception is the URL of a download, which names the folder of
//! artifacts: nothing that is stored there after the build counts. [`conceal`] takes them out of text that comes from elsewhere.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The beginning of each name, by which the policies and [`conceal`] recognize it.
pub const PREFIX: &str = "cap_";
/// The hexadecimal digits of a name: 128 bits.
const DIGITS: usize = 32;

/// The random bits from which the names of a deployment are made. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capability(String);

/// The kinds of things that a build uses by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The zip of the source.
    Source,
    /// The folder of the artifacts.
    Artifacts,
    /// The secret with the variables.
    Secret,
    /// The stream of the build's log.
    LogStream,
}

impl Capability {
    /// Returns a new capability from 128 random bits.
    pub fn random() -> Self {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(hex(&bytes))
    }

    /// Returns the name of one thing of an attempt. A name tells nothing about the others: a build sees the names of its
    /// source and of its log stream, which its commands may print.
    pub fn name(&self, attempt: u32, named: Named) -> String {
        let kind: &[u8] = match named {
            Named::Source => b"source",
            Named::Artifacts => b"artifacts",
            Named::Secret => b"secret",
            Named::LogStream => b"log stream",
        };
        let digest = Sha256::new().chain_update(&self.0).chain_update(attempt.to_be_bytes()).chain_update(kind);
        let mut name = hex(&digest.finalize());
        name.truncate(DIGITS);
        format!("{PREFIX}{name}")
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability")
    }
}

/// Returns the name of something that no other name tells anything about.
pub fn random_name() -> String {
    format!("{PREFIX}{}", Capability::random().0)
}

/// Returns the text with `***` in place of the random part of each name.
pub fn conceal(text: &str) -> Cow<'_, str> {
    let mut parts = text.split(PREFIX);
    let first = parts.next().unwrap_or_default();
    if first.len() == text.len() {
        return Cow::Borrowed(text);
    }
    let mut shown = first.to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        shown.push_str(PREFIX);
        match digits >= DIGITS {
            true => shown.extend(["***", &part[digits..]]),
            false => shown.push_str(part),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_of_one_thing_of_one_attempt_of_one_deployment() {
        let kinds = [Named::Source, Named::Artifacts, Named::Secret, Named::LogStream];
        let capabilities = [Capability::random(), Capability::random()];
        let names = |capability: &Capability| {
            let of = |attempt| kinds.map(|kind| capability.name(attempt, kind));
            (1..=3).flat_map(of).collect::<Vec<_>>()
        };
        let all: BTreeSet<_> = capabilities.iter().flat_map(names).collect();
        assert_eq!(all.len(), 2 * 3 * 4);
        for name in &all {
            let digits = name.strip_prefix(PREFIX).unwrap();
            assert!(digits.len() * 4 == 128 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        }
        assert_eq!(names(&capabilities[0]), names(&capabilities[0]));
        assert_eq!(format!("{:?}", capabilities[0]), "Capability");
    }

    #[test]
    fn names_in_a_text_are_concealed_and_other_text_stays() {
        let name = || Capability::random().name(1, Named::Secret);
        let text = format!("no {}: bucket/{}/source.zip, {}", name(), name(), name());
        assert_eq!(conceal(&text), "no cap_***: bucket/cap_***/source.zip, cap_***");
        for text in ["", "cap_", "cap_cap_", "handicap_0123456789abcdef é", "cap_0123456789abcdef0123456789abcde"] {
            assert_eq!(conceal(text), text);
        }
    }
}
