"""Restores the table of a stack to an earlier time, as another table that the functions then use.

No command deletes a table or writes an item. `at` makes a table and leaves the stack alone. `use` changes the stack's
parameter RestoredTable, after the table has passed every check and the operator has confirmed it. It also goes back.
"""

import argparse
import datetime
import json
import pathlib
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# The longest value of the parameter RestoredTable.
NAME = 40
# What a stack's update can end with.
UPDATED = "UPDATE_COMPLETE"
BACK = "UPDATE_ROLLBACK_COMPLETE"
STABLE = ("CREATE_COMPLETE", UPDATED, BACK)
ALIAS = "live"


class RefusedError(Exception):
    """A reason to stop, in words for the operator."""


class Stack:
    """A stack of template.yaml, with the stacks in it."""

    def __init__(self, name, poll):
        self.name = name
        self.poll = poll
        self.cloudformation = boto3.client("cloudformation")
        self.dynamodb = boto3.client("dynamodb")
        # Lambda takes 15 changes a second.
        self.functions = boto3.client("lambda", config=Config(retries={"mode": "standard", "max_attempts": 10}))
        self.stopped = pathlib.Path(f"{name}.stopped.json")

    def described(self):
        return self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]

    def output(self, key):
        outputs = {output["OutputKey"]: output["OutputValue"] for output in self.described()["Outputs"]}
        if key not in outputs:
            raise RefusedError(f"{self.name} has no output {key}: deploy a version of the template that has it first.")
        return outputs[key]

    def function_names(self):
        """The functions of the nested stacks. Their names alone would find those of a stack with a longer name."""
        names = []
        for nested in self.resources(self.name, "AWS::CloudFormation::Stack"):
            names += self.resources(nested, "AWS::Lambda::Function")
        if not names:
            raise RefusedError(f"{self.name} has no functions.")
        return sorted(names)

    def resources(self, stack, kind):
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return [resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == kind]

    def tables_of_functions(self):
        """The tables that the live versions of the functions use."""

        def table(name):
            live = self.functions.get_function_configuration(FunctionName=name, Qualifier=ALIAS)
            return live["Environment"]["Variables"]["TABLE_NAME"]

        return {name: table(name) for name in self.function_names()}

    def wait(self):
        while (status := self.described()["StackStatus"]).endswith("IN_PROGRESS"):
            time.sleep(self.poll)
        return status


