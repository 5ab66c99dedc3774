"""Pods whose scripts take their time by a clock, and no processes: what many pods of a large cluster cost without them.

The first pod that runs a script of the suite runs it for real, as `lab.shell` does; each further one prints the same,
under its own nonce, once the time is over. Commands that carry no nonce, and those whose standard input is open, run
for real.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from lab import shell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab.world import Vantage, World

_NONCE = re.compile(r"^nonce=([A-Za-z0-9]{8,64})$", re.MULTILINE)


class ClockedRuns:
    """Runs commands as `lab.shell.run` does, those of the suite's scripts by the clock.

    Args:
        seconds: how long a script takes.
        together: scripts end in groups of so many, as many as run at the same time; 0: each by itself.

    Attributes:
        most: the most scripts that ran at the same time.
        groups: how many groups have ended.
    """

    def __init__(self, seconds: float = 0.0, *, together: int = 0) -> None:
        self.most = self.groups = 0
        self._seconds, self._together = seconds, together
        self._printed: dict[str, asyncio.Future[shell.Ran]] = {}
        self._running = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def __call__(
        self,
        world: World,
        vantage: Vantage,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        on_start: Callable[[asyncio.WriteTransport], None] | None = None,
        on_output: Callable[[bytes], None] | None = None,
        on_error: Callable[[bytes], None] | None = None,
        limit: float,
    ) -> shell.Ran:
        """Run a command, or print what it printed before."""
        text = "\0".join(argv)
        nonce = _NONCE.search(text)
        if nonce is None or on_start is not None:
            return await shell.run(
                world, vantage, argv, env=env, on_start=on_start, on_output=on_output, on_error=on_error, limit=limit
            )
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            async with asyncio.timeout(limit):
                ran = await self._ran(text.replace(nonce[1], ""), nonce[1], world, vantage, argv, env, limit)
                await self._pass_time()
        except TimeoutError:
            return shell.Ran(137, b"")
        finally:
            self._running -= 1
        output = ran.output.replace(b"\0", nonce[1].encode())
        if on_output is not None:
            on_output(output)
        return shell.Ran(ran.exit, output)

    async def _ran(
        self,
        script: str,
        nonce: str,
        world: World,
        vantage: Vantage,
        argv: Sequence[str],
        env: Mapping[str, str],
        limit: float,
    ) -> shell.Ran:
        """What the script came to for whoever ran it first, with NUL for the nonce."""
        if (printed := self._printed.get(script)) is None:
            printed = self._printed[script] = asyncio.get_running_loop().create_future()
            ran = await shell.run(world, vantage, argv, env=env, limit=limit)
            printed.set_result(shell.Ran(ran.exit, ran.output.replace(nonce.encode(), b"\0")))
        return await printed

    async def _pass_time(self) -> None:
        await asyncio.sleep(self._seconds)
        if not self._together:
            return
        end = asyncio.get_running_loop().create_future()
        self._waiting.append(end)
        if len(self._waiting) == self._together:
            self.groups += 1
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_result(None)
            self._waiting.clear()
        await end
