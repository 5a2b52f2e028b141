//! Random sequences of changes of who may do what, and of uses of these rights, through several execution environments whose
//! caches never expire. A call succeeds exactly if its caller has the right at that moment.

use std::cell::Cell;
use std::time::Duration;

use local::gateway::Gateway;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::id::TokenId;
use shared::model::Role;
use tests::estate::{Parameters, request};
use tests::issuer::AUDIENCE;
use tests::{Actor, Answer, GitRepository, World};

/// The number of people whose rights change. The account's owner, whose rights never change, is none of them.
const PEOPLE: usize = 4;
/// The number of environments of each function.
const ENVIRONMENTS: usize = 3;
/// The number of requests without a caller in a sequence. A source address may make no more at once.
const WITHOUT_A_CALLER: usize = 20;
/// The scopes of a trust whose tokens may deploy, and of one whose tokens may not.
const DEPLOYS: [Scope; 2] = [Scope::DeploymentsRead, Scope::DeploymentsWrite];
const READS: [Scope; 2] = [Scope::RepositoriesRead, Scope::DeploymentsRead];

/// An action of a person. Each is a request of its own endpoint.
#[derive(Clone, Debug)]
enum Action {
    SetRole {
        of: usize,
        to: Role,
    },
    Remove {
        of: usize,
    },
    Revoke {
        of: usize,
    },
    /// Takes a scope away from the token of the request.
    Narrow {
        scope: Index,
    },
    CreateTeam,
    Invite {
        to: Role,
    },
    Approve,
    CreateTrust {
        scopes: [Scope; 2],
    },
    DeleteTrust {
        trust: Index,
    },
}

/// A step of a sequence.
#[derive(Clone, Debug)]
enum Step {
    Act {
        by: usize,
        action: Action,
        environment: usize,
    },
    /// Accepts one of the invitations that were made.
    Accept {
        invitation: Index,
        environment: usize,
    },
    /// Exchanges a token of a job for one of a trust.
    Exchange {
        trust: Index,
        environment: usize,
    },
    /// Deploys with the token of a trust.
    Deploy {
        program: Index,
        environment: usize,
    },
    /// Gives somebody a new token with every scope. A person who was removed is replaced by another with this role.
    Renew {
        of: usize,
        role: Role,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (person, role, environment) = (0..PEOPLE, select(&Role::ALL[..]), 0..ENVIRONMENTS);
    let action = prop_oneof![
        3 => (person.clone(), role.clone()).prop_map(|(of, to)| Action::SetRole { of, to }),
        1 => person.clone().prop_map(|of| Action::Remove { of }),
        2 => person.clone().prop_map(|of| Action::Revoke { of }),
        3 => any::<Index>().prop_map(|scope| Action::Narrow { scope }),
        2 => Just(Action::CreateTeam),
        3 => role.clone().prop_map(|to| Action::Invite { to }),
        2 => Just(Action::Approve),
        3 => select(&[DEPLOYS, READS][..]).prop_map(|scopes| Action::CreateTrust { scopes }),
        2 => any::<Index>().prop_map(|trust| Action::DeleteTrust { trust }),
    ];
    prop_oneof![
        14 => (person.clone(), action, environment.clone())
            .prop_map(|(by, action, environment)| Step::Act { by, action, environment }),
        2 => (any::<Index>(), environment.clone())
            .prop_map(|(invitation, environment)| Step::Accept { invitation, environment }),
        3 => (any::<Index>(), environment.clone()).prop_map(|(trust, environment)| Step::Exchange { trust, environment }),
        4 => (any::<Index>(), environment).prop_map(|(program, environment)| Step::Deploy { program, environment }),
        2 => (person, role).prop_map(|(of, role)| Step::Renew { of, role }),
    ]
}

/// A person with their current rights.
struct Person {
    actor: Actor,
    token: TokenId,
    /// `None` after the removal.
    role: Option<Role>,
    /// The scopes of the token. Empty after its revocation.
    scopes: Vec<Scope>,
}

impl Person {
    fn may(&self, scope: Scope, role: Role) -> bool {
        self.role.is_some_and(|own| own >= role) && self.scopes.contains(&scope)
    }

