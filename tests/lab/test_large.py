from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import inventory
from lab.world import guide_world


def test_further_workers_are_alike_and_have_ten_pods_and_a_network_each(tmp_path: Path) -> None:
    world = inventory.build(workers=300)
    further = [node for node in world.nodes.values() if node.sshd_of]
    pods = [pod["spec"]["nodeName"] for pod in world.cluster.each("pods")]

    assert (len(world.workers), len(further)) == (300, 297)
    assert {pods.count(node.name) for node in further} - {10} <= {11}  # cluster services are on one of them
    networks = {node["spec"]["podCIDR"] for node in world.cluster.each("nodes")}
    assert len(networks) == len({node.address for node in world.nodes.values()}) == 301

    file = inventory.draft(tmp_path, base=inventory.find(), workers=300)
    named = yaml.safe_load(file.read_text())["cluster"]
    assert (len(named["nodes"]), named["pod_cidr"]) == (301, "172.24.0.0/14")


@pytest.mark.parametrize("workers", [2, 1001])
def test_a_number_of_workers_that_is_not_simulated_is_refused(workers: int) -> None:
    with pytest.raises(ValueError, match=f"^{workers} workers: expected {len(guide_world().workers)} to 1000$"):
        inventory.build(workers=workers)
