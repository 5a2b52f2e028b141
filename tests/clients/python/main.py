"""Deploys with the client that openapi-python-client generates, and reports what it saw as JSON."""

import json
import os
import time

from git_api import AuthenticatedClient
from git_api.api.deployments import (
    approve_deployment,
    create_deployment,
    get_deployment,
    get_deployment_artifact,
    get_deployment_log,
    list_deployment_artifacts,
)
from git_api.api.repositories import list_repositories
from git_api.models import ErrorEnvelope, NewApproval, NewDeployment, Status

FINAL = [Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.SUPERSEDED]


def client(token):
    return AuthenticatedClient(base_url=os.environ["API_URL"], token=token)


def answered(response):
    """Returns the body of a response. Ends the program if the request was refused."""
    if response.parsed is None or isinstance(response.parsed, ErrorEnvelope):
        raise SystemExit(f"{response.status_code}: {response.content}")
    return response.parsed


owner, approver, limited = (client(os.environ[name]) for name in ("OWNER_TOKEN", "APPROVER_TOKEN", "LIMITED_TOKEN"))

repositories = answered(list_repositories.sync_detailed(client=owner))
[repository] = [one for one in repositories.data if one.name == "frontend-app"]

new = NewDeployment(ref="main", environment="production")
deployment = answered(create_deployment.sync_detailed(repository.id, client=owner, body=new))
blocker = answered(get_deployment.sync_detailed(deployment.id, client=owner)).queue.blocked_by.kind
approval = NewApproval(sha=deployment.sha, approval_digest=deployment.approval_digest)
answered(approve_deployment.sync_detailed(deployment.id, client=approver, body=approval))

lines, after, complete = [], 0, False
while not complete:
    response = get_deployment_log.sync_detailed(deployment.id, client=owner, after=after)
    log = answered(response)
    lines += [line.text for line in log.data]
    after, complete = log.meta.next_after, log.meta.complete
    time.sleep(int(response.headers.get("X-Poll-Interval", 0)))
ended = answered(get_deployment.sync_detailed(deployment.id, client=owner))
assert ended.status in FINAL

[artifact] = answered(list_deployment_artifacts.sync_detailed(deployment.id, client=owner)).data
file = answered(get_deployment_artifact.sync_detailed(deployment.id, artifact.path, client=owner))

unauthorized = list_repositories.sync_detailed(client=client("dgp_nobody"))
assert unauthorized.status_code == 401

while (refused := list_repositories.sync_detailed(client=limited)).status_code == 200:
    pass
assert refused.status_code == 429
time.sleep(int(refused.headers["Retry-After"]))
answered(list_repositories.sync_detailed(client=limited))

print(
    json.dumps(
        {
            "deployment": deployment.id,
            "waited_for": blocker.value,
            "status": ended.status.value,
            "log": lines,
            "artifact": file.payload.read().decode(),
            "unauthorized": unauthorized.parsed.error.code.value,
            "limited": refused.parsed.error.code.value,
        }
    )
)