    fn may_give(&self, role: Role) -> bool {
        self.may(Scope::AccountWrite, Role::Admin) && self.role.is_some_and(|own| own.may_give(role))
    }
}

struct Trust {
    id: String,
    scopes: [Scope; 2],
    exists: bool,
}

/// A holder of a trust's token.
struct Program {
    actor: Actor,
    trust: usize,
}

struct Invitation {
    id: String,
    secret: String,
    role: Role,
    by: usize,
    is_open: bool,
}

/// An account, and what is true of it.
struct Company<'a> {
    world: &'a World,
    environments: &'a [Gateway],
    owner: Actor,
    people: Vec<Person>,
    invitations: Vec<Invitation>,
    trusts: Vec<Trust>,
    programs: Vec<Program>,
    /// The number of names that were given.
    names: usize,
    /// The number of requests without a caller that were made.
    without_a_caller: usize,
}

impl<'a> Company<'a> {
    async fn new(world: &'a World, environments: &'a [Gateway], name: &str, source: &GitRepository) -> Self {
        let owner = world.owner(name).await;
        world.set_base_permission(&owner, "deploy").await;
        owner.repository("app", source).await;
        owner.set("app", "staging", json!({"required_approvals": 1})).await;
        let mut company = Self {
            world,
            environments,
            owner,
            people: Vec::new(),
            invitations: Vec::new(),
            trusts: Vec::new(),
            programs: Vec::new(),
            names: 0,
            without_a_caller: 0,
        };
        for role in [Role::Owner, Role::Admin, Role::Admin, Role::Member] {
            let person = company.hire(role).await;
            company.people.push(person);
        }
        company
    }

    /// Adds a person whom every function of every environment remembers.
    async fn hire(&self, role: Role) -> Person {
        let actor = self.world.member(&self.owner, role).await;
        self.with_token(&actor, role).await
    }

    async fn with_token(&self, actor: &Actor, role: Role) -> Person {
        let mut id = None;
        let actor = self.world.with_token(actor, |token| id = Some(token.id.clone())).await;
        let person = Person { actor, token: id.unwrap(), role: Some(role), scopes: Scope::ALL.to_vec() };
        let (nobodys, nothing) = ("deploy_aaaaaaaaaaaaaaaa", "trust_aaaaaaaaaaaaaaaa");
        for environment in self.environments {
            let actor = person.actor.at(environment.endpoint());
            for (method, path) in [
                (Method::PUT, format!("/v1/members/{}", actor.user_id.as_ref().unwrap())),
                (Method::DELETE, format!("/v1/members/{}", actor.user_id.as_ref().unwrap())),
                (Method::DELETE, format!("/v1/tokens/{}", person.token)),
                (Method::PATCH, format!("/v1/tokens/{}", person.token)),
                (Method::POST, "/v1/teams".to_owned()),
                (Method::POST, "/v1/invitations".to_owned()),
                (Method::POST, format!("/v1/deployments/{nobodys}/approve")),
                (Method::POST, "/v1/trusts".to_owned()),
                (Method::DELETE, format!("/v1/trusts/{nothing}")),
            ] {
                // The function remembers the caller, and refuses the request for the caller's role, its unknown parameter, the body
                // that it lacks or the resource that is not there.
                let refused = actor.send(actor.request(method, &format!("{path}?unknown=1"))).await;
                assert!([400, 403, 404, 415].contains(&refused.status), "{refused:?}");
            }
        }
        person
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("name-{}", self.names)
    }

    /// Takes a step, and checks its answer. Returns whether somebody acted who had the right to, or `None` if nobody acted.
    async fn take(&mut self, step: Step) -> Result<Option<bool>, TestCaseError> {
        match step {
            Step::Renew { of, role } => {
                let person = match self.people[of].role {
                    Some(role) => self.with_token(&self.people[of].actor, role).await,
                    None => self.hire(role).await,
                };
                self.people[of] = person;
                Ok(None)
            }
            Step::Accept { invitation, environment } => {
                if self.invitations.is_empty() || !self.may_go_without_a_caller() {
                    return Ok(None);
                }
                let chosen = invitation.index(self.invitations.len());
                let invitation = &mut self.invitations[chosen];
                let anonymous = self.world.anonymous().at(self.environments[environment].endpoint());
                let path = format!("/v1/invitations/{}/accept", invitation.id);
                let answer = anonymous.post(&path, json!({"secret": invitation.secret})).await;
                agrees(&answer, invitation.is_open)?;
                Ok(Some(std::mem::take(&mut invitation.is_open)))
            }
            Step::Exchange { trust, environment } => {
                if self.trusts.is_empty() || !self.may_go_without_a_caller() {
                    return Ok(None);
                }
                self.exchange(trust.index(self.trusts.len()), environment).await.map(Some)
            }
            Step::Deploy { program, environment } => {
                if self.programs.is_empty() {
                    return Ok(None);
                }
                let program = &self.programs[program.index(self.programs.len())];
                let trust = &self.trusts[program.trust];
                let actor = program.actor.at(self.environments[environment].endpoint());
                let answer = actor.post("/v1/repositories/app/deployments", json!({"ref": "main"})).await;
                let may = trust.exists && trust.scopes.contains(&Scope::DeploymentsWrite);
                agrees(&answer, may)?;
                Ok(Some(may))
            }
            Step::Act { by, action, environment } => self.act(by, &action, environment).await,
        }
    }

