"""Reads when a schedule is to fire. What is certainly wrong is refused here, in words; EventBridge judges the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from common.errors import Fault, Unprocessable
from common.schedules import Kind

_RATE = re.compile(r"([0-9]{1,6}) +(minute|hour|day)s?")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
_CRON_FIELD = re.compile(r"[0-9A-Za-z*?,/#-]+")
#: The fields of a cron expression that name a day, counted from 0.
_DAYS = (2, 4)


@dataclass(frozen=True)
class When:
    """What EventBridge is told: see Schedule."""

    kind: Kind
    expression: str
    timezone: str


def read_when(given: dict[Kind, str | None], timezone: str | None) -> When:
    """Of cron, rate and at, the one that is given. Raises Unprocessable."""
    named = [(kind, text) for kind, text in given.items() if text is not None]
    if len(named) != 1:
        raise wrong("cron", "Give one of `cron`, `rate` and `at`.")
    kind, text = named[0]
    zone = _zone(timezone or "UTC")
    # As EventBridge writes it, rate(5 minutes), or without its name.
    wrapped = re.fullmatch(rf"\s*{kind}\s*\((.*)\)\s*", text, re.DOTALL)
    text = (wrapped[1] if wrapped else text).strip()
    if kind is Kind.AT:
        return When(kind, _at(text, zone, is_zoned=timezone is not None), "UTC")
    return When(kind, _cron(text) if kind is Kind.CRON else _rate(text), zone.key)


def _rate(text: str) -> str:
    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise wrong("rate", "A rate is a whole number and a unit: 1 minute, 6 hours, 7 days.")
    number = int(found[1])
    return f"{number} {found[2]}{'' if number == 1 else 's'}"


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != 6:
        raise wrong("cron", "It has six fields: minute, hour, day of the month, month, day of the week, year.")
    if not all(map(_CRON_FIELD.fullmatch, fields)):
        raise wrong("cron", "A field has digits, names of months or days, and * ? , / # - alone.")
    if sum(fields[day] == "?" for day in _DAYS) != 1:
        raise wrong("cron", "Of day of the month and day of the week, exactly one is ?: 0 9 ? * MON-FRI *, say.")
    return " ".join(fields).upper()


def _at(text: str, zone: ZoneInfo, *, is_zoned: bool) -> str:
    """The time in UTC, as EventBridge writes it."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise wrong("at", "A time is written 2027-01-31T09:00:00, or with a Z or +01:00 behind it.")
    if found[2] and is_zoned:
        raise wrong("timezone", "The time says its own offset from UTC; leave one of them out.")
    try:
        if found[2]:
            moment = datetime.fromisoformat(found[1] + found[2]).astimezone(UTC)
        else:
            local = datetime.fromisoformat(found[1])
            moment = local.replace(tzinfo=zone).astimezone(UTC)
            if moment.astimezone(zone).replace(tzinfo=None) != local:
                raise wrong("at", "There is no such time in that time zone: its clocks are put forward then.")
    except (ValueError, OverflowError):
        raise wrong("at", "There is no such time.") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, no name at all, a folder of names
        raise wrong("timezone", "Not a time zone of the IANA database: Europe/Berlin, say.") from None


def wrong(field: str, message: str) -> Unprocessable:
    """What is to be raised for one field of a schedule."""
    faults: list[Fault] = [{"loc": [field], "msg": message}]
    return Unprocessable("The schedule is not valid.", faults)
