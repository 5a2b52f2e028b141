"""Adapts Schemathesis to the parts of the contract that a schema can't express.

Each hook has a reason that is in the contract. Nothing here hides an answer of the API for another reason.
"""

import itertools
import json
import os
import pathlib
import re
import urllib.parse

import requests
import schemathesis
import urllib3
from schemathesis.specs.openapi.checks import positive_data_acceptance

FIXTURE = json.loads(pathlib.Path(os.environ["FIXTURE"]).read_text())
# The token of the run and its user. A test that revokes the token or removes the user ends the run.
IN_USE = {"token_id": FIXTURE["token_id"], "user_id": FIXTURE["user_id"]}
# The refusals of requests that fit the schema: the operation, or None for all, the code and the field.
DEPENDS_ON_STATE = {
    (None, "invalid_cursor", None): "a cursor is opaque, and belongs to one list",
    (None, "precondition_failed", None): "an ETag must be the current one",
    (None, "invalid_ref", None): "a ref must exist in the repository",
    (None, "idempotency_key_reused", None): "an idempotency key belongs to the first request with it",
    ("create-repository", "invalid_clone_url", "clone_url"): "a clone URL must name a repository",
    ("create-repository", "invalid_request", "clone_url"): "a clone URL must name a host that exists",
    ("update-repository", "invalid_clone_url", "clone_url"): "a clone URL must name a repository",
    ("update-repository", "invalid_request", "clone_url"): "a clone URL must name a host that exists",
    ("update-repository", "invalid_request", "connection_id"): "a connection must be to the host of the clone URL",
    ("update-repository", "invalid_request", "default_branch"): "a branch must have a name that git allows",
    ("create-repository", "invalid_request", "connection_id"): "a connection must be to the host of the clone URL",
    ("check-connection", "invalid_clone_url", "clone_url"): "a clone URL must be one",
    ("create-connection", "invalid_request", "host"): "a host must be one, and on the public internet",
    ("create-connection", "invalid_request", "provider"): "a GitHub App has one provider",
    ("create-connection", "invalid_request", "username"): "it belongs to one kind, and people must see each character",
    ("create-connection", "invalid_request", "password"): "it belongs to one kind",
    ("create-connection", "invalid_request", "app_id"): "it belongs to one kind",
    ("create-connection", "invalid_request", "private_key"): "it belongs to one kind, and must be a key",
    ("create-connection", "invalid_request", "installation_id"): "it belongs to one kind",
    ("update-connection", "invalid_request", "username"): "it belongs to one kind, and people must see each character",
    ("update-connection", "invalid_request", "private_key"): "it belongs to one kind, and must be a key",
    ("update-connection", "invalid_request", "installation_id"): "it belongs to one kind",
    ("create-hook", "invalid_request", "ref"): "only a deploy hook has one, and people must see each character",
    ("create-application", "invalid_request", "access_token"): "it must be a current token of the client",
    ("create-invitation", "invalid_request", "teams"): "a team must exist",
    ("create-session", "invalid_request", "token"): "a token can't be combined with a code",
    ("create-session", "invalid_request", "code"): "a code belongs to one sign-in",
    ("create-session", "invalid_request", "code_verifier"): "it is required with a code",
    ("create-session", "invalid_request", "redirect_uri"): "it must be that of the stack",
    ("create-trust", "invalid_request", "claims"): "one of several must have a value without '*' that people see",
    ("create-trust", "invalid_request", "issuer"): "a host must be on the public internet",
    ("create-trust", "invalid_request", "repository_id"): "a repository must exist",
    ("exchange-token", "invalid_request", "audience"): "a trust must exist",
    ("exchange-token", "invalid_request", "scope"): "the trust must have the scope",
    ("exchange-token", "invalid_request", "subject_token"): "it must be a current token of the trust's issuer",
    ("create-webhook", "invalid_request", "events"): "a type of events must exist",
    ("create-webhook", "invalid_request", "repositories"): "a repository must exist",
    ("create-webhook", "invalid_request", "url"): "a host must be one, and on the public internet",
    ("update-webhook", "invalid_request", "events"): "a type of events must exist",
    ("update-webhook", "invalid_request", "repositories"): "a repository must exist",
    ("update-webhook", "invalid_request", "url"): "a host must be one, and on the public internet",
    (None, "invalid_request", "environment"): "an environment must exist in the repository",
    ("create-trust", "invalid_request", "environments"): "an environment must exist in the repository",
    ("create-environment", "invalid_request", "removed_after_days"): "only a pattern has one",
    ("set-account-variable", "invalid_request", "name"): "a shell must be able to have a variable of the name",
    ("set-repository-variable", "invalid_request", "name"): "a shell must be able to have a variable of the name",
    ("set-environment-variable", "invalid_request", "name"): "a shell must be able to have a variable of the name",
    ("create-rollback", "invalid_request", "deployment_id"): "it must name a deployment of the environment",
    ("create-token", "invalid_request", "expires_in_days"): "a permanent token has no lifetime",
    ("rotate-token", "invalid_request", "expires_in_days"): "a permanent token has no lifetime",
    ("update-environment", "invalid_request", "freeze_windows"): "a cron expression and a time zone must be ones",
    ("create-repository", "invalid_request", "compute_type"): "the operator must allow it",
    ("create-repository", "invalid_request", "image"): "the operator must allow it",
    ("create-repository", "invalid_request", "privileged"): "the operator must allow it",
    ("update-repository", "invalid_request", "compute_type"): "the operator must allow it",
    ("update-repository", "invalid_request", "image"): "the operator must allow it",
    ("update-repository", "invalid_request", "privileged"): "the operator must allow it",
    ("update-environment", "invalid_request", "compute_type"): "the operator must allow it",
    ("update-environment", "invalid_request", "image"): "the operator must allow it",
    ("update-environment", "invalid_request", "privileged"): "the operator must allow it",
    ("update-environment", "invalid_request", "removed_after_days"): "only a pattern has one",
    ("update-environment", "invalid_request", "required_approvals"): "the reviewers must be able to give them",
    ("update-environment", "invalid_request", "requires"): "it must name other environments, each once",
    ("update-environment", "invalid_request", "reviewers"): "a reviewer must exist, and there must be one",
}

