"""The worker's Lambda handler: a batch of messages, each succeeding or coming back on its own, all side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from common.queue import Message
from common.telemetry import follow, logger
from common.wiring import Services
from functions.worker.runner import Later, Runner
from functions.worker.supervision import Span

#: When a message comes back after an error of ours (a table that does not answer), in seconds.
AFTER_ERROR = 30


class NotNow(Exception):
    """Tells the batch processor that this message is to come back."""


def make_handler(services: Services, runner: Runner) -> Callable[[dict[str, Any], Any], Any]:
    # A batch that fails as a whole would make Lambda scale the worker down.
    processor = AsyncBatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

    async def handle(record: SQSRecord, span: Span) -> None:
        message = Message.from_record(record.raw_event)
        follow(job_id=message.job_id, owner=message.owner)
        try:
            outcome = await runner.run(message, span)
        except Exception:  # noqa: BLE001
            logger.exception("message failed")
            outcome = Later(AFTER_ERROR)
        if isinstance(outcome, Later):
            _hide(services, message, outcome.seconds)
            raise NotNow(message.job_id)

    def handler(event: dict[str, Any], context: Any) -> Any:
        span = Span.of(services.clock(), context.get_remaining_time_in_millis() / 1000)
        return async_process_partial_response(
            event=event, record_handler=partial(handle, span=span), processor=processor, context=context
        )

    return handler


def _hide(services: Services, message: Message, seconds: float) -> None:
    try:
        services.queues.hide(message, seconds)
    except Exception as error:  # noqa: BLE001  # then it comes back after the queue's own time-out
        logger.warning("message not hidden", error=type(error).__name__)
