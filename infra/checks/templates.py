"""Checks the templates with checkov, `sam local start-api` and the SAM transform.

Runs in the folder of the templates, with checkov's report and the templates as arguments.
"""

import json
import logging
import pathlib
import re
import sys

import rules
import tomlkit
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# CloudFormation's limit is 500. A template should be split long before.
MOST_RESOURCES = 300


def main(report, templates):
    text = pathlib.Path("template.yaml").read_text()
    root = yaml_parse(text)
    every_finding_has_a_reason(json.loads(pathlib.Path(report).read_text()), text)
    settings_are_parameters(root)
    stacks = [r["Properties"] for r in root["Resources"].values() if r["Type"] == "AWS::CloudFormation::Stack"]
    areas = {stack["TemplateURL"]: yaml_parse(pathlib.Path(stack["TemplateURL"]).read_text()) for stack in stacks}
    assert sorted(["template.yaml", *areas]) == sorted(templates), "a template without a stack"
    assert not functions_of(root["Resources"]), "functions have their place in an area"
    areas_get_what_they_declare(stacks, areas)
    rules.check(root, areas)
    sam_local_sees_every_route(areas)
    print(f"template.yaml: {len(root['Resources'])} resources")
    for file, template in areas.items():
        callers_use_the_alias(file, template)


def functions_of(resources):
    return [name for name, resource in resources.items() if resource["Type"] == "AWS::Serverless::Function"]


def every_finding_has_a_reason(report, template):
    """Every finding of checkov has a reason in the template, and every reason has a finding."""
    reasons = set(re.findall(r"^# skip (CKV_\w+): \S", template, re.MULTILINE))
    findings = {(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]}
    unexplained = sorted(finding for finding in findings if finding[0] not in reasons)
    assert not unexplained, f"checkov: {unexplained}"
    unneeded = reasons - {check for check, _ in findings}
    assert not unneeded, f"nothing to skip: {unneeded}"
    assert report["summary"]["parsing_errors"] == 0
    passed = report["summary"]["passed"]
    print(f"checkov: {passed} checks passed, {len(findings)} findings of {len(reasons)} kinds explained")


def settings_are_parameters(root):
    """samconfig.toml sets only parameters that exist."""
    config = tomlkit.parse(pathlib.Path("samconfig.toml").read_text())
    for environment in ("dev", "staging", "prod"):
        overrides = config[environment]["deploy"]["parameters"]["parameter_overrides"]
        overrides = dict(pair.split("=", 1) for pair in overrides)
        assert overrides["Environment"] == environment
        unknown = overrides.keys() - root["Parameters"].keys()
        assert not unknown, f"samconfig.toml, {environment}: {unknown}"


def areas_get_what_they_declare(stacks, areas):
    """Nested stacks get the parameters that they declare, and the areas of functions start from the same globals."""
    shared = areas["repositories.yaml"]["Globals"]
    for stack in stacks:
        file = stack["TemplateURL"]
        if functions_of(areas[file]["Resources"]):
            assert areas[file]["Globals"] == shared, f"{file}: other Globals than repositories.yaml"
        declared, given = areas[file]["Parameters"].keys(), stack["Parameters"].keys()
        assert declared == given, f"{file}: {sorted(declared ^ given)}"


def sam_local_sees_every_route(areas):
    """`sam local start-api` finds every route with its function in the templates."""
    stacks, _ = SamLocalStackProvider.get_stacks("template.yaml", parameter_overrides={"Environment": "dev"})
    local = {(method, route.path): route for route in ApiProvider(stacks).api.routes for method in route.methods}
    declared = {
        tuple(resource["Properties"]["RouteKey"].split()): name
        for template in areas.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::ApiGatewayV2::Route"
    }
    declared[("X-AMAZON-APIGATEWAY-ANY-METHOD", "$default")] = declared.pop(("$default",))
    assert local.keys() == declared.keys(), local.keys() ^ declared.keys()
    known = {function.name for function in SamFunctionProvider(stacks).get_all()}
    for key, route in local.items():
        function = route.function_name
        assert function in known and route.payload_format_version == "2.0", f"{key}: {function}"
        assert re.fullmatch(rf"{function}(Head)?(ByFullName|(V1)?(Proxy)?)Route", declared[key]), f"{key}: {function}"
    print(f"sam local start-api: {len(local)} routes to {len(known)} functions")


def callers_use_the_alias(file, template):
    """Callers of a function call its alias, whose traffic shifts while the function's own alarm watches."""
    functions = functions_of(template["Resources"])
    for name in functions:
        template["Resources"][name]["Properties"]["CodeUri"] = "s3://bucket/key"
    policies = type("NoManagedPolicies", (), {"load": lambda self: {}})()
    resources = transform(template, {"Rollout": "Canary10Percent5Minutes"}, policies)["Resources"]

    # An integration spells out the alias, because otherwise `sam local start-api` would not find the function.
    alias = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${%s}:live"
    aliases = [{"Ref": f"{name}Aliaslive"} for name in functions] + [{"Fn::Sub": alias % name} for name in functions]
    shifted = set()
    for name in functions:
        shift = resources[f"{name}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert shift["DeploymentGroupName"] == {"Ref": f"{name}DeploymentGroup"}, name
        group = resources[f"{name}DeploymentGroup"]["Properties"]
        alarms = ["Errors", "VersionErrors"] if f"{name}VersionErrors" in resources else ["Errors"]
        watching = [{"Name": {"Ref": f"{name}{alarm}"}} for alarm in alarms]
        assert group["AlarmConfiguration"] == {"Enabled": True, "Alarms": watching}, name
        watched = resources[f"{name}Errors"]["Properties"]["Dimensions"]
        assert watched == [{"Name": "FunctionName", "Value": {"Ref": name}}], name
        if "VersionErrors" in alarms:
            # Lambda's Errors don't count a 500 or a panic that is answered.
            watched = resources[f"{name}VersionErrors"]["Properties"]["Dimensions"]
            watched = {dimension["Name"]: dimension["Value"] for dimension in watched}
            version = resources[f"{name}Aliaslive"]["Properties"]["FunctionVersion"]
            function = resources[name]["Properties"]["FunctionName"]["Fn::Sub"].removeprefix("${Stack}-")
            assert watched == {"stack": {"Ref": "Stack"}, "function": function, "version": version}, name
            shifted.add(name)
    kinds = ("Integration", "Rule", "Source", "Subscription")
    targets = [f"{name}{kind}" for name in functions for kind in kinds]
    kind = f"({'|'.join(kinds)})$"
    with_traffic = {re.sub(kind, "", target) for target in targets if target in resources}
    assert shifted == with_traffic, f"no alarm watches the new version: {shifted ^ with_traffic}"
    for name, resource in resources.items():
        called = {
            "AWS::ApiGatewayV2::Integration": "IntegrationUri",
            "AWS::Lambda::EventSourceMapping": "FunctionName",
            "AWS::Logs::SubscriptionFilter": "DestinationArn",
            "AWS::Lambda::Permission": "FunctionName",
        }.get(resource["Type"])
        assert called is None or resource["Properties"][called] in aliases, name
    count = len(resources)
    assert count <= MOST_RESOURCES, f"{file}: {count} resources"
    print(f"{file}: {len(functions)} functions with alias, rollout and alarm; {count} resources after the transform")


if __name__ == "__main__":
    logging.disable()
    main(sys.argv[1], sys.argv[2:])
