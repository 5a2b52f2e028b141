"""Starts a local stack with demo data, and runs Schemathesis against it.

Runs in its own folder, with the path of the program `local` as argument.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import boto3
import requests

here = pathlib.Path.cwd()
program = sys.argv[1]
STARTS_WITHIN = 60


def free_port():
    """Returns a free port before two others: the stack's services take the ports after the API's."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except OSError:
                continue
            return port


def repository(work):
    """Creates a git repository whose deployments succeed at once. Returns its path, which is its clone URL."""
    path = work / "frontend-app"
    path.mkdir()
    (path / "buildspec.yml").write_text('version: 0.2\nphases:\n  build:\n    commands:\n      - "true"\n')
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.com"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-qm", "Add a build"]):
        subprocess.run(["git", "-C", path, *arguments], check=True)
    return str(path)


def raise_limit(port, token):
    """Gives the token's account a rate limit of its own, as an operator would: no plan allows so many requests."""
    table = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{port + 1}",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    name = table.list_tables()["TableNames"][0]
    accounts = table.scan(
        TableName=name,
        FilterExpression="sk = :account AND slug = :slug",
        ExpressionAttributeValues={":account": {"S": "ACCOUNT"}, ":slug": {"S": "demo-starter"}},
    )["Items"]
    quota = {"M": {"per_minute": {"N": "1000000"}, "burst": {"N": "100000"}}}
    table.update_item(
        TableName=name,
        Key={"pk": accounts[0]["pk"], "sk": accounts[0]["sk"]},
        UpdateExpression="SET custom_quota = :quota",
        ExpressionAttributeValues={":quota": quota},
    )


def demo_data(api, token, clone_url):
    """Creates one of everything that the tests need to start from. Returns what the hooks need to know."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"

    def call(method, path, body=None):
        answer = session.request(method, f"{api}/v1{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    caller = call("GET", "/user")
    call("POST", "/repositories", {"name": "frontend-app", "clone_url": clone_url})
    deployed = call("POST", "/repositories/frontend-app/deployments", {"ref": "main"})
    team = call("POST", "/teams", {"name": "frontend"})
    invited = call("POST", "/invitations", {"email": "ada@example.com"})
    accepted = f"/invitations/{invited['invitation']['id']}/accept"
    member = call("POST", accepted, {"secret": invited["secret"]})["member"]
    call("PUT", f"/teams/{team['id']}/members/{member['id']}")
    call("PUT", f"/teams/{team['id']}/repositories/frontend-app", {"permission": "deploy"})
    end = time.monotonic() + STARTS_WITHIN
    while call("GET", f"/deployments/{deployed['id']}")["status"] != "succeeded":
        if time.monotonic() > end:
            raise SystemExit("the demo's deployment has not succeeded")
        time.sleep(0.2)
    return {
        "clone_url": clone_url,
        "team_id": team["id"],
        "token_id": caller["token"]["id"],
        "user_id": caller["user"]["id"],
    }


with tempfile.TemporaryDirectory(prefix="schemathesis-check-") as folder:
    work = pathlib.Path(folder)
    clone_url = repository(work)
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    arguments = [program, "--port", str(port), "--data", str(work / "data"), "--repo", clone_url]
    with (work / "output").open("w") as output, subprocess.Popen(arguments, stdout=output) as stack:
        try:
            end = time.monotonic() + STARTS_WITHIN
            while "The .git API runs at" not in (work / "output").read_text():
                if stack.poll() is not None or time.monotonic() > end:
                    raise SystemExit("the stack has not started")
                time.sleep(0.1)
            # No request has used this token, so the stack reads the account, with its limit, at the first one.
            token = json.loads((work / "data" / "demo-tokens.json").read_text())["starter"]
            raise_limit(port, token)
            fixture = work / "fixture.json"
            fixture.write_text(json.dumps(demo_data(api, token, clone_url)))
            settings = {"API_URL": api, "TOKEN": token, "FIXTURE": str(fixture), "HOOKS": str(here / "hooks.py")}
            schemathesis = pathlib.Path(sys.executable).with_name("schemathesis")
            options = ["--config-file", here / "schemathesis.toml"]
            tested = subprocess.run(
                [schemathesis, *options, "run", f"{api}/v1/openapi.json", *sys.argv[2:]],
                env=os.environ | settings,
                cwd=work,
            )
        finally:
            stack.terminate()
            stack.wait()
raise SystemExit(tested.returncode)
