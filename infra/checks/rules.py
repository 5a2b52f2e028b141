"""Checks the templates against rules of AWS that no emulator and no linter knows.

Each function is one rule. It gets the root template, or the resources of all templates.
"""

import json
import re

# The values that API Gateway makes itself. It escapes nothing, so a value that a client chooses could forge a line.
MADE_BY_THE_GATEWAY = {
    "requestId",
    "integration.requestId",
    "requestTime",
    "identity.sourceIp",
    "httpMethod",
    "routeKey",
    "status",
    "protocol",
    "responseLength",
    "responseLatency",
    "integrationLatency",
    "integrationErrorMessage",
    "error.message",
}
# The longest description of a policy.
DESCRIPTION = 1000
# A change of these properties needs no new version: they are of the function, or of its name.
OF_THE_FUNCTION = {"FunctionName", "ReservedConcurrentExecutions", "DeploymentPreference", "RecursiveLoop"}
OWN_TABLE = ({"Ref": "Table"}, {"Fn::GetAtt": ["Table", "Arn"]})


def check(root, areas):
    resources = dict(root["Resources"])
    for area in areas.values():
        resources |= area["Resources"]
    a_policy_names_one_queue(resources)
    a_first_install_that_fails_leaves_nothing(resources)
    the_default_endpoint_goes_last(root)
    a_consumer_may_send_to_its_own_queue(resources)
    access_logs_are_json_and_can_be_joined(root)
    levels_do_not_hide_metrics(areas)
    traces_are_asked_for(root, areas)
    parameters_publish_versions(root, areas)
    a_restored_table_takes_the_place_of_the_own(root)
    private_hosts_are_in_a_vpc(root, areas)
    a_budget_can_be_replaced(resources)
    print("11 rules of AWS are kept")


def of_type(resources, kind):
    return {name: resource for name, resource in resources.items() if resource["Type"] == kind}


def nodes(value):
    """Yields the value and everything inside it."""
    yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for inner in inside:
        yield from nodes(inner)


def listed(value):
    return value if isinstance(value, list) else [value]


def a_policy_names_one_queue(resources):
    """SQS refuses a policy with another queue's ARN, and a queue has one policy."""
    policies = of_type(resources, "AWS::SQS::QueuePolicy")
    queues = []
    for name, policy in policies.items():
        [queue] = policy["Properties"]["Queues"]
        queues.append(queue["Ref"])
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Resource"] == {"Fn::GetAtt": [queue["Ref"], "Arn"]}, f"{name} names another queue"
    assert sorted(queues) == sorted(of_type(resources, "AWS::SQS::Queue")), f"policies are of {queues}"


def a_first_install_that_fails_leaves_nothing(resources):
    """`Retain` keeps data even if the install that made it is undone; protection from deletion stops that, too."""
    kept = {name: resource for name, resource in resources.items() if "UpdateReplacePolicy" in resource}
    assert kept, "nothing is kept"
    for name, resource in resources.items():
        policy = "RetainExceptOnCreate" if name in kept else None
        assert resource.get("DeletionPolicy") == policy, f"{name} has another DeletionPolicy than {policy}"
        for protection in ("DeletionProtection", "DeletionProtectionEnabled"):
            value = resource.get("Properties", {}).get(protection, {})
            assert isinstance(value, dict), f"{name} is protected in a first install"


def the_default_endpoint_goes_last(root):
    """Clients use the gateway's own address until the DNS record is moved, which needs the domain first."""
    disabled = root["Resources"]["Api"]["Properties"]["DisableExecuteApiEndpoint"]
    condition, on, off = disabled["Fn::If"]
    assert (on, off) == (True, False)
    reads = {node["Ref"] for node in nodes(root["Conditions"][condition]) if isinstance(node, dict) and "Ref" in node}
    assert reads == {"DefaultEndpoint"}, f"the default endpoint depends on {reads}"
    assert root["Parameters"]["DefaultEndpoint"]["Default"] == "enabled"


