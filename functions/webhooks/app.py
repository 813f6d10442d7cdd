"""Entry point: delivers the webhooks that the queue's messages name."""

import random
from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from common import wiring
from common.queue import Message
from functions.webhooks.delivering import Courier

services = wiring.from_environment()
# A batch that fails as a whole would make Lambda scale down: one slow receiver's webhooks are not another's trouble.
processor = AsyncBatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def handler(event: dict[str, Any], context: Any) -> Any:
    courier = Courier(services, random.random)

    async def handle(record: SQSRecord) -> None:
        await courier.handle(Message.from_record(record.raw_event))

    return async_process_partial_response(event=event, record_handler=handle, processor=processor, context=context)
