"""Adapts Schemathesis to the parts of the contract that a schema can't express.

Each hook has a reason that is in the contract. Nothing here hides an answer of the API for another reason.
"""

import io
import itertools
import json
import os
import pathlib
import re
import urllib.parse
import zipfile

import requests
import schemathesis
import urllib3
from schemathesis.engine import Status
from schemathesis.engine.run.stateful import _executor
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import positive_data_acceptance

FIXTURE = json.loads(pathlib.Path(os.environ["FIXTURE"]).read_text())
# The token of the run and its user. A test that revokes the token or removes the user ends the run.
IN_USE = {"token_id": FIXTURE["token_id"], "user_id": FIXTURE["user_id"]}
# The repository by all of its names, and the other resources that requests need.
KEPT = {*FIXTURE["in_path"].values(), "frontend-app", "demo-starter/frontend-app"}
# The refusals of requests that fit the schema: the operation, or None for all, the code and the field.
DEPENDS_ON_STATE = {
    (None, "invalid_cursor", None): "a cursor is opaque, and belongs to one list",
    (None, "precondition_failed", None): "an ETag must be the current one",
    (None, "invalid_ref", None): "a ref must exist in the repository",
    ("create-repository", "invalid_clone_url", "clone_url"): "a clone URL must name a repository",
    ("create-repository", "invalid_request", "clone_url"): "a clone URL must name a host that exists",
    ("update-repository", "invalid_clone_url", "clone_url"): "a clone URL must name a repository",
    ("update-repository", "invalid_request", "clone_url"): "a clone URL must name a host that exists",
    ("update-repository", "invalid_request", "connection_id"): "a connection must be to the host of the clone URL",
    ("update-repository", "invalid_request", "default_branch"): "a branch must have a name that git allows",
    ("check-connection", "invalid_clone_url", "clone_url"): "a clone URL must be one",
    ("create-connection", "invalid_request", "host"): "a host must be one, and on the public internet",
    ("create-connection", "invalid_request", "provider"): "a GitHub App has one provider",
    ("create-connection", "invalid_request", "username"): "it belongs to one kind, and people must see each character",
    ("create-connection", "invalid_request", "password"): "it belongs to one kind",
    ("create-connection", "invalid_request", "app_id"): "it belongs to one kind",
    ("create-connection", "invalid_request", "private_key"): "it belongs to one kind, and must be a key",
    ("create-connection", "invalid_request", "installation_id"): "it belongs to one kind",
    ("update-connection", "invalid_request", "username"): "it belongs to one kind, and people must see each character",
    ("create-hook", "invalid_request", "ref"): "only a deploy hook has one, and people must see each character",
    ("create-application", "invalid_request", "access_token"): "it must be a current token of the client",
    ("create-invitation", "invalid_request", "teams"): "a team must exist",
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
    ("set-account-variable", "invalid_request", "name"): "a shell must be able to have a variable of the name",
    ("set-repository-variable", "invalid_request", "name"): "a shell must be able to have a variable of the name",
    ("set-environment-variable", "invalid_request", "name"): "a shell must be able to have a variable of the name",
    ("create-rollback", "invalid_request", "deployment_id"): "it must name a deployment of the environment",
    ("create-token", "invalid_request", "expires_in_days"): "a permanent token has no lifetime",
    ("rotate-token", "invalid_request", "expires_in_days"): "a permanent token has no lifetime",
    ("get-deployment-log", "invalid_request", "tail"): "it can't be combined with a position",
    ("update-environment", "invalid_request", "freeze_windows"): "a cron expression and a time zone must be ones",
    ("update-environment", "invalid_request", "removed_after_days"): "only a pattern has one",
    ("update-environment", "invalid_request", "required_approvals"): "the reviewers must be able to give them",
    ("update-environment", "invalid_request", "requires"): "it must name other environments, each once",
    ("update-environment", "invalid_request", "reviewers"): "a reviewer must exist, and there must be one",
}


def call(method, path, body=None):
    """Calls the API beside Schemathesis, to make what a request deletes."""
    headers = {"Authorization": f"Bearer {FIXTURE['token']}"}
    return requests.request(method, os.environ["API_URL"] + path, json=body, headers=headers, timeout=60).json()


def put(body):
    """Returns the function that makes what a request deletes by a PUT with this body."""
    return lambda case: call("PUT", case.path.format(**case.path_parameters), body)


def make_environment(case):
    """Makes the environment that a request deletes."""
    call("POST", f"/v1/repositories/{case.path_parameters['repo_id']}/environments", {"name": "qa"})
    case.path_parameters["environment"] = "qa"


def make_member(case):
    """Makes the member whom a request removes."""
    invited = call("POST", "/v1/invitations", {"email": "carl@example.com"})
    accepted = f"/v1/invitations/{invited['invitation']['id']}/accept"
    case.path_parameters["user_id"] = call("POST", accepted, {"secret": invited["secret"]})["member"]["id"]


# The deletions of what is made for each request, so that nothing that others need is gone.
MADE_FIRST = {
    "delete-account-variable": put({"value": "x"}),
    "delete-environment": make_environment,
    "delete-environment-variable": put({"value": "x"}),
    "delete-repository-variable": put({"value": "x"}),
    "remove-member": make_member,
    "remove-team-member": put(None),
    "remove-team-repository": put({"permission": "deploy"}),
}
# The deletions that take nothing from other requests.
HARMLESS = {"delete-repository-cache"}

