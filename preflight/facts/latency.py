"""2.4 Lost packets and long round trips, from here, from the workers and from jobs' pods."""

from __future__ import annotations

from preflight.fact import fact
from preflight.inventory import Inventory
from preflight.probes import latency
from preflight.probes.latency import RoundTrips
from preflight.probes.transcript import Report
from preflight.run import Run


@fact(deadline="step+step", reported_by=("here_losses", "here_distance"))
def here_round_trips(inventory: Inventory, run: Run) -> RoundTrips:
    """Samples of round trips from here."""
    places = latency.destinations(inventory)
    return latency.from_here(places, routes=run.routes, deadline=inventory.deadlines.step)


@fact(reported_by=("node_losses", "node_distance"))
def node_round_trips(worker: str, node_report: Report, inventory: Inventory) -> RoundTrips:
    """Samples of round trips from a worker."""
    return latency.from_report(node_report, latency.destinations(inventory))


@fact(reported_by=("pod_losses", "pod_distance"))
def pod_round_trips(worker: str, pod_report: Report, inventory: Inventory) -> RoundTrips:
    """Samples of round trips from a job's pod on a worker."""
    return latency.from_report(pod_report, latency.destinations(inventory))


@fact()
def here_losses(here_round_trips: RoundTrips, inventory: Inventory) -> RoundTrips:
    """Packets that are lost on the way from here."""
    return latency.with_losses(here_round_trips, inventory.limits.packet_loss)


@fact()
def here_distance(here_round_trips: RoundTrips, inventory: Inventory) -> RoundTrips:
    """How far away from here everything is."""
    return latency.with_distance(here_round_trips, inventory.limits.round_trip)


@fact()
def node_losses(node_round_trips: RoundTrips, inventory: Inventory) -> RoundTrips:
    """Packets that are lost on the way from a worker."""
    return latency.with_losses(node_round_trips, inventory.limits.packet_loss)


@fact()
def node_distance(node_round_trips: RoundTrips, inventory: Inventory) -> RoundTrips:
    """How far away from a worker everything is."""
    return latency.with_distance(node_round_trips, inventory.limits.round_trip)


@fact()
def pod_losses(pod_round_trips: RoundTrips, inventory: Inventory) -> RoundTrips:
    """Packets that are lost on the way from a job's pod on a worker."""
    return latency.with_losses(pod_round_trips, inventory.limits.packet_loss)


@fact()
def pod_distance(pod_round_trips: RoundTrips, inventory: Inventory) -> RoundTrips:
    """How far away from a job's pod on a worker everything is."""
    return latency.with_distance(pod_round_trips, inventory.limits.round_trip)
