"""Names that only a measurement knows, in remedies that can be pasted."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from preflight.conclusions import Facts, Observation, draw, remedy_names
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import ApiFault, ManagerFault, PodFault
from preflight.inventory import Inventory
from preflight.jobshape import JobShape
from preflight.probes import headroom, nodes
from preflight.probes.cluster import Node, Nodes
from preflight.probes.managers import ManagerPod, ManagerPods
from preflight.probes.pods import Admission

HERE = Evidence(where="here", command="kubectl", observed="")
NODE = "k8s-worker-1"


def remedy(inventory: Inventory, *observations: Observation) -> str:
    (conclusion,) = draw(Facts(inventory, observations))[0]
    return "\n".join(conclusion.remedy)


def denied(message: str, name: str = "cluster_nodes") -> Observation:
    needs = "# in a ClusterRole, bound to ops"
    error = Unmeasured(f"the API server refused: {message}", needs=needs, fault=ApiFault.FORBIDDEN, evidence=HERE)
    return Observation(name, {}, error=error)


@pytest.mark.parametrize(
    ("message", "commands"),
    [
        (
            'nodes is forbidden: User "ops" cannot list resource "nodes" in API group "" at the cluster scope',
            (
                "kubectl create clusterrole preflight-list-nodes --verb=list --resource=nodes",
                "kubectl create clusterrolebinding preflight-list-nodes --clusterrole=preflight-list-nodes --user=ops",
            ),
        ),
        (
            'pods is forbidden: User "system:serviceaccount:ci:gate" cannot create resource "pods/exec" in API group ""'
            ' in the namespace "gitlab"',
            (
                "kubectl create role preflight-create-pods-exec -n gitlab --verb=create --resource=pods/exec",
                "kubectl create rolebinding preflight-create-pods-exec -n gitlab --role=preflight-create-pods-exec "
                "--serviceaccount=ci:gate",
            ),
        ),
        (
            'deployments.apps is forbidden: User "a b" cannot get resource "deployments" in API group "apps" in the '
            'namespace "gitlab"',
            ("--verb=get --resource=deployments.apps", "'--user=a b'"),
        ),
    ],
)
def test_missing_rights_are_granted_to_the_account_that_lacks_them(
    inventory: Inventory, message: str, commands: tuple[str, ...]
) -> None:
    steps = remedy(inventory, denied(message))
    for command in commands:
        assert command in steps
    assert "create token gitlab-runner-preflight-privileged" in steps, (
        "the account that deploy/rbac.yaml gives rights to"
    )


def test_rights_for_one_verb_are_one_role() -> None:
    refusals = [
        f'{kind} is forbidden: User "ops" cannot list resource "{kind}" in API group "" in the namespace "gitlab"'
        for kind in ("pods", "events", "pods")
    ]
    (step,) = remedy_names.grants(refusals)
    assert "--resource=pods,events`" in step


def test_a_refusal_in_other_words_names_the_rule_to_add(inventory: Inventory) -> None:
    assert "# in a ClusterRole, bound to ops" in remedy(inventory, denied("denied by a webhook authorizer"))


def admission(message: str) -> Observation:
    fact = Admission(target="gitlab", fault=PodFault.WEBHOOK, cause=message, evidence=HERE)
    return Observation("pod_admission", {}, value=fact)


def test_a_webhook_is_named_with_its_service(inventory: Inventory) -> None:
    steps = remedy(
        inventory,
        admission(
            'failed calling webhook "validate.kyverno.svc-fail": failed to call webhook: Post '
            '"https://policy-engine.policy.svc:443/validate?timeout=2s": context deadline exceeded'
        ),
    )
    assert "kubectl get endpoints policy-engine -n policy" in steps
    assert "validate.kyverno.svc-fail" in steps


def test_a_webhook_that_answers_is_named_without_a_service(inventory: Inventory) -> None:
    steps = remedy(inventory, admission('admission webhook "images.example.com" denied the request: no tag'))
    assert "change what `images.example.com` refuses" in steps
    assert "endpoints" not in steps


def test_what_comes_from_outside_is_quoted_for_the_shell(inventory: Inventory) -> None:
    steps = remedy(inventory, admission('admission webhook "a\'; rm -rf ~ #" denied the request: no tag'))
    command = next(part for part in steps.split("`") if part.startswith("kubectl get") and "grep" in part)
    assert shlex.split(command)[-1] == "name: a'; rm -rf ~ #"
    refused = 'x is forbidden: User "a; b" cannot list resource "$(c)" in API group "" at the cluster scope'
    assert remedy_names.grants([refused]) == (), "no resource is called so"


@pytest.mark.parametrize(
    ("end", "expected", "other"),
    [
        ("OOMKilled, exit 137", "resources.limits.memory", "--previous"),
        ("Error, exit 1", "--previous", "limits.memory"),
    ],
)
def test_managers_out_of_memory_need_memory(inventory: Inventory, end: str, expected: str, other: str) -> None:
    pods = (ManagerPod(name="a", restarts=7, ended=5.0, end=end, trouble="CrashLoopBackOff"),)
    fact = ManagerPods(
        target="r", wanted=1, pods=pods, fault=ManagerFault.CRASH_LOOP, cause=f"a ended with {end}", evidence=HERE
    )
    steps = remedy(inventory, Observation("manager_readiness", {}, value=fact))
    assert expected in steps
    assert other not in steps


@pytest.mark.parametrize(
    ("node", "shape", "commands"),
    [
        (
            {"taints": ({"key": "dedicated", "value": "batch", "effect": "NoSchedule"},)},
            {},
            (f"kubectl taint nodes {NODE} dedicated:NoSchedule-", '`"dedicated=batch" = "NoSchedule"`'),
        ),
        (
            {"taints": ({"key": "gpu", "effect": "NoExecute"},)},
            {},
            (f"kubectl taint nodes {NODE} gpu:NoExecute-", '`"gpu" = "NoExecute"`'),
        ),
        ({}, {"node_selector": {"node-pool": "ci"}}, (f"kubectl label nodes {NODE} node-pool=ci`",)),
    ],
)
def test_labels_and_taints_are_those_of_the_values_and_the_node(
    inventory: Inventory, node: dict[str, Any], shape: dict[str, Any], commands: tuple[str, ...]
) -> None:
    worker = Node(name=NODE, ready=True, **node)
    job = JobShape(namespace="gitlab", image="a", helper_image="h", **shape)
    all_nodes = Nodes(target="nodes", nodes=(worker,), evidence=HERE)
    assert headroom.obstacle(worker, job)[0] is not None
    fact = nodes.placement(worker, job, all_nodes)
    steps = remedy(inventory, Observation("worker_placement", {"worker": NODE}, value=fact))
    for command in commands:
        assert command in steps


def test_every_row_is_filled_whatever_is_measured(inventory: Inventory) -> None:
    functions = [
        getattr(remedy_names, name)
        for name in dir(remedy_names)
        if not name.startswith("_") and getattr(getattr(remedy_names, name), "__module__", "") == remedy_names.__name__
    ]
    bare = Fact(target="x", fault=PodFault.WEBHOOK, cause="in words that no one knows", evidence=HERE)
    facts = Facts(inventory, ())
    named = [each for each in functions if each is not remedy_names.grants]
    assert len(named) > 8
    for function in named:
        for name, value in function(facts, [Observation("pod_admission", {}, value=bare)]).items():
            assert value.strip(), name
