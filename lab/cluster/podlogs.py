"""The output of containers with its timestamps, and the forms in which the API returns it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lab.cluster.timestamps import nanoseconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Log:
    """The output of one container, line by line; the last line may still be growing."""

    lines: list[tuple[datetime, bytes]] = field(default_factory=list)
    ended: bool = False
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, data: bytes) -> None:
        """Add output."""
        now = datetime.now(UTC)
        for line in data.splitlines(keepends=True):
            if self.lines and not self.lines[-1][1].endswith(b"\n"):
                written, start = self.lines[-1]
                self.lines[-1] = (written, start + line)
            else:
                self.lines.append((now, line))
        self._wake()

    def end(self) -> None:
        """Mark the output as complete."""
        self.ended = True
        self._wake()

    def text(
        self, *, tail: int | None = None, limit: int | None = None, since: float | None = None, timestamps: bool = False
    ) -> bytes:
        """The log as ``GET …/log`` returns it: last `tail` lines, first `limit` bytes, the last `since` seconds."""
        return b"".join(self._select(tail, since, timestamps=timestamps))[:limit]

    async def follow(self, *, tail: int | None = None, timestamps: bool = False) -> AsyncIterator[bytes]:
        """The log as ``follow=true`` returns it: line by line until the container has ended."""
        sent = 0 if tail is None else max(0, len(self.lines) - tail)
        while True:
            complete = [index for index in range(sent, len(self.lines)) if self._whole(index)]
            for index in complete:
                yield self._format(*self.lines[index], timestamps=timestamps)
                sent = index + 1
            if self.ended and sent >= len(self.lines):
                return
            self._grown.clear()
            await self._grown.wait()

    def _whole(self, index: int) -> bool:
        return self.ended or self.lines[index][1].endswith(b"\n")

    def _select(self, tail: int | None, since: float | None, *, timestamps: bool) -> list[bytes]:
        lines = self.lines
        if since is not None:
            now = datetime.now(UTC)
            lines = [line for line in lines if (now - line[0]).total_seconds() <= since]
        if tail is not None:
            lines = lines[len(lines) - min(tail, len(lines)) :]
        return [self._format(*line, timestamps=timestamps) for line in lines]

    @staticmethod
    def _format(moment: datetime, line: bytes, *, timestamps: bool) -> bytes:
        return f"{nanoseconds(moment)} ".encode() + line if timestamps else line

    def _wake(self) -> None:
        self._grown.set()
