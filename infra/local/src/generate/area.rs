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
        OIDC_ISSUER: !Ref OidcIssuer
        OIDC_AUDIENCE: !Ref OidcAudience
        OIDC_CLIENT_IDS: !Ref OidcClientIds
        # The bundle of Amazon Linux, so that the issuer may be any on the internet.
        OIDC_CA_BUNDLE: /etc/pki/tls/certs/ca-bundle.crt
    AutoPublishAlias: live
    # Publishes a version for a change of settings alone too, so that the alias gets it. SAM looks at the template's text; for
    # values of parameters, CloudFormation replaces the version whose description they change.
    AutoPublishAliasAllProperties: true
    DeploymentPreference:
      Type: !Ref Rollout
";

/// Writes the template of an area, and the parameters that template.yaml passes to it.
pub fn write(files: &mut Files<'_>, area: Area, functions: &[Function]) -> Result<(), InitError> {
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
