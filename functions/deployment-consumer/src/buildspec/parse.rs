//! Converts the YAML document into a buildspec that can run.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::artifacts::{Artifacts, BaseDirectory, globs};
use super::document::{ArtifactsSection, Document, EnvSection, PhaseSection, Strings};
use super::error::BuildspecError;
use super::spec::{Buildspec, OnFailure, Phase, PhaseName, Shell};

/// The maximum size of a buildspec, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

impl Buildspec {
    /// Parses a `buildspec.yml`.
    ///
    /// # Errors
    ///
    /// Fails if the build can't run as in CodeBuild, or if the file is larger than [`MAX_BYTES`], nested deeper than 16
    /// levels, or replays more than 1,000 YAML events through aliases.
    pub fn parse(source: &[u8]) -> Result<Self, BuildspecError> {
        if source.len() > MAX_BYTES {
            return Err(BuildspecError::new(None, "the file is larger than 64 KiB"));
        }
        let source = str::from_utf8(source).map_err(|_| BuildspecError::new(None, "the file is not UTF-8"))?;
        let limits = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: 16, max_documents: 1 },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 1000 },
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options::<Document>(source, limits)?.into_buildspec()
    }
}

impl Document {
    fn into_buildspec(self) -> Result<Buildspec, BuildspecError> {
        if self.version.value != "0.2" {
            return Err(BuildspecError::at(&self.version, "`version` must be 0.2"));
        }
        refuse("run-as", self.run_as, "all commands run as the same user")?;
        refuse("proxy", self.proxy, "there is no proxy server")?;
        refuse("batch", self.batch, "a deployment is one build")?;

        let mut notes = Vec::new();
        if self.cache.is_some() {
            notes.push("`cache` is ignored: every deployment starts from a clean folder.".to_owned());
        }
        if self.reports.is_some() {
            notes.push("`reports` is ignored: test reports are not collected.".to_owned());
        }
        let (env, shell) = self.env.unwrap_or_default().into_env(&mut notes)?;
        let sections = [
            (PhaseName::Install, self.phases.install),
            (PhaseName::PreBuild, self.phases.pre_build),
            (PhaseName::Build, self.phases.build),
            (PhaseName::PostBuild, self.phases.post_build),
        ];
        let phases = sections
            .into_iter()
            .filter_map(|(name, section)| Some(section?.into_phase(name, &mut notes)))
            .collect::<Result<Vec<_>, _>>()?;
        if phases.iter().all(|phase| phase.commands.is_empty() && phase.finally.is_empty()) {
            return Err(BuildspecError::new(None, "`phases` must contain a command"));
        }
        let artifacts = self.artifacts.map(|section| section.into_artifacts(&mut notes)).transpose()?;
        Ok(Buildspec { env, shell, phases, artifacts, notes })
    }
}

impl EnvSection {
    fn into_env(self, notes: &mut Vec<String>) -> Result<(BTreeMap<String, String>, Shell), BuildspecError> {
        refuse("env.parameter-store", self.parameter_store, "pass the values as variables of the deployment")?;
        refuse("env.secrets-manager", self.secrets_manager, "pass the values as variables of the deployment")?;
        if let Some(helper) = self.git_credential_helper
            && yes_or_no("env.git-credential-helper", &helper)?
        {
            return Err(BuildspecError::at(&helper, "`env.git-credential-helper` is not supported"));
        }
        if self.exported_variables.is_some() {
            notes.push(
                "`env.exported-variables` is ignored: no pipeline stage follows that could read them.".to_owned(),
            );
        }
        let shell = match self.shell {
            None => Shell::default(),
            Some(shell) => match shell.value.as_str() {
                "sh" | "/bin/sh" => Shell::Sh,
                "bash" | "/bin/bash" => Shell::Bash,
                _ => return Err(BuildspecError::at(&shell, "`env.shell` must be sh or bash")),
            },
        };
        let mut env = BTreeMap::new();
        for (name, value) in self.variables {
            if !is_identifier(&name) {
                let message = format!("`env.variables`: the name {name:?} must match [A-Za-z_][A-Za-z0-9_]*");
                return Err(BuildspecError::at(&value, message));
            }
            if name.starts_with("CODEBUILD_") {
                let message = format!("`env.variables.{name}`: names that start with CODEBUILD_ are reserved");
                return Err(BuildspecError::at(&value, message));
            }
            env.insert(name, without_nul(value)?);
        }
        Ok((env, shell))
    }
}

