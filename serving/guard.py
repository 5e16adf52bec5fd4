"""The door of the service: who may ask, how much and in which form. What is wrong is answered with field, rule, remedy.

An ASGI middleware around all of BentoML, so that nothing behind it meets a body that is too large, no JSON, or a caller
without the token.
"""

from __future__ import annotations

import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BYTES = 4_000_000  # a batch of 1,000 movies with long synopses
OPEN = ("/health", "/ready", "/livez", "/readyz", "/healthz")
PAGE = "/ui"  # its files hold nothing secret; what it asks for is guarded
SUSPICIOUS = (b"NaN", b"Infinity", b"\\ud", b"\\uD")  # pydantic takes the first two for numbers, the others for text
CALLERS = 10_000  # remembered by the rate limit
REMEDIES = {
    "extra_forbidden": ("is no field of a movie or of this request", "remove it, or correct its name: see /docs"),
    "missing": ("is needed", "add it"),
    "dict_type": ("is neither a name nor an object with a name", 'send a name, or {"name": …, "id": …}'),
    "json_invalid": ("", "send a JSON object, in UTF-8"),
}
POLICY = "default-src 'self'; img-src 'self' https://image.tmdb.org data:; frame-ancestors 'none'; base-uri 'none'"


class Guard:
    """Check requests before, and errors after, the application."""

    def __init__(self, app: Any, token: str | None, per_minute: int) -> None:
        self.app, self.token, self.per_minute = app, token.encode() if token else None, per_minute
        self._asked: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> what is left, since when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == "/docs.json":  # what BentoML's page of the API reads: ours is complete
            scope["path"], scope["raw_path"] = "/openapi.json", b"/openapi.json"
        path, method = scope["path"], scope["method"]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        is_open = path in OPEN or path == PAGE or path.startswith(f"{PAGE}/")
        if self.token and not is_open and not self._knows(headers.get("authorization", "")):
            rule = "needs the service's token", "send the header Authorization: Bearer <SERVICE_API_TOKEN>"
            await _refuse(send, 401, "Authorization", *rule, extra=[(b"www-authenticate", b"Bearer")])
            return
        if self.per_minute and not is_open and not self._has_room((scope.get("client") or ("",))[0]):
            rule = f"at most {self.per_minute} requests a minute", "wait, or ask in batches"
            await _refuse(send, 429, "requests", *rule, extra=[(b"retry-after", b"60")])
            return
        body = b""
        if method in ("POST", "PUT", "PATCH"):
            kind = headers.get("content-type", "").split(";")[0].strip().lower()
            if kind != "application/json":
                await _refuse(send, 415, "Content-Type", f"{kind or 'none'} is not taken", "send application/json")
                return
            if not headers.get("content-length", "0").isdigit() or int(headers.get("content-length", "0")) > MOST_BYTES:
                await self._too_large(send)
                return
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MOST_BYTES:
                    await self._too_large(send)
                    return
            wrong = _wrong_json(body)
            if wrong:
                await _refuse(send, 400, "body", wrong, "send a JSON object, in UTF-8")
                return
        await self._pass(scope, body, receive, send)

    async def _pass(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Hand the body that was read to the application, and put its errors into our form."""
        given = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        start: MutableMapping[str, Any] = {}
        said: list[bytes] = []

        async def rewrite(message: MutableMapping[str, Any]) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if scope["path"].startswith(PAGE):
                    message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
                if 400 <= message["status"] < 500:
                    start = message
                    return
            elif start:
                said.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send(send, start["status"], *explain(b"".join(said), start["status"], scope["path"]))
                return
            await send(message)

        await self.app(scope, replay if body else receive, rewrite)

    async def _too_large(self, send: Send) -> None:
        await _refuse(send, 413, "body", f"at most {MOST_BYTES:,} bytes", "split it into several requests")

    def _knows(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.token or b"")

    def _has_room(self, caller: str) -> bool:
        """Take one request from a caller's bucket, which fills within a minute."""
        now = time.monotonic()
        left, since = self._asked.pop(caller, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
        self._asked[caller] = (max(left - 1, 0.0), now)
        if len(self._asked) > CALLERS:
            self._asked.popitem(last=False)
        return left >= 1


def explain(said: bytes, status: int, path: str) -> tuple[str, list[dict[str, str]]]:
    """Turn the application's words on a bad request into one line and field, rule and remedy of each error."""
    try:
        detail = json.loads(said)
    except ValueError:
        words = {404: "there is no such page", 405: "this method is not taken here"}.get(status, "cannot be read")
        return f"{path}: {words}", [_error(path, words, "see /docs for what there is")]
    if isinstance(detail, dict) and "detail" in detail:
        errors = field_errors(detail["detail"])
        return f"{errors[0]['field']}: {errors[0]['rule']}", errors
    words = str((detail[0] if isinstance(detail, list) else detail).get("error", "cannot be read"))
    return words, [_error(path, words, "correct the request, and send it again")]


def field_errors(errors: list[Any], prefix: str = "") -> list[dict[str, str]]:
    """Put pydantic's errors into field, rule and remedy."""
    told = []
    for error in errors:
        parts = [str(part) for part in error["loc"] if part not in ("function-after", "function-before")]
        name = prefix + (".".join(parts) or "body")
        rule, remedy = REMEDIES.get(error["type"], ("", "correct it, or leave it out"))
        told.append(_error(name, rule or _sentence(error["msg"]), remedy))
    return told


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _error(field: str, rule: str, remedy: str) -> dict[str, str]:
    return {"field": field, "rule": rule, "remedy": remedy}


def _wrong_json(body: bytes) -> str:
    """Say why a body is no JSON object; NaN, Infinity and half a character, which pydantic reads, are none.

    What could only be wrong in ways that pydantic sees, too, is read by pydantic alone.
    """
    if body[:1] == b"{" and not any(sign in body for sign in SUSPICIOUS):
        return ""
    try:
        read = json.loads(body, parse_constant=_refuse_constant)
        if not isinstance(read, dict):
            return "is no JSON object"
        if b"\\ud" in body.lower():  # it cannot be written down again
            json.dumps(read, ensure_ascii=False).encode()
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        return f"is no JSON: {error}"
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


async def _refuse(
    send: Send, status: int, field: str, rule: str, remedy: str, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    await _send(send, status, f"{field}: {rule}", [_error(field, rule, remedy)], extra)


async def _send(
    send: Send, status: int, line: str, errors: list[dict[str, str]], extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps({"error": line, "errors": errors}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
