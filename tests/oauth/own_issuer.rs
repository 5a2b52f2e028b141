//! The issuer of the local stack, as programs and browsers use it.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use local::issuer::{ADA, Client, DEMO_DOMAIN, EVE, OWNER, User};
use local::stack::{Lifetime, Options, OwnIssuer};
use reqwest::header::{CONTENT_TYPE, HOST, LOCATION, ORIGIN};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use tests::{Actor, World, embedded};

use super::{VERIFIER, challenge, form, joined};

const CALLBACK: &str = "http://127.0.0.1:8000/callback?from=here";

/// Changes of a request's parameters. An empty value removes the parameter.
type Changes<'a> = &'a [(&'a str, &'a str)];

/// A client of the stack's issuer, with a browser.
struct Program {
    http: reqwest::Client,
    metadata: Value,
    secret: String,
}

impl Program {
    /// Finds the endpoints by the discovery document.
    async fn of(world: &World) -> Self {
        let issuer = world.stack.issuer().unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let found = http.get(format!("{}/.well-known/openid-configuration", issuer.url())).send().await.unwrap();
        let metadata: Value = found.json().await.unwrap();
        assert_eq!(metadata["issuer"], issuer.url());
        Self { http, metadata, secret: issuer.client_secret().to_owned() }
    }

    fn endpoint(&self, name: &str) -> &str {
        self.metadata[name].as_str().unwrap()
    }

