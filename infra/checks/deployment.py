"""Deploys the stack onto ministack, drives it over HTTP, and gives every function its sample event.

Runs in the folder of the templates, with the folders of the tools and of the functions' binaries as arguments.
"""

import contextlib
import json
import logging
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from samcli.yamlhelper import yaml_dump
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

logging.disable()
tools = pathlib.Path(sys.argv[1])
binaries = pathlib.Path(sys.argv[2])
work = pathlib.Path(tempfile.mkdtemp(prefix="deploy-check-"))
START = time.monotonic()
LIMIT = START + 1500
STACK = "git-api-check"


def within(what, seconds, attempt):
    """Retries until there is a response."""
    end = min(LIMIT, time.monotonic() + seconds)
    while True:
        if answer := attempt():
            return answer
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.2)


def prepare():
    """Writes the templates in the form that ministack accepts, and the functions' code beside them."""
    root = yaml_parse(pathlib.Path("template.yaml").read_text())
    drop_metric_math(root)
    policies = type("NoManagedPolicies", (), {"load": lambda self: {}})()
    for stack in root["Resources"].values():
        if stack["Type"] != "AWS::CloudFormation::Stack":
            continue
        area = stack["Properties"]["TemplateURL"]
        template = yaml_parse(pathlib.Path(area).read_text())
        if "Globals" not in template:
            shutil.copy(area, work)
            continue
        drop_metric_math(template)
        for resource in template["Resources"].values():
            properties = resource.get("Properties", {})
            if "ReservedConcurrentExecutions" in properties:
                properties["ReservedConcurrentExecutions"] = 2
            if "ScalingConfig" in properties:
                properties["ScalingConfig"]["MaximumConcurrency"] = 2
        settings = template["Globals"]["Function"]
        settings["Architectures"] = ["x86_64" if os.uname().machine == "x86_64" else "arm64"]
        del settings["DeploymentPreference"]
        code = {}
        for name, resource in template["Resources"].items():
            if resource["Type"] != "AWS::Serverless::Function":
                continue
            function = resource["Properties"]
            del function["DeploymentPreference"]
            variables = function.get("Environment", {}).get("Variables", {})
            for setting, value in variables.items():
                variables[setting] = str(value) if isinstance(value, int) else value
            if "CLONE_HOSTS" in variables:
                variables["CLONE_HOSTS"] = "local"
            code[name] = pathlib.Path(function["CodeUri"]).name
            function["CodeUri"] = "s3://bucket/key"
            (work / code[name]).mkdir()
            bootstrap = work / code[name] / "bootstrap"
            shutil.copy2(binaries / code[name], bootstrap)
            subprocess.run(["strip", bootstrap], check=True)
        template = transform(template, {}, policies)
        for name, source in code.items():
            template["Resources"][name]["Properties"]["Code"] = source
        (work / area).write_text(yaml_dump(template))
    (work / "template.yaml").write_text(yaml_dump(root))


def drop_metric_math(template):
    template["Resources"] = {k: r for k, r in template["Resources"].items() if "Metrics" not in r.get("Properties", {})}