impl PhaseSection {
    fn into_phase(self, name: PhaseName, notes: &mut Vec<String>) -> Result<Phase, BuildspecError> {
        let key = name.key();
        refuse(&format!("phases.{key}.run-as"), self.run_as, "all commands run as the same user")?;
        match self.runtime_versions {
            None => {}
            Some(_) if name == PhaseName::Install => notes
                .push("`phases.install.runtime-versions` is ignored: commands use the installed versions.".to_owned()),
            Some(versions) => {
                let message = format!("`phases.{key}.runtime-versions` is not supported: move it to `phases.install`");
                return Err(BuildspecError::at(&versions, message));
            }
        }
        let on_failure = match self.on_failure {
            // The next phase runs only after a failed build phase:
            // https://docs.aws.amazon.com/codebuild/latest/userguide/view-build-details-phases.html
            None if name == PhaseName::Build => OnFailure::Continue,
            None => OnFailure::Abort,
            Some(action) => match action.value.as_str() {
                "ABORT" => OnFailure::Abort,
                "CONTINUE" => OnFailure::Continue,
                _ => {
                    let message = format!("`phases.{key}.on-failure` must be ABORT or CONTINUE");
                    return Err(BuildspecError::at(&action, message));
                }
            },
        };
        Ok(Phase { name, commands: into_commands(self.commands)?, finally: into_commands(self.finally)?, on_failure })
    }
}

impl ArtifactsSection {
    fn into_artifacts(self, notes: &mut Vec<String>) -> Result<Artifacts, BuildspecError> {
        refuse("artifacts.secondary-artifacts", self.secondary_artifacts, "a deployment has one set of artifacts")?;
        if let Some(enable) = self.enable_symlinks
            && yes_or_no("artifacts.enable-symlinks", &enable)?
        {
            return Err(BuildspecError::at(&enable, "`artifacts.enable-symlinks` is not supported"));
        }
        if self.s3_prefix.is_some() {
            notes.push("`artifacts.s3-prefix` is ignored: the API chooses where artifacts are stored.".to_owned());
        }
        let discard_paths = match self.discard_paths {
            Some(discard) => yes_or_no("artifacts.discard-paths", &discard)?,
            None => false,
        };
        if self.files.value.0.is_empty() {
            return Err(BuildspecError::at(&self.files, "`artifacts.files` is empty"));
        }
        let mut patterns = self.files.value.0.iter().chain(&self.base_directory);
        let names_git = patterns.any(|pattern| pattern.value.split('/').any(|name| name == ".git"));
        let base = match self.base_directory {
            Some(directory) => BaseDirectory::parse(directory)?,
            None => None,
        };
        Ok(Artifacts {
            name: self.name,
            base,
            files: globs("artifacts.files", &self.files.value.0)?,
            exclude: globs("artifacts.exclude-paths", &self.exclude_paths.0)?,
            discard_paths,
            names_git,
        })
    }
}

fn into_commands(strings: Strings) -> Result<Vec<String>, BuildspecError> {
    strings.0.into_iter().map(without_nul).collect()
}

fn refuse(key: &str, value: Option<Spanned<IgnoredAny>>, why: &str) -> Result<(), BuildspecError> {
    match value {
        Some(value) => Err(BuildspecError::at(&value, format!("`{key}` is not supported: {why}"))),
        None => Ok(()),
    }
}

fn yes_or_no(key: &str, value: &Spanned<String>) -> Result<bool, BuildspecError> {
    match value.value.as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(BuildspecError::at(value, format!("`{key}` must be yes or no"))),
    }
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Rejects NUL characters, which neither arguments nor environment variables can contain.
fn without_nul(value: Spanned<String>) -> Result<String, BuildspecError> {
    if value.value.contains('\0') {
        return Err(BuildspecError::at(&value, "a NUL character can't be passed to a command; remove it"));
    }
    Ok(value.value)
}
