"""What the Prefect server does by itself: runs lost in Pending give their place back, failed runs are told to a
webhook, and runs that ask TMDB at once share its rate.

They need PREFECT_EXPERIMENTAL_EVENTS=true on the server, too. Runs of deployments with the tag `premiere` are meant.

    python -m tasks.operations.automations --pending-seconds 900
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from datetime import timedelta

from prefect.automations import Automation, EventTrigger, Posture
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.exceptions import ObjectNotFound

from settings import get_settings
from tasks.data.shared_rate import make_shared_rate

TELLS, BLOCK = "premiere: tell of failed runs", "premiere-failures"
PENDING_SECONDS = 900  # a container on ECS may take 600 to start
OUR_RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
OUR_TAG = {"prefect.resource.id": "prefect.tag.premiere", "prefect.resource.role": "tag"}
# Named one by one: with a wildcard the Pending event would answer itself.
AFTER_PENDING = "Running Completed Failed TimedOut Crashed Cancelling Cancelled Paused Suspended".split()
AFTER_PENDING += "Scheduled AwaitingRetry Retrying Late".split()
TEXT = """\
{{ flow.name }} / {{ event.resource.name }}: {{ event.resource['prefect.state-name'] }}
{{ event.resource['prefect.state-message'] }}
{{ event.resource | ui_url }}"""


def free_lost_runs(seconds: int) -> Automation:
    """Return the automation that crashes a run which did not start: else it blocks a pool with a limit for ever."""
    trigger = EventTrigger(
        match=OUR_RUNS,
        match_related=OUR_TAG,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        after=_events("Pending"),
        expect=_events(*AFTER_PENDING),
        threshold=1,
        within=timedelta(seconds=seconds),
    )
    return Automation(
        name="premiere: free runs lost in Pending",
        description=f"A run that does not start within {seconds} s gives its place in the pool back.",
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=f"did not start within {seconds} s")],
    )


def tell_of_failures(url: str) -> Automation:
    """Return the automation that posts {"text": …} for each failed or crashed run; keeps the address in a block."""
    block = CustomWebhookNotificationBlock(name="premiere", url=url, json_data={"text": "{{subject}}\n{{body}}"})
    hook = block.save(BLOCK, overwrite=True)
    trigger = EventTrigger(
        match=OUR_RUNS,
        match_related=OUR_TAG,
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        expect=_events("Failed", "TimedOut", "Crashed"),
        threshold=1,
        within=timedelta(0),
    )
    return Automation(
        name=TELLS,
        description="Posts flow, run, state and address to ALERT_WEBHOOK_URL.",
        trigger=trigger,
        actions=[SendNotification(block_document_id=hook, subject="A run failed", body=TEXT)],
    )


def put(automation: Automation) -> None:
    """Create an automation, or update the one of the same name."""
    try:
        automation.id = Automation.read(name=automation.name).id
    except ValueError:
        automation.create()
    else:
        automation.update()
    print(automation.name)


def take_away(automation: str, block: str) -> None:
    """Remove an automation, and the block that held its address, where they are."""
    with suppress(ValueError):
        Automation.read(name=automation).delete()
    with suppress(ValueError, ObjectNotFound):
        CustomWebhookNotificationBlock.delete(block)


def _events(*names: str) -> set[str]:
    return {f"prefect.flow-run.{name}" for name in names}


def main() -> None:
    """Bring the automations of the server to what this file says."""
    parser = argparse.ArgumentParser(description="Create or update Premiere's automations")
    parser.add_argument("--pending-seconds", type=int, default=PENDING_SECONDS, help="10 or more")
    seconds = parser.parse_args().pending_seconds
    url = get_settings().alert_webhook_url
    put(free_lost_runs(seconds))
    make_shared_rate(get_settings().tmdb_rate)
    print("one rate for all runs that ask TMDB")
    if url:
        put(tell_of_failures(url.get_secret_value()))
    else:
        take_away(TELLS, BLOCK)
        print("ALERT_WEBHOOK_URL is not set: failed runs are shown in the UI only")


if __name__ == "__main__":
    main()
