//! Variables that a request passes to the build.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use shared::model::{
    CurrentVariables, DeploymentVariables, MAX_VARIABLE_NAME, RESERVED_VARIABLE_PREFIXES, VARIABLE_NAME_PATTERN,
    VariableName,
};
use shared::{Error, ErrorCode, Result};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Object, RefOr};
use vault::Vault;

const MAX_VARIABLES: usize = 100;
/// The size of all names and values together.
const MAX_BYTES: usize = 32 * 1024;

/// Valid variables: at most 100, of at most 32 KiB in all. `Debug` shows no values, and secret ones leave this type only encrypted.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<Name, Value>")]
pub struct Variables(BTreeMap<String, Value>);

/// The name of a variable that a deployment may have.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct Name(VariableName);

/// A string, or an object that may mark its value as a secret. A value that looks like a secret must be marked, because a key in
/// a plain variable is usually a mistake.
#[derive(Debug, Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct Value {
    text: SecretString,
    is_secret: bool,
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let name: VariableName = name.parse().map_err(|error: shared::model::InvalidVariableName| error.to_string())?;
        name.check_outside_of_environments()?;
        Ok(Self(name))
    }
}

/// Accepts any JSON, because serde's own messages would repeat a value of the wrong type.
impl TryFrom<serde_json::Value> for Value {
    type Error = String;

    fn try_from(json: serde_json::Value) -> Result<Self, String> {
        use serde_json::Value::{Bool, Object, String};
        let not_a_value = || "must be a string or {\"value\": string, \"secret\": boolean}".to_owned();
        let (value, is_secret) = match json {
            String(value) => (value, false),
            Object(mut members) => match (members.remove("value"), members.remove("secret")) {
                (Some(String(value)), None) if members.is_empty() => (value, false),
                (Some(String(value)), Some(Bool(secret))) if members.is_empty() => (value, secret),
                _ => return Err(not_a_value()),
            },
            _ => return Err(not_a_value()),
        };
        match variables::kind(&value) {
            Some(kind) if !is_secret => {
                Err(format!("must not be {kind} as a plain value: send it as {{\"value\": …, \"secret\": true}}"))
            }
            _ if value.contains('\0') => Err("must not have a NUL character".to_owned()),
            _ => Ok(Self { text: value.into(), is_secret }),
        }
    }
}

impl TryFrom<BTreeMap<Name, Value>> for Variables {
    type Error = String;

    fn try_from(variables: BTreeMap<Name, Value>) -> Result<Self, String> {
        if variables.len() > MAX_VARIABLES {
            return Err(format!("must have at most {MAX_VARIABLES} entries"));
        }
        let size = |(name, value): (&Name, &Value)| name.0.as_str().len() + value.text.expose_secret().len();
        if variables.iter().map(size).sum::<usize>() > MAX_BYTES {
            return Err("must have at most 32 KiB of names and values".to_owned());
        }
        Ok(Self(variables.into_iter().map(|(Name(name), value)| (name.to_string(), value)).collect()))
    }
}

impl utoipa::ToSchema for Variables {}

// Written by hand: the derive can't describe the names, and gives a map's example to its values.
impl utoipa::PartialSchema for Variables {
    fn schema() -> RefOr<Schema> {
        let reserved = RESERVED_VARIABLE_PREFIXES.join("`, `");
        let description = format!(
            "Environment variables for the build, at most 32 KiB of names and values in all. Names must not start with \
             `{reserved}`. Variables on which shells, loaders and interpreters act by themselves (`BASH_ENV`, `PATH`, \
             `LD_PRELOAD`, `NODE_OPTIONS`, …) are refused, because they change which code runs at the same commit. Values are plain unless they are sent as `{{\"value\": …, \"secret\": true}}`: \
             the deployment and its log show plain values, and never secret ones. A value that looks like a well-known secret (a token \
             of this API, of GitHub or of Stripe, an AWS access key, a private key) must be secret."
        );
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[^\\x00]*$")).build();
        let plain = RefOr::from(text.clone());
        let marked = ObjectBuilder::new()
            .property("value", text)
            .property("secret", Object::with_type(Type::Boolean))
            .required("value")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let value = OneOfBuilder::new().item(plain).item(marked);
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(VARIABLE_NAME_PATTERN))
            .max_length(Some(MAX_VARIABLE_NAME));
        ObjectBuilder::new()
            .description(Some(description))
            .property_names(Some(name))
            .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::OneOf(value.build())))))
            .max_properties(Some(MAX_VARIABLES))
            .examples([serde_json::json!({"LOG_LEVEL": "debug"})])
            .into()
    }
}

