//! Rules that say which pushes are deployed, and to which environment.

use serde::{Deserialize, Serialize};

use crate::model::Environment;
use crate::name::{PathGlob, RefGlob, select};

/// The maximum number of rules of a repository.
pub const MAX_DEPLOY_RULES: usize = 20;
/// The maximum number of globs in a list of a rule.
pub const MAX_GLOBS: usize = 20;
/// The maximum size of all globs of a repository together, in bytes. They are in the repository's row, which each deployment
/// writes.
const MAX_GLOB_BYTES: usize = 8 * 1024;

/// The rules of a repository. The first that matches a ref decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<DeployRule>")]
pub struct DeployRules(Vec<DeployRule>);

/// A rule that deploys pushes of some branches or tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRule {
    /// The branches and tags, 1 to 20 globs. The last glob that matches a name decides. Branches are compared with the globs
    /// of branches only, and tags with those of tags. If the first of them starts with `!`, they select all that they don't exclude.
    #[schema(value_type = Vec<RefGlob>, min_items = 1, max_items = 20)]
    pub refs: Globs<RefGlob, 1>,
    /// The environment to deploy to. Of a pattern, such as `review-*`, the member that is named after the ref.
    pub environment: Environment,
    /// The paths of which a push must change one, at most 20 globs. The last glob that matches a path decides. If the first
    /// starts with `!`, they select all that they don't exclude. Empty for any path.
    #[serde(default)]
    #[schema(value_type = Vec<PathGlob>, max_items = 20, default = json!([]))]
    pub paths: Globs<PathGlob, 0>,
}

/// A list of `MIN` to [`MAX_GLOBS`] globs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub struct Globs<T, const MIN: usize>(Vec<T>);

impl DeployRules {
    /// Returns the environments of the rules, each with the path of its field in a body.
    pub fn environments(&self) -> impl Iterator<Item = (String, Environment)> {
        let field = |(at, rule): (usize, &DeployRule)| (format!("deploy_rules[{at}].environment"), rule.environment);
        self.0.iter().enumerate().map(field)
    }

    /// Returns the first rule whose refs match a branch or tag, by its full name: `refs/heads/main`, `refs/tags/v1`.
    pub fn environment_of(&self, ref_full_name: &str) -> Option<&DeployRule> {
        self.0.iter().find(|rule| rule.is_about(ref_full_name))
    }
}

impl DeployRule {
    fn is_about(&self, ref_full_name: &str) -> bool {
        self.refs.select(ref_full_name)
    }

    /// Returns whether only pushes that change some paths are deployed.
    pub fn has_paths(&self) -> bool {
        !self.paths.0.is_empty()
    }

    /// Returns whether a push that changed these paths is deployed. A rule without paths deploys every push.
    pub fn concerns<P: AsRef<str>>(&self, changed: impl IntoIterator<Item = P>) -> bool {
        self.paths.0.is_empty() || changed.into_iter().any(|path| select(self.paths.0.iter(), path.as_ref()))
    }
}

impl TryFrom<Vec<DeployRule>> for DeployRules {
    type Error = String;

    fn try_from(rules: Vec<DeployRule>) -> Result<Self, String> {
        if rules.len() > MAX_DEPLOY_RULES {
            return Err(format!("must have at most {MAX_DEPLOY_RULES} entries"));
        }
        let bytes = |rule: &DeployRule| {
            let refs = rule.refs.0.iter().map(|glob| glob.as_str().len());
            refs.chain(rule.paths.0.iter().map(|glob| glob.as_str().len())).sum::<usize>()
        };
        match rules.iter().map(bytes).sum::<usize>() > MAX_GLOB_BYTES {
            true => Err("must have at most 8,192 bytes of globs together".to_owned()),
            false => Ok(Self(rules)),
        }
    }
}

impl<T, const MIN: usize> TryFrom<Vec<T>> for Globs<T, MIN> {
    type Error = String;

    fn try_from(globs: Vec<T>) -> Result<Self, String> {
        match globs.len() {
            len if len < MIN => Err(format!("must have {MIN} to {MAX_GLOBS} entries")),
            len if len > MAX_GLOBS => Err(format!("must have at most {MAX_GLOBS} entries")),
            _ => Ok(Self(globs)),
        }
    }
}

impl<const MIN: usize> Globs<RefGlob, MIN> {
    /// Returns whether the globs select a branch or tag, by its full name: `refs/heads/main`, `refs/tags/v1`.
    pub(crate) fn select(&self, ref_full_name: &str) -> bool {
        let branch = ref_full_name.strip_prefix("refs/heads/");
        let Some(name) = branch.or_else(|| ref_full_name.strip_prefix("refs/tags/")) else { return false };
        select(self.0.iter().filter(|glob| glob.is_about_tags() != branch.is_some()), name)
    }
}

impl<T> Globs<T, 0> {
    /// Returns whether there is no glob.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Globs<T, 0> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::input::Input;

    #[derive(Debug, Deserialize, utoipa::ToSchema)]
    struct Body {
        #[schema(value_type = Vec<DeployRule>)]
        deploy_rules: DeployRules,
    }

