//! The template of an area: its parameters, its globals and its functions. Resources that are no function's are written
//! into it by hand.

use shared::InitError;

use super::{Files, Function, parameter, resources};
use crate::functions::Area;

const GLOBALS: &str = r"Globals:
  Function:
    Runtime: provided.al2023
    Architectures: [arm64]
    Handler: bootstrap
    # A warm request takes less than a millisecond of CPU; 256 MB is a seventh of one.
    MemorySize: 256
    Timeout: 10
    Tracing: !Ref Tracing
    LoggingConfig:
      LogFormat: JSON
      # The metrics are in the lines of level INFO: Lambda would drop both together.
      ApplicationLogLevel: INFO
      SystemLogLevel: INFO
      LogGroup: !Ref LogGroup
    Environment:
      Variables:
        TABLE_NAME: !Ref TableName
        API_BASE_URL: !Ref ApiUrl
        OIDC_ISSUER: !Ref OidcIssuer
        OIDC_AUDIENCE: !Ref OidcAudience
        OIDC_CLIENT_IDS: !Ref OidcClientIds
        # Amazon Linux's bundle, so that the issuer may be any host on the internet.
        OIDC_CA_BUNDLE: /etc/pki/tls/certs/ca-bundle.crt
    AutoPublishAlias: live
    # Publishes a version even if only settings change, so that the alias gets the change. SAM compares the template's
    # text only. If a parameter's value changes, the version's description changes too, and CloudFormation replaces the
    # version.
    AutoPublishAliasAllProperties: true
    DeploymentPreference:
      Type: !Ref Rollout
";

/// Writes the template of an area, and the parameters that template.yaml passes to it.
pub(super) fn write(files: &mut Files<'_>, area: Area, functions: &[Function]) -> Result<(), InitError> {
    let path = format!("infra/{}.yaml", area.name());
    let own = functions.iter().filter(|function| function.registration.area == area);
    let own: Vec<_> = own.map(resources::of).collect();
    files.region(&path, "globals", GLOBALS)?;
    files.region(&path, "functions", &own.join("\n"))?;

    let template = files.text(&path)?;
    let declared = parameter::of(&template).map(|p| format!("  {}: {{Type: {}}}\n", p.name, p.kind));
    files.region(&path, "parameters", &declared.collect::<String>())?;
    let given = parameter::of(&template).map(|p| format!("        {}: {}\n", p.name, p.value));
    files.region("infra/template.yaml", &format!("parameters of {}", area.name()), &given.collect::<String>())
}
