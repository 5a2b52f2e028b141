//! The section `phases`.

use std::collections::BTreeMap;

use super::finding::Position;
use super::node::Node;
use super::reading::{Reading, Text};
use super::spec::{Phase, PhaseName};

impl Phase {
    /// Reads the phases, in the order in which they run. `run_as` is the user of those that name none.
    pub(super) fn read_all(
        at: Position,
        path: &str,
        node: &Node,
        run_as: Option<&str>,
        reading: &mut Reading,
    ) -> Vec<Self> {
        let problems = reading.problems();
        let mut section = reading.section(path, node);
        let taken = PhaseName::ALL.map(|name| (name, section.take(name.key())));
        let phases = taken.into_iter().filter_map(|(name, taken)| {
            let (_, key, node) = taken?;
            Some(Self::read(name, &key, node, run_as, reading))
        });
        let phases: Vec<_> = phases.collect();
        for (key, _) in section.rest() {
            let names = PhaseName::ALL.map(PhaseName::key).join(", ");
            reading.refuse(key.at, format!("`{path}` has no phase {:?}; the phases are {names}", key.value));
        }
        let is_whole = reading.problems() == problems;
        if is_whole && phases.iter().all(|phase| phase.commands.is_empty() && phase.finally.is_empty()) {
            reading.refuse(
                at,
                format!("`{path}` has no command; a build needs one, for example in `{path}.build.commands`"),
            );
        }
        phases
    }

    fn read(name: PhaseName, path: &str, node: &Node, run_as: Option<&str>, reading: &mut Reading) -> Self {
        let mut section = reading.section(path, node);
        let own = section.take("run-as").and_then(|(_, key, node)| reading.user(&key, node));
        let on_failure = section.take("on-failure").and_then(|(_, key, node)| reading.on_failure(&key, node));
        let mut runtime_versions = BTreeMap::new();
        // Only `install` selects versions, but CodeBuild lets the key stand elsewhere.
        if name == PhaseName::Install {
            if let Some((_, key, node)) = section.take("runtime-versions") {
                runtime_versions = reading.runtime_versions(&key, node);
            }
        } else if let Some((at, key, _)) = section.take("runtime-versions") {
            reading.note(at, format!("`{key}` is ignored: only `phases.install` selects versions"));
        }
        let mut commands = |key| match section.take(key) {
            Some((_, key, node)) => reading.commands(&key, node),
            None => Vec::new(),
        };
        let (commands, finally) = (commands("commands"), commands("finally"));
        section.finish(reading);
        let run_as = own.or_else(|| run_as.map(str::to_owned));
        Self { name, run_as, runtime_versions, commands, finally, on_failure }
    }
}

impl Reading {
    /// Reads the name of a user. No name is no user.
    pub(super) fn user(&mut self, key: &str, node: &Node) -> Option<String> {
        self.text(key, node).map(|user| user.value).filter(|user| !user.is_empty())
    }

    /// Reads commands. Empty ones do nothing and are left out.
    fn commands(&mut self, key: &str, node: &Node) -> Vec<String> {
        let commands = self.texts(key, node).into_iter().map(|Text { value, .. }| value);
        commands.filter(|command| !command.trim().is_empty()).collect()
    }

    fn runtime_versions(&mut self, path: &str, node: &Node) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for (name, version) in self.section(path, node).rest() {
            if let Some(version) = self.text(&format!("{path}.{}", name.value), version) {
                versions.insert(name.value, version.value);
            }
        }
        versions
    }
}
