"""Generates clients from the OpenAPI document with stock generators, and deploys with each against a local stack.

Runs in the folder of the checks, with the folder of the tools, the path of the program `local` and the names of the
clients as arguments. Each client is a program in tests/clients. It lists repositories, creates a deployment, approves
it as a second user, follows its log to the end, downloads an artifact, and handles a 401 and a 429. It prints what it
saw, and this module compares that with the stack.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from stack import running

tools, program = (pathlib.Path(argument) for argument in sys.argv[1:3])
root = pathlib.Path.cwd().parent.parent
document = root / "functions/get-openapi/openapi.json"
sources = root / "tests/clients"
bin_folder = tools / "clients" / "bin"

VALIDATOR = tools / "validator/usr/share/gocode/src/gopkg.in/validator.v2"

BUILDSPEC = """version: 0.2
phases:
  build:
    commands:
      - for i in 1 2 3; do echo "step $i"; done
      - printf 'built from main' > app.txt
artifacts:
  files: [app.txt]
"""


def run(*command, cwd, **settings):
    """Runs a command. Returns its output, and ends the check if it fails."""
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"} | settings
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def fresh(name):
    """Returns an empty folder with the client's program. What its packages have left is kept."""
    folder = tools / f"client-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (sources / name).iterdir():
        shutil.copy(file, folder)
    return folder


def generate(kind, folder, *options):
    """Generates a client with openapi-generator."""
    shutil.rmtree(folder, ignore_errors=True)
    command = ["openapi-generator-cli", "generate", "-g", kind, "-i", document, "-o", folder, *options]
    run(*command, cwd=tools)


def python():
    folder = fresh("python")
    # The generator's package is named after the folder.
    run(
        "openapi-python-client",
        "generate",
        "--path",
        document,
        "--output-path",
        folder / "git_api",
        "--meta",
        "none",
        "--overwrite",
        cwd=folder,
    )
    return [bin_folder / "python", folder / "main.py"]


def typescript():
    folder = fresh("typescript")
    run("npm", "ci", "--no-audit", "--no-fund", "--silent", cwd=folder)
    run(
        "npx",
        "--no-install",
        "openapi-typescript",
        document,
        "-o",
        "schema.d.ts",
        "--default-non-nullable=false",
        cwd=folder,
    )
    (folder / "bodies.ts").write_text('import type { paths } from "./schema.js";\n\n' + "".join(smallest_bodies()))
    run("npx", "--no-install", "tsc", cwd=folder)
    return ["node", folder / "main.js"]


def smallest_bodies():
    """Returns a declaration in TypeScript for each body, with a value that has the required properties only."""
    api = json.loads(document.read_text())
    operations = ((path, method, of) for path, item in api["paths"].items() for method, of in item.items())
    for number, (path, method, operation) in enumerate(operations):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content:
            schema = content["schema"]
            name = schema.get("$ref", "").removeprefix("#/components/schemas/")
            required = (api["components"]["schemas"][name] if name else schema).get("required", [])
            example = content["examples"]["request"]["value"]
            body = json.dumps({property: example[property] for property in required})
            kind = f'NonNullable<paths["{path}"]["{method}"]["requestBody"]>["content"]["application/json"]'
            yield f"export const body{number}: {kind} = {body};\n"


def go():
    folder = fresh("go")
    # In Go, two enums can't have the same value, and NewDeployment is also the constructor of Deployment.
    schemas = json.loads(document.read_text())["components"]["schemas"]
    names = ",".join(f"{name}={name.removeprefix('New')}Input" for name in schemas if name.startswith("New"))
    properties = "--additional-properties=packageName=gitapi,withGoMod=false,enumClassPrefix=true"
    generate("go", folder / "gitapi", properties, "--model-name-mappings", names)
    shutil.rmtree(folder / "gitapi/test", ignore_errors=True)
    # The only module that the client needs is Debian's.
    shutil.copytree(VALIDATOR, folder / "validator", dirs_exist_ok=True)
    (folder / "validator/go.mod").write_text("module gopkg.in/validator.v2\n")
    run(
        "go",
        "build",
        "-o",
        "deploys",
        ".",
        cwd=folder,
        GOFLAGS="-mod=mod",
        GOPROXY="off",
        GOCACHE=str(tools / "go-cache"),
    )
    return [folder / "deploys"]


