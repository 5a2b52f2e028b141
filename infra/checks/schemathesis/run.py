"""Starts a local stack with demo data, and runs Schemathesis against it.

Runs in its own folder, with the path of the program `local` as argument.
"""

import json
import os
import pathlib
import subprocess
import sys

here = pathlib.Path.cwd()
sys.path.append(str(here.parent))

from stack import running  # noqa: E402

BUILDSPEC = """version: 0.2
phases:
  build:
    commands:
      - echo succeeded > report
artifacts:
  files: report
"""


def demo_data(stack, token):
    """Creates one of everything that the tests need to start from. Returns what the hooks need to know."""

    def call(method, path, body=None):
        return stack.call(token, method, path, body)

    caller = call("GET", "/user")
    repository = call("POST", "/repositories", {"name": "frontend-app", "clone_url": stack.clone_url})
    deployed = call("POST", f"/repositories/{repository['id']}/deployments", {"ref": "main"})
    hook = call("POST", f"/repositories/{repository['id']}/hooks", {"provider": "deploy"})
    in_repository = f"repositories/{repository['id']}"
    for place in ("account", in_repository, f"{in_repository}/environments/preview"):
        call("PUT", f"/{place}/variables/API_URL", {"value": "https://example.com"})
    team = call("POST", "/teams", {"name": "frontend"})
    invited = call("POST", "/invitations", {"email": "ada@example.com"})
    accepted = f"/invitations/{invited['invitation']['id']}/accept"
    member = call("POST", accepted, {"secret": invited["secret"]})["member"]
    call("PUT", f"/teams/{team['id']}/members/{member['id']}")
    call("PUT", f"/teams/{team['id']}/repositories/frontend-app", {"permission": "deploy"})
    pending = call("POST", "/invitations", {"email": "ben@example.com"})
    login = {"kind": "basic", "username": "deploy-bot", "password": "7d1c0a9b5e3f48c2a6b4d8e0f1937c5a"}
    connection = call("POST", "/connections", {"name": "Deploy bot", "host": "git.example.com", **login})
    target = {"url": "https://ops.example.com/deployments", "events": ["deployment.failed"]}
    webhook = call("POST", "/webhooks", {"name": "Board", **target})
    delivery = call("POST", f"/webhooks/{webhook['id']}/test")
    another = call("POST", "/tokens", {"name": "ci", "scopes": ["repositories:read"]})
    accepted = {"issuer": "https://ci.example.com", "claims": {"repository": "acme/app"}}
    trust = call("POST", "/trusts", {"name": "CI", "scopes": ["deployments:read"], **accepted})
    stack.succeeded(token, deployed["id"])
    return {
        "clone_url": stack.clone_url,
        "token": token,
        "token_id": caller["token"]["id"],
        "user_id": caller["user"]["id"],
        "hook_secret": hook["secret"],
        "invitation_secret": pending["secret"],
        "in_path": {
            "artifact_path": "report",
            "connection_id": connection["id"],
            "delivery_id": delivery["id"],
            "deployment_id": deployed["id"],
            "environment": "preview",
            "hook_id": hook["id"],
            "invitation_id": pending["invitation"]["id"],
            "name": "API_URL",
            "repo_id": repository["id"],
            "team_id": team["id"],
            "token_id": another["id"],
            "trust_id": trust["id"],
            "user_id": member["id"],
            "webhook_id": webhook["id"],
        },
    }


with running(sys.argv[1], "schemathesis-check", BUILDSPEC) as stack:
    # No request has used this token, so the stack reads the account, with its limit, at the first one.
    token = stack.tokens["starter"]
    stack.limit("demo-starter", per_minute=1_000_000, burst=100_000)
    fixture = stack.work / "fixture.json"
    fixture.write_text(json.dumps(demo_data(stack, token)))
    settings = {"API_URL": stack.api, "TOKEN": token, "FIXTURE": str(fixture), "HOOKS": str(here / "hooks.py")}
    schemathesis = pathlib.Path(sys.executable).with_name("schemathesis")
    options = ["--config-file", here / "schemathesis.toml"]
    tested = subprocess.run(
        [schemathesis, *options, "run", f"{stack.api}/v1/openapi.json", *sys.argv[2:]],
        env=os.environ | settings,
        cwd=stack.work,
    )
raise SystemExit(tested.returncode)