@contextlib.contextmanager
def emulator():
    """Ends every process that was started here: ministack leads its own process group."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "TMPDIR": str(work),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "S3_DATA_DIR": str(work / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_CHECK_FOR_UPDATES": "0",
        **({"AUTH": "true"} if os.environ.get("AUTH") else {}),
    }
    command = [tools / "ministack/bin/ministack"]
    with (tools / "ministack.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield url, environment
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def call(method, url, token, body=None):
    # The API's host name does not resolve, so requests go to ministack's address.
    host = urllib.parse.urlsplit(url).netloc
    url = url.replace(host, f"127.0.0.1:{host.rsplit(':')[-1]}")
    headers = {"Host": host, "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else text


def clients(url):
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return lambda service: boto3.client(service, endpoint_url=url, region_name="us-east-1", **credentials)


def deploy(url, environment, client):
    """Returns the outputs of the stack."""

    def alive():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{url}/_ministack/health", timeout=1).status == 200

    within("ministack starts", 30, alive)
    client("s3").create_bucket(Bucket="code")
    command = [
        *(tools / "sam/bin/sam", "deploy", "--template", work / "template.yaml", "--stack-name", STACK),
        *("--s3-bucket", "code", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"),
        *("--no-confirm-changeset", "--parameter-overrides"),
        *("Environment=staging", "Rollout=AllAtOnce", "Runner=process"),
    ]
    log = tools / "deploy.log"
    with log.open("w") as output:
        deployed = subprocess.run(command, env=environment, cwd=work, stdout=output, stderr=output, timeout=900)
    if deployed.returncode != 0:
        raise SystemExit(f"sam deploy: {log.read_text()[-3000:]}")
    print(f"deployed after {time.monotonic() - START:.0f} s")
    described = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def use_the_api(outputs, client):
    """Creates an account, a repository and a deployment, and follows the deployment to its end."""
    event = {"account": "shipyard", "plan": "pro", "owner_email": "owner@example.com"}
    bootstrapped = client("lambda").invoke(FunctionName=outputs["BootstrapFunction"], Payload=json.dumps(event))
    token = json.load(bootstrapped["Payload"])["token"]

    # Without routes, the gateway would answer this request itself, with its own body.
    v1 = f"{outputs['ApiUrl']}/v1"
    status, empty = call("GET", f"{v1}/repositories", token)
    assert (status, empty.get("data")) == (200, []), (status, empty)
    status, refused = call("GET", f"{v1}/repositories", token[:-1] + "-")
    assert (status, refused["error"]["code"]) == (401, "invalid_token"), (status, refused)
    status, missing = call("GET", f"{v1}/nothing", token)
    assert (status, missing["error"]["code"]) == (404, "not_found"), (status, missing)

    new = {"name": "app", "clone_url": str(repository())}
    status, created = call("POST", f"{v1}/repositories", token, new)
    assert (status, created["full_name"]) == (201, "shipyard/app"), (status, created)
    status, listed = call("GET", f"{v1}/repositories", token)
    assert [found["id"] for found in listed["data"]] == [created["id"]], (status, listed)
    for slug in (created["id"], "app", "shipyard%2Fapp"):
        status, found = call("GET", f"{v1}/repositories/{slug}", token)
        assert (status, found["id"]) == (200, created["id"]), (slug, status, found)

    variables = {"GREETING": {"value": "hello from afar", "secret": True}}
    new = {"ref": "main", "environment": "production", "variables": variables}
    status, created = call("POST", f"{v1}/repositories/app/deployments", token, new)
    assert (status, created["status"]) == (201, "queued"), (status, created)

    def ended():
        status, deployment = call("GET", f"{v1}/deployments/{created['id']}", token)
        assert status == 200, (status, deployment)
        return deployment if deployment["finished_at"] else None

    deployment = within("the deployment's end", 120, ended)
    assert deployment["status"] == "succeeded", deployment
    status, log = call("GET", f"{v1}/deployments/{created['id']}/log", token)
    assert status == 200 and "it says ***" in json.dumps(log), (status, log)
    print(f"driven after {time.monotonic() - START:.0f} s: {created['id']} succeeded")
    return token


def rehearse_a_restore(outputs, environment, client, token):
    """Restores the table as the runbook does it, with failures, none of which changes or deletes anything."""
    database = client("dynamodb")
    pages = client("lambda").get_paginator("list_functions").paginate()
    functions = [function["FunctionName"] for page in pages for function in page["Functions"]]
    v1 = f"{outputs['ApiUrl']}/v1"
    script = pathlib.Path("operations/restore.py").resolve()

    def run(*arguments, answer=""):
        command = [sys.executable, script, STACK, "--poll", "0.2", *arguments]
        said = {"capture_output": True, "text": True}
        ended = subprocess.run(command, env=environment, cwd=work, input=answer, timeout=300, **said)
        return ended.returncode, ended.stdout + ended.stderr

    def reservations():
        asked = client("lambda").get_function_concurrency
        return {name: asked(FunctionName=name).get("ReservedConcurrentExecutions") for name in functions}

    def nothing_changed_after(expected, *arguments, answer=""):
        tables = database.list_tables()["TableNames"]
        status, said = run(*arguments, answer=answer)
        assert status != 0 and expected in said, said
        assert database.list_tables()["TableNames"] == tables, said
        assert 0 not in reservations().values(), said
        assert call("GET", f"{v1}/repositories", token)[0] == 200, said

    def names():
        status, listed = call("GET", f"{v1}/repositories?sort=name", token)
        assert status == 200, listed
        return [found["name"] for found in listed["data"]]

    # ministack does not take these from the template.
    own = outputs["OwnTableName"]
    backups = {"PointInTimeRecoveryEnabled": True}
    database.update_continuous_backups(TableName=own, PointInTimeRecoverySpecification=backups)
    if "AttributeName" not in database.describe_time_to_live(TableName=own)["TimeToLiveDescription"]:
        expiry = {"Enabled": True, "AttributeName": "expires_at"}
        database.update_time_to_live(TableName=own, TimeToLiveSpecification=expiry)

    nothing_changed_after("can be restored to times from", "at", "2001-01-01T00:00:00Z")
    status, said = run("at", "latest")
    assert status == 0, said
    table = said.split()[-1]

    key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    attributes = [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")]
    billing = {"BillingMode": "PAY_PER_REQUEST"}
    database.create_table(TableName="half", KeySchema=key, AttributeDefinitions=attributes, **billing)
    nothing_changed_after("half is not ready", "use", "half", answer=f"{STACK}\n")
    nothing_changed_after("There is no table nowhere", "use", "nowhere", answer=f"{STACK}\n")
    nothing_changed_after("Nothing was changed", "use", table, answer="yes\n")

    new = {"name": "later", "clone_url": str(work / "repository")}
    status, created = call("POST", f"{v1}/repositories", token, new)
    assert status == 201, created
    # ministack loses attributes of resources when it updates a nested stack. So here the change fails after the
    # functions have stopped: nothing is lost, and they run again as before.
    lambdas = client("lambda")
    lambdas.put_function_concurrency(FunctionName=f"{STACK}-sweep", ReservedConcurrentExecutions=2)
    status, said = run("use", table, answer=f"{STACK}\n")
    assert status != 0 and "its functions are stopped" in said, said
    assert set(reservations().values()) == {0}, said
    status, said = run("start")
    assert status == 0, said
    assert reservations()[f"{STACK}-sweep"] == 2 and 0 not in reservations().values(), reservations()
    assert names() == ["app", "later"], "the functions use the own table"
    # What the change would have done to one function.
    listing = f"{STACK}-list-repositories"
    variables = lambdas.get_function_configuration(FunctionName=listing)["Environment"]["Variables"]
    variables["TABLE_NAME"] = table
    lambdas.update_function_configuration(FunctionName=listing, Environment={"Variables": variables})
    version = lambdas.publish_version(FunctionName=listing)["Version"]
    lambdas.update_alias(FunctionName=listing, Name="live", FunctionVersion=version)
    assert names() == ["app"], "the function uses the restored table"
    tables = {outputs["TableName"], table, "half"}
    assert tables <= set(database.list_tables()["TableNames"]), "a table was deleted"
    print(f"restored after {time.monotonic() - START:.0f} s")


def invoke_every_function(environment, client):
    """Sends every binary its sample event."""
    functions = sorted(folder.name for folder in work.iterdir() if (folder / "bootstrap").exists())
    # Each event has its own source address, because requests without a valid token count against it.
    events = {name: json.loads((pathlib.Path("../events") / f"{name}.json").read_bytes()) for name in functions}
    for number, event in enumerate(events.values(), 1):
        if "requestContext" in event:
            event["requestContext"]["http"]["sourceIp"] = f"203.0.113.{number}"
    answers = {name: emulated(name, event, client("lambda"), environment) for name, event in events.items()}
    for name, answer in answers.items():
        if name == "bootstrap":
            assert answer["token"].startswith("dgp_"), answer
        elif name in ("deployment-consumer", "hook-consumer", "report-status", "send-webhooks"):
            assert answer == {"batchItemFailures": []}, answer
        elif name in ("build-events", "build-log", "redrive-dead-letters", "sweep"):
            assert "errorType" not in (answer or {}), answer
        elif name == "get-dashboard":
            assert (answer["statusCode"], answer["headers"]["content-encoding"]) == (200, "gzip"), answer
        else:
            # The sample events' token, invitation, trust and hook don't exist, and some documents are public.
            public = {
                "accept-invitation": (404, "not_found"),
                "exchange-token": (400, "invalid_request"),
                "receive-hook": (404, "not_found"),
                "get-openapi": (200, None),
                "get-sign-in": (200, None),
            }
            # A long answer is compressed, and no refusal is long.
            status, body = answer["statusCode"], {} if answer["isBase64Encoded"] else json.loads(answer["body"])
            expected = public.get(name, (401, "invalid_token"))
            assert (status, body.get("error", {}).get("code")) == expected, (name, answer)
    print(f"{len(answers)} functions answered the emulator after {time.monotonic() - START:.0f} s")


def emulated(name, event, deployed, environment):
    """Returns the response of the function's binary to its sample event, under the runtime interface emulator."""
    settings = deployed.get_function_configuration(FunctionName=f"{STACK}-{name}")["Environment"]["Variables"]
    machine = "x86_64" if os.uname().machine == "x86_64" else "arm64"
    [emulator] = tools.glob(f"sam/lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}")
    address, api = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = [emulator, "--runtime-interface-emulator-address", address, "--runtime-api-address", api]
    region = {"AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": f"{STACK}-{name}"}
    process = subprocess.Popen(
        [*command, work / name / "bootstrap"],
        env={**environment, **region, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:

        def invoke():
            with contextlib.suppress(ConnectionError, urllib.error.URLError):
                url = f"http://{address}/2015-03-31/functions/function/invocations"
                return (json.load(urllib.request.urlopen(url, json.dumps(event).encode(), timeout=30)),)

        [answer] = within(f"{name}'s answer", 60, invoke)
        return answer
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def repository():
    """Creates a git repository whose build prints a variable."""
    folder = work / "repository"
    folder.mkdir()
    commands = 'version: 0.2\nphases:\n  build:\n    commands:\n      - echo "it says $GREETING"\n'
    (folder / "buildspec.yml").write_text(commands)
    git = ["git", "-C", folder, "-c", "user.name=check", "-c", "user.email=check@example.com"]
    for arguments in ("init --quiet --initial-branch=main", "add .", "commit --quiet --message=one"):
        subprocess.run([*git, *arguments.split()], check=True)
    return folder


try:
    prepare()
    with emulator() as (url, environment):
        client = clients(url)
        outputs = deploy(url, environment, client)
        token = use_the_api(outputs, client)
        rehearse_a_restore(outputs, environment, client, token)
        invoke_every_function(environment, client)
finally:
    shutil.rmtree(work)
