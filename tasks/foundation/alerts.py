"""Messages to people: a line of text to a webhook in Slack's format, and to a notification block of Prefect.

Knows nothing of what it tells. Whoever tells something has done it already: a message that cannot be sent is logged,
and fails nothing.
"""

from __future__ import annotations

import httpx
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from settings import get_settings
from tasks.foundation.run_log import log

PATIENCE = 10  # seconds for an answer


def alert(text: str) -> None:
    """Send a text to ALERT_WEBHOOK_URL and to the block that ALERT_BLOCK names, where they are set."""
    settings = get_settings()
    if settings.alert_webhook_url:
        try:
            _post(settings.alert_webhook_url.get_secret_value(), text)
        except httpx.HTTPError as error:  # its own words hold the address, which is a secret
            log().warning("ALERT_WEBHOOK_URL was not told %r: %s", text, _why(error))
    tell_block(text)


def tell_block(text: str) -> None:
    """Send a text to the block that ALERT_BLOCK names, where it is set."""
    settings = get_settings()
    if settings.alert_block:
        try:
            block = Block.load(settings.alert_block)
            if not isinstance(block, NotificationBlock):
                raise TypeError(f"ALERT_BLOCK names {settings.alert_block}, which is no block that notifies")
            block.notify(text, subject="Premiere")
        except Exception as error:  # blocks reach out by many libraries
            log().warning("the block %s was not told %r: %s", settings.alert_block, text, type(error).__name__)


@retry(
    retry=retry_if_exception_type(httpx.HTTPError),
    stop=stop_after_attempt(3),
    wait=wait_fixed(1),
    reraise=True,
)
def _post(url: str, text: str) -> None:
    httpx.post(url, json={"text": text}, timeout=PATIENCE).raise_for_status()


def _why(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    return type(error).__name__
