"""The targets that a service can be shipped to, and where a version lies in one of them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Target = Literal["bento", "s3", "image", "registry", "ecs", "compose"]


class Shipment(BaseModel):
    """Where a version lies in one target, so that it can be found again without building it."""

    model_config = ConfigDict(frozen=True)
    target: Target
    where: str  # tag, key, image address or ARN
    digest: str  # of the content: SHA-256, an image's id or a registry's digest; a task definition's ARN
