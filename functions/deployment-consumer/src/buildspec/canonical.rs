//! A buildspec in its canonical form: what was read of the file, in the format itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use shared::model::BuildspecPath;

use super::artifacts::Artifacts;
use super::cache::Cache;
use super::on_failure::OnFailure;
use super::reports::Report;
use super::spec::{Buildspec, Phase, Shell};
use super::stored::{Store, Stored};

impl Buildspec {
    /// Returns the buildspec in CodeBuild's format, as JSON, which is YAML. It has only what a deployment does, so that
    /// CodeBuild does no more and no less. `from_aws` are the stored variables whose values CodeBuild takes from AWS. The others are left
    /// out: the deployment has them.
    pub fn canonical(&self, from_aws: &BTreeMap<String, Stored>) -> Value {
        let mut env = Map::new();
        if self.shell == Shell::Bash {
            env.insert("shell".to_owned(), json!("bash"));
        }
        insert(&mut env, "variables", json!(self.env));
        for store in [Store::Parameters, Store::Secrets] {
            let of_store = from_aws.iter().filter(|(_, stored)| stored.store == store);
            let references: BTreeMap<_, _> = of_store.map(|(name, stored)| (name, &stored.reference)).collect();
            insert(&mut env, store.key(), json!(references));
        }
        insert(&mut env, "exported-variables", json!(self.exported));
        let phases = self.phases.iter().map(|phase| (phase.name.key().to_owned(), phase.canonical()));
        let mut document = Map::new();
        document.insert("version".to_owned(), json!(self.version.as_str()));
        insert(&mut document, "env", Value::Object(env));
        insert(&mut document, "phases", Value::Object(phases.filter(|(_, phase)| *phase != json!({})).collect()));
        if let Some(artifacts) = &self.artifacts {
            document.insert("artifacts".to_owned(), artifacts.canonical());
        }
        if let Some(cache) = &self.cache {
            document.insert("cache".to_owned(), cache.canonical());
        }
        Value::Object(document)
    }

    /// Adds the files of the test reports to the canonical form, as a secondary artifact of this name, which CodeBuild stores.
    ///
    /// CodeBuild fails a build of which no file is part of an artifact, and a build may write no report. So the buildspec itself, which
    /// every source has, is part of the artifact, too.
    pub fn store_reports(&self, document: &mut Value, name: &str, buildspec_path: &BuildspecPath) {
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
        let itself = buildspec_path.as_str().replace(|character| !is_plain(character), "*");
        let files: Vec<_> = [itself].into_iter().chain(self.reports.iter().flat_map(Report::patterns)).collect();
        document["artifacts"]["secondary-artifacts"][name] = json!({"files": files});
    }
}

impl Phase {
    fn canonical(&self) -> Value {
        let mut phase = Map::new();
        insert(&mut phase, "run-as", json!(self.run_as));
        insert(&mut phase, "on-failure", json!(self.on_failure.as_ref().map(OnFailure::canonical)));
        insert(&mut phase, "runtime-versions", json!(self.runtime_versions));
        insert(&mut phase, "commands", json!(self.commands));
        insert(&mut phase, "finally", json!(self.finally));
        Value::Object(phase)
    }
}

impl Artifacts {
    fn canonical(&self) -> Value {
        let yes = |flag: bool| if flag { json!("yes") } else { Value::Null };
        let mut artifacts = Map::new();
        insert(&mut artifacts, "files", json!(self.files));
        insert(&mut artifacts, "base-directory", json!(self.base_directory));
        insert(&mut artifacts, "exclude-paths", json!(self.exclude_paths));
        insert(&mut artifacts, "discard-paths", yes(self.discard_paths));
        insert(&mut artifacts, "enable-symlinks", yes(self.enable_symlinks));
        Value::Object(artifacts)
    }
}

impl Cache {
    fn canonical(&self) -> Value {
        let mut cache = Map::new();
        insert(&mut cache, "key", json!(self.key));
        insert(&mut cache, "fallback-keys", json!(self.fallback_keys));
        insert(&mut cache, "action", json!(self.action.as_str()));
        insert(&mut cache, "paths", json!(self.paths));
        Value::Object(cache)
    }
}

/// Inserts a value unless it is null or empty.
fn insert(into: &mut Map<String, Value>, key: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    };
    if !is_empty {
        into.insert(key.to_owned(), value);
    }
}
