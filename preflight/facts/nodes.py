"""2.4 The workers, over SSH."""

from __future__ import annotations

import time
from collections.abc import Iterator

from preflight.clients import ssh
from preflight.evidence import Evidence, NotApplicable, Unmeasured
from preflight.facts.blocking import block_if_same_fault, gitlab_fact
from preflight.facts.probe_plan import page_of, script_steps
from preflight.faults import SshFault
from preflight.inventory import Inventory
from preflight.probes import shell, shell_sections, transcript
from preflight.probes.gitlab import GitLabReply
from preflight.probes.transcript import Clock, NodeLogin, Report
from preflight.survey import Run, fact


@fact(effect="static")
def ssh_gate(inventory: Inventory) -> ssh.AuthGate:
    """What keeps a wrong key from being tried on every node."""
    del inventory
    return ssh.AuthGate()


@fact(deadline="ssh")
def node_login(worker: str, ssh_gate: ssh.AuthGate, inventory: Inventory, run: Run) -> Iterator[NodeLogin]:
    """The login to a worker over SSH."""
    access = inventory.access.ssh
    if access == "none":
        reason = "access.ssh is none in the inventory"
        raise NotApplicable(reason)
    login = ssh.Login(
        user=access.user,
        port=access.port,
        key=access.key,
        passphrase=access.passphrase.text if access.passphrase else None,
        known_hosts=access.known_hosts,
        agent=access.agent,
        jump=access.jump,
    )
    address = inventory.workers[worker].address
    session = ssh.open_session(
        worker, address, login, routes=run.routes, deadline=inventory.deadlines.ssh, gate=ssh_gate
    )
    evidence = Evidence(where="here", command=session.command("true"))
    yield NodeLogin(target=worker, node=worker, session=session, evidence=evidence)
    session.close()


@fact(deadline="script")
def node_report(worker: str, node_login: NodeLogin, inventory: Inventory, run: Run) -> Report:
    """What the probe script showed on a worker."""
    nonce = shell.new_nonce()
    steps = script_steps(inventory, run, reply="node_reply", page="node_page", lookups="node_answers")
    script = shell.render(steps, limit=inventory.deadlines.step, nonce=nonce)
    session = node_login.session
    ran = session.run("sh -s", stdin=script, deadline=inventory.deadlines.script)
    sections = shell_sections.parse(ran.stdout, nonce)
    if not sections:
        raise Unmeasured(
            f"{worker} gives {session.login.user} no POSIX shell: the probe script printed nothing of its own",
            needs=f"a login on {worker} for which `ssh {worker} sh -s` runs a script",
            fault=SshFault.NO_SHELL,
            evidence=Evidence(
                where=f"node {worker}", command=session.command("sh -s"), observed=ran.stdout + ran.stderr
            ),
        )
    return Report(where=f"node {worker}", sections=sections)


@fact(speaks_for=("node_report",))
def node_reply(node_report: Report, inventory: Inventory) -> GitLabReply:
    """GitLab's answer to a worker, whatever it is."""
    return transcript.gitlab_reply(node_report, inventory.gitlab.url)


@fact(tolerates=("node_reply",), optional=("gitlab_reply",), speaks_for=("node_reply",))
def node_gitlab(node_reply: GitLabReply, gitlab_reply: GitLabReply | None) -> GitLabReply:
    """GitLab's answer to a worker."""
    block_if_same_fault(node_reply, gitlab_reply, gitlab_fact(gitlab_reply), {})
    return node_reply


@fact()
def node_page(node_report: Report, node_gitlab: GitLabReply, inventory: Inventory) -> GitLabReply:
    """A whole page of GitLab's, as it comes to a worker."""
    del node_gitlab
    return transcript.whole_page(node_report, page_of(inventory))


@fact(deadline="script+step")
def node_clock(worker: str, node_login: NodeLogin, gitlab_connection: GitLabReply, inventory: Inventory) -> Clock:
    """A worker's clock beside GitLab's."""
    if gitlab_connection.clock_offset is None:
        reason = "GitLab's answer carries no Date"
        raise Unmeasured(reason, needs="a web server in front of GitLab that sends a Date header")
    began = time.time()
    ran = node_login.session.run("date +%s", deadline=inventory.deadlines.step)
    middle = (began + time.time()) / 2
    where = f"node {worker}"
    if ran.exit is None:
        raise Unmeasured(
            f"`date` on {worker} came to no end within {inventory.deadlines.step:g} s",
            needs="a worker that answers commands at once, or a larger `deadlines.step`",
            fault=SshFault.SILENT,
        )
    section = shell_sections.Section(kind="clock", exit=ran.exit, took=ran.took, output=ran.stdout)
    allowed = inventory.limits.clock_skew
    return transcript.clock(worker, section, middle=middle, reply=gitlab_connection, allowed=allowed, where=where)
