//! The users and clients of the issuer.

use shared::oauth::RESOURCE_SERVER;
use shared::scope::Scope;

use super::refusal::{Code, Refusal};

/// The domain of the demo users' addresses, which the demo's account claims.
pub const DEMO_DOMAIN: &str = "example.com";
/// The scope of OpenID Connect, with which a client gets an ID token.
pub(super) const OPENID: &str = "openid";

/// A person who can sign in.
#[derive(Debug)]
pub struct User {
    /// The identifier in the claim `sub`.
    pub subject: &'static str,
    /// The address, which counts as verified.
    pub email: &'static str,
    /// The sentence beside the address on the sign-in page.
    pub(super) about: &'static str,
}

/// The owner of the demo's account.
pub const OWNER: User = User {
    subject: "0f0e5f6c-5a0b-4a55-9d5e-6f1a1c1d0001",
    email: "owner@example.com",
    about: "Owns the account demo",
};
/// A person whose address is in the domain that the demo's account claims.
pub const ADA: User = User {
    subject: "0f0e5f6c-5a0b-4a55-9d5e-6f1a1c1d0002",
    email: "ada@example.com",
    about: "Joins the account demo as a member",
};
/// A person whose address is in no account's domain.
pub const EVE: User = User {
    subject: "0f0e5f6c-5a0b-4a55-9d5e-6f1a1c1d0003",
    email: "eve@elsewhere.example",
    about: "Belongs to no account until one invites this address",
};

/// The demo's users.
pub(super) static USERS: [User; 3] = [OWNER, ADA, EVE];

impl User {
    /// Finds a user by the claim `sub`.
    pub(super) fn of_subject(subject: &str) -> Option<&'static Self> {
        USERS.iter().find(|user| user.subject == subject)
    }
}

/// A program that can get tokens. The clients stand for those of the stack's user pool, in `infra/sign-in.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A program that people sign in to, without a secret.
    People,
    /// The dashboard, which people sign in to. It has no secret and one redirect URI.
    Dashboard,
    /// A program without a person, such as CI, with a secret.
    Machines,
}

impl Client {
    /// The scopes of the machines' client. The demo registers its application with them.
    pub const MACHINES_SCOPES: [Scope; 3] = [Scope::RepositoriesRead, Scope::DeploymentsRead, Scope::DeploymentsWrite];

    /// Returns the client's identifier.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Dashboard => "dashboard",
            Self::Machines => "machines",
        }
    }

    /// Returns whether people sign in to the client.
    pub(super) fn has_people(self) -> bool {
        self != Self::Machines
    }

    /// Finds a client by its identifier.
    pub(super) fn of_id(id: &str) -> Option<Self> {
        [Self::People, Self::Dashboard, Self::Machines].into_iter().find(|client| client.id() == id)
    }

    /// Returns the scopes that the client may ask for, as they stand in tokens.
    #[must_use]
    pub fn scopes(self) -> Vec<String> {
        let in_a_token = |scope: Scope| format!("{RESOURCE_SERVER}{}", scope.as_str());
        match self {
            Self::People | Self::Dashboard => {
                [OPENID.to_owned()].into_iter().chain(Scope::ALL.map(in_a_token)).collect()
            }
            Self::Machines => Self::MACHINES_SCOPES.map(in_a_token).into(),
        }
    }

    /// Returns the requested scopes, or all of the client's if the request names none.
    ///
    /// # Errors
    /// Fails with `invalid_scope` if the client may not ask for one of them.
    pub(super) fn grant(self, requested: Option<&str>) -> Result<Vec<String>, Refusal> {
        let allowed = self.scopes();
        let Some(requested) = requested else { return Ok(allowed) };
        let requested: Vec<_> = requested.split(' ').filter(|name| !name.is_empty()).collect();
        if requested.is_empty() || requested.iter().any(|name| !allowed.iter().any(|scope| scope == name)) {
            let description = "scope contains a scope that the client can't have; the discovery document lists the \
                               scopes, such as git-api/repositories:read";
            return Err(Refusal::new(Code::InvalidScope, description));
        }
        Ok(allowed.into_iter().filter(|scope| requested.contains(&scope.as_str())).collect())
    }
}