    fn parse(rules: Value) -> crate::Result<DeployRules> {
        let body = json!({"deploy_rules": rules}).to_string();
        Input::of_body(body.as_bytes())?.parse().map(|Body { deploy_rules }| deploy_rules)
    }

    #[test]
    fn the_first_rule_that_matches_a_ref_decides() {
        let rules = parse(json!([
            {"refs": ["main", "release/*", "!release/*-old"], "environment": "production"},
            {"refs": ["tags/v*", "!tags/v0.*"], "environment": "production"},
            {"refs": ["develop", "release/**"], "environment": "staging"},
            {"refs": ["!dependabot/**", "!tags/nightly"], "environment": "preview"},
        ]))
        .unwrap();
        let (preview, staging, production) =
            (Some(Environment::PREVIEW), Some(Environment::STAGING), Some(Environment::PRODUCTION));
        for (name, environment) in [
            ("refs/heads/main", production),
            ("refs/heads/release/1", production),
            ("refs/heads/release/1-old", staging),
            ("refs/heads/release/1/fix", staging),
            ("refs/heads/develop", staging),
            ("refs/heads/Main", preview),
            ("refs/heads/main/x", preview),
            ("refs/heads/dependabot/npm/a", None),
            // A branch is no tag, whatever its name.
            ("refs/heads/tags/v1", preview),
            ("refs/tags/v1.2", production),
            ("refs/tags/v0.9", preview),
            ("refs/tags/main", preview),
            ("refs/tags/nightly", None),
            ("refs/pull/7/head", None),
            ("main", None),
        ] {
            assert_eq!(rules.environment_of(name).map(|rule| rule.environment), environment, "{name}");
        }
        assert_eq!(DeployRules::default().environment_of("refs/heads/main"), None);
    }

    #[test]
    fn a_glob_of_all_branches_has_no_tags() {
        let rules = parse(json!([{"refs": ["**"], "environment": "preview"}])).unwrap();
        assert!(rules.environment_of("refs/heads/a/b").is_some());
        assert!(rules.environment_of("refs/tags/v1").is_none());
    }

    #[test]
    fn a_push_is_deployed_if_it_changes_a_path_of_the_rule() {
        let concerns = |paths: Value, changed: &[&str]| {
            let rules = parse(json!([{"refs": ["main"], "environment": "preview", "paths": paths}])).unwrap();
            rules.environment_of("refs/heads/main").unwrap().concerns(changed)
        };
        let web = json!(["apps/web/**", "!**/*.md", "apps/web/index.md"]);
        assert!(concerns(web.clone(), &["README.md", "apps/web/src/main.ts"]));
        assert!(concerns(web.clone(), &["apps/web/index.md"]));
        assert!(!concerns(web.clone(), &["apps/web/README.md", "apps/api/main.rs", "apps/web"]));
        assert!(!concerns(web, &[]));
        assert!(!concerns(json!(["!**/*.md", "!docs/**"]), &["README.md", "a/b.md", "docs/index.html"]));
        assert!(concerns(json!(["!**/*.md", "!docs/**"]), &["README.md", "src/lib.rs"]));
        assert!(concerns(json!(["*.{js,ts}"]), &["a.ts"]) && !concerns(json!(["*.{js,ts}"]), &["src/a.ts"]));
        assert!(concerns(json!([]), &["anything"]) && concerns(json!([]), &[]));
    }

    #[test]
    fn a_wrong_rule_is_told_by_its_place() {
        let rule = |refs: Value, paths: Value| json!({"refs": refs, "environment": "preview", "paths": paths});
        let fields = |rules: Value| -> Vec<String> {
            let refused = parse(rules).unwrap_err();
            let mut fields: Vec<_> = refused.details().iter().map(|detail| detail.field.clone()).collect();
            fields.sort_unstable();
            fields
        };
        assert_eq!(fields(json!([rule(json!(["main", "refs/heads/x"]), json!([]))])), ["deploy_rules[0].refs[1]"]);
        assert_eq!(
            fields(json!([rule(json!(["main"]), json!([])), rule(json!([]), json!(["a", "../b"]))])),
            ["deploy_rules[1].paths[1]", "deploy_rules[1].refs"]
        );
        assert_eq!(fields(json!([rule(json!(vec!["a"; 21]), json!([]))])), ["deploy_rules[0].refs"]);
        assert_eq!(fields(json!([rule(json!(["a"]), json!(vec!["a"; 21]))])), ["deploy_rules[0].paths"]);
        assert_eq!(fields(json!(vec![rule(json!(["a"]), json!([])); 21])), ["deploy_rules"]);
        assert_eq!(fields(json!(vec![rule(json!(vec!["a".repeat(255); 20]), json!([])); 2])), ["deploy_rules"]);
        assert_eq!(
            fields(json!([{"refs": ["a"], "environment": "Live", "branches": []}])),
            ["deploy_rules[0].branches", "deploy_rules[0].environment"]
        );
    }
}
