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

BUILDSPEC = 'version: 0.2\nphases:\n  build:\n    commands:\n      - "true"\n'


def demo_data(stack, token):
    """Creates one of everything that the tests need to start from. Returns what the hooks need to know."""

    def call(method, path, body=None):
        return stack.call(token, method, path, body)

    caller = call("GET", "/user")
    call("POST", "/repositories", {"name": "frontend-app", "clone_url": stack.clone_url})
    deployed = call("POST", "/repositories/frontend-app/deployments", {"ref": "main"})
    team = call("POST", "/teams", {"name": "frontend"})
    invited = call("POST", "/invitations", {"email": "ada@example.com"})
    accepted = f"/invitations/{invited['invitation']['id']}/accept"
    member = call("POST", accepted, {"secret": invited["secret"]})["member"]
    call("PUT", f"/teams/{team['id']}/members/{member['id']}")
    call("PUT", f"/teams/{team['id']}/repositories/frontend-app", {"permission": "deploy"})
    stack.succeeded(token, deployed["id"])
    return {
        "clone_url": stack.clone_url,
        "team_id": team["id"],
        "token_id": caller["token"]["id"],
        "user_id": caller["user"]["id"],
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
