//! The results of a deployment: what its build has reported, and what it has stored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{BuildCommand, BuildPhase, Deployment, MAX_COMMANDS, TestSummary};
use crate::capability::conceal;
use crate::clock::Timestamp;
use crate::model::key;
use crate::table::{Consistency, Key, Table, TableError, Transaction, Write};

/// The maximum number of outputs.
pub const MAX_OUTPUTS: usize = 50;
/// The maximum size of all outputs, names and values together, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 4096;
/// The output that becomes the URL of the environment.
pub const URL_OUTPUT: &str = "DEPLOYMENT_URL";
/// The text in the place of a secret.
const MASK: &str = "***";
/// The maximum size of the URL of an environment, in bytes.
const MAX_URL_BYTES: usize = 512;

/// The maximum time by which the store's clock may be ahead of that of the function that ended the deployment.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// The time after a deployment's end within which the last lines of its build come. CodeBuild sends them before it reports the end, and
/// CloudWatch Logs delivers them some seconds later. AWS promises no limit.
const LINES_SETTLE: Duration = Duration::from_secs(15);

/// The report of the build of one attempt. The row beside the deployment exists only if there is something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// The values of the exported variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// The summary of the test reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestSummary>,
    /// The phases. They are part of the deployment's row.
    #[serde(skip)]
    pub phases: Vec<BuildPhase>,
    /// Whether the artifacts that the build has stored are not kept. The deployment's row says so.
    #[serde(skip)]
    pub artifacts_refused: bool,
}

/// The outputs of a build, within their bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The outputs that are kept.
    pub kept: BTreeMap<String, String>,
    /// The names of those that exceed the bounds.
    pub left_out: Vec<String>,
}

impl Outputs {
    /// Takes exported variables in the order of their names, as long as they are within the bounds. Conceals names that give access.
    pub fn of(exported: impl IntoIterator<Item = (String, String)>) -> Self {
        let (mut outputs, mut bytes) = (Self::default(), 0);
        for (name, value) in exported.into_iter().collect::<BTreeMap<_, _>>() {
            let value = conceal(&value).into_owned();
            let size = name.len() + value.len();
            if outputs.kept.len() == MAX_OUTPUTS || bytes + size > MAX_OUTPUT_BYTES {
                outputs.left_out.push(name);
            } else {
                bytes += size;
                outputs.kept.insert(name, value);
            }
        }
        outputs
    }
}

impl Results {
    /// Returns whether there is nothing for a row beside the deployment.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.tests.is_none()
    }

    /// Returns the URL of the environment among the outputs, if it is one that a browser can open, without a
    /// credential and without a masked part.
    pub fn environment_url(&self) -> Option<String> {
        let text = self.outputs.get(URL_OUTPUT).filter(|text| text.len() <= MAX_URL_BYTES)?;
        let url = Url::parse(text).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none() && !text.contains(MASK);
        (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then(|| url.into())
    }

    /// Returns the results of a deployment's attempt.
    pub async fn load(table: &Table, deployment: &Deployment) -> Result<Self, TableError> {
        if !deployment.has_results {
            return Ok(Self::default());
        }
        Ok(table.get(deployment.results_key(), Consistency::Strong).await?.unwrap_or_default())
    }
}

impl Deployment {
    /// Stores the results of this attempt, and returns the deployment with them. The transition that ends the deployment makes
    /// them readable.
    pub async fn with_results(self, table: &Table, results: &Results) -> Result<Self, TableError> {
        let artifacts_refused = results.artifacts_refused;
        let with_phases = Self { phases: results.phases.clone(), artifacts_refused, ..self };
        if results.is_empty() {
            return Ok(with_phases);
        }
        // Each attempt has a row of its own, so that a runner that was lost changes nothing of the next attempt's.
        let row = Write::put(with_phases.results_key(), results)?;
        Transaction::<TableError>::new().write(row).commit(table).await??;
        Ok(Self { has_results: true, environment_url: results.environment_url(), ..with_phases })
    }

    /// Returns a deployment as it was read again, with the results that this one has got since, and with this one's start.
    pub(super) fn keeping_results(&self, read: Self) -> Self {
        let (environment_url, phases) = (self.environment_url.clone(), self.phases.clone());
        let Self { has_results, artifacts_refused, started_at, .. } = *self;
        Self { has_results, environment_url, phases, artifacts_refused, started_at, ..read }
    }

    /// Returns the last commands of the build.
    pub(super) fn last_commands(&self) -> Vec<BuildCommand> {
        let commands = || self.phases.iter().flat_map(|phase| &phase.commands);
        commands().skip(commands().count().saturating_sub(MAX_COMMANDS)).cloned().collect()
    }

    fn results_key(&self) -> Key {
        key::deployment_results(&self.account_id, &self.id, self.attempt)
    }

    /// Returns whether no more lines can follow in the log.
    pub fn has_whole_log(&self, now: Timestamp) -> bool {
        self.finished_at.is_some_and(|end| self.build.is_none() || now.since(end) >= LINES_SETTLE)
    }

    /// Returns whether the deployment keeps artifacts and can have stored a file at this time.
    ///
    /// All builds by CodeBuild share a role, and the URL of a download shows the name of the folder. So another build could
    /// write into the folder later. What was stored after the end is none of this deployment's.
    pub fn can_have_stored(&self, at: Timestamp) -> bool {
        let latest = self.build.as_ref().and(self.finished_at).map(|end| end.plus(CLOCKS_DIFFER));
        !self.artifacts_refused && latest.is_none_or(|latest| at <= latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_beyond_the_bounds_are_left_out() {
        let of = |count: usize, size: usize| Outputs::of((0..count).map(|n| (format!("N{n:03}"), "x".repeat(size))));
        assert_eq!((of(50, 10).kept.len(), of(50, 10).left_out), (50, vec![]));
        assert_eq!((of(52, 10).kept.len(), of(52, 10).left_out), (50, vec!["N050".to_owned(), "N051".to_owned()]));
        assert_eq!(of(1, MAX_OUTPUT_BYTES - 4).left_out, [""; 0]);
        assert_eq!(of(1, MAX_OUTPUT_BYTES - 3).left_out, ["N000"]);
        let mixed =
            [("A", 5000), ("B", 3), ("C", 4080), ("D", 4)].map(|(name, size)| (name.to_owned(), "x".repeat(size)));
        assert_eq!(Outputs::of(mixed).left_out, ["A"], "a smaller one after a large one is kept");
    }

    #[test]
    fn a_url_of_an_environment_is_one_that_a_browser_can_open() {
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL_BYTES));
        for (text, expected) in [
            ("https://pr-7.example.com/a?b#c", Some("https://pr-7.example.com/a?b#c")),
            ("http://127.0.0.1:3000", Some("http://127.0.0.1:3000/")),
            ("https://ü.example", Some("https://xn--tda.example/")),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("https://user:secret@a.example", None),
            ("https://token@a.example", None),
            ("https://***.example", None),
            ("/relative", None),
            ("https://", None),
            ("", None),
            (long.as_str(), None),
        ] {
            let outputs = BTreeMap::from([(URL_OUTPUT.to_owned(), text.to_owned())]);
            assert_eq!(Results { outputs, ..Results::default() }.environment_url().as_deref(), expected, "{text}");
        }
    }
}
