//! A repository's `buildspec.yml`: AWS CodeBuild's build specification, version 0.2.
//!
//! The format is <https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html>. What is not supported and
//! would change what a build does is refused with its key and line; what is not supported and harmless is ignored with
//! a note for the log.

use std::{collections::BTreeMap, fmt, path::Path};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The largest buildspec that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// The longest pattern of `artifacts`, in bytes. Patterns with `{}` are read recursively.
const MAX_PATTERN_BYTES: usize = 1024;

/// A buildspec that can be run as it is: it has a command, and all its names and patterns are valid.
#[derive(Clone, Debug)]
pub struct Buildspec {
    /// `env.variables`. The names are identifiers, no value holds a NUL.
    pub env: BTreeMap<String, String>,
    pub shell: Shell,
    /// Those that are given, in the order in which they run.
    pub phases: Vec<Phase>,
    pub artifacts: Option<Artifacts>,
    /// What was ignored and why, one sentence each.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Shell {
    /// CodeBuild's default on Linux.
    #[default]
    Sh,
    Bash,
}

#[derive(Clone, Debug)]
pub struct Phase {
    pub name: PhaseName,
    pub commands: Vec<String>,
    /// Run after the commands, also when one of them failed.
    pub finally: Vec<String>,
    pub on_failure: OnFailure,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PhaseName {
    Install,
    PreBuild,
    Build,
    PostBuild,
}

/// What a failed phase means for the later ones. The build has failed either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    Abort,
    Continue,
}

/// Which files of a source folder are the build's result.
#[derive(Clone, Debug)]
pub struct Artifacts {
    pub name: Option<String>,
    base: Option<BaseDirectory>,
    files: GlobSet,
    exclude: GlobSet,
    discard_paths: bool,
}

#[derive(Clone, Debug)]
struct BaseDirectory {
    /// A set of one: a set reports what it can't compile, a single matcher panics.
    pattern: GlobSet,
    /// How many names the pattern has.
    depth: usize,
}

/// Why a buildspec is refused, in words for the repository's owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BuildspecError {
    /// Counted from 1, where it is known.
    pub line: Option<u64>,
    pub message: String,
}

impl Buildspec {
    /// Reads a `buildspec.yml`.
    ///
    /// # Errors
    ///
    /// Anything that can't be run as CodeBuild would run it, and inputs over [`MAX_BYTES`], nested over 16 levels or
    /// replaying over 1,000 YAML events through aliases.
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

impl PhaseName {
    /// As the key under `phases`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::PreBuild => "pre_build",
            Self::Build => "build",
            Self::PostBuild => "post_build",
        }
    }
}

/// As CodeBuild names the phase in its log.
impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Install => "INSTALL",
            Self::PreBuild => "PRE_BUILD",
            Self::Build => "BUILD",
            Self::PostBuild => "POST_BUILD",
        })
    }
}

impl Artifacts {
    /// The path that `file` gets among the artifacts, or `None` if it is not one. `file` is relative to the source
    /// folder.
    pub fn place<'a>(&self, file: &'a Path) -> Option<&'a Path> {
        let inside = match &self.base {
            Some(base) => base.strip(file)?,
            None => file,
        };
        if !self.files.is_match(inside) || self.exclude.is_match(inside) {
            return None;
        }
        if self.discard_paths { inside.file_name().map(Path::new) } else { Some(inside) }
    }
}

impl BaseDirectory {
    /// `None` for the source folder itself.
    fn parse(directory: Spanned<String>) -> Result<Option<Self>, BuildspecError> {
        let key = "artifacts.base-directory";
        let Some(pattern) = relative_pattern(key, &directory)? else { return Ok(None) };
        if pattern.contains("**") {
            return Err(BuildspecError::at(&directory, format!("`{key}`: {pattern:?} has a `**`")));
        }
        let depth = pattern.split('/').count();
        let pattern = Strings(vec![directory]).into_globs(key)?;
        Ok(Some(Self { pattern, depth }))
    }

    fn strip<'a>(&self, file: &'a Path) -> Option<&'a Path> {
        let directory = file.ancestors().find(|ancestor| ancestor.components().count() == self.depth)?;
        let inside = file.strip_prefix(directory).ok()?;
        (self.pattern.is_match(directory) && inside != Path::new("")).then_some(inside)
    }
}