impl Variables {
    /// Returns the names, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Returns the names, each with the size of its value in bytes.
    pub fn sizes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.text.expose_secret().len()))
    }

    /// Returns the variables with the versions of the stored ones, as the deployment keeps them. Secrets are sealed to a context.
    ///
    /// # Errors
    /// Fails if the build would get too many or too large variables, or if the vault fails.
    pub async fn fix(self, stored: &CurrentVariables, vault: &Vault, context: &str) -> Result<DeploymentVariables> {
        let sets = stored.freeze(self.sizes())?;
        let (mut plain, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in &self.0 {
            let kept = if value.is_secret { &mut secrets } else { &mut plain };
            kept.insert(name.clone(), value.text.expose_secret().to_owned());
        }
        let sealed = match secrets.is_empty() {
            true => None,
            false => {
                let json = serde_json::to_vec(&secrets).map_err(Error::internal)?;
                let sealed = vault.seal(context, &json).await;
                let unavailable = "The variables can't be encrypted at the moment; try again";
                let sealed =
                    sealed.map_err(|error| Error::new(ErrorCode::ServiceUnavailable, unavailable).because(error))?;
                Some(ByteBuf::from(sealed))
            }
        };
        Ok(DeploymentVariables { sealed, plain, sets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Variables, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn values_do_not_show() {
        let variables = parse(r#"{"API_KEY": "hunter2"}"#).unwrap();
        let shown = format!("{variables:?}");
        assert!(shown.contains("API_KEY") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_is_not_allowed_is_named() {
        for (json, named) in [
            (r#"{"": "x"}"#, "[A-Za-z_]"),
            (r#"{"1A": "x"}"#, "[A-Za-z_]"),
            (r#"{"A-B": "x"}"#, "[A-Za-z_]"),
            (r#"{"AWS_PROFILE": "x"}"#, "names that start with AWS_"),
            (
                r#"{"AWS_REGION": "x"}"#,
                "PUT /v1/repositories/{repo_id}/environments/{environment}/variables/AWS_REGION",
            ),
            (r#"{"GIT_SHA": "x"}"#, "GIT_"),
            (r#"{"BASH_ENV": "$(id)"}"#, "BASH_ENV changes how shells run"),
            (r#"{"A": "\u0000"}"#, "NUL"),
            (r#"{"A": 1}"#, "string"),
            (r#"{"A": {"secret": true}}"#, "boolean"),
            (r#"{"A": {"value": "x", "other": 1}}"#, "boolean"),
            (r#"{"A": {"value": "AKIAIOSFODNN7EXAMPLE", "secret": false}}"#, "AWS access key"),
            (r#"["A"]"#, "map"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn number_and_size_are_bounded() {
        let many = |count: usize| {
            let entries: BTreeMap<_, _> = (0..count).map(|number| (format!("V{number}"), "")).collect();
            parse(&serde_json::json!(entries).to_string())
        };
        assert!(many(100).is_ok());
        assert!(many(101).is_err());
        let long = |bytes: usize| parse(&serde_json::json!({"A": "x".repeat(bytes - 1)}).to_string());
        assert!(long(MAX_BYTES).is_ok());
        assert!(long(MAX_BYTES + 1).is_err());
    }
}
