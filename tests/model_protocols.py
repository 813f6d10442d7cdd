"""How the providers of models word an answer, whole and streamed, and an error."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Protocol


class Spoken(Protocol):
    stream_type: str

    def error(self, status: int, message: str, code: str) -> tuple[str, bytes, dict[str, str]]: ...
    def whole(self, step: Any) -> dict[str, Any]: ...
    def pieces(self, step: Any) -> Iterator[bytes]: ...


def spoken(path: str, body: Any) -> tuple[Spoken, bool]:
    """The protocol of a request, and whether it asks for a stream."""
    if path.endswith("/chat/completions"):
        return OpenAI(), bool(body.get("stream"))
    if path.endswith("/responses"):
        return Responses(), bool(body.get("stream"))
    if path.partition("?")[0].endswith("/messages"):
        return Anthropic(), bool(body.get("stream"))
    if "/model/" in path:
        return Bedrock(), path.endswith("-stream")
    raise AssertionError(f"Nobody speaks {path}.")


def _words(text: str) -> list[str]:
    words = [f"{word} " for word in text.split(" ")]
    return [*words[:-1], words[-1].removesuffix(" ")] if text else []


def _kind(step: Any) -> str:
    return type(step).__name__


def _calls(step: Any) -> list[tuple[str, str, str]]:
    """Identifier, tool and arguments as JSON."""
    calls = getattr(step, "calls", ())
    return [(f"call_{number}_{tool}", tool, json.dumps(arguments)) for number, (tool, arguments) in enumerate(calls)]


class OpenAI:
    """Chat completions."""

    stream_type = "text/event-stream"

    def error(self, status: int, message: str, code: str) -> tuple[str, bytes, dict[str, str]]:
        error = {"message": message, "type": code or "error", "code": code or None, "param": None}
        return "application/json", json.dumps({"error": error}).encode(), {}

    def whole(self, step: Any) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": step.text or None}
        if calls := _calls(step):
            message["tool_calls"] = [
                {"id": call, "type": "function", "function": {"name": tool, "arguments": arguments}}
                for call, tool, arguments in calls
            ]
        answer = self._envelope("chat.completion", {"message": message, "finish_reason": self._end(step)})
        return answer | ({"usage": self._usage(step)} if step.counted else {})

    def pieces(self, step: Any) -> Iterator[bytes]:
        for word in _words(step.text):
            yield self._chunk({"delta": {"role": "assistant", "content": word}, "finish_reason": None})
        if _kind(step) == "Breaks":
            return
        if _kind(step) == "FailsInside":
            yield self._data({"error": {"message": step.message, "type": step.code, "code": step.code}})
            return
        for index, (call_id, tool, arguments) in enumerate(_calls(step)):
            for part in ({"name": tool, "arguments": ""}, {"arguments": arguments[:5]}, {"arguments": arguments[5:]}):
                call: dict[str, Any] = {"index": index, "function": part}
                if "name" in part:
                    call |= {"id": call_id, "type": "function"}
                yield self._chunk({"delta": {"tool_calls": [call]}, "finish_reason": None})
        yield self._chunk({"delta": {}, "finish_reason": self._end(step)})
        if step.counted:
            yield self._data(self._envelope("chat.completion.chunk") | {"choices": [], "usage": self._usage(step)})
        yield b"data: [DONE]\n\n"

    def _end(self, step: Any) -> str:
        return "content_filter" if step.refused else "tool_calls" if _calls(step) else "stop"

    def _usage(self, step: Any) -> dict[str, Any]:
        return {
            "prompt_tokens": step.input_tokens,
            "completion_tokens": step.output_tokens,
            "total_tokens": step.input_tokens + step.output_tokens,
            "prompt_tokens_details": {"cached_tokens": step.cached_tokens},
        }

    def _envelope(self, kind: str, choice: dict[str, Any] | None = None) -> dict[str, Any]:
        choices = [] if choice is None else [{"index": 0} | choice]
        return {"id": "chatcmpl-1", "object": kind, "created": 1_795_341_600, "model": "test", "choices": choices}

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return self._data(self._envelope("chat.completion.chunk", choice))

    def _data(self, value: Any) -> bytes:
        return f"data: {json.dumps(value)}\n\n".encode()


class Responses(OpenAI):
    """OpenAI's own newer protocol, in the little of it that a text and a call of a tool need."""

    def whole(self, step: Any) -> dict[str, Any]:
        output: list[dict[str, Any]] = [self._message(step.text)] if step.text else []
        output += [self._call(*call) for call in _calls(step)]
        return self._response("completed") | {"output": output, "usage": self._counted(step)}

    def pieces(self, step: Any) -> Iterator[bytes]:
        yield self._data({"type": "response.created", "sequence_number": 0, "response": self._response("in_progress")})
        place = {"output_index": 0, "item_id": "msg_1", "content_index": 0, "sequence_number": 1}
        if step.text:
            item = self._message("") | {"status": "in_progress", "content": []}
            yield self._data(place | {"type": "response.output_item.added", "item": item})
        for word in _words(step.text):
            yield self._data(place | {"type": "response.output_text.delta", "delta": word, "logprobs": []})
        if _kind(step) == "Breaks":
            return
        for index, call in enumerate(_calls(step)):
            at = {"output_index": index, "sequence_number": 2, "item_id": call[0]}
            yield self._data(at | {"type": "response.output_item.added", "item": self._call(*call) | {"arguments": ""}})
            yield self._data(at | {"type": "response.function_call_arguments.delta", "delta": call[2]})
            yield self._data(at | {"type": "response.output_item.done", "item": self._call(*call)})
        yield self._data({"type": "response.completed", "sequence_number": 3, "response": self.whole(step)})

    def _response(self, status: str) -> dict[str, Any]:
        told = {"id": "resp_1", "object": "response", "created_at": 1_795_341_600, "model": "test", "status": status}
        return told | {"output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}

    def _message(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}

    def _call(self, call_id: str, tool: str, arguments: str) -> dict[str, Any]:
        return {"id": call_id, "call_id": call_id, "type": "function_call", "name": tool, "arguments": arguments}

    def _counted(self, step: Any) -> dict[str, Any]:
        return {
            "input_tokens": step.input_tokens,
            "input_tokens_details": {"cached_tokens": step.cached_tokens},
            "output_tokens": step.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": step.input_tokens + step.output_tokens,
        }


class Anthropic:
    """Messages."""

    stream_type = "text/event-stream"

    def error(self, status: int, message: str, code: str) -> tuple[str, bytes, dict[str, str]]:
        error = {"type": "error", "error": {"type": code or "api_error", "message": message}}
        return "application/json", json.dumps(error).encode(), {"request-id": "req_1"}

    def whole(self, step: Any) -> dict[str, Any]:
        return self._message(step) | {
            "content": self._blocks(step),
            "stop_reason": self._end(step),
            "usage": self._usage(step),
        }

    def pieces(self, step: Any) -> Iterator[bytes]:
        started = {"input_tokens": getattr(step, "input_tokens", 12), "output_tokens": 1}
        yield self._event("message_start", message=self._message(step) | {"content": [], "usage": started})
        index = 0
        if step.text:
            yield self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            for word in _words(step.text):
                yield self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
            index = 1
        if _kind(step) == "Breaks":
            return
        if _kind(step) == "FailsInside":
            yield self._event("error", error={"type": step.code, "message": step.message})
            return
        if step.text:
            yield self._event("content_block_stop", index=0)
        for number, (call_id, tool, arguments) in enumerate(_calls(step), index):
            block = {"type": "tool_use", "id": call_id, "name": tool, "input": {}}
            yield self._event("content_block_start", index=number, content_block=block)
            delta = {"type": "input_json_delta", "partial_json": arguments}
            yield self._event("content_block_delta", index=number, delta=delta)
            yield self._event("content_block_stop", index=number)
        yield self._event("message_delta", delta={"stop_reason": self._end(step)}, usage=self._usage(step))
        yield self._event("message_stop")

    def _message(self, step: Any) -> dict[str, Any]:
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "stop_reason": None}

    def _blocks(self, step: Any) -> list[dict[str, Any]]:
        text = [{"type": "text", "text": step.text}] if step.text else []
        calls = [
            {"type": "tool_use", "id": call_id, "name": tool, "input": json.loads(given)}
            for call_id, tool, given in _calls(step)
        ]
        return [*text, *calls]

    def _end(self, step: Any) -> str:
        return "refusal" if step.refused else "tool_use" if _calls(step) else "end_turn"

    def _usage(self, step: Any) -> dict[str, int]:
        """Anthropic does not count cached tokens among the input's."""
        uncached = step.input_tokens - step.cached_tokens
        return {
            "input_tokens": uncached,
            "output_tokens": step.output_tokens,
            "cache_read_input_tokens": step.cached_tokens,
            "cache_creation_input_tokens": 0,
        }

    def _event(self, kind: str, **values: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | values)}\n\n".encode()