def a_consumer_may_send_to_its_own_queue(resources):
    """Lambda drops a message that went through a function and its queue 16 times, unless the function allows that."""
    loops = set()
    for source in of_type(resources, "AWS::Lambda::EventSourceMapping").values():
        queue, consumer = source["Properties"]["EventSourceArn"], source["Properties"]["FunctionName"]["Ref"]
        consumer = consumer.removesuffix(".Alias")
        for policy in resources[f"{consumer}Role"]["Properties"]["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                if "sqs:SendMessage" in listed(statement["Action"]) and queue in listed(statement["Resource"]):
                    loops.add(consumer)
    assert loops, "no function sends to its own queue"
    functions = of_type(resources, "AWS::Serverless::Function")
    allowed = {name for name, function in functions.items() if function["Properties"].get("RecursiveLoop") == "Allow"}
    assert allowed == loops, f"loops: {loops}, allowed: {allowed}"


def access_logs_are_json_and_can_be_joined(root):
    """A line of the access log is JSON whatever the client sends, and has the ids that the function's line has."""
    text = root["Resources"]["Stage"]["Properties"]["AccessLogSettings"]["Format"]
    line = json.loads(text)
    variables = {value.removeprefix("$context.") for value in line.values()}
    assert variables <= MADE_BY_THE_GATEWAY, f"a client chooses {variables - MADE_BY_THE_GATEWAY}"
    assert line["gateway_request_id"] == "$context.requestId"
    assert line["lambda_request_id"] == "$context.integration.requestId"


def levels_do_not_hide_metrics(areas):
    """Lambda drops lines below the level, and the metrics in them."""
    for file, area in areas.items():
        for function in [area["Globals"]["Function"]] if "Globals" in area else []:
            logging = function["LoggingConfig"]
            assert (logging["LogFormat"], logging["ApplicationLogLevel"]) == ("JSON", "INFO"), file


def traces_are_asked_for(root, areas):
    """With `Active`, Lambda samples one request a second and 5 % of the others, which X-Ray charges for."""
    assert root["Parameters"]["Tracing"]["Default"] == "PassThrough"
    for file, area in areas.items():
        for function in [area["Globals"]["Function"]] if "Globals" in area else []:
            assert function["Tracing"] == {"Ref": "Tracing"}, file
    for policy in of_type(root["Resources"], "AWS::IAM::ManagedPolicy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert "xray" not in json.dumps(statement) or statement["Fn::If"][0] == "Traces", "traces need no right"


def parameters_publish_versions(root, areas):
    """SAM publishes a version if the template's text changes, not if the value of a parameter does.

    CloudFormation replaces a version whose description changes. So the description is the ARN of a policy that
    CloudFormation replaces if its own description changes, which has every parameter of the stack that changes what a
    function does. The alias follows the version.
    """
    digest = root["Resources"]["SettingsDigest"]
    text = digest["Properties"]["Description"]
    described = parameters(root, text)
    for name, area in areas.items():
        given = next(
            stack["Properties"]["Parameters"]
            for stack in of_type(root["Resources"], "AWS::CloudFormation::Stack").values()
            if stack["Properties"]["TemplateURL"] == name
        )
        for function in of_type(area["Resources"], "AWS::Serverless::Function").values():
            own = {key: value for key, value in function["Properties"].items() if key not in OF_THE_FUNCTION}
            used = names(own | area["Globals"]["Function"]) & given.keys() - {"Settings", "Rollout"}
            assert own["VersionDescription"] == {"Ref": "Settings"}, own
            assert given["Settings"] == {"Ref": "SettingsDigest"}, given["Settings"]
            for parameter in used:
                missing = parameters(root, given[parameter]) - described
                assert not missing, f"{name}: {parameter} changes with {missing} and publishes no version"
    texts = [root["Parameters"][name] for name in names(text)]
    longest = sum(map(longest_value, texts))
    assert longest + len(texts) - 1 <= DESCRIPTION, f"a description can have {longest} characters"

    # A policy with a name of its own can't be replaced.
    assert digest["Type"] == "AWS::IAM::ManagedPolicy" and "ManagedPolicyName" not in digest["Properties"], digest
    [statement] = digest["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny", statement
    for resources in [root["Resources"], *(area["Resources"] for area in areas.values())]:
        for name, role in of_type(resources, "AWS::IAM::Role").items():
            policies = names(role["Properties"].get("ManagedPolicyArns", []))
            assert not policies & {"SettingsDigest", "Settings"}, f"{name} has the policy that allows nothing"


def longest_value(parameter):
    """The length of the longest value that a parameter may have."""
    if "MaxValue" in parameter:
        return len(str(parameter["MaxValue"]))
    return parameter.get("MaxLength") or max(map(len, parameter["AllowedValues"]))


def names(value):
    """The names that `!Ref` and `!Sub` refer to."""
    found = set()
    for node in nodes(value):
        if isinstance(node, dict) and isinstance(node.get("Ref"), str):
            found.add(node["Ref"])
        if isinstance(node, dict) and isinstance(node.get("Fn::Sub"), str):
            found |= set(re.findall(r"\$\{(\w+)\}", node["Fn::Sub"]))
    return found


def parameters(root, value):
    """The stack's parameters that a value depends on, by itself or by its conditions."""
    found = names(value)
    for node in nodes(value):
        if isinstance(node, dict) and "Fn::If" in node:
            found |= names(root["Conditions"][node["Fn::If"][0]])
    return found & root["Parameters"].keys()


def a_restored_table_takes_the_place_of_the_own(root):
    """Whatever names the stack's own table names the restored one if there is one."""
    rest = {name: resource for name, resource in root["Resources"].items() if name != "Table"}
    outputs = {name: output for name, output in root["Outputs"].items() if name != "OwnTableName"}
    own = sum(node in OWN_TABLE for node in nodes([rest, outputs]) if isinstance(node, dict))
    chosen = sum(
        node["Fn::If"][0] == "Restored" and node["Fn::If"][2] in OWN_TABLE
        for node in nodes([rest, outputs])
        if isinstance(node, dict) and "Fn::If" in node
    )
    assert own == chosen > 0, f"{own - chosen} places name the own table in any case"
    assert "${Table" not in json.dumps([rest, outputs]), "a text names the own table in any case"


def private_hosts_are_in_a_vpc(root, areas):
    """A function outside of a VPC reaches no private host. Without subnets, nothing about the functions changes.

    The list of hosts can't be a word that allows more, such as `local`.
    """
    pattern = root["Parameters"]["PrivateHosts"]["AllowedPattern"]
    for word in ("local", "public", "*", "git.corp.example,local", "local,git.corp.example", "git.corp.example,"):
        assert not re.fullmatch(pattern, word), f"{word} is allowed"
    for hosts in ("", "git.corp.example,10.20.0.0/16,fd12:3456::/32"):
        assert re.fullmatch(pattern, hosts), f"{hosts} is not allowed"
    for name, prefix, most in (("SubnetIds", "subnet-", 8), ("SecurityGroupIds", "sg-", 5)):
        ids = ",".join([f"{prefix}0123456789abcdef0"] * most)
        parameter = root["Parameters"][name]
        assert re.fullmatch(parameter["AllowedPattern"], ids) and len(ids) == parameter["MaxLength"], name
        assert parameter["Default"] == "", name
    assert root["Resources"]["NetworkPolicy"]["Condition"] == "InVpc"
    denied = root["Resources"]["NetworkPolicy"]["Properties"]["PolicyDocument"]["Statement"][-1]
    assert (denied["Effect"], denied["Action"]) == ("Deny", "ec2:*"), "the code of a function may change networks"

    inside = 0
    for file, area in areas.items():
        for name, function in of_type(area["Resources"], "AWS::Serverless::Function").items():
            if "VpcConfig" not in function["Properties"]:
                continue
            inside += 1
            condition, config, otherwise = function["Properties"]["VpcConfig"]["Fn::If"]
            assert (condition, otherwise) == ("InVpc", {"Ref": "AWS::NoValue"}), name
            assert config.keys() == {"SubnetIds", "SecurityGroupIds"}, name
            assert "CLONE_HOSTS" in function["Properties"]["Environment"]["Variables"], f"{name} connects to no host"
            policies = area["Resources"][f"{name}Role"]["Properties"]["ManagedPolicyArns"]
            conditional = {"Fn::If": ["InVpc", {"Ref": "NetworkPolicy"}, {"Ref": "AWS::NoValue"}]}
            assert conditional in policies, f"{name} can't be connected to the VPC"
            assert names(area["Conditions"]["InVpc"]) == {"SubnetIds"}, file
    assert inside, "no function connects to private hosts"


def a_budget_can_be_replaced(resources):
    """CloudFormation replaces a budget whose notifications change, and makes the new one first."""
    budgets = of_type(resources, "AWS::Budgets::Budget")
    assert budgets, "there is no budget"
    for name, budget in budgets.items():
        assert "BudgetName" not in budget["Properties"]["Budget"], f"{name} has a name of its own"
