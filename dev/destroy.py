"""`make destroy`: deletes a deployment, and on demand the data that CloudFormation leaves: table, bucket and key."""

import argparse
import sys
import tomllib
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import ClientError

from dev.package import ROOT

#: What stays behind when a stack is deleted, in the order in which it is deleted on demand, and what it costs meanwhile.
KEPT = {
    "AWS::DynamoDB::Table": "0.45 USD a month for each GB, the backups for the last 35 days included",
    "AWS::S3::Bucket": "0.023 USD a month for each GB",
    "AWS::KMS::Key": "1 USD a month",
}

#: The stack of the SAM CLI's own, which has the bucket that `resolve_s3` uploads to.
SAM = "aws-sam-cli-managed-default"

#: Days after which a key is gone for good, the fewest that KMS takes; until then it can be called back, and costs nothing.
KEY_DAYS = 7

#: Makes a client of the service that is named.
Client = Callable[[Any], Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make destroy", description=__doc__)
    parser.add_argument("--env", default="dev", help="the environment in samconfig.toml")
    parser.add_argument("--data", default="", choices=["", "keep", "delete"])
    options = parser.parse_args(arguments)
    return destroy(boto3.session.Session().client, stack_name(options.env), options.data)


def destroy(client: Client, stack: str, data: str) -> int:
    """Deletes the stack if `data` is "keep" or "delete", and with the latter what it leaves. An exit code."""
    kept = kept_by(client, stack)
    if kept is None:
        print(f"There is no stack {stack}.")
        return 1
    print(f"The stack {stack} keeps its data in:")
    for resource in kept:
        print(f"  {resource['PhysicalResourceId']} ({resource['ResourceType']}), {KEPT[resource['ResourceType']]}")
    if not data:
        print("Nothing was deleted. DATA=keep deletes the stack and leaves these; DATA=delete deletes these, too.")
        return 2
    delete_stack(client, stack)
    delete_code(client, stack)
    print(f"Deleted the stack {stack}, and the code that was uploaded for it.")
    if data == "delete":
        for resource in kept:
            DELETE[resource["ResourceType"]](client, resource["PhysicalResourceId"])
            print(f"Deleted {resource['PhysicalResourceId']}.")
    return 0


def stack_name(environment: str) -> str:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    name: str = config[environment]["deploy"]["parameters"]["stack_name"]
    return name


def kept_by(client: Client, stack: str) -> list[dict[str, Any]] | None:
    """The stack's resources that its deletion leaves; None if there is no such stack."""
    try:
        cloudformation = client("cloudformation")
        cloudformation.describe_stacks(StackName=stack)
        resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    except ClientError:
        return None
    return [each for kind in KEPT for each in resources if each["ResourceType"] == kind]


def delete_stack(client: Client, stack: str) -> None:
    """Returns when it is gone; botocore's WaiterError says if it does not go."""
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName=stack)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack)


def delete_code(client: Client, prefix: str) -> None:
    """What `sam deploy` has uploaded for the stack, in every version, to the bucket that all of SAM's stacks share."""
    s3, sam = client("s3"), client("cloudformation").describe_stacks(StackName=SAM)["Stacks"][0]
    [bucket] = [output["OutputValue"] for output in sam["Outputs"] if output["OutputKey"] == "SourceBucket"]
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if named := [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": named})


def delete_table(client: Client, name: str) -> None:
    dynamodb = client("dynamodb")
    if dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
        dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        dynamodb.get_waiter("table_exists").wait(TableName=name)
    dynamodb.delete_table(TableName=name)
    dynamodb.get_waiter("table_not_exists").wait(TableName=name)


def delete_bucket(client: Client, name: str) -> None:
    s3 = client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        if found := [{"Key": each["Key"]} for each in page.get("Contents", [])]:
            s3.delete_objects(Bucket=name, Delete={"Objects": found})
    for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    s3.delete_bucket(Bucket=name)


def delete_key(client: Client, key_id: str) -> None:
    client("kms").schedule_key_deletion(KeyId=key_id, PendingWindowInDays=KEY_DAYS)


DELETE: dict[str, Callable[[Client, str], None]] = {
    "AWS::DynamoDB::Table": delete_table,
    "AWS::S3::Bucket": delete_bucket,
    "AWS::KMS::Key": delete_key,
}

if __name__ == "__main__":
    sys.exit(main())
