//! The section `env`.

use std::collections::BTreeMap;

use super::finding::Position;
use super::node::Node;
use super::reading::Reading;
use super::spec::Shell;
use super::stored::{Store, Stored};

/// The content of the section.
#[derive(Default)]
pub(super) struct Env {
    pub shell: Shell,
    pub variables: BTreeMap<String, String>,
    pub stored: BTreeMap<String, Stored>,
    pub exported: Vec<String>,
}

impl Env {
    pub(super) fn read(path: &str, node: &Node, reading: &mut Reading) -> Self {
        let mut env = Self::default();
        let mut section = reading.section(path, node);
        if let Some((_, key, node)) = section.take("shell") {
            env.shell = reading.shell(&key, node);
        }
        if let Some((_, key, node)) = section.take("variables") {
            env.read_variables(&key, node, reading);
        }
        for (name, store) in [("parameter-store", Store::Parameters), ("secrets-manager", Store::Secrets)] {
            if let Some((_, key, node)) = section.take(name) {
                env.read_stored(&key, node, store, reading);
            }
        }
        if let Some((_, key, node)) = section.take("exported-variables") {
            env.read_exported(&key, node, reading);
        }
        if let Some((at, key, node)) = section.take("git-credential-helper")
            && reading.yes_or_no(&key, node)
        {
            reading.note(at, format!("`{key}` is ignored: commands get no credential of a git host"));
        }
        section.finish(reading);
        env
    }

    /// Reads `environment_variables.plaintext`, the former name of `env.variables`.
    pub(super) fn read_plaintext(&mut self, path: &str, node: &Node, reading: &mut Reading) {
        let mut section = reading.section(path, node);
        if let Some((_, key, node)) = section.take("plaintext") {
            self.read_variables(&key, node, reading);
        }
        section.finish(reading);
    }

    fn read_variables(&mut self, path: &str, node: &Node, reading: &mut Reading) {
        for (name, value) in reading.section(path, node).rest() {
            if let Some(value) = reading.text(&format!("{path}.{}", name.value), value)
                && reading.can_be_set(path, name.at, &name.value)
            {
                self.variables.insert(name.value, value.value);
            }
        }
    }

    fn read_stored(&mut self, path: &str, node: &Node, store: Store, reading: &mut Reading) {
        for (name, value) in reading.section(path, node).rest() {
            let key = format!("{path}.{}", name.value);
            if let Some(reference) = reading.text(&key, value)
                && reading.can_be_set(path, name.at, &name.value)
            {
                if reference.value.is_empty() {
                    reading.refuse(name.at, format!("`{key}` names no value; remove it or write the name"));
                }
                self.stored.insert(name.value, Stored { store, reference: reference.value, at: name.at });
            }
        }
    }

    fn read_exported(&mut self, path: &str, node: &Node, reading: &mut Reading) {
        for name in reading.texts(path, node) {
            if !is_identifier(&name.value) {
                reading
                    .refuse(name.at, format!("`{path}` must list names of variables; {:?} can't be one", name.value));
            } else if name.value.starts_with("AWS_") || self.stored.contains_key(&name.value) {
                let message = format!(
                    "`{path}`: {} is not exported: secrets and names that start with AWS_ never are",
                    name.value
                );
                reading.note(name.at, message);
            } else if !self.exported.contains(&name.value) {
                self.exported.push(name.value);
            }
        }
    }
}

impl Reading {
    fn shell(&mut self, key: &str, node: &Node) -> Shell {
        let Some(shell) = self.text(key, node) else { return Shell::default() };
        match shell.value.as_str() {
            "sh" | "/bin/sh" => Shell::Sh,
            "bash" | "/bin/bash" => Shell::Bash,
            "powershell.exe" | "cmd.exe" => {
                self.refuse(shell.at, format!("`{key}` must be sh or bash: builds run on Linux, not on Windows"));
                Shell::default()
            }
            _ => {
                self.refuse(shell.at, format!("`{key}` must be sh or bash"));
                Shell::default()
            }
        }
    }

    /// Returns whether commands can get a variable of this name. Notes if they can't.
    fn can_be_set(&mut self, path: &str, at: Position, name: &str) -> bool {
        if !is_identifier(name) {
            self.note(
                at,
                format!("`{path}`: {name:?} is ignored: a shell knows only names of letters, digits and `_`"),
            );
            return false;
        }
        if name.starts_with("CODEBUILD_") {
            self.note(
                at,
                format!("`{path}.{name}` is ignored: the build itself sets the names that start with CODEBUILD_"),
            );
            return false;
        }
        true
    }
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
