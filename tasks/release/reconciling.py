"""Hold the champion's alias, the ledger, and what each target serves against each other.

A person may move the alias in MLflow's page, or a target may be switched by hand. Where the three differ nothing is
moved: the difference is said, and a person chooses to adopt what the alias says or to restore what the ledger says.
"""

from __future__ import annotations

from tasks.foundation.lease import Lease
from tasks.foundation.run_log import log
from tasks.registry import versions as registry
from tasks.registry.versions import CHAMPION
from tasks.release import ledger
from tasks.release.ledger import Entry
from tasks.release.moving import begin_move, prepare_all
from tasks.release.shipping import SWITCHED, in_use


class Disagreement(Exception):
    """Alias, ledger and targets do not say the same."""


def differences() -> list[str]:
    """Return where alias, ledger and targets differ, in words; a target that cannot be asked is passed over."""
    records, alias = ledger.read(), registry.current_champion()
    if not any(record.event in ledger.MADE for record in records):  # a new store's ledger knows of no champion
        return []
    expected = _expected(records)
    named = f"v{expected}" if expected else "nobody"
    found = []
    if (alias and alias.number) != expected:
        found.append(f"the alias {CHAMPION} points to {alias.label if alias else 'nobody'}, the ledger says {named}")
    elif alias and alias.tags.get("sha256") != _content(records, alias.number):
        found.append(f"{alias.label} in the registry is another model than the {named} of the ledger")
    shipped = ledger.shipments(records, expected) if expected else {}
    for target in SWITCHED:
        if target in shipped:
            try:
                serves = in_use(target)
            except Exception as error:
                log().warning("%s cannot be asked what it serves: %s", target, error)
                continue
            if serves not in (shipped[target].digest, shipped[target].where):
                found.append(f"{target} serves {serves or 'nothing'}, the ledger says {shipped[target].where}")
    return found


def require_agreement() -> None:
    """Raise Disagreement, with what differs and what to do, unless alias, ledger and targets say the same."""
    found = differences()
    if found:
        raise Disagreement(
            f"{'; '.join(found)}. Nothing was changed. Adopt what the alias says with python -m flows.promote --adopt, "
            "or restore what the ledger says with python -m flows.promote --restore (parameters adopt and restore of "
            "the deployment promote-model)"
        )


def adopt(held: Lease) -> Entry:
    """Make what the alias points to champion by the ledger, too, wherever the champion of the ledger was shipped."""
    records, alias = ledger.read(), registry.current_champion()
    expected = _expected(records)
    reason = f"the alias was moved by hand from {f'v{expected}' if expected else 'nobody'}"
    if alias is None:
        held.check()
        return ledger.add("adopted", to=None, previous=expected, reason=reason, fence=held.number)
    if "sha256" not in alias.tags:
        raise LookupError(f"{alias.label} was not registered by train-model and cannot be served: restore instead")
    targets = list(ledger.shipments(records, expected)) if expected else []
    return begin_move(alias, expected, "adopted", reason, prepare_all(alias, targets), held)


def restore(held: Lease) -> Entry:
    """Bring alias and targets back to what the ledger says.

    Raises LookupError where the ledger has no champion, or the registry no longer has the model that it names.
    """
    records, alias = ledger.read(), registry.current_champion()
    expected = _expected(records)
    if expected is None:
        raise LookupError("the ledger knows no champion to restore: adopt what the alias says, or promote a version")
    try:
        version = registry.find(str(expected))
    except LookupError:
        raise LookupError(
            f"v{expected}, champion by the ledger, is gone from the registry: bring the registry back from its backup, "
            "or adopt what the alias says"
        ) from None
    if version.tags.get("sha256") != _content(records, expected):
        raise LookupError(
            f"{version.label} in the registry is not the model that the ledger calls so: bring the registry back from "
            "its backup, or adopt what the alias says"
        )
    reason = f"the alias had been moved by hand to {alias.label if alias else 'nobody'}"
    shipments = list(ledger.shipments(records, expected).values())
    return begin_move(version, alias.number if alias else None, "restored", reason, shipments, held)


def _expected(records: list[Entry]) -> int | None:
    path = ledger.champions(records)
    return path[-1] if path else None


def _content(records: list[Entry], number: int) -> str:
    """Return the digest of the model that the ledger last made champion under a number."""
    return next(r.sha256 for r in reversed(records) if r.to == number and r.event in ledger.MADE)
