"""The service on this host, put behind another image without a failed request: `deploy/compose`.

HAProxy stands in front of two colours of the service container. The idle one is started with the new image; when Docker
and HAProxy both find it ready, requests go to it, and the old one finishes what it has and is removed. The engine keeps
the record, so a swap may be cut off anywhere and run again: a colour that serves restarts with the host, one that is
only tried does not.
"""

from __future__ import annotations

import csv
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from settings import PROJECT, get_settings
from tasks.foundation.run_log import log
from tasks.foundation.starting import wait_for
from tasks.release.targets.docker_engine import engine

FOLDER = PROJECT / "deploy" / "compose"
STATE = FOLDER / ".env"
OTHER = {"blue": "green", "green": "blue"}
DRAIN_SECONDS = 20
ASK = """import socket, sys, time; s = socket.socket(socket.AF_UNIX)
while s.connect_ex("/run/haproxy/admin.sock"): time.sleep(0.1)
s.sendall(sys.argv[1].encode() + b"\\n"); print(s.makefile().read())"""


def swap(image: str, image_id: str) -> None:
    """Serve an image and nothing else. Raises RuntimeError, with the old one still in use, where it does not get ready.

    Raises LookupError where the engine has another image under this address.
    """
    found = engine().images.get(image).id
    if found != image_id:
        raise LookupError(f"{image} is {found}, and {image_id} was promoted: pull it again, or promote again")
    _compose("up", "--detach", "--no-recreate", "front")
    live = serving()
    if live:
        _give_requests(live)  # the end of a swap that was cut off, or nothing
    if not live or live.image.id != image_id:
        live = _start(OTHER[_colour(live)] if live else "blue", image)
        _give_requests(live)
    _wait_to_take_requests(live)


def serving() -> Any:
    """Return the colour's container that restarts with the host, the younger one if a swap was cut off; or None."""
    kept = [
        c for colour in OTHER for c in _containers(colour) if c.attrs["HostConfig"]["RestartPolicy"]["Name"] != "no"
    ]
    return max((c for c in kept if c.status == "running"), key=lambda c: c.attrs["Created"], default=None)


def _start(colour: str, image: str) -> Any:
    """Start a colour without giving it requests; where it does not get ready, remove it and fail."""
    _retire(colour)
    _compose("up", "--no-start", "--no-deps", colour, **{f"{colour.upper()}_IMAGE": image})
    (new,) = _containers(colour)
    new.update(restart_policy={"Name": "no"})
    new.start()
    try:
        _wait_to_take_requests(new)
    except RuntimeError as error:
        new.remove(force=True, v=True)
        raise RuntimeError(f"{image}: {error}") from error
    return new


def _give_requests(new: Any) -> None:
    """Give all requests to a colour, on record first, and remove the other one."""
    colour = _colour(new)
    old = OTHER[colour]
    new.update(restart_policy={"Name": "unless-stopped"})
    for container in _containers(old):
        container.update(restart_policy={"Name": "no"})
    _remember(COMPOSE_PROFILES=colour, **{f"{colour.upper()}_IMAGE": new.attrs["Config"]["Image"]})
    _ask_front(f"set server service/{colour} state ready; set server service/{old} state drain")
    _retire(old)


def _retire(colour: str) -> None:
    """Give a colour no more requests, let it finish those under way, remove it."""
    _ask_front(f"set server service/{colour} state drain")
    for container in _containers(colour):
        with suppress(RuntimeError):  # the front's time limits end every request earlier
            _wait_until(lambda: _servers()[colour]["scur"] == "0", DRAIN_SECONDS)
        container.stop()
        container.remove(v=True)


def _wait_to_take_requests(container: Any) -> None:
    what = f"the container {container.name}"
    wait_for(what, lambda: _takes_requests(container), lambda: _words(container), log().info)


def _takes_requests(container: Any) -> bool:
    """Say whether Docker calls a container healthy and the front found it so at the address that it has now."""
    container.reload()
    if container.status in ("exited", "dead"):
        raise RuntimeError(f"the container ended; its last words:\n{_words(container)}")
    server = _servers()[_colour(container)]
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    return (
        container.health == "healthy"
        and server["addr"] == f"{network['IPAddress']}:3000"
        and server["status"] in ("UP", "DRAIN")  # not "DRAIN 1/3": not checked often enough yet
    )


def _words(container: Any) -> str:
    return str(container.logs(tail=30).decode(errors="replace"))


def _servers() -> dict[str, dict[str, str]]:
    """Return what HAProxy knows of each colour."""
    table = _ask_front("show stat service 4 -1").removeprefix("# ").strip().splitlines()
    return {row["svname"]: row for row in csv.DictReader(table)}


def _ask_front(command: str) -> str:
    """Send a command to HAProxy's runtime API."""
    (front,) = _containers("front")
    code, output = front.exec_run(["timeout", "10", "python", "-c", ASK, command])
    if code or output.strip().startswith((b"No such", b"Unknown", b"Can't")):
        raise RuntimeError(f"the front answers {command!r} with {output.decode()!r}")
    return str(output.decode())


def _containers(service: str) -> list[Any]:
    """Return the containers of a service of the compose file, stopped ones too."""
    labels = {"project": _state()["COMPOSE_PROJECT_NAME"], "service": service, "oneoff": "False"}
    wanted = [f"com.docker.compose.{key}={value}" for key, value in labels.items()]
    return list(engine().containers.list(all=True, filters={"label": wanted}, ignore_removed=True))


def _colour(container: Any) -> str:
    return str(container.labels["com.docker.compose.service"])


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s in vain")
        time.sleep(0.2)


def _compose(*arguments: str, **images: str) -> None:
    """Run Docker Compose, plugin or not, on the compose file."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    command = ["docker", "compose"] if plugin else ["docker-compose"]
    environment = os.environ | _state() | images
    try:
        done = subprocess.run(
            [*command, *arguments], cwd=FOLDER, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RuntimeError("neither docker compose nor docker-compose is here: install one of them") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join([*command, *arguments])} failed:\n{done.stderr[-3000:]}")


def _state() -> dict[str, str]:
    """Return what the compose file is run with: the project's name, the port, and which colour has which image."""
    kept = STATE.read_text().splitlines() if STATE.exists() else []
    return {
        "COMPOSE_PROJECT_NAME": "premiere-service",
        "SERVICE_PORT": str(get_settings().service_port),
        **dict(line.split("=", 1) for line in kept if "=" in line),
    }


def _remember(**changed: str) -> None:
    """Change what is kept in one step."""
    STATE.with_suffix(".new").write_text("".join(f"{key}={value}\n" for key, value in (_state() | changed).items()))
    STATE.with_suffix(".new").replace(STATE)
