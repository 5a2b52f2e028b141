"""A local stack with demo data, for checks that drive the API over HTTP."""

import contextlib
import json
import pathlib
import socket
import subprocess
import tempfile
import time

import boto3
import requests

STARTS_WITHIN = 60


def free_port():
    """Returns a free port before four others: the stack's services take the ports after the API's."""
    while True:
        with contextlib.ExitStack() as bound:
            try:
                port = 0
                for number in range(5):
                    listener = bound.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port + number if port else 0))
                    port = port or listener.getsockname()[1]
            except OSError:
                continue
            return port


def repository(work, buildspec):
    """Creates a git repository with a buildspec. Returns its path, which is its clone URL."""
    path = work / "frontend-app"
    path.mkdir()
    (path / "buildspec.yml").write_text(buildspec)
    identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.com"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-qm", "Add a build"]):
        subprocess.run(["git", "-C", path, *arguments], check=True)
    return str(path)


class Stack:
    """A stack that runs."""

    def __init__(self, work, port, clone_url):
        self.work = work
        self.port = port
        self.api = f"http://127.0.0.1:{port}"
        self.clone_url = clone_url
        self.tokens = json.loads((work / "data" / "demo-tokens.json").read_text())

    def call(self, token, method, path, body=None):
        """Calls the API. Ends the check if the API refuses the request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.request(method, f"{self.api}/v1{path}", json=body, headers=headers, timeout=60)
        if not answer.ok:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def limit(self, account, per_minute, burst):
        """Gives an account a rate limit of its own, as an operator would. The stack must not have read it yet."""
        table = boto3.client(
            "dynamodb",
            endpoint_url=f"http://127.0.0.1:{self.port + 1}",
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        name = table.list_tables()["TableNames"][0]
        accounts = table.scan(
            TableName=name,
            FilterExpression="sk = :account AND slug = :slug",
            ExpressionAttributeValues={":account": {"S": "ACCOUNT"}, ":slug": {"S": account}},
        )["Items"]
        quota = {"M": {"per_minute": {"N": str(per_minute)}, "burst": {"N": str(burst)}}}
        table.update_item(
            TableName=name,
            Key={"pk": accounts[0]["pk"], "sk": accounts[0]["sk"]},
            UpdateExpression="SET custom_quota = :quota",
            ExpressionAttributeValues={":quota": quota},
        )

    def succeeded(self, token, deployment):
        """Waits until a deployment has succeeded."""
        end = time.monotonic() + STARTS_WITHIN
        while self.call(token, "GET", f"/deployments/{deployment}")["status"] != "succeeded":
            if time.monotonic() > end:
                raise SystemExit(f"{deployment} has not succeeded")
            time.sleep(0.2)


@contextlib.contextmanager
def running(program, name, buildspec):
    """Runs a stack with a repository of its own for the time of a check."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        work = pathlib.Path(folder)
        clone_url = repository(work, buildspec)
        port = free_port()
        arguments = [program, "--port", str(port), "--data", str(work / "data"), "--repo", clone_url]
        with (work / "output").open("w") as output, subprocess.Popen(arguments, stdout=output) as stack:
            try:
                end = time.monotonic() + STARTS_WITHIN
                while "The .git API runs at" not in (work / "output").read_text():
                    if stack.poll() is not None or time.monotonic() > end:
                        raise SystemExit("the stack has not started")
                    time.sleep(0.1)
                yield Stack(work, port, clone_url)
            finally:
                stack.terminate()
                stack.wait()
