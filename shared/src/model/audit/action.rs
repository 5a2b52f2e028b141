//! The kinds of changes and of their targets.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants have the given names in the table and in the API.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:tt,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`.")] $(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the name in the table and in the API.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

names!(
    /// The kind of a change.
    Action {
        AccountCreated = "account.created",
        AccountUpdated = "account.updated",
        ApplicationCreated = "application.created",
        ApplicationDeleted = "application.deleted",
        ApplicationUpdated = "application.updated",
        ConnectionCreated = "connection.created",
        ConnectionDeleted = "connection.deleted",
        ConnectionUpdated = "connection.updated",
        DeploymentApproved = "deployment.approved",
        DeploymentCanceled = "deployment.canceled",
        DeploymentCreated = "deployment.created",
        DeploymentFailed = "deployment.failed",
        DeploymentRejected = "deployment.rejected",
        DeploymentRequeued = "deployment.requeued",
        DeploymentStarted = "deployment.started",
        DeploymentSucceeded = "deployment.succeeded",
        DeploymentSuperseded = "deployment.superseded",
        EnvironmentCreated = "environment.created",
        EnvironmentDeleted = "environment.deleted",
        EnvironmentUpdated = "environment.updated",
        HookCreated = "hook.created",
        HookDeleted = "hook.deleted",
        HookRotated = "hook.rotated",
        HookUpdated = "hook.updated",
        InvitationAccepted = "invitation.accepted",
        InvitationCreated = "invitation.created",
        InvitationDeleted = "invitation.deleted",
        MemberLinked = "member.linked",
        MemberRemoved = "member.removed",
        MemberUpdated = "member.updated",
        RepositoryCacheCleared = "repository.cache_cleared",
        RepositoryCreated = "repository.created",
        RepositoryDeleted = "repository.deleted",
        RepositoryUpdated = "repository.updated",
        SessionCreated = "session.created",
        SessionEnded = "session.ended",
        TeamCreated = "team.created",
        TeamDeleted = "team.deleted",
        TeamMemberAdded = "team.member_added",
        TeamMemberRemoved = "team.member_removed",
        TeamRepositoryAdded = "team.repository_added",
        TeamRepositoryRemoved = "team.repository_removed",
        TeamUpdated = "team.updated",
        TokenCreated = "token.created",
        TokenDeleted = "token.deleted",
        TokenRotated = "token.rotated",
        TokenUpdated = "token.updated",
        TrustCreated = "trust.created",
        TrustDeleted = "trust.deleted",
        TrustExchanged = "trust.exchanged",
        TrustUpdated = "trust.updated",
        VariableCreated = "variable.created",
        VariableDeleted = "variable.deleted",
        VariableUpdated = "variable.updated",
        WebhookCreated = "webhook.created",
        WebhookDeleted = "webhook.deleted",
        WebhookDisabled = "webhook.disabled",
        WebhookRedelivered = "webhook.redelivered",
        WebhookRotated = "webhook.rotated",
        WebhookTested = "webhook.tested",
        WebhookUpdated = "webhook.updated",
    }
);

impl Action {
    /// Returns whether no event can have the ordering key of the event before: the ID in it is random and was made for the change.
    pub(super) const fn is_first(self) -> bool {
        matches!(
            self,
            Self::AccountCreated
                | Self::ConnectionCreated
                | Self::HookCreated
                | Self::InvitationCreated
                | Self::RepositoryCreated
                | Self::SessionCreated
                | Self::TeamCreated
                | Self::TokenCreated
                | Self::TrustCreated
                | Self::TrustExchanged
                | Self::WebhookCreated
        )
    }
}

names!(
    /// The kind of a target.
    TargetKind {
        Account = "account",
        Application = "application",
        Connection = "connection",
        Deployment = "deployment",
        Environment = "environment",
        Hook = "hook",
        Invitation = "invitation",
        Member = "member",
        Repository = "repository",
        Session = "session",
        Team = "team",
        Token = "token",
        Trust = "trust",
        Variable = "variable",
        Webhook = "webhook",
    }
);