# Patterns have no portable name for characters that can't be seen, such as U+200B. Patterns exclude the control
# characters; the API refuses the others too.
READ_BY_PEOPLE = {
    "create-application": ["name"],
    "create-connection": ["name"],
    "create-deployment": ["override"],
    "create-repository": ["root_folder", "buildspec_path", "deploy_rules"],
    "create-rollback": ["override"],
    "create-team": ["description"],
    "create-token": ["name"],
    "create-trust": ["name"],
    "create-webhook": ["name"],
    "preflight-deployment": ["override"],
    "reject-deployment": ["reason"],
    "update-connection": ["name"],
    "update-environment": ["refs", "freeze_windows"],
    "update-repository": ["root_folder", "buildspec_path", "deploy_rules"],
    "update-team": ["description"],
    "update-token": ["name"],
    "update-webhook": ["name"],
}
DEPENDS_ON_STATE |= {
    (operation, "invalid_request", field): "people must see each character"
    for operation, fields in READ_BY_PEOPLE.items()
    for field in fields
}

addresses = (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(1, 255), range(256), range(1, 255)))


def connect_from_a_new_address(self, request, verify, proxies=None, cert=None):
    """Opens a connection for one request. Without a token, requests count against the limit of their address."""
    url = urllib.parse.urlsplit(request.url)
    return urllib3.HTTPConnectionPool(url.hostname, url.port, source_address=(next(addresses), 0))


requests.adapters.HTTPAdapter.get_connection_with_tls_context = connect_from_a_new_address


@schemathesis.hook
def filter_case(context, case):
    """Leaves out requests that name the token of the run or its user."""
    return all((case.path_parameters or {}).get(name) != value for name, value in IN_USE.items())


@schemathesis.hook
def before_call(context, case, kwargs):
    """Names a repository, a branch, a team and an ETag that exist, where valid data is wanted."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if "If-None-Match" in case.headers:
        # Schemathesis sends the shortest header, which is empty, although the pattern excludes it.
        case.headers["If-None-Match"] = '"unknown"'
    if not isinstance(case.body, dict):
        return
    if case.operation.definition.raw["operationId"] == "create-repository" or "clone_url" in case.body:
        case.body["clone_url"] = FIXTURE["clone_url"]
        case.body.pop("default_branch", None)
    if "ref" in case.body:
        case.body["ref"] = "main"
    if case.body.get("teams"):
        case.body["teams"] = [FIXTURE["team_id"]]


@schemathesis.check
def valid_data_is_accepted(context, response, case):
    """Checks that requests that fit the schema are accepted, unless their refusal depends on state."""
    if response.status_code in (400, 412, 422):
        error = response.json()["error"]
        # A field of a map or of an array is named after the map or the array.
        fields = {re.split(r"[.\[]", detail["field"])[0] for detail in error.get("details", [])} or {None}
        operation = case.operation.definition.raw["operationId"]

        def depends_on_state(field):
            keys = {(one, error["code"], name) for one in (operation, None) for name in (field, None)}
            return keys & DEPENDS_ON_STATE.keys()

        if all(depends_on_state(field) for field in fields):
            return None
    return positive_data_acceptance(context, response, case)
