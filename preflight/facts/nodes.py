"""2.4 The workers, over SSH."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.clients import ssh
from preflight.clients.ssh_login import Login
from preflight.evidence import Evidence, NotApplicable, Unmeasured
from preflight.fact import fact
from preflight.facts.probe_plan import registry_step, script_steps
from preflight.facts.references import Ref
from preflight.faults import SshFault
from preflight.inventory import Inventory
from preflight.probes import latency, shell, shell_sections
from preflight.probes.transcript import NodeLogin, Report
from preflight.run import Run
from preflight.shell_command import program


@fact(effect="static")
def ssh_gate(inventory: Inventory) -> ssh.AuthGate:
    """The gate that keeps a wrong key from being tried on every node."""
    del inventory
    return ssh.AuthGate()


@fact(deadline="ssh", group="logins")
def node_login(worker: str, ssh_gate: ssh.AuthGate, inventory: Inventory, run: Run) -> Iterator[NodeLogin]:
    """The login to a worker over SSH."""
    access = inventory.access.ssh
    if access == "none":
        reason = "access.ssh is none in the inventory"
        raise NotApplicable(reason)
    login = Login(
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


@fact(deadline="script", reported_by=("node_reply",))
def node_report(worker: str, node_login: NodeLogin, inventory: Inventory, run: Run) -> Report:
    """The output of the probe script on a worker."""
    nonce = shell.new_nonce()
    # What waits for the first resolver of the worker's own runs beside the queries to that resolver.
    steps = tuple(
        registry_step(inventory, registry)
        for registry in inventory.registries
        if run.plans(Ref.NODE_REGISTRY, worker=worker, registry=registry)
    )
    steps += script_steps(inventory, run, reply=Ref.NODE_REPLY, page=Ref.NODE_PAGE, lookups=Ref.NODE_ANSWERS)
    if run.plans(Ref.NODE_ROUND_TRIPS, worker=worker):
        steps += latency.steps(latency.destinations(inventory))
    script = shell.render(steps, limit=inventory.deadlines.step, nonce=nonce)
    session = node_login.session
    ran = session.run("sh -s", stdin=script, deadline=inventory.deadlines.script)
    sections = shell_sections.parse(ran.stdout, nonce)
    if not sections:
        raise Unmeasured(
            f"{worker} gives {session.login.user} no POSIX shell: the probe script printed none of its output",
            needs=f"a login on {worker} for which `{program('ssh', '--', worker, 'sh', '-s')}` runs a script",
            fault=SshFault.NO_SHELL,
            evidence=Evidence(
                where=f"node {worker}", command=session.command("sh -s"), observed=ran.stdout + ran.stderr
            ),
        )
    return Report(where=f"node {worker}", sections=sections)
