//! The OpenAPI document, as the pages read it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;

/// The order of the methods of a path.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub(crate) struct Api(Value);

/// An operation of the document.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) value: &'a Value,
}

/// A tag, and what it stands for.
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
}

/// An error code.
#[derive(Clone)]
pub(crate) struct ErrorCode {
    pub(crate) code: String,
    pub(crate) status: u16,
    pub(crate) meaning: String,
}

impl Api {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut document = serde_json::from_str(&text)?;
        write_out(&mut document);
        Ok(Self(document))
    }

    pub(crate) fn tags(&self) -> Vec<Tag<'_>> {
        let tags = self.0["tags"].as_array().into_iter().flatten();
        tags.map(|tag| Tag { name: text(&tag["name"]), description: text(&tag["description"]) }).collect()
    }

    /// Returns all operations by their paths.
    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, methods)| {
            METHODS.iter().filter_map(move |method| Some(Operation { method, path, value: methods.get(method)? }))
        });
        operations.collect()
    }

    /// Returns the codes that the schema of the envelope lists: "- `code` (404): meaning".
    pub(crate) fn errors(&self) -> Vec<ErrorCode> {
        let code = &self.0["components"]["schemas"]["ErrorBody"]["properties"]["code"];
        let listed = text(&code["description"]).lines().filter_map(|line| {
            let (code, rest) = line.strip_prefix("- `")?.split_once("` (")?;
            let (status, meaning) = rest.split_once("): ")?;
            Some(ErrorCode { code: code.to_owned(), status: status.parse().ok()?, meaning: meaning.to_owned() })
        });
        listed.collect()
    }

    /// Returns the base URL.
    pub(crate) fn server(&self) -> &str {
        text(&self.0["servers"][0]["url"])
    }

    /// Returns the schema that a reference names, or the schema itself.
    pub(crate) fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|reference| self.0.pointer(reference.strip_prefix('#')?)) {
            Some(target) => self.resolved(target),
            None => schema,
        }
    }

    /// Returns a header's description.
    pub(crate) fn header(&self, name: &str) -> &str {
        text(&self.0["components"]["headers"][name]["description"])
    }
}

impl<'a> Operation<'a> {
    pub(crate) fn id(&self) -> &'a str {
        text(&self.value["operationId"])
    }

    pub(crate) fn summary(&self) -> &'a str {
        text(&self.value["summary"])
    }

    pub(crate) fn description(&self) -> &'a str {
        text(&self.value["description"])
    }

    pub(crate) fn tag(&self) -> &'a str {
        text(&self.value["tags"][0])
    }

    /// Returns the method and the path, as in `GET /v1/teams`.
    pub(crate) fn key(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    /// Returns the path of the operation's page.
    pub(crate) fn url(&self) -> String {
        format!("/docs/reference/{}", self.id())
    }

    /// Returns the parameters at a place: `path`, `query` or `header`.
    pub(crate) fn parameters(&self, place: &str) -> Vec<&'a Value> {
        let parameters = self.value["parameters"].as_array().into_iter().flatten();
        parameters.filter(|parameter| parameter["in"] == place).collect()
    }

    /// Returns the path with the examples of its parameters, and with the secret in the query, if the operation takes one.
    pub(crate) fn example_path(&self) -> String {
        let fill = |path: String, parameter: &Value| {
            let name = format!("{{{}}}", text(&parameter["name"]));
            path.replace(&name, text(&parameter["schema"]["examples"][0]))
        };
        let path = self.parameters("path").into_iter().fold(self.path.to_owned(), fill);
        match self.parameters("query").into_iter().find(|parameter| parameter["schema"]["format"] == "password") {
            Some(secret) => {
                let example = text(&secret["schema"]["examples"][0]).replace('=', "%3D");
                format!("{path}?{}={example}", text(&secret["name"]))
            }
            None => path,
        }
    }

    /// Returns the media type of the body.
    pub(crate) fn body(&self) -> Option<&'a Value> {
        self.value["requestBody"]["content"].as_object()?.values().next()
    }

    /// Returns whether the body is a form, and no JSON.
    pub(crate) fn takes_a_form(&self) -> bool {
        self.value.pointer("/requestBody/content/application~1x-www-form-urlencoded").is_some()
    }

    /// Returns whether a request needs a token.
    pub(crate) fn needs_token(&self) -> bool {
        self.value["security"].as_array().is_some_and(|schemes| !schemes.is_empty())
    }

    /// Returns the scope that the token needs.
    pub(crate) fn scope(&self) -> Option<&'a str> {
        self.value["security"][0]["bearer"][0].as_str()
    }

    /// Returns the responses with their statuses.
    pub(crate) fn responses(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.value["responses"].as_object().into_iter().flatten().map(|(status, response)| (status.as_str(), response))
    }

    /// Returns the error codes that a response's description lists between backticks.
    pub(crate) fn codes(&self) -> Vec<&'a str> {
        let errors = self.responses().filter(|(status, _)| !status.starts_with('2'));
        errors.flat_map(|(_, response)| text(&response["description"]).split('`').skip(1).step_by(2)).collect()
    }
}

impl ErrorCode {
    /// Returns the path of the code's page.
    pub(crate) fn url(&self) -> String {
        format!("/docs/errors/{}", self.code)
    }
}

/// Replaces the references of operations to responses that they share. That to the answer of paths without an operation stays.
fn write_out(document: &mut Value) {
    let shared = document["components"]["responses"].clone();
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = operations.filter_map(Value::as_object_mut).flat_map(|item| item.values_mut());
    for response in
        operations.filter_map(|operation| operation["responses"].as_object_mut()).flat_map(|all| all.values_mut())
    {
        let name = response["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        if let Some(name) = name.filter(|name| *name != "MethodNotAllowed") {
            *response = shared[name].clone();
        }
    }
}

/// Returns the example of a media type.
pub(crate) fn example(media_type: &Value) -> Option<&Value> {
    media_type["examples"].as_object()?.values().next()?.get("value")
}

/// Returns a string, which is empty if there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
