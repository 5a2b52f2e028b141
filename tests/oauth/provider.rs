//! Tokens of the OpenID provider in `tests/oidc`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Url;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::{VERIFIER, acme, challenge, form, joined, trusting};

/// The OpenID provider in tests/oidc/provider.mjs.
pub(crate) struct Provider {
    _process: Child,
    /// The provider ends when its output is closed.
    _output: Lines<BufReader<ChildStdout>>,
    pub(crate) issuer: String,
}

static MODULES: OnceCell<Option<PathBuf>> = OnceCell::const_new();

/// Installs the provider with the modules of the lock file. Returns its folder, or `None` without Node.js.
async fn modules() -> Option<PathBuf> {
    let install = async || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
        std::fs::create_dir_all(&folder).unwrap();
        let lock = |folder: &Path| std::fs::read(folder.join("package-lock.json")).ok();
        let is_installed = folder.join("node_modules").exists() && lock(&folder) == lock(&source);
        if !is_installed {
            std::fs::copy(source.join("package.json"), folder.join("package.json")).unwrap();
            std::fs::copy(source.join("package-lock.json"), folder.join("package-lock.json")).unwrap();
            let install =
                Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output().await;
            match install {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    assert!(std::env::var_os("CI").is_none(), "npm is needed for the real OpenID provider");
                    eprintln!("SKIPPED, because there is no npm: the tests with a real OpenID provider");
                    return None;
                }
                output => {
                    let output = output.unwrap();
                    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                }
            }
        }
        std::fs::copy(source.join("provider.mjs"), folder.join("provider.mjs")).unwrap();
        Some(folder)
    };
    MODULES.get_or_init(install).await.clone()
}

impl Provider {
    pub(crate) async fn start(people: Value) -> Option<Self> {
        let folder = modules().await?;
        let mut process = Command::new("node")
            .args(["provider.mjs", &people.to_string()])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = lines.next_line().await.unwrap();
        let said: Value = serde_json::from_str(&said.expect("the provider prints its issuer")).unwrap();
        Some(Self { _process: process, _output: lines, issuer: said["issuer"].as_str().unwrap().to_owned() })
    }

    /// Logs a user in with a browser: the authorization code flow with PKCE (RFC 7636). Returns the token endpoint's
    /// response.
    pub(crate) async fn log_in(&self, person: &str, scopes: &str) -> Value {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let challenge = challenge(VERIFIER);
        let parameters = [
            ("client_id", "web"),
            ("response_type", "code"),
            ("redirect_uri", "http://127.0.0.1/callback"),
            ("scope", scopes),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("login_hint", person),
            ("state", "from here"),
        ];
        let mut url = Url::parse_with_params(&format!("{}/auth", self.issuer), parameters).unwrap();
        let mut cookies: HashMap<String, String> = HashMap::new();
        while url.path() != "/callback" {
            let jar: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = browser.get(url.clone()).header(COOKIE, jar.join("; ")).send().await.unwrap();
            assert!(answer.status().is_redirection(), "{answer:?}");
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                match value {
                    "" => drop(cookies.remove(name)),
                    value => drop(cookies.insert(name.to_owned(), value.to_owned())),
                }
            }
            url = url.join(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
        }
        let answered: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!((&answered["state"], &answered["iss"]), (&"from here".to_owned(), &self.issuer));
        let exchange = [
            ("grant_type", "authorization_code"),
            ("client_id", "web"),
            ("code", &answered["code"]),
            ("redirect_uri", "http://127.0.0.1/callback"),
            ("code_verifier", VERIFIER),
        ];
        self.token(browser.post(format!("{}/token", self.issuer)), &exchange).await
    }

    /// Gets a token by the client credentials flow. Returns the token endpoint's response.
    async fn client_credentials(&self, scopes: &str) -> Value {
        let request = reqwest::Client::new().post(format!("{}/token", self.issuer));
        let request = request.basic_auth("ci", Some("a+secret+that+is+for+tests+only"));
        self.token(request, &[("grant_type", "client_credentials"), ("scope", scopes)]).await
    }

    async fn token(&self, request: reqwest::RequestBuilder, pairs: &[(&str, &str)]) -> Value {
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form(pairs));
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }
}

#[tokio::test]
async fn a_user_of_a_real_provider_comes_by_authorization_code_and_pkce() {
    let people = json!({
        "ada": {"email": "ada@acme.example", "email_verified": true},
        "eve": {"email": "eve@acme.example", "email_verified": false},
    });
    let Some(provider) = Provider::start(people).await else { return };
    let world = trusting(&provider.issuer, Some(Clock::system()), false).await;
    let owner = acme(&world).await;
    let answer = provider.log_in("ada", "openid email repositories:read tokens:read").await;
    let ada = world.anonymous().holding(answer["access_token"].as_str().unwrap());
    joined(&ada).await;
    let me = ada.get("/v1/user").await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!((&me.body["user"]["email"], &me.body["user"]["role"]), (&json!("ada@acme.example"), &json!("member")));
    assert_eq!(me.body["account"]["id"], owner.account_id.as_ref().unwrap().as_str());
    assert_eq!(me.body["scopes"], json!(["repositories:read", "tokens:read"]));
    assert_eq!(ada.get("/v1/repositories").await.status, 200);
    ada.post("/v1/tokens", json!({"name": "ci", "scopes": ["tokens:read"]})).await.refused(403, "insufficient_scope");
    let again = provider.log_in("ada", "openid deployments:read").await;
    let again = world.anonymous().holding(again["access_token"].as_str().unwrap()).get("/v1/user").await;
    assert_eq!((&again.body["user"], &again.body["scopes"]), (&me.body["user"], &json!(["deployments:read"])));

    let id_token = world.anonymous().holding(answer["id_token"].as_str().unwrap());
    id_token.get("/v1/user").await.refused(401, "invalid_token");
    let eve = provider.log_in("eve", "openid email repositories:read").await;
    let eve = world.anonymous().holding(eve["access_token"].as_str().unwrap());
    eve.post("/v1/user/join", json!({})).await.refused(403, "not_linked");
}

#[tokio::test]
async fn an_application_of_a_real_provider_comes_by_client_credentials() {
    let Some(provider) = Provider::start(json!({})).await else { return };
    let world = trusting(&provider.issuer, Some(Clock::system()), false).await;
    let owner = acme(&world).await;
    let answer = provider.client_credentials("repositories:read deployments:write tokens:write").await;
    let ci = world.anonymous().holding(answer["access_token"].as_str().unwrap());
    ci.get("/v1/user").await.refused(403, "not_linked");
    let scopes = ["repositories:read", "repositories:write"];
    let new = json!({"name": "CI", "client_id": "ci", "access_token": answer["access_token"], "scopes": scopes});
    let registered = owner.post("/v1/applications", new).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    let me = ci.get("/v1/user").await;
    assert_eq!((me.status, &me.body["user"], &me.body["scopes"]), (200, &Value::Null, &json!(["repositories:read"])));
    let application = json!({"id": "ci", "name": "CI", "user_id": registered.body["user_id"]});
    assert_eq!(me.body["application"], application);
    assert_eq!(ci.get("/v1/repositories").await.status, 200);
    ci.get("/v1/tokens").await.refused(403, "insufficient_scope");
}
