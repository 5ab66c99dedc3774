"""Points in time, as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> str:
    """This second, as in ``creationTimestamp``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_exactly() -> str:
    """This microsecond, as in an event's ``eventTime``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ago(*, days: float = 0, seconds: float = 0) -> str:
    """A second in the past."""
    return (datetime.now(UTC) - timedelta(days=days, seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def later(seconds: float) -> str:
    """A second to come."""
    return ago(seconds=-seconds)


def nanoseconds(moment: datetime) -> str:
    """A moment as log lines and daemons write it, with nine digits."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def since(text: str) -> float:
    """Seconds that have passed since a moment was written."""
    written = datetime.fromisoformat(text)
    return (datetime.now(UTC) - written).total_seconds()
