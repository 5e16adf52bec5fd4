"""The door of the service: who may ask, how much and in which form. What is wrong is answered with field, rule, remedy.

Two ASGI middlewares. The guard lets no body that is too large or no JSON, and no caller without the token, to what
stands behind it. The door stands before all of BentoML, whose own middlewares come before the guard: they label metrics
by path and answer what takes too long.
"""

from __future__ import annotations

import hmac
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from bentoml.exceptions import BentoMLException
from pydantic import ValidationError
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route

from settings import get_settings, networks

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Network = IPv4Network | IPv6Network

MOST_BYTES = 4_000_000  # a batch of 1,000 movies with long synopses
OPEN = ("/health", "/ready", "/livez", "/readyz", "/healthz")
PAGE = "/ui"  # its files hold nothing secret; what it asks for is guarded
SUSPICIOUS = (b"NaN", b"Infinity", b"\\ud", b"\\uD")  # pydantic takes the first two for numbers, the others for text
CALLERS = 10_000  # remembered by the rate limit
ELSEWHERE = "/elsewhere"  # the one label of all paths that lead nowhere
READS = {"GET", "HEAD"}
REMEDIES = {
    "extra_forbidden": ("is no field of a movie or of this request", "remove it, or correct its name: see /docs"),
    "missing": ("is needed", "add it"),
    "dict_type": ("is neither a name nor an object with a name", 'send a name, or {"name": …, "id": …}'),
    "json_invalid": ("", "send a JSON object, in UTF-8"),
    "too_many_explained": ("", "send fewer at once, or leave reasons and similar out"),
}
AFTER = {  # what to do about what BentoML answers
    500: "try again; if it stays, the log of the service says why",
    504: "send fewer movies at once, or fewer with reasons and similar; or try again when less is asked for",
}
POLICY = "default-src 'self'; img-src 'self' https://image.tmdb.org data:; frame-ancestors 'none'; base-uri 'none'"
# Without a word on its age a browser may keep a file for days, and load modules of two versions as one page.
PAGE_HEADERS = ((b"content-security-policy", POLICY.encode()), (b"cache-control", b"no-cache"))


