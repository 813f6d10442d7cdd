"""A model whose requests are spans of the job's trace: which model, how long, how many tokens; not what was said."""

from __future__ import annotations

from pydantic_ai.models import Model
from pydantic_ai.models.instrumented import InstrumentationSettings, InstrumentedModel

from common.spans import provider


def traced(model: Model) -> Model:
    settings = InstrumentationSettings(
        tracer_provider=provider(), include_content=False, include_model_request_parameters=False
    )
    return InstrumentedModel(model, settings)
