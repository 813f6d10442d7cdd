"""A deployment as its operator reaches it: with AWS credentials, by the outputs of its CloudFormation stack."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self

from longrun import config
from longrun.config import Place
from longrun.errors import InvalidInput, LongrunError

#: What AWS's services call a refusal.
DENIALS = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "AuthorizationErrorException",
}


class AwsProblem(LongrunError):
    """AWS could not be asked, or refused: no credentials, no network, no such stack."""


class NotPermitted(AwsProblem):
    """The caller's credentials lack the right `action`."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action

    def __str__(self) -> str:
        return f"your AWS credentials do not permit {self.action}"


class Deployment:
    """One stack. Its clients are those of boto3, which is imported when the first is asked for."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._clients: dict[str, Any] = {}

    @classmethod
    def of(cls, stack: str, region: str | None = None, profile: str | None = None) -> Self:
        """The deployment whose stack has this name, as it is now. Raises AwsProblem."""
        found = cls(Place(stack, region, profile))
        with explained():
            region = found.session.region_name
        return cls(Place(stack, region, profile, outputs_of(found.described)))

    @classmethod
    def named_or_chosen(cls, stack: str | None, region: str | None, profile: str | None) -> Self:
        """The named deployment, or else the chosen one. Raises InvalidInput if there is neither, AwsProblem."""
        known = config.chosen()
        if known and stack in (None, known.stack):
            return cls.of(known.stack, region or known.region, profile or known.profile)
        if stack is None:
            error = InvalidInput("no deployment is named, and none was chosen")
            error.add_note("give --stack NAME, or choose one with `longrun config use --stack NAME`")
            raise error
        return cls.of(stack, region, profile)

    @cached_property
    def session(self) -> Any:
        """boto3's session. Raises AwsProblem without boto3."""
        try:
            import boto3  # noqa: PLC0415  # most of the command line does without
        except ImportError:
            error = AwsProblem("this command needs boto3, which is not installed")
            error.add_note(f"install it with `{sys.executable} -m pip install 'longrun[aws]'`")
            raise error from None
        return boto3.session.Session(region_name=self.place.region, profile_name=self.place.profile)

    @cached_property
    def described(self) -> dict[str, Any]:
        """What CloudFormation says of the stack. Raises AwsProblem."""
        with explained():
            stacks = self.client("cloudformation").describe_stacks(StackName=self.place.stack)["Stacks"]
        found: dict[str, Any] = stacks[0]
        return found

    @cached_property
    def resources(self) -> dict[str, str]:
        """The physical names of the stack's resources, by their names in the template. Raises AwsProblem."""
        with explained():
            pages = (
                self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.place.stack)
            )
            found = [each for page in pages for each in page["StackResourceSummaries"]]
        return {each["LogicalResourceId"]: each.get("PhysicalResourceId", "") for each in found}

    def client(self, service: str) -> Any:
        """A client of one of AWS's services."""
        if service not in self._clients:
            with explained():
                self._clients[service] = self.session.client(service)
        return self._clients[service]

    def output(self, name: str) -> str:
        """One of the stack's outputs. Raises AwsProblem for a stack that has no such output."""
        try:
            return self.place.outputs[name]
        except KeyError:
            raise AwsProblem(f"stack {self.place.stack} has no output {name}: is it a deployment of Longrun?") from None

    def ask(self, service: str, operation: str, **arguments: Any) -> Any:
        """The answer of one call. Raises NotPermitted, AwsProblem."""
        call: Callable[..., Any] = getattr(self.client(service), operation)
        with explained(f"{service}:{operation.title().replace('_', '')}"):
            return call(**arguments)


def outputs_of(stack: dict[str, Any]) -> dict[str, str]:
    """The outputs of a described stack, by name."""
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}


@contextmanager
def explained(action: str = "") -> Iterator[None]:
    """Turns what boto3 raises into AwsProblem."""
    try:
        yield
    except AwsProblem:
        raise
    except Exception as error:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        if isinstance(error, ClientError):
            if error.response["Error"]["Code"] in DENIALS:
                raise NotPermitted(action or error.operation_name) from error
            raise AwsProblem(str(error)) from error
        if isinstance(error, BotoCoreError):
            problem = AwsProblem(str(error))
            problem.add_note("see https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html")
            raise problem from error
        raise