def main(arguments):
    parser = argparse.ArgumentParser(prog="infra/restore", description="Restores a stack's table to an earlier time.")
    parser.add_argument("stack", help="the name of the stack, for example git-api-prod")
    parser.add_argument("--poll", type=float, default=15, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    at = commands.add_parser("at", help="make a table with the data of a time, beside the one in use")
    at.add_argument("time", type=moment, help="'latest', or for example 2026-01-01T12:00:00Z, within the last 35 days")
    check = commands.add_parser("check", help="check whether the functions could use a table")
    use = commands.add_parser("use", help="let the functions use a table")
    for command in (check, use):
        command.add_argument("table", help="the table's name, or 'own' for the stack's own")
    commands.add_parser("start", help="let the functions run again after a 'use' that did not end")
    commands.add_parser("indexes", help="add the indexes that the stack's own table has to the one in use")
    given = parser.parse_args(arguments)
    stack = Stack(given.stack, given.poll)
    commands = {
        "at": lambda: restore(stack, given.time),
        "check": lambda: prove(stack, named(stack, given.table)),
        "use": lambda: switch(stack, named(stack, given.table)),
        "start": lambda: start(stack),
        "indexes": lambda: add_indexes(stack),
    }
    try:
        commands[given.command]()
    except RefusedError as refused:
        sys.exit(str(refused))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS failed: {error}\nNothing was deleted. Run the command again when the reason is gone.")


def moment(text):
    """A time to restore to. None is the latest that is possible."""
    if text == "latest":
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time: write 2026-01-01T12:00:00Z") from None
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no time zone: append Z for UTC")
    return found.astimezone(datetime.UTC)


def named(stack, table):
    return stack.output("OwnTableName") if table == "own" else table


def restore(stack, at):
    source = stack.output("TableName")
    first, last = restorable(stack, source)
    at = at or last
    target = f"{stack.name}-{at.astimezone(datetime.UTC):%Y%m%d%H%M%S}"
    if len(target) > NAME:
        raise RefusedError(f"{target} has more than {NAME} characters, which RestoredTable can't have.")
    if not exists(stack, target):
        if not first <= at <= last:
            raise RefusedError(f"{source} can be restored to times from {first} to {last}.")
        stack.dynamodb.restore_table_to_point_in_time(
            SourceTableName=source, TargetTableName=target, RestoreDateTime=at
        )
        print(f"{source} is restored to {at} as {target}. This takes from minutes to hours.")
    finish(stack, target)
    equip(stack, source, target)
    prove(stack, target)
    print(f"Look at its items. Then run: infra/restore {stack.name} use {target}")


def restorable(stack, table):
    """The earliest and the latest time that a table can be restored to."""
    backups = stack.dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    window = backups["PointInTimeRecoveryDescription"]
    if window["PointInTimeRecoveryStatus"] != "ENABLED":
        raise RefusedError(f"{table} has no point-in-time recovery.")
    return window["EarliestRestorableDateTime"], window["LatestRestorableDateTime"]


def exists(stack, table):
    try:
        stack.dynamodb.describe_table(TableName=table)
    except stack.dynamodb.exceptions.ResourceNotFoundException:
        return False
    return True


def finish(stack, table):
    """Waits as long as it takes. The CLI's waiter gives up after some minutes."""
    while True:
        described = stack.dynamodb.describe_table(TableName=table)["Table"]
        states = [described["TableStatus"], *(index["IndexStatus"] for index in indexes_of(described).values())]
        if set(states) == {"ACTIVE"}:
            return
        print(f"{table} is {', '.join(sorted(set(states)))}")
        time.sleep(stack.poll)


def equip(stack, source, target):
    """Sets what a restored table does not have: expiry, backups, protection and tags."""
    client = stack.dynamodb
    expiry = client.describe_time_to_live(TableName=source)["TimeToLiveDescription"]
    if client.describe_time_to_live(TableName=target)["TimeToLiveDescription"].get("AttributeName") is None:
        specification = {"Enabled": True, "AttributeName": expiry["AttributeName"]}
        client.update_time_to_live(TableName=target, TimeToLiveSpecification=specification)
    client.update_continuous_backups(
        TableName=target, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    client.update_table(TableName=target, DeletionProtectionEnabled=True)
    finish(stack, target)
    arns = [client.describe_table(TableName=table)["Table"]["TableArn"] for table in (source, target)]
    tags = client.list_tags_of_resource(ResourceArn=arns[0])["Tags"]
    # Those of AWS itself can't be given.
    if tags := [tag for tag in tags if not tag["Key"].startswith("aws:")]:
        client.tag_resource(ResourceArn=arns[1], Tags=tags)


def prove(stack, table):
    """Refuses a table that the functions could not use as they use the stack's own."""
    if not exists(stack, table):
        raise RefusedError(f"There is no table {table}.")
    own, used = stack.output("OwnTableName"), stack.output("TableName")
    wanted, found = (shape(stack, name) for name in (own, table))
    problems = [f"{fact} is {found[fact]}, not {wanted[fact]}" for fact in wanted if found[fact] != wanted[fact]]
    for index in (None, *indexes_of(stack.dynamodb.describe_table(TableName=own)["Table"])):
        if index in found["indexes"] or index is None:
            items = [sample(stack, name, index) for name in (used, table)]
            if items[0] > 0 and items[1] == 0:
                problems.append(f"{index or 'the table'} is empty, and that of {used} is not")
    if problems:
        raise RefusedError("\n".join([f"{table} is not ready:", *(f"- {problem}" for problem in problems)]))
    print(f"{table} has the keys, indexes, expiry, backups and protection that it must have, and items.")


def shape(stack, table):
    """What code and operators count on, by a name for the operator."""
    client = stack.dynamodb
    described = client.describe_table(TableName=table)["Table"]
    expiry = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    indexes = {
        name: (index["KeySchema"], index["Projection"], index.get("IndexStatus", "ACTIVE"))
        for name, index in indexes_of(described).items()
    }
    return {
        "the state": described["TableStatus"],
        "the key": described["KeySchema"],
        "indexes": indexes,
        "billing": described.get("BillingModeSummary", {}).get("BillingMode"),
        "encryption": described.get("SSEDescription", {}).get("KMSMasterKeyArn"),
        "the attribute of expiry": expiry.get("AttributeName"),
        "backups": backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
        "protection from deletion": table == stack.output("OwnTableName") or described.get("DeletionProtectionEnabled"),
    }


def indexes_of(described):
    return {index["IndexName"]: index for index in described.get("GlobalSecondaryIndexes", [])}


def sample(stack, table, index):
    selected = {"IndexName": index} if index else {}
    return stack.dynamodb.scan(TableName=table, Limit=1, Select="COUNT", **selected)["Count"]


def switch(stack, table):
    own, used = stack.output("OwnTableName"), stack.output("TableName")
    if used == table and set(stack.tables_of_functions().values()) == {table}:
        raise RefusedError(f"The functions of {stack.name} use {table} already.")
    prove(stack, table)
    if table != own and len(table) > NAME:
        raise RefusedError(f"{table} has more than {NAME} characters, which RestoredTable can't have.")
    described = stack.described()
    if described["StackStatus"] not in STABLE:
        raise RefusedError(f"{stack.name} is {described['StackStatus']}: finish that first.")
    print(
        f"All functions of {stack.name} will stop, use {table} in place of {used}, and run again. The table {used} "
        f"stays as it is; what was written to it is not copied.\nType the stack's name to go on: ",
        end="",
    )
    if sys.stdin.readline().strip() != stack.name:
        raise RefusedError("Nothing was changed.")
    stop(stack)
    changes = {"RestoredTable": "" if table == own else table, "Rollout": "AllAtOnce"}
    parameters = [
        {"ParameterKey": key, "ParameterValue": changes[key]}
        if key in changes
        else {"ParameterKey": key, "UsePreviousValue": True}
        for key in (parameter["ParameterKey"] for parameter in described["Parameters"])
    ]
    try:
        stack.cloudformation.update_stack(
            StackName=stack.name,
            UsePreviousTemplate=True,
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
    except (BotoCoreError, ClientError):
        start(stack)
        raise
    status = stack.wait()
    if status not in (UPDATED, BACK):
        raise RefusedError(f"{stack.name} is {status} and its functions are stopped. Repair it, then run 'start'.")
    start(stack)
    if status == BACK:
        raise RefusedError(f"CloudFormation undid the change. The functions run, and use {used} as before.")
    print(f"The functions use {table}.")


def stop(stack):
    """Keeps each function's reservation in a file, so that `start` gives it back, and reserves nothing."""
    names = stack.function_names()
    if not stack.stopped.exists():
        reserved = {
            name: stack.functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
            for name in names
        }
        stack.stopped.write_text(json.dumps(reserved, indent=2))
    for name in names:
        stack.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    print(f"{len(names)} functions are stopped; {stack.stopped} has their reservations.")


def start(stack):
    """Lets the functions run again, once the live versions of all of them use the stack's table."""
    if not stack.stopped.exists():
        raise RefusedError(f"There is no {stack.stopped} here, so no function of {stack.name} was stopped from here.")
    table = stack.output("TableName")
    others = [name for name, used in stack.tables_of_functions().items() if used != table]
    if others:
        raise RefusedError(f"The functions stay stopped, because these do not use {table}: {', '.join(others)}")
    for name, reserved in json.loads(stack.stopped.read_text()).items():
        if reserved is None:
            stack.functions.delete_function_concurrency(FunctionName=name)
        else:
            stack.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    stack.stopped.unlink()
    print("The functions run again.")


def add_indexes(stack):
    """Follows a template that has added an index to the stack's own table. DynamoDB makes one index at a time."""
    own, used = stack.output("OwnTableName"), stack.output("TableName")
    wanted = stack.dynamodb.describe_table(TableName=own)["Table"]
    found = stack.dynamodb.describe_table(TableName=used)["Table"]
    missing = [index for name, index in indexes_of(wanted).items() if name not in indexes_of(found)]
    for index in missing:
        create = {key: index[key] for key in ("IndexName", "KeySchema", "Projection")}
        stack.dynamodb.update_table(
            TableName=used,
            AttributeDefinitions=wanted["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": create}],
        )
        finish(stack, used)
    print(f"{used} got {len(missing)} indexes.")


if __name__ == "__main__":
    main(sys.argv[1:])