class Door:
    """Name the route of each request before BentoML sees it, and put the errors of all behind it into our form."""

    def __init__(self, app: Any, routes: Iterable[BaseRoute]) -> None:
        self.app, self._methods = app, dict(_methods(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under the name of its route; the guard gives its path back."""
        if scope["type"] == "websocket":  # nobody here speaks it
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path == "/docs.json":  # what BentoML's page of the API reads: ours is complete
            path, scope["raw_path"] = "/openapi.json", b"/openapi.json"
        route = self._route(path)
        scope["path"], scope["asked"] = route, (path, self._methods.get(route))
        start: MutableMapping[str, Any] = {}
        said: list[bytes] = []

        async def rewrite(message: MutableMapping[str, Any]) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if path.startswith(PAGE):
                    message["headers"] = [*message["headers"], *PAGE_HEADERS]
                if message["status"] >= 400:
                    start = message
                    return
            elif start:
                said.append(message.get("body", b""))
                if not message.get("more_body", False):
                    told = explain(b"".join(said), start["status"], path)
                    kept = [pair for pair in start["headers"] if not pair[0].lower().startswith(b"content-")]
                    await _send(send, start["status"], told, kept)
                return
            await send(message)

        await self.app(scope, receive, rewrite)

    def _route(self, path: str) -> str:
        """Return the route of a path: its own, or that of the folder in which it lies."""
        folder = path[: path.find("/", 1) + 1]
        return next((route for route in (path, folder) if route in self._methods), ELSEWHERE)


def _methods(routes: Iterable[BaseRoute], before: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield each route with the methods that it takes; all files of a folder are one, which ends with a slash."""
    for route in routes:
        if isinstance(route, Route):
            yield before + route.path, set(route.methods or ())
        elif isinstance(route, Mount) and route.routes:
            yield from _methods(route.routes, before + route.path)
        elif isinstance(route, Mount):
            yield from ((before + route.path + end, READS) for end in ("", "/"))


class Guard:
    """Check requests before they reach the application."""

    def __init__(self, app: Any, token: str | None, per_minute: int, proxies: Sequence[Network] = ()) -> None:
        self.app, self.token, self.per_minute = app, token.encode() if token else None, per_minute
        self.proxies = proxies
        self._asked: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> what is left, since when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it; when the application starts, put the door before it."""
        if scope["type"] == "lifespan":
            app = scope["app"]
            app.middleware_stack = Door(app.middleware_stack, app.routes)
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"], methods = scope["asked"]
        path, method = scope["path"], scope["method"]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        is_open = path in OPEN or path == PAGE or path.startswith(f"{PAGE}/")
        if self.token and not is_open and not self._knows(headers.get("authorization", "")):
            rule = "needs the service's token", "send the header Authorization: Bearer <SERVICE_API_TOKEN>"
            await _refuse(send, 401, "Authorization", *rule, extra=[(b"www-authenticate", b"Bearer")])
            return
        if self.per_minute and not is_open and (seconds := self._wait(caller(scope, self.proxies))):
            rule = f"at most {self.per_minute} requests a minute", f"wait {seconds} s, or ask in batches"
            await _refuse(send, 429, "requests", *rule, extra=[(b"retry-after", str(seconds).encode())])
            return
        if methods is None:  # nobody lives there
            await self.app(scope, receive, send)
            return
        if method not in methods:
            taken = ", ".join(sorted(methods))
            rule = "this method is not taken here", f"use {taken}: see /docs for what there is"
            await _refuse(send, 405, path, *rule, extra=[(b"allow", taken.encode())])
            return
        if method != "POST":
            await self.app(scope, receive, send)
            return
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/json":
            await _refuse(send, 415, "Content-Type", f"{kind or 'none'} is not taken", "send application/json")
            return
        if not headers.get("content-length", "0").isdigit() or int(headers.get("content-length", "0")) > MOST_BYTES:
            await self._too_large(send)
            return
        body, more = b"", True
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
        given = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    async def _too_large(self, send: Send) -> None:
        await _refuse(send, 413, "body", f"at most {MOST_BYTES:,} bytes", "split it into several requests")

    def _knows(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self.token or b"")

    def _wait(self, caller: str) -> int:
        """Take a request from a caller's bucket, filled within a minute, or return the seconds until it holds one."""
        now = time.monotonic()
        left, since = self._asked.pop(caller, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
        has_room = left > 1 - 1e-6
        self._asked[caller] = (left - has_room, now)
        if len(self._asked) > CALLERS:
            self._asked.popitem(last=False)
        return 0 if has_room else math.ceil((1 - left) * 60 / self.per_minute)


def caller(scope: Scope, proxies: Sequence[Network]) -> str:
    """Return the address of who asks: the last hop of X-Forwarded-For that is no proxy of ours.

    What others than our proxies say is not believed.
    """
    found = str((scope.get("client") or ("",))[0])
    told = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    for hop in reversed(",".join(told).split(",") if proxies else []):
        if not _is_one_of(found, proxies) or not (address := _address(hop.strip())):
            break
        found = address
    return found


def _address(words: str) -> str:
    """Return an address without its port, or "" where there is none."""
    host = words[1:].partition("]")[0] if words.startswith("[") else words
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_one_of(address: str, networks: Sequence[Network]) -> bool:
    plain = _address(address)
    return bool(plain) and any(ip_address(plain) in network for network in networks)


def guard(app: Any) -> Guard:
    """Put the guard before the application, with what the environment says when it starts."""
    logging.getLogger("bentoml._internal.server.http_app").addFilter(is_ours)
    settings = get_settings()
    token = settings.service_api_token
    proxies = networks(settings.service_proxies)
    return Guard(app, token.get_secret_value() if token else None, settings.service_per_minute, proxies)


def is_ours(entry: logging.LogRecord) -> bool:
    """Pass what is a fault of ours: BentoML logs a traceback for every bad request, too."""
    error = entry.exc_info[1] if entry.exc_info else None
    told = isinstance(error, ValidationError) or (isinstance(error, BentoMLException) and error.error_code < 500)
    return not told


def refusal(status: int, field: str, rule: str, remedy: str) -> JSONResponse:
    """Return an answer that says what is wrong, for what a route itself refuses."""
    return JSONResponse(_told(field, rule, remedy), status)


def explain(said: bytes, status: int, path: str) -> dict[str, Any]:
    """Turn the application's words on a failed request into one line and field, rule and remedy of each error."""
    try:
        detail = json.loads(said)
    except ValueError:
        words = {404: "there is no such page", 405: "this method is not taken here"}.get(status, "cannot be answered")
        return _told(path, words, AFTER.get(status, "see /docs for what there is"))
    if isinstance(detail, dict) and "errors" in detail:  # our own
        return detail
    if isinstance(detail, dict) and "detail" in detail:
        errors = field_errors(detail["detail"])
        return {"error": f"{errors[0]['field']}: {errors[0]['rule']}", "errors": errors}
    words = str((detail[0] if isinstance(detail, list) else detail).get("error", "cannot be read"))
    return {
        "error": words,
        "errors": [_error(path, words, AFTER.get(status, "correct the request, and send it again"))],
    }


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


def _told(field: str, rule: str, remedy: str) -> dict[str, Any]:
    return {"error": f"{field}: {rule}", "errors": [_error(field, rule, remedy)]}


async def _refuse(
    send: Send, status: int, field: str, rule: str, remedy: str, extra: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    await _send(send, status, _told(field, rule, remedy), extra)


async def _send(send: Send, status: int, told: dict[str, Any], extra: Sequence[tuple[bytes, bytes]]) -> None:
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
