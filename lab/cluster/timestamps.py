"""Timestamps in the formats of Kubernetes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> str:
    """The current time in seconds, as in ``creationTimestamp``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_exactly() -> str:
    """The current time in microseconds, as in an event's ``eventTime``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ago(*, days: float = 0, seconds: float = 0) -> str:
    """A time in the past."""
    return (datetime.now(UTC) - timedelta(days=days, seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def later(seconds: float) -> str:
    """A time in the future."""
    return ago(seconds=-seconds)


def nanoseconds(moment: datetime) -> str:
    """A timestamp with nanoseconds, as in log lines."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def since(text: str) -> float:
    """Seconds since a timestamp."""
    written = datetime.fromisoformat(text)
    return (datetime.now(UTC) - written).total_seconds()