    fn may_go_without_a_caller(&mut self) -> bool {
        self.without_a_caller += 1;
        self.without_a_caller <= WITHOUT_A_CALLER
    }

    /// Exchanges a token of a new job. Every function of every environment remembers the token of the trust.
    async fn exchange(&mut self, trust: usize, environment: usize) -> Result<bool, TestCaseError> {
        let Trust { id, exists, .. } = &self.trusts[trust];
        let issuer = &self.world.issuer;
        let job = issuer.id_token(&issuer.job("acme/app", self.world.clock.now()));
        let parameters = Parameters::from([("trust_id", id.clone()), ("subject_token", job)]);
        let anonymous = self.world.anonymous().at(self.environments[environment].endpoint());
        let answer = anonymous.send(request(&anonymous, "POST /v1/token", &parameters)).await;
        prop_assert_eq!(answer.status, if *exists { 200 } else { 400 }, "{:?}", answer);
        if let Some(token) = answer.body["access_token"].as_str() {
            let actor = anonymous.holding(token);
            for environment in self.environments {
                let deploy = actor.at(environment.endpoint());
                let refused = deploy.post("/v1/repositories/app/deployments?unknown=1", json!({"ref": "main"})).await;
                prop_assert!([400, 403, 404, 415].contains(&refused.status), "{refused:?}");
            }
            self.programs.push(Program { actor, trust });
        }
        Ok(answer.status == 200)
    }

    /// Checks that the trusts are those that exist, and that somebody answers for each who may have trusts.
    async fn trusts_have_owners(&self) -> Result<(), TestCaseError> {
        let page = self.owner.get("/v1/trusts?per_page=100").await;
        let mut listed = page.column("id");
        let mut existing: Vec<_> =
            self.trusts.iter().filter(|trust| trust.exists).map(|trust| trust.id.clone()).collect();
        listed.sort();
        existing.sort();
        prop_assert_eq!(listed, existing);
        for owner in page.column("owned_by") {
            let is = |actor: &Actor| actor.user_id.as_ref().is_some_and(|id| id.as_str() == owner);
            let person = self.people.iter().find(|person| is(&person.actor));
            let may = is(&self.owner) || person.is_some_and(|person| person.role >= Some(Role::Admin));
            prop_assert!(may, "{} owns a trust", owner);
        }
        Ok(())
    }

    async fn act(&mut self, by: usize, action: &Action, environment: usize) -> Result<Option<bool>, TestCaseError> {
        let actor = self.people[by].actor.at(self.environments[environment].endpoint());
        let person = &self.people[by];
        let (may, answer) = match *action {
            Action::SetRole { of, to } => {
                let Some(role) = self.people[of].role else { return Ok(None) };
                let path = format!("/v1/members/{}", self.people[of].actor.user_id.as_ref().unwrap());
                (person.may_give(to) && person.may_give(role), actor.put(&path, json!({"role": to})).await)
            }
            Action::Remove { of } => {
                let Some(role) = self.people[of].role else { return Ok(None) };
                let path = format!("/v1/members/{}", self.people[of].actor.user_id.as_ref().unwrap());
                (person.may_give(role), actor.delete(&path).await)
            }
            Action::Revoke { of } => {
                if self.people[of].scopes.is_empty() {
                    return Ok(None);
                }
                let needed = if of == by { Role::Member } else { Role::Admin };
                let path = format!("/v1/tokens/{}", self.people[of].token);
                (person.may(Scope::TokensWrite, needed), actor.delete(&path).await)
            }
            Action::Narrow { scope } => {
                let left = without(&person.scopes, scope);
                if left.is_empty() {
                    return Ok(None);
                }
                let path = format!("/v1/tokens/{}", person.token);
                (person.may(Scope::TokensWrite, Role::Member), actor.patch(&path, json!({"scopes": left})).await)
            }
            Action::CreateTeam => {
                let may = person.may(Scope::TeamsWrite, Role::Admin);
                (may, actor.post("/v1/teams", json!({"name": self.name()})).await)
            }
            Action::Invite { to } => {
                let may = person.may_give(to);
                let email = format!("{}@example.com", self.name());
                (may, actor.post("/v1/invitations", json!({"email": email, "role": to})).await)
            }
            Action::Approve => {
                let waiting = self.owner.deploy("app", json!({"ref": "main", "environment": "staging"})).await;
                let approval = json!({"sha": waiting["sha"], "approval_digest": waiting["approval_digest"]});
                (person.may(Scope::DeploymentsWrite, Role::Member), actor.act(&waiting, "approve", approval).await)
            }
            Action::CreateTrust { scopes } => {
                let has_them = scopes.iter().all(|scope| person.scopes.contains(scope));
                let may = person.may(Scope::AccountWrite, Role::Admin) && has_them;
                let new = json!({
                    "name": "CI", "issuer": self.world.issuer.url(), "audience": AUDIENCE,
                    "claims": {"repository": "acme/app"}, "scopes": scopes,
                });
                (may, actor.post("/v1/trusts", new).await)
            }
            Action::DeleteTrust { trust } => {
                if self.trusts.is_empty() {
                    return Ok(None);
                }
                let trust = &self.trusts[trust.index(self.trusts.len())];
                let may = person.may(Scope::AccountWrite, Role::Admin) && trust.exists;
                (may, actor.delete(&format!("/v1/trusts/{}", trust.id)).await)
            }
        };
        agrees(&answer, may)?;
        if may {
            self.follow(by, action, &answer.body);
        }
        Ok(Some(may))
    }

