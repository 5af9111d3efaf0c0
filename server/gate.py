"""The gate before all routes: request ids, limits, problems as answers, counts and one log line per request."""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.bodies import ClientGone
from server.problems import MethodNotAllowed, NotFound, Problem, Unavailable, new_request_id
from server.service import Answer, Service

LABEL_ROUTES: Final = ("/predict", "/predict/batch")
READ_ROUTES: Final = ("/", "/livez", "/readyz", "/metrics", "/info", "/docs", "/openapi.json")
ALLOWED: Final = {**dict.fromkeys(LABEL_ROUTES, "POST, OPTIONS"), **dict.fromkeys(READ_ROUTES, "GET, HEAD, OPTIONS")}
CLIENT_GONE: Final = 499
"""What the log and the metrics call a request whose client left; nobody gets it as an answer."""
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_log = structlog.get_logger()


class Visit:
    """One request on its way: its id, its start, the status it got and what the log shall tell of it."""

    __slots__ = ("_send", "fields", "request_id", "scope", "started", "status")

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.started = time.perf_counter()
        self.status = 0
        self.fields: dict[str, object] = {}
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        self.request_id = given.decode() if given and _REQUEST_ID.fullmatch(given) else new_request_id()
        scope["visit"] = self

    @property
    def address(self) -> str:
        """Whence the request comes."""
        client = self.scope.get("client")
        return client[0] if client else "-"

    async def send(self, message: Message) -> None:
        """Pass a message of an answer on, with the request id among its headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), (b"x-request-id", self.request_id.encode())]
        await self._send(message)

    async def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""
        if status != 204:
            headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


class Gate:
    """ASGI application: answers the two label routes itself, on the shortest way, and hands the rest to `app`."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        self.label_routes = {"/predict": self._predict, "/predict/batch": self._predict_batch}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request: whatever happens, the client gets an answer with a request id, and it is counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = Visit(scope, send)
        try:
            await self._handle(visit, receive)
        except Problem as problem:
            await self._refuse(visit, problem)
        except ClientGone:
            visit.status = CLIENT_GONE
            self.service.metrics.disconnects.inc()
        except asyncio.CancelledError:  # the service ends, and has waited long enough
            if visit.status:
                raise
            await self._refuse(visit, Unavailable("The service is shutting down.", retry_after_s=5))
        except Exception:
            _log.exception("request failed", request_id=visit.request_id)
            if visit.status:
                raise  # the head of the answer is out: only the connection can be ended now
            await self._refuse(visit, Problem("The server failed; its operator finds the request id in the log."))
        finally:
            self._record(visit)

    async def _handle(self, visit: Visit, receive: Receive) -> None:
        path, method = visit.scope["path"], visit.scope["method"]
        handler = self.label_routes.get(path)
        if method == "POST" and handler is not None:
            await handler(visit, Headers(scope=visit.scope), receive)
        elif path not in ALLOWED:
            raise NotFound("There is nothing here; /docs tells what there is.")
        elif method in ("GET", "HEAD") and handler is None:
            await self.app({**visit.scope, "method": "GET"}, receive, visit.send)  # whoever sends drops HEAD's body
        elif method == "OPTIONS":
            await visit.answer(204, [(b"allow", ALLOWED[path].encode())], b"")
        else:
            raise MethodNotAllowed(f"This path has {ALLOWED[path]}.", ALLOWED[path])

    async def _predict(self, visit: Visit, headers: Headers, receive: Receive) -> None:
        answer = await self.service.predict(headers, receive, visit.address)
        await _send_answer(visit, answer, {"label": answer.labels[0]})

    async def _predict_batch(self, visit: Visit, headers: Headers, receive: Receive) -> None:
        answer = await self.service.predict_batch(headers, receive, visit.address)
        body: dict[str, object] = {"labels": answer.labels}
        if answer.problems:
            body["errors"] = [
                {"index": index, "status": problem.status, "title": problem.title, "detail": problem.detail}
                for index, problem in answer.problems.items()
            ]
        await _send_answer(visit, answer, body)

    async def _refuse(self, visit: Visit, problem: Problem) -> None:
        visit.fields["reason"] = problem.slug
        await visit.answer(problem.status, problem.headers(), problem.body(visit.request_id))

    def _record(self, visit: Visit) -> None:
        seconds = time.perf_counter() - visit.started
        path = visit.scope["path"]
        route = path if path in ALLOWED else "other"
        self.service.metrics.count_request(route, visit.status, seconds)
        if "reason" in visit.fields:
            self.service.metrics.rejections.labels(visit.fields["reason"]).inc()
        if self.service.settings.log_requests:
            _log.info(
                "request",
                request_id=visit.request_id,
                method=visit.scope["method"],
                route=route,
                status=visit.status,
                ms=round(seconds * 1000, 2),
                **visit.fields,
            )


async def _send_answer(visit: Visit, answer: Answer, body: Mapping[str, object]) -> None:
    visit.fields = {
        "images": len(answer.labels),
        "decode_ms": round(answer.decode_s * 1000, 2),
        "queue_ms": round(answer.queue_s * 1000, 2),
        "inference_ms": round(answer.inference_s * 1000, 2),
    }
    hashes = ",".join(digest or "-" for digest in answer.hashes)
    headers = [(b"content-type", b"application/json"), (b"pixels-sha256", hashes.encode())]
    await visit.answer(200, headers, json.dumps(body).encode())
