//! The sign-in page. It needs no script and loads nothing.

use std::fmt::{self, Write as _};

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};

use super::authorize::Request;
use super::directory::USERS;
use super::parameters::Parameters;

/// The parameters that the form repeats.
const REPEATED: [&str; 8] = [
    "client_id",
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

const STYLE: &str = "\
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 34rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.2; }
ul { padding-left: 1.25rem; }
strong, code { overflow-wrap: anywhere; }
button { display: block; width: 100%; margin: .5rem 0; padding: .75rem 1rem; font: inherit; text-align: left;
  border: 1px solid GrayText; border-radius: .5rem; background: Canvas; color: CanvasText; cursor: pointer; }
button:hover, button:focus-visible { outline: 2px solid Highlight; }
button span { display: block; }
";

/// A text in HTML, in an element or in a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Returns the page on which a person chooses a demo user.
pub(super) fn sign_in(request: &Request, parameters: &Parameters) -> Response {
    let origin = request.redirect.origin();
    let list = |items: Vec<String>| items.concat();
    let scopes = request.scopes.iter().map(|scope| format!("<li><code>{}</code></li>\n", Escaped(scope)));
    let hidden = REPEATED.iter().filter_map(|name| {
        let value = Escaped(parameters.get(name)?);
        Some(format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">\n"))
    });
    let users = USERS.iter().map(|user| {
        let [subject, email, about] = [user.subject, user.email, user.about].map(Escaped);
        format!("<button name=\"user\" value=\"{subject}\"><strong>{email}</strong><span>{about}</span></button>\n")
    });
    let html = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Sign in to the local stack</title>\n\
         <style>{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <main>\n\
         <h1>Sign in to the local stack</h1>\n\
         <p>This page is for trials on this machine only. It asks for no password.</p>\n\
         <p>The program at <strong>{}</strong> asks for:</p>\n\
         <ul>\n{}</ul>\n\
         <form method=\"post\" action=\"authorize\">\n{}\
         <p>Sign in as:</p>\n{}\
         </form>\n\
         </main>\n\
         </body>\n\
         </html>\n",
        Escaped(&origin),
        list(scopes.collect()),
        list(hidden.collect()),
        list(users.collect()),
    );
    // Browsers apply form-action to the redirect that follows the form, too.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self' {origin}; frame-ancestors 'none'; base-uri 'none'",
        BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes())),
    );
    let policy = HeaderValue::try_from(policy).expect("an origin is ASCII");
    let html_type = HeaderValue::from_static("text/html; charset=utf-8");
    ([(CONTENT_TYPE, html_type), (CONTENT_SECURITY_POLICY, policy)], html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_html_are_escaped() {
        let text = "a&b <script>alert(\"1\")</script> 'c' é";
        let escaped = "a&amp;b &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &#39;c&#39; é";
        assert_eq!(Escaped(text).to_string(), escaped);
    }
}