    /// Changes what is true, after an action that succeeded.
    fn follow(&mut self, by: usize, action: &Action, answer: &Value) {
        match *action {
            Action::SetRole { of, to } => self.set_role(of, Some(to)),
            Action::Remove { of } => self.set_role(of, None),
            Action::Revoke { of } => self.people[of].scopes.clear(),
            Action::Narrow { scope } => self.people[by].scopes = without(&self.people[by].scopes, scope),
            Action::Invite { to } => {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let (id, secret) = (text(&answer["invitation"]["id"]), text(&answer["secret"]));
                self.invitations.push(Invitation { id, secret, role: to, by, is_open: true });
            }
            Action::CreateTrust { scopes } => {
                let id = answer["id"].as_str().unwrap().to_owned();
                self.trusts.push(Trust { id, scopes, exists: true });
            }
            Action::DeleteTrust { trust } => {
                let chosen = trust.index(self.trusts.len());
                self.trusts[chosen].exists = false;
            }
            Action::CreateTeam | Action::Approve => {}
        }
    }

    fn set_role(&mut self, of: usize, role: Option<Role>) {
        self.people[of].role = role;
        if role.is_none() {
            self.people[of].scopes.clear();
        }
        for invitation in self.invitations.iter_mut().filter(|invitation| invitation.by == of) {
            invitation.is_open &= role.is_some_and(|role| role.may_give(invitation.role));
        }
    }
}

fn without(scopes: &[Scope], scope: Index) -> Vec<Scope> {
    let mut left = scopes.to_vec();
    if !left.is_empty() {
        left.remove(scope.index(left.len()));
    }
    left
}

/// Checks that an answer is a success exactly if the caller had the right.
fn agrees(answer: &Answer, may: bool) -> Result<(), TestCaseError> {
    if may {
        prop_assert!([200, 201].contains(&answer.status), "refused: {answer:?}");
    } else {
        prop_assert!([401, 403, 404].contains(&answer.status), "a right that was gone: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_succeeds_on_a_right_that_is_gone() {
    let world = World::start_without_queue().await;
    let source = GitRepository::new(&[]);
    let mut environments = Vec::new();
    for _ in 0..ENVIRONMENTS {
        environments.push(world.gateway_of(world.stack.environment()).await);
    }
    let (companies, permitted, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 6, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let outcome = runner.run(&vec(step(), 20..60), |steps| {
        companies.set(companies.get() + 1);
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                // The source address may make requests without a caller again.
                world.clock.advance(Duration::from_secs(60));
                let name = format!("company-{}", companies.get());
                let mut company = Company::new(&world, &environments, &name, &source).await;
                for step in steps {
                    match company.take(step).await? {
                        Some(true) => permitted.set(permitted.get() + 1),
                        Some(false) => refused.set(refused.get() + 1),
                        None => {}
                    }
                }
                company.trusts_have_owners().await
            })
        })
    });
    outcome.unwrap();
    assert!(permitted.get() > 20 && refused.get() > 20, "{permitted:?} {refused:?}");
}