impl BuildspecError {
    pub const CODE: &str = "buildspec_invalid";

    fn new(line: impl Into<Option<u64>>, message: impl Into<String>) -> Self {
        Self { line: line.into(), message: message.into() }
    }

    fn at<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self::new(value.referenced.line(), message)
    }
}

impl fmt::Display for BuildspecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for BuildspecError {}

impl From<serde_saphyr::Error> for BuildspecError {
    fn from(error: serde_saphyr::Error) -> Self {
        use serde_saphyr::Error;

        let line = error.location().map(|location| location.line());
        let mut error = error;
        while let Error::AliasError { error: aliased, .. } = error {
            error = *aliased;
        }
        let message = match &error {
            Error::SerdeUnknownField { field, .. } => format!("unknown key `{field}`"),
            Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
            Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is given twice"),
            Error::Unexpected { expected: "string scalar", .. } => {
                "expected a string; one that holds `: ` or starts with a special character must be quoted".to_owned()
            }
            Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } => {
                format!("the file is too complex: {error}")
            }
            _ => error.to_string(),
        };
        let position = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
        let message = position.and_then(|position| message.strip_suffix(&position)).unwrap_or(&message);
        Self::new(line, message)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    version: Spanned<String>,
    env: Option<EnvSection>,
    phases: PhasesSection,
    artifacts: Option<ArtifactsSection>,
    cache: Option<IgnoredAny>,
    reports: Option<IgnoredAny>,
    run_as: Option<Spanned<IgnoredAny>>,
    proxy: Option<Spanned<IgnoredAny>>,
    batch: Option<Spanned<IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EnvSection {
    shell: Option<Spanned<String>>,
    #[serde(default)]
    variables: BTreeMap<String, Spanned<String>>,
    exported_variables: Option<IgnoredAny>,
    git_credential_helper: Option<Spanned<String>>,
    parameter_store: Option<Spanned<IgnoredAny>>,
    secrets_manager: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhasesSection {
    install: Option<PhaseSection>,
    pre_build: Option<PhaseSection>,
    build: Option<PhaseSection>,
    post_build: Option<PhaseSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PhaseSection {
    #[serde(default)]
    commands: Strings,
    #[serde(default)]
    finally: Strings,
    on_failure: Option<Spanned<String>>,
    runtime_versions: Option<Spanned<IgnoredAny>>,
    run_as: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ArtifactsSection {
    files: Spanned<Strings>,
    name: Option<String>,
    base_directory: Option<Spanned<String>>,
    #[serde(default)]
    exclude_paths: Strings,
    discard_paths: Option<Spanned<String>>,
    enable_symlinks: Option<Spanned<String>>,
    s3_prefix: Option<IgnoredAny>,
    secondary_artifacts: Option<Spanned<IgnoredAny>>,
}

/// A list of strings, or one string.
#[derive(Default)]
struct Strings(Vec<Spanned<String>>);

impl Document {
    fn into_buildspec(self) -> Result<Buildspec, BuildspecError> {
        if self.version.value != "0.2" {
            return Err(BuildspecError::at(&self.version, "`version` must be 0.2"));
        }
        refuse("run-as", self.run_as, "all commands run as one user")?;
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
            return Err(BuildspecError::new(None, "`phases` has no command"));
        }
        let artifacts = self.artifacts.map(|section| section.into_artifacts(&mut notes)).transpose()?;
        Ok(Buildspec { env, shell, phases, artifacts, notes })
    }
}

impl EnvSection {
    fn into_env(self, notes: &mut Vec<String>) -> Result<(BTreeMap<String, String>, Shell), BuildspecError> {
        refuse("env.parameter-store", self.parameter_store, "give the values as the deployment's variables")?;
        refuse("env.secrets-manager", self.secrets_manager, "give the values as the deployment's variables")?;
        if let Some(helper) = self.git_credential_helper
            && yes_or_no("env.git-credential-helper", &helper)?
        {
            return Err(BuildspecError::at(&helper, "`env.git-credential-helper` is not supported"));
        }
        if self.exported_variables.is_some() {
            notes.push("`env.exported-variables` is ignored: no later pipeline stage reads them.".to_owned());
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
                let message = format!("`env.variables`: {name:?} is not a name of letters, digits and _");
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
        refuse(&format!("phases.{key}.run-as"), self.run_as, "all commands run as one user")?;
        match self.runtime_versions {
            None => {}
            Some(_) if name == PhaseName::Install => notes
                .push("`phases.install.runtime-versions` is ignored: commands run with what is installed.".to_owned()),
            Some(versions) => {
                let message = format!("`phases.{key}.runtime-versions` is only for `phases.install`");
                return Err(BuildspecError::at(&versions, message));
            }
        }
        let on_failure = match self.on_failure {
            // Only a failed build phase is followed by the next one:
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
        Ok(Phase { name, commands: self.commands.into_commands()?, finally: self.finally.into_commands()?, on_failure })
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
            notes.push("`artifacts.s3-prefix` is ignored: a deployment's artifacts have their own place.".to_owned());
        }
        let discard_paths = match self.discard_paths {
            Some(discard) => yes_or_no("artifacts.discard-paths", &discard)?,
            None => false,
        };
        if self.files.value.0.is_empty() {
            return Err(BuildspecError::at(&self.files, "`artifacts.files` is empty"));
        }
        let base = match self.base_directory {
            Some(directory) => BaseDirectory::parse(directory)?,
            None => None,
        };
        Ok(Artifacts {
            name: self.name,
            base,
            files: self.files.value.into_globs("artifacts.files")?,
            exclude: self.exclude_paths.into_globs("artifacts.exclude-paths")?,
            discard_paths,
        })
    }
}

impl Strings {
    fn into_commands(self) -> Result<Vec<String>, BuildspecError> {
        self.0.into_iter().map(without_nul).collect()
    }

    fn into_globs(self, key: &str) -> Result<GlobSet, BuildspecError> {
        let mut set = GlobSetBuilder::new();
        for pattern in &self.0 {
            let Some(text) = relative_pattern(key, pattern)? else {
                return Err(BuildspecError::at(pattern, format!("`{key}`: {:?} names no file", pattern.value)));
            };
            set.add(glob(key, pattern, &text)?);
        }
        let line = self.0.first().map(|pattern| pattern.referenced.line());
        set.build().map_err(|error| BuildspecError::new(line, format!("`{key}`: {error}")))
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enum OneOrMany {
            One(String),
            Many(Vec<Spanned<String>>),
        }

        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, one: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(one.to_owned()))
            }

            /// `true` and `false` are commands.
            fn visit_bool<E>(self, one: bool) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(one.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = list.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany::Many(many))
            }
        }

        impl<'de> Deserialize<'de> for OneOrMany {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(OneOrManyVisitor)
            }
        }

