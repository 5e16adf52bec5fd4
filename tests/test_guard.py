"""The door and the guard before a small application: who asks, how often, what is a route, how errors look."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving import guard
from serving.guard import ELSEWHERE, Guard, caller
from settings import PROJECT, networks

OURS = "10.0.0.0/8,192.168.7.1,fd00::/8"


class Labels:
    """Labels each request by its path, as BentoML's metrics do, and stands where they stand: before the guard."""

    def __init__(self, app: Any, seen: list[str]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        await self.app(scope, receive, send)


async def where(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.path)


async def late(request: Request) -> JSONResponse:
    return JSONResponse({"error": "Not able to process the request in 10 seconds"}, 504)


def ask(
    questions: Callable[[httpx.AsyncClient], Awaitable[None]], seen: list[str] | None = None, **options: Any
) -> None:
    """Let questions be asked of an application that was started behind a guard."""
    routes = [
        Route("/predict", where, methods=["POST"]),
        Route("/where", where),
        Route("/late", late),
        Mount("/ui", StaticFiles(directory=PROJECT / "web", html=True)),
    ]
    settings = {"token": None, "per_minute": 0} | options
    middleware = [Middleware(Labels, seen=seen if seen is not None else []), Middleware(Guard, **settings)]
    app = Starlette(routes=routes, middleware=middleware)

    async def run() -> None:
        started, stop = asyncio.Event(), asyncio.Event()

        async def receive() -> dict[str, str]:
            if started.is_set():
                await stop.wait()
                return {"type": "lifespan.shutdown"}
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            started.set()

        life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
        await started.wait()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            await questions(client)
        stop.set()
        await life

    asyncio.run(run())


def test_labels_are_routes_and_all_paths_that_lead_nowhere_share_one() -> None:
    seen: list[str] = []

    async def questions(client: httpx.AsyncClient) -> None:
        for n in range(50):
            for path in (f"/ui/x{n}", f"/ui/{n}/y", f"/{n}", f"/where/{n}", f"//{n}", f"/predict%2F{n}", f"/ui{n}"):
                assert (await client.get(path)).status_code == 404
        assert (await client.get("/where")).text == "/where"
        assert (await client.get("/ui/app.js")).status_code == 200
        assert (await client.get("/ui")).headers["location"] == "http://service/ui/"

    ask(questions, seen)
    assert set(seen) == {"/ui/", "/ui", "/where", ELSEWHERE}


def test_a_browser_asks_anew_for_each_file_of_the_page_and_is_sent_only_what_changed() -> None:
    async def questions(client: httpx.AsyncClient) -> None:
        for path in ("/ui/", "/ui/app.js", "/ui/style.css"):
            first = await client.get(path)
            assert first.headers["cache-control"] == "no-cache"
            again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["cache-control"] == "no-cache"
        assert "cache-control" not in (await client.get("/where")).headers

    ask(questions)


def test_what_is_refused_is_labelled_by_its_route_too() -> None:
    seen: list[str] = []

    async def questions(client: httpx.AsyncClient) -> None:
        assert (await client.get("/anything")).status_code == 401
        assert (await client.post("/predict", content=b"{}")).status_code == 401

    ask(questions, seen, token="a-secret")
    assert seen == [ELSEWHERE, "/predict"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_every_route_says_which_methods_it_takes(method: str) -> None:
    async def questions(client: httpx.AsyncClient) -> None:
        for path, taken in {"/predict": {"POST"}, "/where": {"GET", "HEAD"}, "/ui/app.js": {"GET", "HEAD"}}.items():
            answer = await client.request(method, path)
            assert (answer.status_code == 405) == (method not in taken)
            if method not in taken:
                assert set(answer.headers["allow"].split(", ")) == taken

    ask(questions)


def test_what_took_too_long_is_told_in_our_form_with_what_to_ask_for() -> None:
    async def questions(client: httpx.AsyncClient) -> None:
        answer = await client.get("/late")
        assert answer.status_code == 504
        (error,) = answer.json()["errors"]
        assert "10 seconds" in answer.json()["error"] == error["rule"]
        assert "fewer movies" in error["remedy"]

    ask(questions)


def test_a_websocket_is_closed_at_the_door() -> None:
    said: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(guard.Door(None, [])({"type": "websocket", "path": "/x1"}, None, send))  # type: ignore[arg-type]
    assert said == [{"type": "websocket.close"}]


@pytest.mark.parametrize(
    ("peer", "told", "found"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: what it says of itself is nothing
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),  # the client wrote the first
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),  # two headers are one list
        ("::ffff:10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["192.168.7.1, 10.1.1.1"], "192.168.7.1"),  # all are ours: the first of them
        ("10.0.0.1", ["198.51.100.1, nobody"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_who_asks_is_the_last_hop_that_is_no_proxy_of_ours(peer: str, told: list[str], found: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in told]
    assert caller({"client": (peer, 1), "headers": headers}, networks(OURS)) == found
    assert caller({"client": (peer, 1), "headers": headers}, []) == peer


def test_the_limit_says_when_there_is_room_and_then_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: clock[0])

    async def questions(client: httpx.AsyncClient) -> None:
        for _ in range(12):
            assert (await client.get("/where")).status_code == 200
        refused = await client.get("/where")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        for _ in range(4):  # asking too early costs nothing
            clock[0] += 1
            early = await client.get("/where")
            assert early.status_code == 429
        assert early.headers["retry-after"] == "1"
        clock[0] += 1
        assert (await client.get("/where")).status_code == 200
        assert (await client.get("/where")).headers["retry-after"] == "5"

    ask(questions, per_minute=12)


def test_each_caller_behind_our_proxy_has_a_limit_of_its_own() -> None:
    async def questions(client: httpx.AsyncClient) -> None:
        for address in ("198.51.100.1", "198.51.100.2"):
            forwarded = {"X-Forwarded-For": address}
            statuses = [(await client.get("/where", headers=forwarded)).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]

    ask(questions, per_minute=2, proxies=networks("127.0.0.1"))
