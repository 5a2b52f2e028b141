//! The names of variables.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::refused_variable::acted_on_by;

/// The prefixes of names that the pipeline itself sets, or that would give a build other credentials.
pub const RESERVED_VARIABLE_PREFIXES: [&str; 4] = ["AWS_", "CODEBUILD_", "DEPLOYMENT_", "GIT_"];
/// The maximum length of a name. Rows contain the names.
pub const MAX_VARIABLE_NAME: usize = 128;
/// The pattern of names.
pub const VARIABLE_NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// The variables with which a build acts in AWS as somebody whom an environment chooses.
const OF_AWS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];
/// The names among them whose values are always secret.
const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The name of a variable: letters, digits and `_`, without a reserved prefix. No shell, loader or interpreter acts on a variable
/// of this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 128, pattern = "^[A-Za-z_][A-Za-z0-9_]*$", examples("API_URL"))]
pub struct VariableName(String);

/// The reasons why a text can't be the name of a variable.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant describes it")]
pub enum InvalidVariableName {
    #[error("must have a name of the form [A-Za-z_][A-Za-z0-9_]*")]
    Form,
    #[error("must have a name of at most {MAX_VARIABLE_NAME} characters")]
    Length,
    #[error("must not have this name: names that start with {0} are reserved")]
    Reserved(&'static str),
    #[error("can't be set outside of a buildspec, because {name} changes how {programs} run")]
    ActedOn { name: String, programs: &'static str },
}

impl VariableName {
    /// The pattern of a name, with its length.
    pub const PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]{0,127}$";

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether only an environment may have a variable of this name, because a build acts with it in AWS.
    fn is_of_aws(&self) -> bool {
        OF_AWS.contains(&self.as_str())
    }

    /// Checks that a variable of this name may be set outside of an environment.
    ///
    /// # Errors
    /// Fails with the place in which to set the variable instead.
    pub fn check_outside_of_environments(&self) -> Result<(), String> {
        match self.is_of_aws() {
            false => Ok(()),
            true => Err(format!(
                "must be a variable of an environment, because builds act in AWS with it; an admin sets it with \
                 PUT /v1/repositories/{{repo_id}}/environments/{{environment}}/variables/{self}"
            )),
        }
    }

    /// Returns whether a variable of this name must be secret.
    pub fn is_credential(&self) -> bool {
        CREDENTIALS.contains(&self.as_str())
    }
}

impl FromStr for VariableName {
    type Err = InvalidVariableName;

    fn from_str(text: &str) -> Result<Self, InvalidVariableName> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(InvalidVariableName::Form);
        }
        if text.len() > MAX_VARIABLE_NAME {
            return Err(InvalidVariableName::Length);
        }
        let name = Self(text.to_owned());
        let reserved = RESERVED_VARIABLE_PREFIXES.into_iter().find(|prefix| text.starts_with(prefix));
        match (reserved, acted_on_by(text)) {
            (Some(prefix), _) if !name.is_of_aws() => Err(InvalidVariableName::Reserved(prefix)),
            (_, Some(programs)) => Err(InvalidVariableName::ActedOn { name: name.0, programs }),
            _ => Ok(name),
        }
    }
}

string_conversions!(VariableName, InvalidVariableName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_allowed_is_refused_with_its_reason() {
        let long = "A".repeat(MAX_VARIABLE_NAME + 1);
        for (text, reason) in [
            ("", "[A-Za-z_]"),
            ("1A", "[A-Za-z_]"),
            ("A-B", "[A-Za-z_]"),
            ("Ä", "[A-Za-z_]"),
            (long.as_str(), "at most 128"),
            ("AWS_PROFILE", "AWS_"),
            ("GIT_SHA", "GIT_"),
            ("CODEBUILD_X", "CODEBUILD_"),
            ("BASH_ENV", "BASH_ENV changes how shells run"),
        ] {
            let error = text.parse::<VariableName>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_names_for_aws_are_known() {
        let name = |text: &str| text.parse::<VariableName>().unwrap();
        for (text, of_aws, credential) in [
            ("AWS_SECRET_ACCESS_KEY", true, true),
            ("AWS_REGION", true, false),
            ("API_URL", false, false),
            (&"A".repeat(MAX_VARIABLE_NAME), false, false),
        ] {
            assert_eq!((name(text).is_of_aws(), name(text).is_credential()), (of_aws, credential), "{text}");
        }
    }
}