        let strings = Spanned::<OneOrMany>::deserialize(deserializer)?;
        Ok(Self(match strings.value {
            OneOrMany::One(one) => vec![Spanned::new(one, strings.referenced, strings.defined)],
            OneOrMany::Many(many) => many,
        }))
    }
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

/// Neither an argument nor an environment variable can hold a NUL.
fn without_nul(value: Spanned<String>) -> Result<String, BuildspecError> {
    if value.value.contains('\0') {
        return Err(BuildspecError::at(&value, "a NUL character can't be passed to a command"));
    }
    Ok(value.value)
}

/// The pattern without a leading `./` and a trailing `/`, or `None` for the source folder itself.
fn relative_pattern(key: &str, pattern: &Spanned<String>) -> Result<Option<String>, BuildspecError> {
    let refused = |why: &str| Err(BuildspecError::at(pattern, format!("`{key}`: {:?} {why}", pattern.value)));
    if pattern.value.len() > MAX_PATTERN_BYTES {
        return Err(BuildspecError::at(pattern, format!("`{key}`: a pattern is longer than 1,024 bytes")));
    }
    if pattern.value.starts_with('/') || pattern.value.split('/').any(|name| name == "..") {
        return refused("must stay in the source folder");
    }
    // CodeBuild replaces variables here.
    if pattern.value.contains('$') {
        return refused("has a variable, which is not replaced here");
    }
    let names: Vec<&str> = pattern.value.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    Ok((!names.is_empty()).then(|| names.join("/")))
}

fn glob(key: &str, at: &Spanned<String>, pattern: &str) -> Result<globset::Glob, BuildspecError> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| BuildspecError::at(at, format!("`{key}`: {error}")))
}
