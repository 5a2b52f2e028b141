//! Conditions on the claims of an issuer's tokens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Object, RefOr};

use crate::name::find_unseen;

/// The maximum number of conditions of a trust.
const MAX_CONDITIONS: usize = 10;
/// The claims that tell whose job a token is for, at the issuers of continuous integration.
const IDENTIFYING: [&str; 12] = [
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "project_path",
    "project_id",
    "namespace_path",
    "namespace_id",
    "organization_id",
    "organization_slug",
    "pipeline_id",
];
/// The claims that every exchange checks by itself.
const CHECKED: [&str; 6] = ["aud", "exp", "iat", "iss", "jti", "nbf"];
const WILDCARD: &str = "*";
const SEPARATORS: [char; 2] = ['/', ':'];
const MAX_NAME_CHARS: usize = 64;
const MAX_PATTERN_CHARS: usize = 512;

/// The conditions of a trust, at least one. One of them at least tells whose tokens they are, without a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<ClaimName, ClaimPattern>")]
pub struct Conditions(BTreeMap<ClaimName, ClaimPattern>);

/// The name of a claim that a trust may have a condition on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct ClaimName(String);

/// The values of a claim that satisfy a condition: one value, or with wildcards those of one form.
///
/// The text is cut into parts at `/` and `:`. The wildcard `*` stands for one whole part, which is not empty, and never for a
/// separator. So a value has as many parts as its pattern, with the same separators between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct ClaimPattern(String);

impl Conditions {
    /// Returns the name of the first claim that does not satisfy its condition, or `None` if all do. Only a claim that is a
    /// string satisfies a condition.
    pub fn unsatisfied(&self, claims: &Map<String, Value>) -> Option<&str> {
        let is_satisfied = |(ClaimName(name), pattern): &(&ClaimName, &ClaimPattern)| {
            claims.get(name).and_then(Value::as_str).is_some_and(|value| pattern.matches(value))
        };
        self.0.iter().find(|condition| !is_satisfied(condition)).map(|(ClaimName(name), _)| name.as_str())
    }
}

impl TryFrom<BTreeMap<ClaimName, ClaimPattern>> for Conditions {
    type Error = String;

    fn try_from(conditions: BTreeMap<ClaimName, ClaimPattern>) -> Result<Self, String> {
        if conditions.len() > MAX_CONDITIONS {
            return Err(format!("must have at most {MAX_CONDITIONS} entries"));
        }
        let identifies = |(ClaimName(name), pattern): (&ClaimName, &ClaimPattern)| {
            IDENTIFYING.contains(&name.as_str()) && !pattern.parts().any(|(part, _)| part == WILDCARD)
        };
        if !conditions.iter().any(identifies) {
            let identifying = IDENTIFYING.join("`, `");
            return Err(format!(
                "must tell whose tokens are accepted, by a value without '*' of one of `{identifying}`"
            ));
        }
        Ok(Self(conditions))
    }
}

impl TryFrom<String> for ClaimName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if !(1..=MAX_NAME_CHARS).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("must have a name of 1 to {MAX_NAME_CHARS} printable ASCII characters without spaces"));
        }
        match CHECKED.contains(&name.as_str()) {
            true => Err("can't have a condition, because each exchange checks this claim".to_owned()),
            false => Ok(Self(name)),
        }
    }
}

impl ClaimPattern {
    /// Returns the parts, each with the separator behind it. The last part has none.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        parts(&self.0)
    }

    fn matches(&self, value: &str) -> bool {
        let mut values = parts(value);
        let each_matches = self.parts().all(|(part, separator)| {
            values.next().is_some_and(|(value, behind)| {
                behind == separator && (part == value || (part == WILDCARD && !value.is_empty()))
            })
        });
        each_matches && values.next().is_none()
    }
}

fn parts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_inclusive(SEPARATORS).map(|part| part.split_at(part.trim_end_matches(SEPARATORS).len()))
}

impl TryFrom<String> for ClaimPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !(1..=MAX_PATTERN_CHARS).contains(&text.chars().count()) || find_unseen(&text).is_some() {
            return Err(format!("must be 1 to {MAX_PATTERN_CHARS} characters that can be seen"));
        }
        let pattern = Self(text);
        if pattern.parts().any(|(part, _)| part != WILDCARD && part.contains(WILDCARD)) {
            return Err("must have '*' only as a whole part between '/' and ':'".to_owned());
        }
        if pattern.parts().all(|(part, _)| part.is_empty() || part == WILDCARD) {
            return Err("must have a part other than '*'".to_owned());
        }
        Ok(pattern)
    }
}

impl utoipa::ToSchema for Conditions {}

