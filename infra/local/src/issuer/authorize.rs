//! The authorization endpoint (RFC 6749, section 4.1): a page with the demo's users, and a code for the chosen one.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::header::{LOCATION, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use shared::clock::Timestamp;
use url::{Host, Url};

use super::directory::{Client, User};
use super::parameters::Parameters;
use super::refusal::{Code, Refusal};
use super::{Provider, page, random_text};

/// The time in which a code can be exchanged.
const CODE_LIFE: Duration = Duration::from_secs(5 * 60);
/// The length of a SHA-256 in base64url (RFC 7636, section 4.2).
const CHALLENGE_CHARS: usize = 43;

/// A valid authorization request.
pub(super) struct Request {
    client: Client,
    pub(super) redirect: Redirect,
    pub(super) scopes: Vec<String>,
    nonce: Option<String>,
    challenge: String,
}

/// The place to which the browser returns. It is on this machine.
pub(super) struct Redirect {
    url: Url,
    /// The parameter as it was sent, which the token request must repeat.
    text: String,
    state: Option<String>,
}

/// The reasons why there is no code.
enum Denied {
    /// The browser must not be sent away, because the place is not the client's.
    Here(Refusal),
    There(Box<Redirect>, Refusal),
}

/// The rights that a code stands for.
pub(super) struct Authorization {
    pub(super) client: Client,
    pub(super) user: &'static User,
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    /// The time at which the user signed in.
    pub(super) at: Timestamp,
    pub(super) redirect_uri: String,
    /// The S256 code challenge.
    pub(super) challenge: String,
}

/// The codes that were issued and not used.
#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<String, Authorization>>);

/// Returns the sign-in page.
pub(super) async fn ask(State(provider): State<Arc<Provider>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = Parameters::parse(query.as_bytes()).map_err(Denied::Here);
    let asked = asked.and_then(|parameters| Ok((provider.request(&parameters)?, parameters)));
    match asked {
        Ok((request, parameters)) => page::sign_in(&request, &parameters),
        Err(denied) => denied.into_response(),
    }
}

/// Signs the chosen user in. Sends the browser back to the client with a code.
pub(super) async fn choose(State(provider): State<Arc<Provider>>, headers: HeaderMap, body: Bytes) -> Response {
    // Another site could otherwise send the form in the user's place.
    if headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes() != provider.url.as_bytes()) {
        return Refusal::invalid("the form was sent by another site; open the sign-in page again").into_response();
    }
    provider.authorize(&headers, &body).unwrap_or_else(Denied::into_response)
}

impl Provider {
    fn authorize(&self, headers: &HeaderMap, body: &[u8]) -> Result<Response, Denied> {
        let parameters = Parameters::of_form(headers, body).map_err(Denied::Here)?;
        let request = self.request(&parameters)?;
        let unknown = || Denied::Here(Refusal::invalid("user is not one of the demo's users"));
        let user = parameters.get("user").and_then(User::of_subject).ok_or_else(unknown)?;
        let Request { client, redirect, scopes, nonce, challenge } = request;
        let at = self.clock.now();
        let redirect_uri = redirect.text.clone();
        let code = self.codes.add(Authorization { client, user, scopes, nonce, at, redirect_uri, challenge });
        Ok(redirect.with(&[("code", &code)]))
    }

    fn request(&self, parameters: &Parameters) -> Result<Request, Denied> {
        let client = parameters.required("client_id").map_err(Denied::Here)?;
        let unknown = || Denied::Here(Refusal::invalid("client_id is not a client of this issuer; use people"));
        let client = Client::of_id(client).ok_or_else(unknown)?;
        let redirect = Redirect::parse(parameters).map_err(Denied::Here)?;
        if client == Client::Dashboard && redirect.text != self.dashboard_callback {
            let description = format!("redirect_uri of the client dashboard must be {}", self.dashboard_callback);
            return Err(Denied::Here(Refusal::invalid(description)));
        }
        match Request::details(client, parameters) {
            Ok((scopes, challenge)) => {
                let nonce = parameters.get("nonce").map(str::to_owned);
                Ok(Request { client, redirect, scopes, nonce, challenge })
            }
            Err(refusal) => Err(Denied::There(Box::new(redirect), refusal)),
        }
    }
}

impl Request {
    /// Returns the granted scopes and the code challenge.
    fn details(client: Client, parameters: &Parameters) -> Result<(Vec<String>, String), Refusal> {
        if parameters.required("response_type")? != "code" {
            let description = "response_type must be code";
            return Err(Refusal::new(Code::UnsupportedResponseType, description));
        }
        if !client.has_people() {
            let description = "nobody can sign in to this client; use people";
            return Err(Refusal::new(Code::UnauthorizedClient, description));
        }
        let challenge = parameters.get("code_challenge");
        let challenge = challenge.ok_or_else(|| Refusal::invalid("code_challenge is missing; PKCE is required"))?;
        if parameters.get("code_challenge_method") != Some("S256") {
            return Err(Refusal::invalid("code_challenge_method must be S256"));
        }
        let is_base64url = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if challenge.len() != CHALLENGE_CHARS || !is_base64url {
            return Err(Refusal::invalid("code_challenge must be a SHA-256 in base64url without padding"));
        }
        Ok((client.grant(parameters.get("scope"))?, challenge.to_owned()))
    }
}

impl Redirect {
    /// Accepts http URLs of this machine, with any port and path (RFC 8252, section 7.3).
    fn parse(parameters: &Parameters) -> Result<Self, Refusal> {
        let text = parameters.required("redirect_uri")?;
        let is_here = |url: &Url| {
            let is_loopback = match url.host() {
                Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST,
                Some(Host::Domain(name)) => name == "localhost",
                _ => false,
            };
            let has_user = !url.username().is_empty() || url.password().is_some();
            url.scheme() == "http" && is_loopback && !has_user && url.fragment().is_none()
        };
        let advice = "redirect_uri must be an http URL of 127.0.0.1 or localhost, without user and fragment";
        let url = Url::parse(text).ok().filter(is_here).ok_or_else(|| Refusal::invalid(advice))?;
        Ok(Self { url, text: text.to_owned(), state: parameters.get("state").map(str::to_owned) })
    }

    /// Returns the client's scheme, host and port.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Sends the browser back with these parameters and the client's state.
    fn with(mut self, parameters: &[(&str, &str)]) -> Response {
        let state = self.state.as_deref().map(|state| ("state", state));
        self.url.query_pairs_mut().extend_pairs(parameters.iter().copied().chain(state));
        (StatusCode::SEE_OTHER, [(LOCATION, self.url.to_string())]).into_response()
    }
}

impl Denied {
    fn into_response(self) -> Response {
        match self {
            Self::Here(refusal) => refusal.into_response(),
            Self::There(redirect, Refusal { code, description }) => {
                redirect.with(&[("error", code.as_str()), ("error_description", &description)])
            }
        }
    }
}

impl Codes {
    fn add(&self, authorization: Authorization) -> String {
        let code = random_text();
        let mut codes = self.lock();
        codes.retain(|_, other| !other.has_ended(authorization.at));
        codes.insert(code.clone(), authorization);
        code
    }

    /// Returns the code's rights, once.
    pub(super) fn take(&self, code: &str, now: Timestamp) -> Option<Authorization> {
        self.lock().remove(code).filter(|found| !found.has_ended(now))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Authorization>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

impl Authorization {
    fn has_ended(&self, now: Timestamp) -> bool {
        now.since(self.at) >= CODE_LIFE
    }
}
