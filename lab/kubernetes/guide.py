"""The guide's cluster in good health: one control-plane node, three workers, their workloads, and access rights.

`guide_cluster` builds it for a world's nodes. The builders (`pod`, `quota`, …) are for faults and tests: each makes a
raw object for `ClusterState.add`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lab.cluster import timestamps
from lab.cluster.state import ClusterState, Raw, User
from lab.kubernetes.defaults import fill_in

if TYPE_CHECKING:
    from lab.world import Node

KUBERNETES_ADDRESS = "172.21.0.1"
KUBE_DNS_ADDRESS = "172.21.0.10"
METRICS_SERVER_ADDRESS = "172.21.0.44"
SYSTEM = "kube-system"
NAMESPACE = "gitlab"
OPERATOR = "ops"
OPERATOR_TOKEN = "made-up-token-of-the-operator"  # of the kubeconfig; valid in the lab alone
OPERATOR_USER = User(OPERATOR, ("system:authenticated",))
ADMIN_USER = User("kubernetes-admin", ("system:masters", "system:authenticated"))
AGE = 41.0  # days since the cluster was made
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_IMAGES = "registry.example.com/library"


def guide_cluster(machines: Iterable[Node]) -> ClusterState:
    """The cluster that the guide describes, on these machines."""
    cluster, machines = ClusterState(version=version("v1.28.15")), tuple(machines)
    nodes = [node(machine) for machine in machines]
    for name in ("default", "kube-node-lease", "kube-public", SYSTEM, NAMESPACE, "shop"):
        add_namespace(cluster, name)
    for item in [*nodes, *_access(), *_services(), *_priorities(), *_settings(len(nodes))]:
        cluster.add(item)
    taken = Counter[str]()
    alike = frozenset(machine.name for machine in machines if machine.sshd_of)
    for item in _workloads(nodes, alike):
        _add_running_pod(cluster, item, taken[item["spec"]["nodeName"]])
        taken[item["spec"]["nodeName"]] += 1
    cluster.add(pull_secret(NAMESPACE, "private-registry", "private-registry.example.com", "ops", "secret-pw"))
    _publish(cluster, SYSTEM, "kube-dns", [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")])
    _publish(cluster, SYSTEM, "metrics-server", [("https", 4443, "TCP")])
    masters = [item["status"]["addresses"][0]["address"] for item in nodes if CONTROL_PLANE in _labels(item)]
    ready = [
        {"addresses": [{"ip": ip} for ip in masters], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}
    ]
    cluster.add(_object("Endpoints", "default", "kubernetes", subsets=ready))
    cluster.tokens = {OPERATOR_TOKEN: OPERATOR_USER}
    cluster.forget()
    return cluster


# ---- builders


def version(git_version: str) -> Raw:
    """The answer of ``GET /version`` for a release such as ``v1.28.15``."""
    major, minor = git_version.lstrip("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": git_version,
        "gitCommit": "841856557ef0f6a399096c42635d114d6f2cf7f4",
        "gitTreeState": "clean",
        "buildDate": "2024-10-22T20:28:42Z",
        "goVersion": "go1.22.8",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def add_namespace(cluster: ClusterState, name: str) -> Raw:
    """Create a namespace with its default service account and the cluster's CA."""
    item = _object("Namespace", "", name, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    item["metadata"]["labels"] = {"kubernetes.io/metadata.name": name}
    cluster.add(_object("ServiceAccount", name, "default"))
    cluster.add(_object("ConfigMap", name, "kube-root-ca.crt", data={"ca.crt": ""}))
    return cluster.add(item)


def node(machine: Node) -> Raw:
    """A healthy node of 24 CPUs and 47 GiB."""
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": machine.name,
        "kubernetes.io/os": "linux",
    }
    spec: Raw = {}
    network = machine.pod_network
    if machine.role == "control-plane":
        labels |= {CONTROL_PLANE: "", "node.kubernetes.io/exclude-from-external-load-balancers": ""}
        spec["taints"] = [{"key": CONTROL_PLANE, "effect": "NoSchedule"}]
    spec = {"podCIDR": network, "podCIDRs": [network]} | spec
    storage, hugepages = "103079844Ki", {"hugepages-1Gi": "0", "hugepages-2Mi": "0"}
    identity = hashlib.md5(machine.name.encode(), usedforsecurity=False).hexdigest()
    item = _object("Node", "", machine.name, spec=spec)
    item["metadata"] |= {"labels": labels, "annotations": {"node.alpha.kubernetes.io/ttl": "0"}}
    item["metadata"]["annotations"]["kubeadm.alpha.kubernetes.io/cri-socket"] = "unix:///run/containerd/containerd.sock"
    item["metadata"]["annotations"]["volumes.kubernetes.io/controller-managed-attach-detach"] = "true"
    item["status"] = {
        "capacity": {"cpu": "24", "ephemeral-storage": storage, **hugepages, "memory": "49396184Ki", "pods": "110"},
        "allocatable": {
            "cpu": "24",
            "ephemeral-storage": "94998384074",
            **hugepages,
            "memory": "49293784Ki",
            "pods": "110",
        },
        "conditions": [
            _condition(
                "MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"
            ),
            _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            _condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            _condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "addresses": [
            {"type": "InternalIP", "address": machine.address},
            {"type": "Hostname", "address": machine.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": identity,
            "systemUUID": f"{identity[:8]}-{identity[8:12]}-{identity[12:16]}-{identity[16:20]}-{identity[20:]}",
            "bootID": f"{identity[::-1][:8]}-{identity[:4]}-4{identity[4:7]}-a{identity[7:10]}-{identity[10:22]}",
            "kernelVersion": "5.10.134-16.3.al8.x86_64",
            "osImage": "Alibaba Cloud Linux 3 (Soaring Falcon)",
            "containerRuntimeVersion": machine.runtime,
            "kubeletVersion": "v1.28.15",
            "kubeProxyVersion": "v1.28.15",
            "operatingSystem": "linux",
            "architecture": "amd64",
        },
        "images": [{"names": [image], "sizeBytes": 60_000_000} for image in sorted(machine.pulled)],
    }
    return item


def pod_network(nodes: int) -> str:
    """The network of all pods, for a cluster of so many nodes: a /24 each."""
    return f"172.24.0.0/{16 if nodes < 256 else 14}"  # noqa: PLR2004 - as many as a /16 holds


def pod(
    namespace: str,
    name: str,
    *,
    node: str,
    image: str = f"{_IMAGES}/alpine:latest",
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    owner: str = "",
    host_network: bool = False,
) -> Raw:
    """A pod that has been running on a node for days, with one container; no kubelet manages it."""
    resources: Raw = {}
    if limits:
        resources["limits"] = dict(limits)
    if requests:
        resources["requests"] = dict(requests)
    container = name.rsplit("-", 2)[0] if owner == "ReplicaSet" else name.rsplit("-", 1)[0] if owner else name
    item = _object("Pod", namespace, name)
    if labels:
        item["metadata"]["labels"] = dict(labels)
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": owner, "name": name.rsplit("-", 1)[0], "controller": True}
        item["metadata"]["ownerReferences"] = [reference | {"uid": _uid(owner + name.rsplit("-", 1)[0])}]
    item["spec"] = {
        "containers": [{"name": container, "image": image, "resources": resources, "imagePullPolicy": "IfNotPresent"}],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "nodeName": node,
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    if host_network:
        item["spec"]["hostNetwork"] = True
    started = item["metadata"]["creationTimestamp"]
    item["status"] = {
        "phase": "Running",
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": started}
            for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "startTime": started,
        "containerStatuses": [
            {
                "name": container,
                "state": {"running": {"startedAt": started}},
                "lastState": {},
                "ready": True,
                "restartCount": 0,
                "image": image,
                "imageID": f"{image.rpartition(':')[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}",
                "containerID": f"containerd://{hashlib.sha256((namespace + name).encode()).hexdigest()}",
                "started": True,
            }
        ],
        "qosClass": "Burstable" if resources else "BestEffort",
    }
    return item


def fill(
    cluster: ClusterState,
    node: str,
    requests: Mapping[str, str],
    *,
    namespace: str = "shop",
    application: str = "checkout",
) -> Raw:
    """Add another application's running pod, with these requests, to a node."""
    template = "6c8f7d5b9c"
    name = cluster.unique_name(f"{application}-{template}-")
    taken = sum(1 for other in cluster.each("pods") if other["spec"].get("nodeName") == node)
    labels = {"app": application, "pod-template-hash": template}
    item = pod(namespace, name, node=node, requests=requests, labels=labels, owner="ReplicaSet")
    return _add_running_pod(cluster, item, taken)


def quota(namespace: str, name: str, hard: Mapping[str, str]) -> Raw:
    """A ResourceQuota; the cluster counts the used amounts."""
    status = {"hard": dict(hard), "used": dict.fromkeys(hard, "0")}
    return _object("ResourceQuota", namespace, name, spec={"hard": dict(hard)}, status=status)


def limit_range(namespace: str, name: str, *limits: Raw) -> Raw:
    """A LimitRange of these limits, such as ``{"type": "Container", "max": {"memory": "64Mi"}}``."""
    item = _object("LimitRange", namespace, name, spec={"limits": list(limits)})
    fill_in("limitranges", item)
    return item


def pull_secret(namespace: str, name: str, host: str, user: str, password: str) -> Raw:
    """A Secret with credentials for a registry, as ``kubectl create secret docker-registry`` makes it."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    config = json.dumps({"auths": {host: {"username": user, "password": password, "auth": auth}}})
    item = _object("Secret", namespace, name, data={".dockerconfigjson": base64.b64encode(config.encode()).decode()})
    return item | {"type": "kubernetes.io/dockerconfigjson"}


def service_account(namespace: str, name: str, *pull_secrets: str) -> Raw:
    """A service account, with the names of its pull secrets."""
    item = _object("ServiceAccount", namespace, name)
    if pull_secrets:
        item["imagePullSecrets"] = [{"name": secret} for secret in pull_secrets]
    return item


def rule(resources: str, verbs: list[str], *, group: str = "") -> Raw:
    """A rule of a role, for resources named with spaces between."""
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs}


def webhook(name: str, hook: str, *, policy: str = "Fail", seconds: int = 10) -> Raw:
    """A ValidatingWebhookConfiguration with a webhook for all pods outside of kube-system, as of policy engines."""
    service = {"namespace": "policy", "name": "policy-engine", "path": "/validate", "port": 443}
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}]
    not_system = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [SYSTEM]}
    hook_entry: Raw = {"name": hook, "clientConfig": {"service": service, "caBundle": ""}}
    hook_entry |= {"rules": [{**rules[0], "scope": "*"}], "failurePolicy": policy, "matchPolicy": "Equivalent"}
    hook_entry |= {
        "namespaceSelector": {"matchExpressions": [not_system]},
        "objectSelector": {},
        "sideEffects": "NoneOnDryRun",
    }
    hook_entry |= {"timeoutSeconds": seconds, "admissionReviewVersions": ["v1"]}
    return _object("ValidatingWebhookConfiguration", "", name, webhooks=[hook_entry])


def cluster_dns_only(item: Raw) -> None:
    """A mutating webhook, as of node-local DNS caches: pods get the cluster's DNS, whatever they request."""
    item["spec"]["dnsPolicy"] = "ClusterFirst"
    item["spec"].pop("dnsConfig", None)


# ---- parts of the guide's cluster


def _access() -> list[Raw]:
    everybody = [
        {"kind": "Group", "apiGroup": _RBAC, "name": f"system:{who}"} for who in ("authenticated", "unauthenticated")
    ]
    operator = [{"kind": "User", "apiGroup": _RBAC, "name": OPERATOR}]
    manager = [{"kind": "ServiceAccount", "name": "gitlab-runner", "namespace": NAMESPACE}]
    reviews = rule("selfsubjectaccessreviews selfsubjectrulesreviews", ["create"], group="authorization.k8s.io")
    self_reviews = rule("selfsubjectreviews", ["create"], group="authentication.k8s.io")
    health = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
    well_known = [".well-known", ".well-known/*"]
    discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ]
    keys = [
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
    ]
    reader = [
        rule(
            "nodes namespaces pods services endpoints events configmaps serviceaccounts limitranges resourcequotas "
            "persistentvolumeclaims "
            "pods/log",
            _READ,
        ),
        rule("jobs", _READ, group="batch"),
        rule("deployments replicasets daemonsets statefulsets", _READ, group="apps"),
        rule("endpointslices", _READ, group="discovery.k8s.io"),
        rule("networkpolicies", _READ, group="networking.k8s.io"),
        rule("poddisruptionbudgets", _READ, group="policy"),
        rule("priorityclasses", _READ, group="scheduling.k8s.io"),
        rule("runtimeclasses", _READ, group="node.k8s.io"),
        rule("csidrivers storageclasses", _READ, group="storage.k8s.io"),
        rule("apiservices", _READ, group="apiregistration.k8s.io"),
        rule(
            "mutatingwebhookconfigurations validatingwebhookconfigurations", _READ, group="admissionregistration.k8s.io"
        ),
        rule("roles rolebindings clusterroles clusterrolebindings", _READ, group=_RBAC),
        rule("nodes pods", _READ, group="metrics.k8s.io"),
    ]
    prober = [
        rule("pods secrets", _READ + _WRITE),
        rule("pods/log", ["get"]),
        rule("pods/exec pods/attach", ["create", "get"]),
        rule("pods/proxy", ["get"]),
        rule("localsubjectaccessreviews", ["create"], group="authorization.k8s.io"),
        rule("jobs", _READ + _WRITE, group="batch"),
    ]
    return [
        service_account(NAMESPACE, "gitlab-runner"),
        _role("", "system:basic-user", reviews, self_reviews),
        _binding("", "system:basic-user", everybody[:1]),
        _role("", "system:public-info-viewer", _paths(health), _paths(["/" + path for path in well_known])),
        _binding("", "system:public-info-viewer", everybody),
        _role("", "system:discovery", _paths(discovery)),
        _binding("", "system:discovery", everybody[:1]),
        _role("", "system:service-account-issuer-discovery", _paths(keys)),
        _binding("", "system:service-account-issuer-discovery", everybody[:1]),
        _role("", "environment-reader", *reader),
        _binding("", "environment-reader", operator),
        _role(NAMESPACE, "runner-operator", *prober),
        _binding(NAMESPACE, "runner-operator", operator),
        _role(NAMESPACE, "gitlab-runner", *runner_rules()),
        _binding(NAMESPACE, "gitlab-runner", manager),
    ]


def runner_rules() -> list[Raw]:
    """What the release's Role grants to the managers."""
    return [
        rule("pods secrets configmaps services", _READ + _WRITE),
        rule("pods/exec pods/attach", ["create", "get"]),
        rule("pods/log", ["get", "list"]),
        rule("serviceaccounts", ["get"]),
        rule("events", ["list", "watch"]),
    ]


def _services() -> list[Raw]:
    dns_ports = [_port("dns", 53, "UDP"), _port("dns-tcp", 53, "TCP"), _port("metrics", 9153, "TCP")]
    metrics_api = _object("APIService", "", "v1beta1.metrics.k8s.io")
    metrics_api["spec"] = {
        "service": {"namespace": SYSTEM, "name": "metrics-server", "port": 443},
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    passed = {"type": "Available", "status": "True", "lastTransitionTime": timestamps.ago(days=AGE), "reason": "Passed"}
    metrics_api["status"] = {"conditions": [passed | {"message": "all checks passed"}]}
    return [
        _service("default", "kubernetes", KUBERNETES_ADDRESS, [_port("https", 443, "TCP", 6443)], {}),
        _service(SYSTEM, "kube-dns", KUBE_DNS_ADDRESS, dns_ports, {"k8s-app": "kube-dns"}),
        _service(
            SYSTEM,
            "metrics-server",
            METRICS_SERVER_ADDRESS,
            [_port("https", 443, "TCP", "https")],
            {"k8s-app": "metrics-server"},
        ),
        metrics_api,
    ]


def _settings(nodes: int) -> list[Raw]:
    """Kubeadm's settings, and CoreDNS's configuration as kubeadm writes it."""
    pods = pod_network(nodes)
    networking = f"networking:\n  dnsDomain: cluster.local\n  podSubnet: {pods}\n  serviceSubnet: 172.21.0.0/16\n"
    cluster_configuration = (
        f"apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nkubernetesVersion: v1.28.15\n{networking}"
    )
    kubernetes = "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n       pods insecure\n       ttl 30\n    }\n"
    forward = "    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n"
    corefile = f".:53 {{\n    errors\n    ready\n{kubernetes}{forward}    cache 30\n    loop\n    reload\n}}\n"
    return [
        _object("ConfigMap", SYSTEM, "kubeadm-config", data={"ClusterConfiguration": cluster_configuration}),
        _object("ConfigMap", SYSTEM, "coredns", data={"Corefile": corefile}),
    ]


def _priorities() -> list[Raw]:
    return [
        _object(
            "PriorityClass", "", "system-cluster-critical", value=2000000000, preemptionPolicy="PreemptLowerPriority"
        ),
        _object("PriorityClass", "", "system-node-critical", value=2000001000, preemptionPolicy="PreemptLowerPriority"),
    ]


def _workloads(nodes: list[Raw], alike: Collection[str]) -> Iterable[Raw]:
    """The pods of each node; those that are alike have ten each."""
    workers = [item["metadata"]["name"] for item in nodes if CONTROL_PLANE not in _labels(item)]
    masters = [item["metadata"]["name"] for item in nodes if CONTROL_PLANE in _labels(item)]
    small = {"cpu": "100m", "memory": "70Mi"}
    for index, name in enumerate(masters + workers):
        length = 9 if name in alike else 5  # of generated names, long enough for no two of a thousand to be the same
        for agent, requests in (("kube-proxy", None), ("kube-flannel-ds", {"cpu": "100m", "memory": "50Mi"})):
            suffix = f"{agent}-{_uid(agent + name).replace('-', '')[:length]}"
            labels = {"k8s-app": agent}
            yield pod(SYSTEM, suffix, node=name, requests=requests, labels=labels, owner="DaemonSet", host_network=True)
        if name in masters:
            for part, cpu in (("etcd", "100m"), ("kube-apiserver", "250m"), ("kube-controller-manager", "200m")):
                labels = {"component": part, "tier": "control-plane"}
                yield pod(SYSTEM, f"{part}-{name}", node=name, requests={"cpu": cpu}, labels=labels, host_network=True)
            continue
        if index <= 2:  # noqa: PLR2004 - two replicas
            suffix = f"coredns-5dd5756b68-{_uid('coredns' + name)[:5]}"
            labels = {"k8s-app": "kube-dns", "pod-template-hash": "5dd5756b68"}
            limits = {"memory": "170Mi"}
            yield pod(SYSTEM, suffix, node=name, requests=small, limits=limits, labels=labels, owner="ReplicaSet")
        for application, requests in (
            ("storefront-7d9c6b8f54", {"cpu": "500m", "memory": "512Mi"}),
            ("orders-6f8b9d7c45", {"cpu": "250m", "memory": "256Mi"}),
            *((f"batch{number}-58d5c6f7bb", small) for number in range(6 if name in alike else 0)),
        ):
            suffix = f"{application}-{_uid(application + name).replace('-', '')[:length]}"
            labels = {"app": application.split("-", 1)[0], "pod-template-hash": application.split("-", 1)[1]}
            yield pod("shop", suffix, node=name, requests=requests, limits=requests, labels=labels, owner="ReplicaSet")
    if workers:
        suffix = f"metrics-server-7b4f8b595-{_uid('metrics-server')[:5]}"
        labels = {"k8s-app": "metrics-server", "pod-template-hash": "7b4f8b595"}
        requests = {"cpu": "100m", "memory": "200Mi"}
        yield pod(SYSTEM, suffix, node=workers[-1], requests=requests, labels=labels, owner="ReplicaSet")


def _add_running_pod(cluster: ClusterState, item: Raw, taken: int) -> Raw:
    """Store a running pod with its addresses on its node, as the next of so many."""
    host = cluster.node(item["spec"]["nodeName"])
    address = host["status"]["addresses"][0]["address"]
    own = address if item["spec"].get("hostNetwork") else f"{host['spec']['podCIDR'].rsplit('.', 1)[0]}.{taken + 2}"
    item["status"] |= {"hostIP": address, "podIP": own, "podIPs": [{"ip": own}]}
    return cluster.add(item)


def _publish(cluster: ClusterState, namespace: str, service: str, ports: list[tuple[str, int, str]]) -> None:
    """Create a service's endpoints from the pods that it selects."""
    selector = (cluster.get("services", namespace, service) or {})["spec"]["selector"]
    chosen = [item for item in cluster.list("pods", namespace) if selector.items() <= _labels(item).items()]
    addresses = [
        {
            "ip": item["status"]["podIP"],
            "nodeName": item["spec"]["nodeName"],
            "targetRef": {"kind": "Pod", "namespace": namespace}
            | {key: item["metadata"][key] for key in ("name", "uid")},
        }
        for item in chosen
    ]
    named = [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports]
    endpoints = _object("Endpoints", namespace, service, subsets=[{"addresses": addresses, "ports": named}])
    cluster.add(endpoints)
    endpoint_slice = _object(
        "EndpointSlice", namespace, f"{service}-{_uid(service)[:5]}", addressType="IPv4", ports=named
    )
    endpoint_slice["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    endpoint_slice["endpoints"] = [
        {
            "addresses": [address["ip"]],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": address["nodeName"],
            "targetRef": address["targetRef"],
        }
        for address in addresses
    ]
    cluster.add(endpoint_slice)


def _service(namespace: str, name: str, address: str, ports: list[Raw], selector: dict[str, str]) -> Raw:
    spec: Raw = {"ports": ports} | ({"selector": selector} if selector else {})
    spec |= {"clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None"}
    spec |= {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster"}
    item = _object("Service", namespace, name, spec=spec, status={"loadBalancer": {}})
    if selector:
        item["metadata"]["labels"] = selector | {"kubernetes.io/cluster-service": "true"}
    return item


def _port(name: str, port: int, protocol: str, target: int | str | None = None) -> Raw:
    return {"name": name, "protocol": protocol, "port": port, "targetPort": port if target is None else target}


def _role(namespace: str, name: str, *rules: Raw) -> Raw:
    return _object("Role" if namespace else "ClusterRole", namespace, name, rules=list(rules))


def _binding(namespace: str, name: str, subjects: list[Raw]) -> Raw:
    kind = "Role" if namespace else "ClusterRole"
    reference = {"apiGroup": _RBAC, "kind": kind, "name": name}
    return _object(f"{kind}Binding", namespace, name, subjects=subjects, roleRef=reference)


def _paths(paths: list[str]) -> Raw:
    return {"nonResourceURLs": paths, "verbs": ["get"]}


def _object(kind: str, namespace: str, name: str, **body: Any) -> Raw:
    metadata: Raw = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"kind": kind, "metadata": metadata | {"creationTimestamp": timestamps.ago(days=AGE)}, **body}


def _condition(kind: str, status: str, reason: str, message: str) -> Raw:
    beats = {"lastHeartbeatTime": timestamps.now(), "lastTransitionTime": timestamps.ago(days=AGE)}
    return {"type": kind, "status": status, **beats, "reason": reason, "message": message}


def _labels(item: Raw) -> dict[str, str]:
    labels: dict[str, str] = item["metadata"].get("labels", {})
    return labels


def _uid(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}"
