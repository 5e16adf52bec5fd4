"""The stack's service before there is a champion: the page, and what is waited for. Then it becomes the service.

It asks MLflow for the champion and Prefect for the step that the daily run is at, and tells that to whoever asks:
`/ready` is 503 with the step, `/health` is 200. It rates nothing. A service that is started again comes through here.

    python -m tasks.operations.waiting_room --host 0.0.0.0      on SERVICE_PORT
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from serving.guard import PAGE_HEADERS, refusal
from settings import PROJECT, get_settings, without_passwords
from tasks.foundation.starting import tell
from tasks.operations.progress import Away, Prefect, champion, words

LOOK = 2.0  # seconds between looks
AGAIN = 10.0  # seconds before a champion that could not be served is tried once more
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Room:
    """What is waited for, and the application that tells it."""

    def __init__(self) -> None:
        self.waiting: dict[str, Any] = {"state": "starting"}
        routes = [
            *(Route(path, self._alive) for path in ("/health", "/healthz", "/livez")),
            *(Route(path, self._ready) for path in ("/ready", "/readyz")),
            Route("/", RedirectResponse("ui/")),
            Mount("/ui", _Page(directory=PROJECT / "web", html=True)),
            Route("/{path:path}", self._refuse, methods=METHODS),
        ]
        self.app = Starlette(routes=routes)

    def say(self, waiting: dict[str, Any]) -> None:
        """Take note of what is waited for, and tell the log where it is another step."""
        if (waiting["state"], waiting.get("step")) != (self.waiting["state"], self.waiting.get("step")):
            tell(words(waiting))
        self.waiting = waiting

    async def _alive(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        told = {"status": "not ready", "reason": words(self.waiting), "waiting": self.waiting}
        return JSONResponse(told, 503)

    async def _refuse(self, request: Request) -> Response:
        answer = refusal(503, "model", words(self.waiting), "ask again later: /ready says when")
        answer.headers["retry-after"] = "10"
        return answer


class _Page(StaticFiles):
    """The page's files, with the headers that they have in the service."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.raw_headers.extend(PAGE_HEADERS)
        return answer


def watch(room: Room, host: str, mlflow: str, prefect: Prefect) -> None:
    """Look for the champion until there is one that can be served, and become its service."""
    while True:
        try:
            found = champion(mlflow, get_settings().model_name)
            if found:
                room.say({"state": "found", "step": f"v{found['version']}"})
                serve(host)
            room.say(prefect.first_champion())
        except Away as away:
            room.say({"state": "away", "why": str(away)})
        except Exception as error:  # whatever keeps the service from starting is told, and it is tried again
            why = without_passwords((str(error).strip() or repr(error)).splitlines()[-1])[:300]
            room.say({"state": "refused", "step": room.waiting.get("step"), "why": why})
            time.sleep(AGAIN)
        time.sleep(LOOK)


def serve(host: str) -> NoReturn:
    """Become the service of the champion, by the bento that its promotion built, with a home of this process's own."""
    from tasks.registry import versions as registry  # MLflow and BentoML are slow to import: the page is there before
    from tasks.release.targets.bento import become, bento_to_serve

    bento = bento_to_serve(registry.find(registry.CHAMPION))
    become(bento, get_settings().service_port, Path(tempfile.gettempdir()) / "served", host)


def main() -> None:
    """Wait on SERVICE_PORT."""
    parser = argparse.ArgumentParser(description="Say what is waited for until there is a champion, then serve it")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; in a container 0.0.0.0")
    host, settings, room = parser.parse_args().host, get_settings(), Room()
    mlflow, prefect = settings.mlflow_tracking_uri.get_secret_value(), os.environ.get("PREFECT_API_URL")
    if not prefect or not mlflow.startswith("http"):
        sys.exit(
            "PREFECT_API_URL and MLFLOW_TRACKING_URI must name servers; without any, make serve serves the champion"
        )
    threading.Thread(target=watch, args=(room, host, mlflow, Prefect(prefect)), daemon=True).start()
    uvicorn.run(room.app, host=host, port=settings.service_port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