    async fn token(&self, id: &str, secret: Option<&str>, pairs: Changes<'_>) -> (StatusCode, Value) {
        let request = self.http.post(self.endpoint("token_endpoint"));
        let request = if secret.is_some() { request.basic_auth(id, secret) } else { request };
        let mut pairs = pairs.to_vec();
        if secret.is_none() && !id.is_empty() {
            pairs.push(("client_id", id));
        }
        let answer = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(&pairs)).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status(), answer.json().await.unwrap())
    }

    /// Gets a token by the client credentials grant. Returns the token endpoint's response.
    async fn client_credentials(&self, scope: &str) -> Value {
        let grant = [("grant_type", "client_credentials"), ("scope", scope)];
        let (status, body) = self.token("machines", Some(&self.secret), &grant).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Returns the parameters of a valid authorization request, with changes.
    fn request(changes: Changes) -> Vec<(String, String)> {
        let mut parameters = HashMap::from([
            ("client_id", "people"),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid git-api/repositories:read"),
            ("state", "from & \"here\""),
            ("nonce", "n-0S6"),
            ("code_challenge_method", "S256"),
        ]);
        let challenge = challenge(VERIFIER);
        parameters.insert("code_challenge", &challenge);
        parameters.extend(changes.iter().copied());
        parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    async fn page(&self, changes: Changes<'_>) -> reqwest::Response {
        let url = Url::parse_with_params(self.endpoint("authorization_endpoint"), Self::request(changes)).unwrap();
        self.http.get(url).send().await.unwrap()
    }

    /// Opens the sign-in page and presses a user's button. Returns the parameters with which the browser comes back.
    async fn choose(&self, user: &User, changes: Changes<'_>) -> HashMap<String, String> {
        let page = self.page(changes).await;
        assert_eq!(page.status(), 200, "{page:?}");
        let html = page.text().await.unwrap();
        let button = format!("<button name=\"user\" value=\"{}\"><strong>{}</strong>", user.subject, user.email);
        assert!(html.contains(&button), "{html}");
        let mut fields = hidden_fields(&html);
        fields.push(("user".to_owned(), user.subject.to_owned()));
        let answer = self.send_form(&fields, self.endpoint("issuer")).await;
        assert_eq!(answer.status(), 303, "{answer:?}");
        came_back(&answer)
    }

    async fn send_form(&self, fields: &[(String, String)], origin: &str) -> reqwest::Response {
        let request = self.http.post(self.endpoint("authorization_endpoint")).header(ORIGIN, origin);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(form(fields)).send().await.unwrap()
    }

    /// Exchanges a code with changes of the token request.
    async fn exchange(&self, code: &str, changes: Changes<'_>) -> (StatusCode, Value) {
        let mut pairs = HashMap::from([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ]);
        pairs.extend(changes.iter().copied());
        self.token("people", None, &pairs.into_iter().collect::<Vec<_>>()).await
    }

    /// Signs a user in. Returns the token endpoint's response.
    async fn sign_in(&self, user: &User, changes: Changes<'_>) -> Value {
        let (status, body) = self.exchange(&self.choose(user, changes).await["code"], &[]).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

/// Returns the parameters with which a response sends the browser to the callback.
fn came_back(answer: &reqwest::Response) -> HashMap<String, String> {
    let location = answer.headers()[LOCATION].to_str().unwrap();
    assert!(location.starts_with(CALLBACK), "{location}");
    let query: HashMap<_, _> = Url::parse(location).unwrap().query_pairs().into_owned().collect();
    assert_eq!((query["from"].as_str(), query["state"].as_str()), ("here", "from & \"here\""));
    query
}

/// Reads the hidden fields of a form, as a browser does.
fn hidden_fields(html: &str) -> Vec<(String, String)> {
    let unescape = |text: &str| {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        entities.into_iter().fold(text.to_owned(), |text, (entity, char)| text.replace(entity, char))
    };
    let field = |rest: &str| {
        let (name, rest) = rest.split_once("\" value=\"").unwrap();
        (unescape(name), unescape(rest.split_once('"').unwrap().0))
    };
    html.split("<input type=\"hidden\" name=\"").skip(1).map(field).collect()
}

fn holder(world: &World, response: &Value) -> Actor {
    world.anonymous().holding(response["access_token"].as_str().unwrap())
}

fn part_of(jwt: &Value, at: usize) -> Value {
    let part = jwt.as_str().unwrap().split('.').nth(at).unwrap();
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

/// Starts a stack with its own issuer. Returns the owner of the account that claims the demo users' domain, too.
async fn start(change: impl FnOnce(&mut Options)) -> (World, Actor, Program) {
    let world = World::start_with(|options| {
        options.issuer = OwnIssuer::Started;
        change(options);
    })
    .await;
    let event = json!({"account": "demo", "plan": "pro", "owner_email": OWNER.email, "email_domains": [DEMO_DOMAIN]});
    let owner = world.bootstrapped(event).await;
    let program = Program::of(&world).await;
    (world, owner, program)
}

async fn register(owner: &Actor, program: &Program) {
    let token = program.client_credentials("").await["access_token"].clone();
    let scopes = Client::MACHINES_SCOPES;
    let new = json!({"name": "Demo", "client_id": "machines", "access_token": token, "scopes": scopes});
    let registered = owner.post("/v1/applications", new).await;
    assert_eq!(registered.status, 201, "{registered:?}");
}

#[tokio::test]
async fn an_application_gets_a_token_by_client_credentials() {
    let (world, owner, program) = start(|_| ()).await;
    register(&owner, &program).await;
    let answer = program.client_credentials("").await;
    let all = "git-api/repositories:read git-api/deployments:read git-api/deployments:write";
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"], &answer["scope"]),
        (&json!("Bearer"), &json!(600), &json!(all))
    );
    assert!(answer.get("id_token").is_none());
    let keys = program.http.get(program.endpoint("jwks_uri")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(part_of(&answer["access_token"], 0), json!({"alg": "ES256", "kid": keys["keys"][0]["kid"]}));
    let claims = part_of(&answer["access_token"], 1);
    assert_eq!((&claims["token_use"], &claims["sub"]), (&json!("access"), &json!("machines")));

    let machine = holder(&world, &answer);
    assert_eq!(machine.get("/v1/repositories").await.status, 200);
    let me = machine.get("/v1/user").await;
    assert_eq!((&me.body["application"]["id"], &me.body["user"]), (&json!("machines"), &Value::Null), "{me:?}");
    assert_eq!(me.body["scopes"], json!(["repositories:read", "deployments:read", "deployments:write"]));
    let narrow = holder(&world, &program.client_credentials("git-api/deployments:read").await);
    assert_eq!(narrow.get("/v1/user").await.body["scopes"], json!(["deployments:read"]));
    narrow.get("/v1/repositories").await.refused(403, "insufficient_scope");
    world.clock.advance(Duration::from_secs(11 * 60));
    machine.get("/v1/repositories").await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_user_signs_in_by_authorization_code_and_pkce() {
    let (world, owner, program) = start(|_| ()).await;
    let answer = program.sign_in(&OWNER, &[]).await;
    assert_eq!(answer["scope"], "openid git-api/repositories:read");
    let person = holder(&world, &answer);
    joined(&person).await;
    let me = person.get("/v1/user").await;
    let user = json!({"id": owner.user_id, "email": OWNER.email, "role": "owner"});
    assert_eq!((&me.body["user"], &me.body["scopes"]), (&user, &json!(["repositories:read"])), "{me:?}");
    assert_eq!(person.get("/v1/repositories").await.status, 200);

    let id = part_of(&answer["id_token"], 1);
    let expected = json!({
        "iss": program.metadata["issuer"], "sub": OWNER.subject, "aud": "people", "token_use": "id", "nonce": "n-0S6",
        "email": OWNER.email, "email_verified": true,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&id[name], value, "{name}");
    }
    let id_token = world.anonymous().holding(answer["id_token"].as_str().unwrap());
    id_token.get("/v1/user").await.refused(401, "invalid_token");

    // Without a scope, a program gets all that the client may have.
    let ada = holder(&world, &program.sign_in(&ADA, &[("scope", "")]).await);
    joined(&ada).await;
    let ada = ada.get("/v1/user").await;
    assert_eq!((&ada.body["user"]["email"], &ada.body["user"]["role"]), (&json!(ADA.email), &json!("member")));
    assert_eq!(ada.body["scopes"].as_array().unwrap().len(), 10, "{ada:?}");
    let eve = holder(&world, &program.sign_in(&EVE, &[]).await);
    eve.get("/v1/user").await.refused(403, "not_linked");
    eve.post("/v1/user/join", json!({})).await.refused(404, "not_found");
}

#[tokio::test]
async fn tokens_stay_valid_over_a_restart() {
    let mut folder = None;
    let (world, owner, program) = start(|options| {
        embedded(options);
        options.table = Lifetime::Kept;
        options.port = four_free_ports();
        folder = Some(options.data.clone());
    })
    .await;
    register(&owner, &program).await;
    let machine = holder(&world, &program.client_credentials("").await);
    let person = holder(&world, &program.sign_in(&OWNER, &[]).await);
    joined(&person).await;
    let file = std::fs::metadata(folder.unwrap().join("issuer.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);

    let world = world.restart().await;
    assert_eq!(world.again(&machine).get("/v1/repositories").await.status, 200);
    assert_eq!(world.again(&person).get("/v1/user").await.body["user"]["id"], json!(owner.user_id));
    assert_eq!(program.client_credentials("").await["expires_in"], 600, "the secret is the old one");
}

/// Returns the first of four ports in a row that are free. They are below the ports that systems give to others.
fn four_free_ports() -> u16 {
    let mut random = tests::Random::new(u64::from(std::process::id()));
    let is_free = |port: &u16| (*port..port + 4).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    std::iter::repeat_with(|| 20_000 + u16::try_from(random.below(10_000)).unwrap()).find(is_free).unwrap()
}

#[tokio::test]
async fn an_authorization_request_that_is_not_a_clients_own_is_refused_on_the_spot() {
    let (_world, _, program) = start(|_| ()).await;
    for changes in [
        &[("client_id", "")][..],
        &[("client_id", "somebody")],
        &[("redirect_uri", "")],
        &[("redirect_uri", "https://evil.example/callback")],
        &[("redirect_uri", "http://127.0.0.1.evil.example/callback")],
        &[("redirect_uri", "http://127.0.0.1:8000@evil.example/callback")],
        &[("redirect_uri", "http://evil.example\\@127.0.0.1:8000/")],
        &[("redirect_uri", "http://me:secret@127.0.0.1:8000/")],
        &[("redirect_uri", "http://localhost.evil.example/")],
        &[("redirect_uri", "http://192.168.0.1/callback")],
        &[("redirect_uri", "http://127.0.0.1:8000/#fragment")],
        &[("redirect_uri", "javascript://127.0.0.1/%0aalert(1)")],
        &[("redirect_uri", "/callback")],
    ] {
        let page = program.page(changes).await;
        assert_eq!((page.status(), page.headers().get(LOCATION)), (StatusCode::BAD_REQUEST, None), "{changes:?}");
        let body: Value = page.json().await.unwrap();
        assert_eq!(body["error"], "invalid_request", "{changes:?}");
        let mut fields = Program::request(changes);
        fields.push(("user".to_owned(), OWNER.subject.to_owned()));
        let sent = program.send_form(&fields, program.endpoint("issuer")).await;
        assert_eq!((sent.status(), sent.json::<Value>().await.unwrap()), (StatusCode::BAD_REQUEST, body));
    }
    let twice = Url::parse_with_params(program.endpoint("authorization_endpoint"), Program::request(&[])).unwrap();
    let twice = format!("{twice}&redirect_uri=http://127.0.0.1:9/");
    assert_eq!(program.http.get(twice).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn other_defects_of_an_authorization_request_are_told_to_the_client() {
    let (_world, _, program) = start(|_| ()).await;
    for (changes, error) in [
        (&[("code_challenge", "")][..], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("response_type", "")], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("client_id", "machines")], "unauthorized_client"),
        (&[("scope", "repositories:read")], "invalid_scope"),
        (&[("scope", "openid email")], "invalid_scope"),
    ] {
        let page = program.page(changes).await;
        assert_eq!(page.status(), 303, "{changes:?}");
        let query = came_back(&page);
        assert_eq!(query["error"], error, "{changes:?}");
        assert!(!query["error_description"].is_empty() && !query.contains_key("code"), "{query:?}");
    }
}

#[tokio::test]
async fn a_token_request_that_is_wrong_is_refused() {
    let (world, _, program) = start(|_| ()).await;
    let secret = program.secret.clone();
    let credentials = [("grant_type", "client_credentials")];
    for (id, secret, pairs, error) in [
        ("machines", Some("wrong"), &credentials[..], "invalid_client"),
        ("machines", None, &credentials, "invalid_client"),
        ("somebody", Some(secret.as_str()), &credentials, "invalid_client"),
        ("", None, &credentials, "invalid_client"),
        ("people", Some("any"), &credentials, "invalid_client"),
        ("people", None, &credentials, "unauthorized_client"),
        ("machines", Some(&secret), &[("grant_type", "authorization_code")], "unauthorized_client"),
        ("machines", Some(&secret), &[("grant_type", "password")], "unsupported_grant_type"),
        ("people", None, &[("grant_type", "refresh_token")], "unsupported_grant_type"),
        ("machines", Some(&secret), &[], "invalid_request"),
        ("machines", Some(&secret), &[credentials[0], credentials[0]], "invalid_request"),
        ("machines", Some(&secret), &[credentials[0], ("client_secret", &secret)], "invalid_request"),
        ("machines", Some(&secret), &[credentials[0], ("scope", "git-api/tokens:write")], "invalid_scope"),
        ("machines", Some(&secret), &[credentials[0], ("scope", "openid")], "invalid_scope"),
    ] {
        let (status, body) = program.token(id, secret, pairs).await;
        let expected = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!((status.as_u16(), &body["error"]), (expected, &json!(error)), "{id} {pairs:?}");
        assert!(!body["error_description"].as_str().unwrap().is_empty());
    }
    let by_parameters = program.token("machines", None, &[credentials[0], ("client_secret", &secret)]).await;
    assert_eq!(by_parameters.0, 200, "{}", by_parameters.1);
    let json = program.http.post(program.endpoint("token_endpoint")).json(&json!({"grant_type": "client_credentials"}));
    assert_eq!(json.send().await.unwrap().json::<Value>().await.unwrap()["error"], "invalid_request");

    for (changes, error) in [
        (&[("code_verifier", "another-verifier-that-is-long-enough-for-rfc-7636")][..], "invalid_grant"),
        (&[("code_verifier", challenge(VERIFIER).as_str())], "invalid_grant"),
        (&[("code_verifier", "")], "invalid_request"),
        (&[("redirect_uri", "http://127.0.0.1:8000/other")], "invalid_grant"),
        (&[("redirect_uri", "")], "invalid_request"),
        (&[("code", "unknown")], "invalid_grant"),
        (&[("code", "")], "invalid_request"),
    ] {
        let code = &program.choose(&ADA, &[]).await["code"];
        let (status, body) = program.exchange(code, changes).await;
        assert_eq!((status.as_u16(), &body["error"]), (400, &json!(error)), "{changes:?}");
    }
    let code = &program.choose(&ADA, &[]).await["code"];
    assert_eq!(program.exchange(code, &[]).await.0, 200);
    assert_eq!(program.exchange(code, &[]).await.1["error"], "invalid_grant", "it was used");
    let code = &program.choose(&ADA, &[]).await["code"];
    world.clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(program.exchange(code, &[]).await.1["error"], "invalid_grant", "it has expired");
}

#[tokio::test]
async fn only_a_users_token_with_openid_reads_the_users_address() {
    let (world, _, program) = start(|_| ()).await;
    let ask = async |token: &Value| {
        let request = program.http.get(program.endpoint("userinfo_endpoint"));
        let answer = request.bearer_auth(token.as_str().unwrap()).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let signed_in = program.sign_in(&ADA, &[]).await;
    let (status, body) = ask(&signed_in["access_token"]).await;
    let expected = json!({"sub": ADA.subject, "username": ADA.subject, "email": ADA.email, "email_verified": "true"});
    assert_eq!((status, body), (200, expected));
    let without = program.sign_in(&ADA, &[("scope", "git-api/repositories:read")]).await;
    assert!(without.get("id_token").is_none());
    for (token, status, error) in [
        (&signed_in["id_token"], 401, "invalid_token"),
        (&json!("a.b.c"), 401, "invalid_token"),
        (&without["access_token"], 403, "insufficient_scope"),
        (&program.client_credentials("").await["access_token"], 403, "insufficient_scope"),
    ] {
        let (answered, body) = ask(token).await;
        assert_eq!((answered, &body["error"]), (status, &json!(error)));
    }
    world.clock.advance(Duration::from_secs(10 * 60));
    assert_eq!(ask(&signed_in["access_token"]).await.1["error"], "invalid_token", "it has expired");
}

#[tokio::test]
async fn the_sign_in_page_runs_nothing_and_is_used_from_itself_only() {
    let (_world, _, program) = start(|_| ()).await;
    let hostile = "\"><script>alert(1)</script>'&amp;";
    let page = program.page(&[("state", hostile), ("redirect_uri", "http://localhost:8000/<b>")]).await;
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    let parts: Vec<_> = policy.split("; ").filter(|part| !part.starts_with("style-src 'sha256-")).collect();
    assert_eq!(
        parts,
        ["default-src 'none'", "form-action 'self' http://localhost:8000", "frame-ancestors 'none'", "base-uri 'none'"]
    );
    let html = page.text().await.unwrap();
    for foreign in ["<script", "<b>", "src=", "href=", "style="] {
        assert!(!html.contains(foreign), "{foreign} in {html}");
    }
    let fields: HashMap<_, _> = hidden_fields(&html).into_iter().collect();
    assert_eq!((&*fields["state"], &*fields["redirect_uri"]), (hostile, "http://localhost:8000/<b>"));

    let mut fields = Program::request(&[]);
    fields.push(("user".to_owned(), "nobody".to_owned()));
    assert_eq!(program.send_form(&fields, program.endpoint("issuer")).await.status(), 400);
    fields.last_mut().unwrap().1 = OWNER.subject.to_owned();
    for origin in ["https://evil.example", "null", &program.endpoint("issuer").replace("127.0.0.1", "localhost")] {
        let sent = program.send_form(&fields, origin).await;
        assert_eq!((sent.status(), sent.headers().get(LOCATION)), (StatusCode::BAD_REQUEST, None), "{origin}");
    }
    assert_eq!(program.send_form(&fields, program.endpoint("issuer")).await.status(), 303);
    for endpoint in ["authorization_endpoint", "jwks_uri"] {
        let rebound = program.http.get(program.endpoint(endpoint)).header(HOST, "evil.example").send().await.unwrap();
        assert_eq!(rebound.status(), 421, "{endpoint}");
    }
}
