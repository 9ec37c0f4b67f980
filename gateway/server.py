"""HTTP: the adapter of Starlette and uvicorn.

`POST /` takes JSON-RPC, `GET /healthz` tells whether the gateway works. The content type has to be JSON, so that no web
page can send a request without the permission that CORS gives.
"""

from collections.abc import Callable
from typing import Any

import anyio.to_thread
import orjson
import uvicorn
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .dispatch import Dispatcher
from .settings import GatewaySettings

_JSON = "application/json"

Health = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether all is well, and what there is to say."""


def application(dispatcher: Dispatcher, settings: GatewaySettings, health: Health) -> Starlette:
    """The web application."""
    limiters: list[CapacityLimiter] = []

    async def rpc(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != _JSON:
            return PlainTextResponse(f"content type {_JSON} is expected\n", 415)
        try:
            body = await _body(request, settings.body_bytes_max)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return PlainTextResponse(f"the body exceeds {settings.body_bytes_max} bytes\n", 413)
        if not limiters:  # it belongs to the loop, which runs only now
            limiters.append(CapacityLimiter(settings.threads))
        answer = await anyio.to_thread.run_sync(dispatcher.answer, body, limiter=limiters[0])
        return Response(answer, media_type=_JSON) if answer else Response(status_code=204)

    async def healthz(_request: Request) -> Response:
        well, report = health()
        return Response(orjson.dumps(report), 200 if well else 503, media_type=_JSON)

    middleware = []
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.cors_origins),
                allow_methods=["POST"],
                allow_headers=["content-type"],
                max_age=600,
            )
        )
    routes = [Route("/", rpc, methods=["POST"]), Route("/healthz", healthz, methods=["GET"])]
    return Starlette(routes=routes, middleware=middleware)


async def _body(request: Request, limit: int) -> bytes | None:
    """The body, or None if it is too large; no more than the limit is held."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def server(app: Starlette, settings: GatewaySettings) -> uvicorn.Server:
    """A server that isn't started yet. It takes no signals where it doesn't run in the main thread."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http="httptools",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            limit_concurrency=settings.connections_max,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
            server_header=False,
            date_header=False,
        )
    )
