"""JSON-RPC 2.0: from the bytes of a request to the bytes of its answer, whatever carried them.

References
----------
JSON-RPC 2.0 specification.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.errors import ParsecError

from .errors import (
    INTERNAL,
    AnswerTooLarge,
    InvalidParameter,
    InvalidRequest,
    MalformedJson,
    MethodNotFound,
    RpcError,
    code_of,
)
from .methods import Method
from .node import Node

log = logging.getLogger(__name__)

_NOTHING: Final = b""


class Dispatcher:
    """Answers requests by a table of methods. Any thread may use it.

    Parameters
    ----------
    node
        What the methods work on; its settings limit depth and size of batches.
    methods
        The table.
    """

    def __init__(self, node: Node, methods: Mapping[str, Method]) -> None:
        self._node = node
        self._methods = methods
        self._settings = node.settings

    def answer(self, body: bytes) -> bytes:
        """The answer to a request or a batch; empty if it holds only notifications."""
        try:
            request = orjson.loads(body)
            if _deeper(request, self._settings.depth_max):
                raise MalformedJson(f"JSON nested deeper than {self._settings.depth_max}")
        except orjson.JSONDecodeError as exc:
            return _failed(None, MalformedJson(f"the body is no JSON: {exc}"))
        except MalformedJson as exc:
            return _failed(None, exc)
        return self._batch(request) if isinstance(request, list) else self._one(request)

    def _batch(self, requests: list[Any]) -> bytes:
        if not requests:
            return _failed(None, InvalidRequest("an empty batch"))
        if len(requests) > self._settings.batch_max:
            return _failed(
                None, InvalidRequest(f"a batch of {len(requests)} requests; at most {self._settings.batch_max}")
            )
        answers, size = [], 0
        for request in requests:
            if size > self._settings.answer_bytes_max:
                error = AnswerTooLarge(f"the answers to the batch exceed {self._settings.answer_bytes_max} bytes")
                answer = _failed(_id(request), error) if _is_answered(request) else _NOTHING
            else:
                answer = self._one(request)
            size += len(answer)
            if answer:
                answers.append(answer)
        return b"[" + b",".join(answers) + b"]" if answers else _NOTHING

    def _one(self, request: Any) -> bytes:
        try:
            method, params = self._read(request)
            result = method(self._node, params)
        except ParsecError as exc:
            if code_of(exc) == INTERNAL:
                log.error("a request failed: %s", exc, exc_info=exc)
            return _failed(_id(request), exc) if _is_answered(request) else _NOTHING
        except Exception as exc:  # a fault of ours must not end the connection of others
            log.exception("a request failed")
            return _failed(_id(request), exc) if _is_answered(request) else _NOTHING
        if not _is_answered(request):
            return _NOTHING
        return orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result})

    def _read(self, request: Any) -> tuple[Method, list[Any]]:
        if not isinstance(request, dict):
            raise InvalidRequest("a request is an object")
        if request.get("jsonrpc") != "2.0":
            raise InvalidRequest('jsonrpc is not "2.0"')
        if not _valid_id(request.get("id")):
            raise InvalidRequest("id is neither a string nor a number nor null")
        name, params = request.get("method"), request.get("params")
        if not isinstance(name, str):
            raise InvalidRequest("method is no string")
        method = self._methods.get(name)
        if method is None:
            raise MethodNotFound(f"the method {name[:100]} does not exist")
        if params is None:
            return method, []
        if not isinstance(params, list):
            raise InvalidParameter("params is no list")
        return method, params


def _valid_id(identity: Any) -> bool:
    return identity is None or (isinstance(identity, str | int | float) and not isinstance(identity, bool))


def _is_answered(request: Any) -> bool:
    """Whether a request gets an answer: a notification, which has no id, doesn't."""
    return not isinstance(request, dict) or "id" in request or not isinstance(request.get("method"), str)


def _id(request: Any) -> Any:
    identity = request.get("id") if isinstance(request, dict) else None
    return identity if _valid_id(identity) else None


def _failed(identity: Any, error: Exception) -> bytes:
    code = code_of(error)
    form: dict[str, Any] = {"code": code, "message": "internal error" if code == INTERNAL else str(error)}
    if isinstance(error, RpcError) and error.data is not None:
        form["data"] = error.data
    return orjson.dumps({"jsonrpc": "2.0", "id": identity, "error": form})


def _deeper(value: Any, depth: int) -> bool:
    """Whether JSON is nested deeper than `depth`, without recursion."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return any(isinstance(each, dict | list) for each in level)
