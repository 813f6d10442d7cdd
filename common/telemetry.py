"""The one logger. Lines carry ids, statuses and counts; never inputs, results, keys or secrets."""

from __future__ import annotations

from aws_lambda_powertools import Logger

logger = Logger(service="longrun")
