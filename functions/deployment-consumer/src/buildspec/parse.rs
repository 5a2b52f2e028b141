//! Converts the YAML document into a buildspec that can run.

use super::artifacts::Artifacts;
use super::cache::Cache;
use super::env::Env;
use super::finding::{BuildspecError, Finding, Position};
use super::node::{Content, Node};
use super::reading::Reading;
use super::reports::Report;
use super::spec::{Buildspec, Phase, Version};

/// The maximum size of a buildspec, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

impl Buildspec {
    /// Parses a `buildspec.yml`.
    ///
    /// # Errors
    ///
    /// Fails if CodeBuild would reject the file or a deployment can't run it, or if the file is larger than [`MAX_BYTES`],
    /// nested deeper than 16 levels, or repeats too much through aliases: more than 1,000 YAML events, or texts of more than twice
    /// [`MAX_BYTES`] together.
    pub fn parse(source: &[u8]) -> Result<Self, BuildspecError> {
        if source.len() > MAX_BYTES {
            return Err(Finding::new(None, "the file is larger than 64 KiB").into());
        }
        let source = str::from_utf8(source).map_err(|_| Finding::new(None, "the file is not UTF-8"))?;
        let document = Node::read(source)?;
        match document.content {
            Content::Map(_) => {}
            Content::Null => return Err(Finding::new(Position::START, "the file is empty").into()),
            Content::Text(_) | Content::List(_) => {
                return Err(Finding::new(document.at, "a buildspec must be a map of keys and values").into());
            }
        }
        let mut reading = Reading::default();
        let buildspec = Self::read(&document, &mut reading);
        let notes = reading.finish()?;
        Ok(Self { notes, ..buildspec })
    }

    fn read(document: &Node, reading: &mut Reading) -> Self {
        let mut top = reading.section("", document);
        let version = match top.take("version") {
            Some((_, key, node)) => reading.version(&key, node),
            None => {
                reading.refuse(document.at, "`version` is missing; add `version: 0.2`");
                Version::V0_2
            }
        };
        let run_as = top.take("run-as").and_then(|(_, key, node)| reading.user(&key, node));
        let mut env = match top.take("env") {
            Some((_, key, node)) => Env::read(&key, node, reading),
            None => Env::default(),
        };
        if version == Version::V0_1
            && let Some((_, key, node)) = top.take("environment_variables")
        {
            env.read_plaintext(&key, node, reading);
        }
        if let Some((at, ..)) = top.take("proxy") {
            reading.note(at, "`proxy` is ignored: builds use no proxy server");
        }
        let batch = top.take("batch");
        if let Some((at, ..)) = batch {
            reading.refuse(
                at,
                "`batch` starts several builds, and a deployment is one; remove it, or create a deployment for each build of a \
                 repository with its own `buildspec_path`",
            );
        }
        let phases = match top.take("phases") {
            Some((at, key, node)) => Phase::read_all(at, &key, node, run_as.as_deref(), reading),
            // The builds of a batch can have phases of their own.
            None if batch.is_some() => Vec::new(),
            None => {
                reading.refuse(
                    document.at,
                    "`phases` is missing; a build needs a command, for example in `phases.build.commands`",
                );
                Vec::new()
            }
        };
        let reports =
            top.take("reports").map(|(_, key, node)| Report::read_all(&key, node, reading)).unwrap_or_default();
        let artifacts = top.take("artifacts").and_then(|(at, key, node)| Artifacts::read(at, &key, node, reading));
        let cache = top.take("cache").and_then(|(at, key, node)| Cache::read(at, &key, node, reading));
        top.finish(reading);
        let Env { shell, variables, stored, exported } = env;
        Self { version, shell, env: variables, stored, exported, phases, artifacts, reports, cache, notes: Vec::new() }
    }
}

impl Reading {
    fn version(&mut self, key: &str, node: &Node) -> Version {
        match self.text(key, node).as_ref().map(|text| text.value.as_str()) {
            Some("0.1") => Version::V0_1,
            Some("0.2") | None => Version::V0_2,
            Some(_) => {
                self.refuse(node.at, "`version` must be 0.2 or 0.1");
                Version::V0_2
            }
        }
    }
}