// Written by hand: the derive can't describe the names, and gives a map's example to its values.
impl utoipa::PartialSchema for Conditions {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^(?!({})$)[!-~]+$", CHECKED.join("|"))))
            .max_length(Some(MAX_NAME_CHARS));
        // Parts between separators, each of them a wildcard or without one, and one of them neither empty nor a wildcard.
        const PART: &str = r"(\*|[^*/:\x00-\x1f\x7f-\x9f]*)";
        let pattern = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(format!("^(?=.*[^*/:]){PART}([/:]{PART})*$")))
            .min_length(Some(1))
            .max_length(Some(MAX_PATTERN_CHARS))
            .build();
        let identifying = IDENTIFYING.join("`, `");
        let description = format!(
            "Conditions on claims of the issuer's token, at most {MAX_CONDITIONS}, all of which it has to satisfy. A claim \
             satisfies a condition if it is a string and equal to the value. The value is cut into parts at `/` and `:`; the \
             part `*` stands for exactly one part that is not empty. At least one value without `*` is of `{identifying}`."
        );
        let example = serde_json::json!({"repository": "acme/app", "sub": "repo:acme/app:environment:*"});
        let conditions: Object = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(description))
            .property_names(Some(name))
            .additional_properties(Some(AdditionalProperties::RefOr(pattern.into())))
            .max_properties(Some(MAX_CONDITIONS))
            .examples([example])
            .build();
        Schema::Object(conditions).into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conditions(json: Value) -> Result<Conditions, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    fn matches(pattern: &str, value: &str) -> bool {
        ClaimPattern::try_from(pattern.to_owned()).unwrap().matches(value)
    }

    #[test]
    fn a_wildcard_stands_for_one_whole_part() {
        for (pattern, value) in [
            ("acme/app", "acme/app"),
            ("acme/*", "acme/app"),
            ("repo:acme/app:environment:*", "repo:acme/app:environment:production"),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main"),
            ("*:acme/app", "repo:acme/app"),
            ("refs/tags/*", "refs/tags/v1.2.3"),
        ] {
            assert!(matches(pattern, value), "{pattern} {value}");
        }
        for (pattern, value) in [
            ("acme/app", "acme/app-evil"),
            ("acme/app", "acme/ap"),
            ("acme/app", "ACME/app"),
            ("acme/app", "acme:app"),
            ("acme/app", "acme/app/"),
            ("acme/app", "/acme/app"),
            ("acme/app", ""),
            ("acme/*", "acme/"),
            ("acme/*", "acme"),
            ("acme/*", "acme/app/other"),
            ("acme/*", "acme/app:ref"),
            ("acme/*", "acme-evil/app"),
            ("repo:acme/app:*", "repo:acme/app:ref:refs/heads/main"),
            ("repo:acme/app:ref:refs/heads/*", "repo:acme/app:ref:refs/heads/feature/x"),
            ("repo:acme/app:ref:refs/heads/*", "repo:acme/app:pull_request"),
            ("repo:acme/app:ref:refs/heads/*", "repo:acme/app:ref:refs/tags/v1"),
            ("repo:acme/app:environment:*", "repo:evil/x:repo:acme/app:environment:production"),
            ("refs/*/main", "refs//main"),
        ] {
            assert!(!matches(pattern, value), "{pattern} {value}");
        }
    }

    #[test]
    fn only_a_string_satisfies_a_condition() {
        let conditions = conditions(json!({"repository": "acme/app", "ref_protected": "true"})).unwrap();
        let unsatisfied = |claims: Value| conditions.unsatisfied(claims.as_object().unwrap()).map(str::to_owned);
        assert_eq!(unsatisfied(json!({"repository": "acme/app", "ref_protected": "true", "other": 1})), None);
        for value in [json!(true), json!(1), json!(["true"]), json!({"true": "true"}), Value::Null] {
            let claims = json!({"repository": "acme/app", "ref_protected": value});
            assert_eq!(unsatisfied(claims), Some("ref_protected".to_owned()), "{value}");
        }
        assert_eq!(unsatisfied(json!({"ref_protected": "true"})), Some("repository".to_owned()));
    }

    #[test]
    fn conditions_say_whose_tokens_they_accept() {
        for good in [
            json!({"sub": "repo:acme/app:ref:refs/heads/main"}),
            json!({"repository_id": "74", "sub": "repo:*/*:environment:production"}),
            json!({"project_path": "acme/app", "ref": "main"}),
        ] {
            assert!(conditions(good.clone()).is_ok(), "{good}");
        }
        let many: BTreeMap<_, _> =
            (0..10).map(|number| (format!("claim_{number}"), "x")).chain([("sub".to_owned(), "x")]).collect();
        for (bad, why) in [
            (json!({}), "must tell whose"),
            (json!({"ref": "main"}), "must tell whose"),
            (json!({"repository": "acme/*"}), "must tell whose"),
            (json!({"sub": "repo:*/app:ref:refs/heads/main"}), "must tell whose"),
            (json!({"sub": "*"}), "other than '*'"),
            (json!({"sub": "*:*/*"}), "other than '*'"),
            (json!({"sub": "/"}), "other than '*'"),
            (json!({"sub": "repo:acme/*", "repository": "acme/app*"}), "only as a whole part"),
            (json!({"sub": "repo:acme/**"}), "only as a whole part"),
            (json!({"sub": ""}), "characters that can be seen"),
            (json!({"sub": "repo:acme/app\u{200b}"}), "characters that can be seen"),
            (json!({"sub": "x".repeat(513)}), "characters that can be seen"),
            (json!({"sub": "x", "aud": "y"}), "each exchange checks"),
            (json!({"sub": "x", "": "y"}), "must have a name"),
            (json!(many), "at most 10"),
        ] {
            let refused = conditions(bad.clone()).unwrap_err();
            assert!(refused.contains(why), "{bad}: {refused}");
        }
    }
}
