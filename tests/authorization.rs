//! The callers that each endpoint admits. [`CASES`] is written by hand on purpose: it is a second opinion beside the
//! routes.

use std::collections::{BTreeMap, BTreeSet};

use local::functions::routes;
use serde_json::json;
use shared::access::Access::{self, Authenticated, Public, Scope as With};
use shared::access::Permission::{self, Deploy, Read};
use shared::access::Scope::{self, *};
use shared::model::Role::{self, Admin, Member, Owner};
use tests::estate::{Estate, Parameters, in_order, request, token_of};
use tests::{Actor, GitRepository, World};

use self::Needs::{InTeam, Nothing, On, OwnSession, OwnToken, SeeToken};
use crate::contract::{document, operations, success};

/// The requirement of an endpoint beside the scope and the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// The permission on the repository in the path, or on the repository of the deployment in the path.
    On(Permission),
    /// To be in the team, or to be an admin.
    InTeam,
    /// To be the user of the token, or to be an admin.
    SeeToken,
    /// To be the user of the token.
    OwnToken,
    /// To be the user of the session.
    OwnSession,
}

/// Each endpoint with the access, the role and the rest that it needs.
#[rustfmt::skip]
pub(crate) const CASES: &[(&str, Access, Role, Needs)] = &[
    ("GET /v1/repositories",                                       With(RepositoriesRead),  Member, Nothing),
    ("POST /v1/repositories",                                      With(RepositoriesWrite), Admin,  Nothing),
    ("GET /v1/repositories/{repo_id}",                             With(RepositoriesRead),  Member, On(Read)),
    ("PATCH /v1/repositories/{repo_id}",                           With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("DELETE /v1/repositories/{repo_id}",                          With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("DELETE /v1/repositories/{repo_id}/cache",                    With(RepositoriesWrite), Member, On(Deploy)),
    ("GET /v1/repositories/{repo_id}/refs",                        With(RepositoriesRead),  Member, On(Read)),
    ("GET /v1/repositories/{repo_id}/deployments",                 With(DeploymentsRead),   Member, On(Read)),
    ("POST /v1/repositories/{repo_id}/deployments",                With(DeploymentsWrite),  Member, On(Deploy)),
    ("POST /v1/repositories/{repo_id}/deployments/preflight",      With(DeploymentsWrite),  Member, On(Deploy)),
    ("POST /v1/repositories/{repo_id}/rollback",                   With(DeploymentsWrite),  Member, On(Deploy)),
    ("GET /v1/repositories/{repo_id}/environments",                With(DeploymentsRead),   Member, On(Read)),
    ("POST /v1/repositories/{repo_id}/environments",               With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("GET /v1/repositories/{repo_id}/environments/{environment}",  With(DeploymentsRead),   Member, On(Read)),
    ("PATCH /v1/repositories/{repo_id}/environments/{environment}", With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("DELETE /v1/repositories/{repo_id}/environments/{environment}", With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("GET /v1/repositories/{repo_id}/variables",                   With(RepositoriesRead),  Member, On(Read)),
    ("PUT /v1/repositories/{repo_id}/variables/{name}",            With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("DELETE /v1/repositories/{repo_id}/variables/{name}",         With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("GET /v1/repositories/{repo_id}/environments/{environment}/variables", With(RepositoriesRead), Member, On(Read)),
    ("PUT /v1/repositories/{repo_id}/environments/{environment}/variables/{name}", With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("DELETE /v1/repositories/{repo_id}/environments/{environment}/variables/{name}", With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("GET /v1/repositories/{repo_id}/hooks",                       With(RepositoriesRead),  Member, On(Permission::Admin)),
    ("POST /v1/repositories/{repo_id}/hooks",                      With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("DELETE /v1/repositories/{repo_id}/hooks/{hook_id}",          With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("POST /v1/repositories/{repo_id}/hooks/{hook_id}/rotate",     With(RepositoriesWrite), Member, On(Permission::Admin)),
    ("GET /v1/repositories/{repo_id}/hooks/{hook_id}/deliveries",  With(RepositoriesRead),  Member, On(Permission::Admin)),
    ("POST /v1/hooks/{hook_id}",                                   Public,                  Member, Nothing),
    ("GET /v1/deployments",                                        With(DeploymentsRead),   Member, Nothing),
    ("GET /v1/deployments/{deployment_id}",                        With(DeploymentsRead),   Member, On(Read)),
    ("GET /v1/deployments/{deployment_id}/log",                    With(DeploymentsRead),   Member, On(Read)),
    ("GET /v1/deployments/{deployment_id}/log.txt",                With(DeploymentsRead),   Member, On(Read)),
    ("GET /v1/deployments/{deployment_id}/events",                 With(DeploymentsRead),   Member, On(Read)),
    ("GET /v1/deployments/{deployment_id}/artifacts",              With(DeploymentsRead),   Member, On(Read)),
    ("GET /v1/deployments/{deployment_id}/artifacts.zip",          With(DeploymentsRead),   Member, On(Read)),
    ("GET /v1/deployments/{deployment_id}/artifacts/{artifact_path}", With(DeploymentsRead), Member, On(Read)),
    ("POST /v1/deployments/{deployment_id}/cancel",                With(DeploymentsWrite),  Member, On(Deploy)),
    ("POST /v1/deployments/{deployment_id}/retry",                 With(DeploymentsWrite),  Member, On(Deploy)),
    ("POST /v1/deployments/{deployment_id}/approve",               With(DeploymentsWrite),  Member, On(Deploy)),
    ("POST /v1/deployments/{deployment_id}/reject",                With(DeploymentsWrite),  Member, On(Deploy)),
    ("GET /v1/connections",                                        With(RepositoriesRead),  Admin,  Nothing),
    ("POST /v1/connections",                                       With(RepositoriesWrite), Admin,  Nothing),
    ("GET /v1/connections/{connection_id}",                        With(RepositoriesRead),  Admin,  Nothing),
    ("PATCH /v1/connections/{connection_id}",                      With(RepositoriesWrite), Admin,  Nothing),
    ("DELETE /v1/connections/{connection_id}",                     With(RepositoriesWrite), Admin,  Nothing),
    ("POST /v1/connections/{connection_id}/check",                 With(RepositoriesWrite), Admin,  Nothing),
    ("GET /v1/tokens",                                             With(TokensRead),        Member, Nothing),
    ("POST /v1/tokens",                                            With(TokensWrite),       Member, Nothing),
    ("GET /v1/tokens/{token_id}",                                  With(TokensRead),        Member, SeeToken),
    ("PATCH /v1/tokens/{token_id}",                                With(TokensWrite),       Member, OwnToken),
    ("POST /v1/tokens/{token_id}/rotate",                          With(TokensWrite),       Member, OwnToken),
    ("DELETE /v1/tokens/{token_id}",                               With(TokensWrite),       Member, SeeToken),
    ("GET /v1/sign-in",                                            Public,                  Member, Nothing),
    ("POST /v1/session",                                           Public,                  Member, Nothing),
    ("DELETE /v1/session",                                         Authenticated,           Member, OwnSession),
    ("GET /v1/sessions",                                           With(TokensRead),        Member, Nothing),
    ("DELETE /v1/sessions/{session_id}",                           With(TokensWrite),       Member, OwnSession),
    ("GET /v1/teams",                                              With(TeamsRead),         Member, Nothing),
    ("POST /v1/teams",                                             With(TeamsWrite),        Admin,  Nothing),
    ("GET /v1/teams/{team_id}",                                    With(TeamsRead),         Member, InTeam),
    ("PATCH /v1/teams/{team_id}",                                  With(TeamsWrite),        Admin,  Nothing),
    ("DELETE /v1/teams/{team_id}",                                 With(TeamsWrite),        Admin,  Nothing),
    ("GET /v1/teams/{team_id}/members",                            With(TeamsRead),         Member, InTeam),
    ("PUT /v1/teams/{team_id}/members/{user_id}",                  With(TeamsWrite),        Admin,  Nothing),
    ("DELETE /v1/teams/{team_id}/members/{user_id}",               With(TeamsWrite),        Admin,  Nothing),
    ("GET /v1/teams/{team_id}/repositories",                       With(TeamsRead),         Member, InTeam),
    ("PUT /v1/teams/{team_id}/repositories/{repo_id}",             With(TeamsWrite),        Admin,  On(Permission::Admin)),
    ("DELETE /v1/teams/{team_id}/repositories/{repo_id}",          With(TeamsWrite),        Admin,  On(Permission::Admin)),
    ("GET /v1/account",                                            With(AccountRead),       Member, Nothing),
    ("PATCH /v1/account",                                          With(AccountWrite),      Owner,  Nothing),
    ("GET /v1/account/variables",                                  With(AccountRead),       Member, Nothing),
    ("PUT /v1/account/variables/{name}",                           With(AccountWrite),      Admin,  Nothing),
    ("DELETE /v1/account/variables/{name}",                        With(AccountWrite),      Admin,  Nothing),
    ("GET /v1/audit_events",                                       With(AccountRead),       Admin,  Nothing),
    ("GET /v1/webhooks",                                               With(AccountRead),       Admin,  Nothing),
    ("POST /v1/webhooks",                                              With(AccountWrite),      Admin,  Nothing),
    ("GET /v1/webhooks/{webhook_id}",                                  With(AccountRead),       Admin,  Nothing),
    ("PATCH /v1/webhooks/{webhook_id}",                                With(AccountWrite),      Admin,  Nothing),
    ("DELETE /v1/webhooks/{webhook_id}",                               With(AccountWrite),      Admin,  Nothing),
    ("POST /v1/webhooks/{webhook_id}/test",                            With(AccountWrite),      Admin,  Nothing),
    ("POST /v1/webhooks/{webhook_id}/rotate",                          With(AccountWrite),      Admin,  Nothing),
    ("GET /v1/webhooks/{webhook_id}/deliveries",                       With(AccountRead),       Admin,  Nothing),
    ("POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",With(AccountWrite),      Admin,  Nothing),
    ("GET /v1/members",                                            With(AccountRead),       Member, Nothing),
    ("PUT /v1/members/{user_id}",                                  With(AccountWrite),      Admin,  Nothing),
    ("DELETE /v1/members/{user_id}",                               With(AccountWrite),      Admin,  Nothing),
    ("GET /v1/invitations",                                        With(AccountRead),       Admin,  Nothing),
    ("POST /v1/invitations",                                       With(AccountWrite),      Admin,  Nothing),
    ("DELETE /v1/invitations/{invitation_id}",                     With(AccountWrite),      Admin,  Nothing),
    ("POST /v1/invitations/{invitation_id}/accept",                Public,                  Member, Nothing),
    ("GET /v1/applications",                                       With(AccountRead),       Member, Nothing),
    ("POST /v1/applications",                                      With(AccountWrite),      Owner,  Nothing),
    ("DELETE /v1/applications/{application_id}",                   With(AccountWrite),      Owner,  Nothing),
    ("GET /v1/trusts",                                             With(AccountRead),       Member, Nothing),
    ("POST /v1/trusts",                                            With(AccountWrite),      Admin,  Nothing),
    ("DELETE /v1/trusts/{trust_id}",                               With(AccountWrite),      Admin,  Nothing),
    ("POST /v1/token",                                             Public,                  Member, Nothing),
    ("GET /v1/user",                                               Authenticated,           Member, Nothing),
    ("GET /v1/user/invitations",                                   Authenticated,           Member, Nothing),
    ("POST /v1/user/join",                                         Authenticated,           Member, Nothing),
    ("GET /v1/rate_limit",                                         Authenticated,           Member, Nothing),
    ("GET /v1/openapi.json",                                       Public,                  Member, Nothing),
    ("$default",                                                   Authenticated,           Member, Nothing),
];

/// The writes that every member may do without a permission on a resource. Joining an account changes nothing for a member.
const WRITES_OF_EVERY_MEMBER: [&str; 2] = ["POST /v1/tokens", "POST /v1/user/join"];

#[test]
fn each_route_has_one_case_and_needs_what_its_case_says() {
    let cases: BTreeMap<_, _> =
        CASES.iter().map(|(route, access, role, needs)| (*route, (*access, *role, *needs))).collect();
    assert_eq!(cases.len(), CASES.len(), "no route has two cases");
    let keys: BTreeSet<_> = routes().map(|route| route.key()).collect();
    assert_eq!(keys, cases.keys().map(|route| (*route).to_owned()).collect(), "each route has a case, and no other");
    for route in routes() {
        let (access, role, needs) = cases[route.key().as_str()];
        assert_eq!((route.access, route.role), (access, role), "{}", route.key());
        let on_a_repository = ["{repo_id}", "{deployment_id}"].iter().any(|parameter| route.path.contains(parameter));
        let permission = on_a_repository.then_some(On(route.permission));
        assert_eq!(permission, matches!(needs, On(_)).then_some(needs), "{}", route.key());
    }
}

#[test]
fn a_member_needs_something_to_see_or_to_change_what_is_not_everybodys() {
    for &(route, access, role, needs) in CASES {
        if access == Public || role > Member {
            continue;
        }
        assert!(!route.contains("_id}") || needs != Nothing, "{route} is open to every member");
        let changes = !route.starts_with("GET") && route != "$default";
        assert!(
            !changes || needs != Nothing || WRITES_OF_EVERY_MEMBER.contains(&route),
            "{route} is open to every member"
        );
    }
    assert!(WRITES_OF_EVERY_MEMBER.len() <= 2, "this list only shrinks");
}

/// An account whose members have no permission but what their team gives them.
struct Acme {
    world: World,
    /// The remote of its repository, which exists as long as this.
    _source: GitRepository,
    estate: Estate,
    admin: Actor,
    /// A member who is in no team.
    outsider: Actor,
    /// Members by their permission on the repository.
    members: BTreeMap<Permission, Actor>,
}

impl Acme {
    async fn start() -> Self {
        let world = World::start().await;
        let source = GitRepository::with_commands(&["true"]);
        let estate = Estate::new(&world, "acme", &source).await;
        estate.owner.ended(&json!({"id": estate.parameters["deployment_id"]})).await;
        let mut members = BTreeMap::new();
        for permission in Permission::ALL {
            let member = world.member(&estate.owner, Member).await;
            let team = estate.owner.team(permission.as_str()).await;
            estate.owner.add_to_team(&team, &member).await;
            estate.owner.grant(&team, &estate.parameters["repo_id"], permission.as_str()).await;
            members.insert(permission, member);
        }
        let (admin, outsider) = (world.member(&estate.owner, Admin).await, world.member(&estate.owner, Member).await);
        world.set_base_permission(&estate.owner, "none").await;
        Self { world, _source: source, estate, admin, outsider, members }
    }

    /// Returns a user who has the role and the rest that a case needs, and no more.
    fn user(&self, role: Role, needs: Needs) -> &Actor {
        match (role, needs) {
            (Owner, _) => &self.estate.owner,
            (Admin, _) => &self.admin,
            (Member, On(permission)) => &self.members[&permission],
            (Member, InTeam) => &self.estate.member,
            (Member, _) => &self.outsider,
        }
    }

    /// Reads the account's items. Those of tokens are left out, because each use changes them; their count stays.
    async fn items(&self) -> Vec<String> {
        let mut items = self.estate.items(&self.world).await;
        items.retain(|item| !item.contains(r#""sk":"TOKEN""#));
        items
    }

    /// Gives a user a token with these scopes.
    async fn with_scopes(&self, user: &Actor, scopes: Vec<Scope>) -> Actor {
        self.world.with_token(user, |token| token.scopes = scopes).await
    }

    /// Returns the parameters of a request by a user, whose own token is the one in the path.
    async fn parameters(&self, user: &Actor, function: &str) -> Parameters {
        let mut parameters = self.estate.ready(&self.world, function).await;
        parameters.insert("token_id", token_of(&self.world, user).await);
        parameters.insert("session_id", self.world.session(user).await.1);
        parameters
    }

    /// Returns the callers who lack one thing that a case needs, each with the refusal.
    async fn refused(&self, scope: Scope, role: Role, needs: Needs) -> Vec<(&'static str, Actor, u16, &'static str)> {
        let others = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        let without_scope = self.with_scopes(self.user(role, needs), others).await;
        let mut refused = vec![("every other scope", without_scope, 403, "insufficient_scope")];
        let mut lacking = Vec::new();
        match role {
            Owner => lacking.push(("a lower role", &self.admin, 403, "insufficient_permission")),
            Admin => lacking.push(("a lower role", &self.members[&Permission::Admin], 403, "insufficient_permission")),
            Member => {}
        }
        if let (Member, On(permission)) = (role, needs) {
            let lower = Permission::ALL.into_iter().rev().find(|other| *other < permission);
            lacking.extend(
                lower.map(|lower| ("a lower permission", &self.members[&lower], 403, "insufficient_permission")),
            );
            lacking.push(("no permission", &self.outsider, 404, "not_found"));
        }
        match needs {
            InTeam => lacking.push(("another team", &self.members[&Permission::Admin], 404, "not_found")),
            SeeToken => lacking.push(("another user's token", &self.outsider, 404, "not_found")),
            OwnToken => {
                lacking.push(("another user's token", &self.outsider, 404, "not_found"));
                lacking.push(("another user's token and the role admin", &self.admin, 403, "insufficient_permission"));
            }
            OwnSession => {
                lacking.push(("another user's session", &self.outsider, 404, "not_found"));
                lacking.push(("another user's session and the role admin", &self.admin, 404, "not_found"));
            }
            Nothing | On(_) => {}
        }
        for (with, user, status, code) in lacking {
            refused.push((with, self.with_scopes(user, Scope::ALL.to_vec()).await, status, code));
        }
        refused
    }
}

#[tokio::test]
async fn a_caller_who_lacks_one_thing_is_refused() {
    let acme = Acme::start().await;
    let mut calls = Vec::new();
    for &(route, access, role, needs) in CASES {
        if let With(scope) = access {
            let refused = acme.refused(scope, role, needs).await;
            calls.extend(refused.into_iter().map(|refused| (route, scope, role, refused)));
        }
    }
    let before = acme.items().await;
    for (route, scope, role, (with, caller, status, code)) in calls {
        println!("{route} with {with}");
        let answer = acme.estate.call(&caller, route).await;
        answer.refused(status, code);
        assert_eq!(answer.rate_limit().limit, 1_000_000, "the request counts against the account");
        let account = acme.estate.owner.account_id.as_ref().unwrap();
        assert_eq!(acme.world.line_of(&answer)["account_id"], account.as_str());
        match with {
            "every other scope" => {
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.as_str());
                assert_eq!(answer.header("www-authenticate"), challenge);
            }
            "a lower role" => {
                let message = format!("The request requires the role '{}' in the account", role.as_str());
                assert_eq!(answer.body["error"]["message"], message);
            }
            _ => assert!(!answer.headers.contains_key("www-authenticate"), "no other token helps: {answer:?}"),
        }
    }
    assert_eq!(acme.items().await, before);
}

#[tokio::test]
async fn a_caller_with_what_an_endpoint_needs_and_no_more_is_let_in() {
    let acme = Acme::start().await;
    let document = document();
    let operations = operations(&document);
    for route in in_order() {
        let (function, route) = (route.function, route.key());
        let (_, access, role, needs) = CASES.iter().find(|(case, ..)| *case == route).unwrap();
        let user = acme.user(*role, *needs);
        let mut scopes = match access {
            Public => continue,
            Authenticated => vec![],
            With(scope) => vec![*scope],
        };
        // Nobody gives a token, an application or a trust a scope that they lack.
        if ["create-application", "create-token", "create-trust"].contains(&function) {
            let given = acme.estate.body(&route)["scopes"].take();
            scopes.extend(serde_json::from_value::<Vec<Scope>>(given).unwrap());
        }
        let mut caller = acme.with_scopes(user, scopes).await;
        if function == "end-session" {
            caller = acme.world.session(&caller).await.0;
        }
        let answer = caller.send(request(&caller, &route, &acme.parameters(user, function).await)).await;
        let expected = operations.get(&route).map_or(404, |operation| success(operation));
        assert_eq!(answer.status, expected, "{route}: {answer:?}");
    }
}

#[tokio::test]
async fn an_admin_sees_and_deletes_every_token_and_sees_every_team() {
    let acme = Acme::start().await;
    let cases = CASES.iter().filter(|(.., needs)| [InTeam, SeeToken].contains(needs));
    for (route, ..) in cases {
        let answer = acme.estate.call(&acme.admin, route).await;
        assert_eq!(answer.status, 200, "{route}: {answer:?}");
    }
}

#[tokio::test]
async fn a_public_endpoint_needs_no_token() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let estate = Estate::new(&world, "acme", &source).await;
    for (route, ..) in CASES.iter().filter(|(_, access, ..)| *access == Public) {
        let answer = estate.call(&world.anonymous(), route).await;
        let success = match *route {
            "POST /v1/session" => 201,
            "POST /v1/hooks/{hook_id}" => 202,
            _ => 200,
        };
        assert_eq!(answer.status, success, "{route}: {answer:?}");
    }
}
