"""One start of a stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from lab.tools.exchange import Question, Reply
    from lab.world import Vantage, World


class CommandResult(Protocol):
    """The result of a command."""

    @property
    def exit(self) -> int:
        """Its exit status."""


class Run(Protocol):
    """Runs a command at a vantage point (`lab.shell.run`)."""

    def __call__(  # noqa: D102 - see the class
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
    ) -> Awaitable[CommandResult]: ...


class Call:
    """One start of a stand-in.

    Attributes:
        world: the state of the environment.
        vantage: where it was started.
        tool: its name.
        args: its arguments.
        env: those variables of its environment that tools read, if they are set.
        run: runs a command, as in a container that the tool starts.
    """

    def __init__(self, world: World, vantage: Vantage, question: Question, reply: Reply, run: Run) -> None:
        self.world, self.vantage, self.run = world, vantage, run
        self.tool, self.args, self.env = question.tool, question.args, question.env
        self.out, self.err, self.become = reply.out, reply.err, reply.become

    @property
    def on_node(self) -> bool:
        """Whether it was started on a node itself, not in a pod."""
        return self.vantage.kind == "node"