# The machines of builds that the operator of the local stack allows.
ALLOWED_MACHINE = {"image": "aws/codebuild/standard:7.0", "compute_type": "BUILD_GENERAL1_SMALL", "privileged": False}

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
    "update-environment": ["refs", "freeze_windows", "root_folder", "buildspec_path"],
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

numbers = itertools.count()
addresses = (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(1, 255), range(256), range(1, 255)))


def connect_from_a_new_address(self, request, verify, proxies=None, cert=None):
    """Opens a connection for one request. Without a token, requests count against the limit of their address."""
    url = urllib.parse.urlsplit(request.url)
    return urllib3.HTTPConnectionPool(url.hostname, url.port, source_address=(next(addresses), 0))


requests.adapters.HTTPAdapter.get_connection_with_tls_context = connect_from_a_new_address

SUITES = 6
suites = itertools.count(1)
classify = _executor._classify_flaky


def go_on_with_the_next_seed(**suite):
    """Starts another suite of sequences after one that ended early, with the next seed.

    Hypothesis repeats sequences with changes, and ends at the first one that goes otherwise than before. That is no
    failure here: the second creation of a team finds its name taken.
    """
    status, again, reported = classify(**suite)
    return status, again or (status is Status.SUCCESS and next(suites) < SUITES), reported


_executor._classify_flaky = go_on_with_the_next_seed


def names_what_is_needed(case):
    """Returns the parameters of the path that name the token of the run or its user, or a resource to keep."""
    kept = set(IN_USE.values())
    if case.method.upper() == "DELETE" and case.operation.definition.raw["operationId"] not in HARMLESS:
        kept |= KEPT
    given = (case.path_parameters or {}).items()
    return [name for name, value in given if isinstance(value, str) and value in kept]


@schemathesis.hook
def filter_case(context, case):
    """Leaves out requests that name the token of the run or its user, or delete what other requests need."""
    return not names_what_is_needed(case)


@schemathesis.deserializer("application/zip")
def names_in_zip(context, response):
    """Reads an archive, whose schema is that of a binary text. Fails if a file in it is damaged."""
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    if damaged := archive.testzip():
        raise ValueError(f"{damaged} is damaged")
    return "\n".join(archive.namelist())


def seen(value):
    """Returns a value whose texts have no characters that people can't see."""
    match value:
        case str():
            return "".join(filter(str.isprintable, value)) or "a"
        case list():
            return [seen(item) for item in value]
        case dict():
            return {name: seen(item) for name, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    """Names resources, secrets and an ETag that exist, where valid data is wanted.

    Links give the path of a request that follows another one. Outside of links, only what was made for it is deleted.
    """
    for name in names_what_is_needed(case):
        # Schemathesis filters no request whose path it takes from an earlier answer.
        case.path_parameters[name] += "x"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    operation = case.operation.definition.raw["operationId"]
    keeps = case.method.upper() != "DELETE" or operation in HARMLESS
    if case.meta.phase.name != TestPhase.STATEFUL and (keeps or operation in MADE_FIRST):
        for name in (case.path_parameters or {}).keys() & FIXTURE["in_path"].keys():
            case.path_parameters[name] = FIXTURE["in_path"][name]
        if operation in MADE_FIRST:
            MADE_FIRST[operation](case)
        if operation == "receive-hook":
            case.query["key"] = FIXTURE["hook_secret"]
    if case.meta.phase.name == TestPhase.STATEFUL and case.method.upper() == "GET":
        # A link takes the first row of the first page.
        case.query = {}
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if "If-None-Match" in case.headers:
        # Schemathesis sends the shortest header, which is empty, although the pattern excludes it.
        case.headers["If-None-Match"] = '"unknown"'
    if "Idempotency-Key" in case.headers:
        # A key belongs to the first request with it.
        case.headers["Idempotency-Key"] = f"key-{next(numbers)}"
    if not isinstance(case.body, dict):
        return
    if operation == "update-connection":
        # They belong to the other kind of connections.
        case.body.pop("private_key", None)
        case.body.pop("installation_id", None)
    for field in set(READ_BY_PEOPLE.get(operation, [])) & case.body.keys():
        case.body[field] = seen(case.body[field])
    for field in ALLOWED_MACHINE.keys() & case.body.keys():
        case.body[field] = ALLOWED_MACHINE[field]
    for rule in case.body.get("deploy_rules") or []:
        rule["environment"] = "preview"
    if operation == "create-environment" and "*" not in str(case.body.get("name")):
        # Only a pattern has one.
        case.body.pop("removed_after_days", None)
    if operation == "create-session":
        case.body = {"token": FIXTURE["token"]}
    if operation == "accept-invitation":
        case.body["secret"] = FIXTURE["invitation_secret"]
    if operation == "create-rollback":
        case.body |= {"environment": "preview", "deployment_id": FIXTURE["in_path"]["deployment_id"]}
    if operation == "create-repository" or "clone_url" in case.body:
        case.body["clone_url"] = FIXTURE["clone_url"]
        case.body.pop("connection_id", None)
        case.body.pop("default_branch", None)
    if "ref" in case.body:
        case.body["ref"] = "main"
    if case.body.get("teams"):
        case.body["teams"] = [FIXTURE["in_path"]["team_id"]]


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
