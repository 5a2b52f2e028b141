//! The parameters of paths, each declared once.

use shared::id::{
    ConnectionId, DeliveryId, DeploymentId, HookId, InvitationId, SessionId, TeamId, TokenId, TrustId, UserId,
    WebhookId,
};
use shared::name::VariableName;

/// A parameter in the path of a route.
#[derive(Clone, Copy, Debug)]
pub struct PathParameter {
    /// The name between the braces of a path.
    pub name: &'static str,
    /// The description in the OpenAPI document.
    pub description: &'static str,
    /// The value in a new sample event.
    pub example: &'static str,
    /// The regular expression that the value matches. `None` if the resource may also be named otherwise.
    pub pattern: Option<&'static str>,
    /// The extractor with which a new handler finds the resource, as a path in `shared`.
    pub extractor: &'static str,
    /// The schemas of the resources that have a value of the parameter, each with its place as a JSON pointer.
    pub found_in: &'static [(&'static str, &'static str)],
    /// Whether a client chooses the value with a `PUT`. It then distinguishes the resources of one collection only.
    pub is_chosen: bool,
}

/// All path parameters.
pub const PARAMETERS: &[PathParameter] = &[
    PathParameter {
        name: "repo_id",
        description: "Repository slug or ID: `repo_…`, the name, or `account%2Fname`",
        example: "repo_k3vyq2w7x5m4n6pa",
        pattern: None,
        extractor: "access::AuthorizedRepository",
        found_in: &[("Repository", "/id"), ("TeamRepository", "/repository/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "hook_id",
        description: "Hook ID: `hook_…`. It is not the secret",
        example: "hook_k3vyq2w7x5m4n6pa",
        pattern: Some(HookId::PATTERN),
        extractor: "access::AuthorizedHook",
        found_in: &[("Hook", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "webhook_id",
        description: "Webhook ID: `webhook_…`",
        example: "webhook_k3vyq2w7x5m4n6pa",
        pattern: Some(WebhookId::PATTERN),
        extractor: "access::AuthorizedWebhook",
        found_in: &[("Webhook", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "delivery_id",
        description: "Delivery ID: `dlv_…`",
        example: "dlv_k3vyq2w7x5m4n6pa",
        pattern: Some(DeliveryId::PATTERN),
        extractor: "extract::PathDelivery",
        found_in: &[("WebhookDelivery", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "deployment_id",
        description: "Deployment ID: `deploy_…`",
        example: "deploy_t6mwz4hq2c7rfx3e",
        pattern: Some(DeploymentId::PATTERN),
        extractor: "access::AuthorizedDeployment",
        found_in: &[("Deployment", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "artifact_path",
        description: "Path of the file, as `path` in the list has it. Its slashes may be sent as they are",
        example: "report.xml",
        pattern: None,
        extractor: "extract::PathArtifact",
        found_in: &[("Artifact", "/path")],
        is_chosen: false,
    },
    PathParameter {
        name: "environment",
        description: "Name of an environment or a pattern: `preview`, `staging`, `production`, or another one of the repository",
        example: "production",
        pattern: None,
        extractor: "extract::PathEnvironment",
        found_in: &[("EnvironmentState", "/name"), ("Deployment", "/environment")],
        is_chosen: false,
    },
    PathParameter {
        name: "name",
        description: "Name of the variable: letters, digits and `_`",
        example: "API_URL",
        pattern: Some(VariableName::PATTERN),
        extractor: "extract::PathVariable",
        found_in: &[("Variable", "/name")],
        is_chosen: true,
    },
    PathParameter {
        name: "token_id",
        description: "Token ID: `tok_…`. It is not the secret",
        example: "tok_k3vyq2w7x5m4n6pa",
        pattern: Some(TokenId::PATTERN),
        extractor: "access::AuthorizedToken",
        found_in: &[("Token", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "session_id",
        description: "Session ID: `session_…`",
        example: "session_k3vyq2w7x5m4n6pa",
        pattern: Some(SessionId::PATTERN),
        extractor: "access::OwnSession",
        found_in: &[("Session", "/id"), ("CreatedSession", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "team_id",
        description: "Team ID: `team_…`",
        example: "team_k3vyq2w7x5m4n6pa",
        pattern: Some(TeamId::PATTERN),
        extractor: "access::AuthorizedTeam",
        found_in: &[("Team", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "user_id",
        description: "User ID: `user_…`",
        example: "user_k3vyq2w7x5m4n6pa",
        pattern: Some(UserId::PATTERN),
        extractor: "access::AuthorizedMember",
        found_in: &[
            ("Member", "/id"),
            ("UpdatedMember", "/id"),
            ("TeamMember", "/member/id"),
            ("AcceptedBody", "/member/id"),
            ("JoinedAccount", "/member/id"),
        ],
        is_chosen: false,
    },
    PathParameter {
        name: "invitation_id",
        description: "Invitation ID: `inv_…`",
        example: "inv_k3vyq2w7x5m4n6pa",
        pattern: Some(InvitationId::PATTERN),
        extractor: "access::AuthorizedInvitation",
        found_in: &[("Invitation", "/id"), ("NewInvitationBody", "/invitation/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "application_id",
        description: "Application ID: the OAuth2 client's identifier",
        example: "7l8q2n3c4v5b6m7k8j9h0g1f2d",
        pattern: None,
        extractor: "access::NamedApplication",
        found_in: &[("Application", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "connection_id",
        description: "Connection ID: `conn_…`",
        example: "conn_k3vyq2w7x5m4n6pa",
        pattern: Some(ConnectionId::PATTERN),
        extractor: "access::AuthorizedConnection",
        found_in: &[("Connection", "/id")],
        is_chosen: false,
    },
    PathParameter {
        name: "trust_id",
        description: "Trust ID: `trust_…`",
        example: "trust_k3vyq2w7x5m4n6pa",
        pattern: Some(TrustId::PATTERN),
        extractor: "access::AuthorizedTrust",
        found_in: &[("Trust", "/id")],
        is_chosen: false,
    },
];

/// The error for a path parameter that the table lacks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the path parameter {{{0}}} is not declared; add it to infra/local/src/path_parameter.rs")]
pub struct Undeclared(String);

/// Returns the parameters of a path, in their order in it.
///
/// # Errors
/// Fails if the path has a parameter that is not declared.
pub fn of(path: &str) -> Result<Vec<PathParameter>, Undeclared> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let declared = |name: &str| PARAMETERS.iter().copied().find(|parameter| parameter.name == name);
    names.map(|name| declared(name).ok_or_else(|| Undeclared(name.to_owned()))).collect()
}