class Bedrock:
    """Converse and ConverseStream."""

    stream_type = "application/vnd.amazon.eventstream"

    def error(self, status: int, message: str, code: str) -> tuple[str, bytes, dict[str, str]]:
        return "application/json", json.dumps({"message": message}).encode(), {"x-amzn-errortype": code}

    def whole(self, step: Any) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"text": step.text}] if step.text else []
        for call_id, tool, given in _calls(step):
            content.append({"toolUse": {"toolUseId": call_id, "name": tool, "input": json.loads(given)}})
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self._end(step),
            "usage": self._usage(step),
            "metrics": {"latencyMs": 1},
        }

    def pieces(self, step: Any) -> Iterator[bytes]:
        yield self._frame("messageStart", {"role": "assistant"})
        for word in _words(step.text):
            yield self._frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}})
        if _kind(step) == "Breaks":
            return
        if _kind(step) == "FailsInside":
            yield self._frame(step.code, {"message": step.message}, message_type="exception")
            return
        if step.text:
            yield self._frame("contentBlockStop", {"contentBlockIndex": 0})
        for number, (call_id, tool, given) in enumerate(_calls(step), 1 if step.text else 0):
            start = {"toolUse": {"toolUseId": call_id, "name": tool}}
            yield self._frame("contentBlockStart", {"contentBlockIndex": number, "start": start})
            yield self._frame(
                "contentBlockDelta", {"contentBlockIndex": number, "delta": {"toolUse": {"input": given}}}
            )
            yield self._frame("contentBlockStop", {"contentBlockIndex": number})
        yield self._frame("messageStop", {"stopReason": self._end(step)})
        yield self._frame("metadata", {"usage": self._usage(step), "metrics": {"latencyMs": 1}})

    def _end(self, step: Any) -> str:
        return "guardrail_intervened" if step.refused else "tool_use" if _calls(step) else "end_turn"

    def _usage(self, step: Any) -> dict[str, int]:
        uncached = step.input_tokens - step.cached_tokens
        return {
            "inputTokens": uncached,
            "outputTokens": step.output_tokens,
            "totalTokens": step.input_tokens + step.output_tokens,
            "cacheReadInputTokens": step.cached_tokens,
        }

    def _frame(self, kind: str, payload: Any, message_type: str = "event") -> bytes:
        """A message of Amazon's event streams: lengths and their checksum, headers, payload, checksum of all."""
        named = ":exception-type" if message_type == "exception" else ":event-type"
        headers = b"".join(
            bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
            for name, value in {":message-type": message_type, named: kind, ":content-type": "application/json"}.items()
        )
        body = json.dumps(payload).encode()
        prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
        message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
        return message + struct.pack(">I", zlib.crc32(message))
