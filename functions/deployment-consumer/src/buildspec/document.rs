//! The YAML document of a buildspec, with the position of each value.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_saphyr::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Document {
    pub version: Spanned<String>,
    pub env: Option<EnvSection>,
    pub phases: PhasesSection,
    pub artifacts: Option<ArtifactsSection>,
    pub cache: Option<IgnoredAny>,
    pub reports: Option<IgnoredAny>,
    pub run_as: Option<Spanned<IgnoredAny>>,
    pub proxy: Option<Spanned<IgnoredAny>>,
    pub batch: Option<Spanned<IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct EnvSection {
    pub shell: Option<Spanned<String>>,
    #[serde(default)]
    pub variables: BTreeMap<String, Spanned<String>>,
    pub exported_variables: Option<IgnoredAny>,
    pub git_credential_helper: Option<Spanned<String>>,
    pub parameter_store: Option<Spanned<IgnoredAny>>,
    pub secrets_manager: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhasesSection {
    pub install: Option<PhaseSection>,
    pub pre_build: Option<PhaseSection>,
    pub build: Option<PhaseSection>,
    pub post_build: Option<PhaseSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PhaseSection {
    #[serde(default)]
    pub commands: Strings,
    #[serde(default)]
    pub finally: Strings,
    pub on_failure: Option<Spanned<String>>,
    pub runtime_versions: Option<Spanned<IgnoredAny>>,
    pub run_as: Option<Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ArtifactsSection {
    pub files: Spanned<Strings>,
    pub name: Option<String>,
    pub base_directory: Option<Spanned<String>>,
    #[serde(default)]
    pub exclude_paths: Strings,
    pub discard_paths: Option<Spanned<String>>,
    pub enable_symlinks: Option<Spanned<String>>,
    pub s3_prefix: Option<IgnoredAny>,
    pub secondary_artifacts: Option<Spanned<IgnoredAny>>,
}

/// A list of strings, or one string.
#[derive(Default)]
pub(super) struct Strings(pub Vec<Spanned<String>>);

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

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            /// Accepts `true` and `false`, which are commands.
            fn visit_bool<E>(self, command: bool) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(command.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(string) = list.next_element()? {
                    many.push(string);
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
            OneOrMany::One(string) => vec![Spanned::new(string, strings.referenced, strings.defined)],
            OneOrMany::Many(many) => many,
        }))
    }
}