def rust():
    folder = fresh("rust")
    # The generator writes types that don't exist into the function of a form with references: `POST /v1/token`.
    generate("rust", folder / "openapi", "--global-property=apis=Deployments:Repositories,models,supportingFiles")
    run("cargo", "build", "--locked", "--quiet", cwd=folder, CARGO_TARGET_DIR=str(folder / "target"))
    return [folder / "target/debug/deploys"]


def postman():
    folder = fresh("postman")
    run("npm", "ci", "--no-audit", "--no-fund", "--silent", cwd=folder)
    return ["node", folder / "main.js"]


CLIENTS = {"python": python, "typescript": typescript, "go": go, "rust": rust, "postman": postman}


def prepare(stack):
    """Creates the second user, who approves what is deployed to production. Returns the programs' settings."""
    owner = stack.tokens["pro"]
    production = "/repositories/frontend-app/environments/production"
    stack.call(owner, "PATCH", production, {"required_approvals": 1})
    invited = stack.call(owner, "POST", "/invitations", {"email": "ada@example.com", "role": "admin"})
    accepted = f"/invitations/{invited['invitation']['id']}/accept"
    approver = stack.call(None, "POST", accepted, {"secret": invited["secret"]})["token"]
    # No request has used this token, so the stack reads the account, with its limit, at the first one.
    stack.limit("demo-starter", per_minute=600, burst=5)
    return {
        "API_URL": stack.api,
        "OWNER_TOKEN": owner,
        "APPROVER_TOKEN": approver,
        "LIMITED_TOKEN": stack.tokens["starter"],
        "DOCUMENT": str(document),
    }


def check(stack, name, command, settings):
    """Runs a client, and compares what it saw with what there is."""
    report = json.loads(run(*command, cwd=tools / f"client-{name}", **settings).splitlines()[-1])
    deployment = stack.call(settings["OWNER_TOKEN"], "GET", f"/deployments/{report['deployment']}")
    if name == "postman":
        expected = {
            "deployment": deployment["id"],
            "codes": dict.fromkeys(report["codes"], 200) | {"Create a deployment": 201},
        }
        if report != expected:
            raise SystemExit(f"{name} saw {report}, and not {expected}")
        return "some of its requests succeeded"
    log = stack.call(settings["OWNER_TOKEN"], "GET", f"/deployments/{report['deployment']}/log?limit=1000")
    expected = {
        "deployment": deployment["id"],
        "waited_for": "approval",
        "status": "succeeded",
        "log": [line["text"] for line in log["data"]],
        "artifact": "built from main",
        "unauthorized": "invalid_token",
        "limited": "rate_limited",
    }
    if report != expected or deployment["status"] != "succeeded" or len(deployment["approvals"]["given_by"]) != 1:
        raise SystemExit(f"{name} saw {report}, but there is {expected} and {deployment}")
    return "listed, deployed, approved, followed, downloaded, and was refused with 401 and 429"


commands = {}
for name in sys.argv[3:] or CLIENTS:
    start = time.monotonic()
    commands[name] = CLIENTS[name]()
    print(f"{name}: generated in {time.monotonic() - start:.0f} s", flush=True)
with running(program, "clients-check", BUILDSPEC) as stack:
    settings = prepare(stack)
    for name, command in commands.items():
        start = time.monotonic()
        done = check(stack, name, command, settings)
        print(f"{name}: {done}, in {time.monotonic() - start:.0f} s", flush=True)
