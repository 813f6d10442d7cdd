"""For every route: services that have schedules, too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.settings import Settings
from common.wiring import Services
from common.wiring import services as wire
from tests.aws import SESSION, Clock, client


@pytest.fixture
def services(aws: Settings, clock: Clock) -> Services:
    client("scheduler").create_schedule_group(Name="longrun")
    arn = "arn:aws:{}:eu-central-1:123456789012:{}"
    settings = replace(
        aws,
        schedule_group="longrun",
        schedule_target=arn.format("lambda", "function:longrun-scheduled"),
        schedule_role="arn:aws:iam::123456789012:role/longrun-schedules",
        schedule_dead_letters=arn.format("sqs", "longrun-schedules-dead"),
    )
    return wire(settings, session=SESSION, clock=clock)
