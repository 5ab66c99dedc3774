"""5 Docker-in-Docker: privilege, TLS and port, the daemon's log, its start, storage driver and names."""

from __future__ import annotations

from collections.abc import Sequence

from preflight import impact
from preflight.conclusions import remedy_names
from preflight.conclusions.impacts import measured_workers, nodes_of, slows_there, stops_there
from preflight.conclusions.model import cause
from preflight.conclusions.observations import Facts, Observation
from preflight.conclusions.single_fact import single
from preflight.conclusions.vantages import joined, targets_of
from preflight.facts.dind import (
    dind_daemon,
    dind_inner_lookups,
    dind_lookups,
    dind_packets,
    dind_pull,
    dind_registry,
    dind_run,
    dind_storage,
    service_start,
)
from preflight.faults import DindFault
from preflight.impact import Impact


def _registry_inside(facts: Facts, observations: Sequence[Observation]) -> Impact:
    """Docker-in-Docker jobs that need a registry which the daemon can't use."""
    registries = facts.inventory.registries
    hosts = joined(registries[name].host for name in targets_of(observations, "registry") if name in registries)
    jobs = f"Docker-in-Docker jobs that use {hosts or 'a registry'}"
    return impact.stops_on(nodes_of(observations), of=measured_workers(facts, observations), jobs=jobs)


single(
    cause("dind-not-privileged", "5", "privileged"),
    stops_there("Docker-in-Docker jobs"),
    dind_daemon,
    faults=(DindFault.NOT_PRIVILEGED,),
    remedy=(
        "`privileged = true` below `[runners.kubernetes]` in {values}, `{upgrade}`",
        "`kubectl label ns {job_namespace} pod-security.kubernetes.io/enforce=privileged --overwrite`",
    ),
)
single(
    cause("dind-tls-mismatch", "5", "dind-tls"),
    stops_there("Docker-in-Docker jobs"),
    dind_daemon,
    faults=(DindFault.TLS_MISMATCH,),
    remedy=(
        "with TLS: `DOCKER_HOST=tcp://docker:2376`, `DOCKER_TLS_CERTDIR=/certs` and an emptyDir at /certs/client",
        'without: `DOCKER_HOST=tcp://docker:2375` and `DOCKER_TLS_CERTDIR=""`, for the job and for the service alike',
    ),
)
single(
    cause("dind-daemon-exits", "5", "dind-iptables"),
    stops_there("Docker-in-Docker jobs"),
    dind_daemon,
    faults=(DindFault.DAEMON_EXITED,),
    remedy=(
        "if its log names iptables or nft: `DOCKER_IPTABLES_LEGACY: 1` among the variables of the service in "
        "`.gitlab-ci.yml`; if it names cgroup: a newer docker:dind",
        "on {node}: `lsmod | grep -E 'ip_tables|nf_tables|overlay'`, `modprobe ip_tables nf_tables overlay` loads them",
    ),
)
single(
    cause("dind-daemon-slow", "5", "dind-tls"),
    stops_there("Docker-in-Docker jobs"),
    dind_daemon,
    faults=(DindFault.DAEMON_SLOW,),
    remedy=(
        "let jobs wait: `until docker info; do sleep 1; done`; give the service more CPU in {values}",
        "on {node}: `iostat -x 1 3`, and what else runs there",
    ),
)
single(
    cause("dind-unreachable", "5", "dind-alias"),
    stops_there("Docker-in-Docker jobs"),
    dind_daemon,
    remedy=(
        "let DOCKER_HOST name the service's alias (`docker`) and its port: 2375 without TLS, 2376 with it",
        "`kubectl logs` of the service container shows where it listens",
    ),
)
single(
    cause("dind-storage-driver", "5", "dind-storage"),
    slows_there("Docker-in-Docker jobs"),
    dind_storage,
    remedy=(
        "mount a volume at /var/lib/docker: `[[runners.kubernetes.volumes.empty_dir]]` with `mount_path = "
        '"/var/lib/docker"` in {values}',
        "`{upgrade}`",
    ),
)
single(
    cause("dind-pull-fails", "5", "dind-build"),
    stops_there("Docker-in-Docker jobs"),
    dind_pull,
    likely="the same pull by the node's own runtime (2.4.15), and the MTU inside",
    remedy=(
        "x509: mount the CA at /etc/docker/certs.d/{host}/ca.crt of the service; HTTP only: "
        "`--insecure-registry={host}`",
        "hangs: `--mtu` of dockerd no larger than eth0's in the pod",
        "times out: allow the pods on {nodes} to the registry, as the node itself is (firewall, NetworkPolicy)",
    ),
)
single(
    cause("dind-run-fails", "5", "dind-cgroup"),
    stops_there("Docker-in-Docker jobs"),
    dind_run,
    remedy=(
        "`docker run --rm {dind_image} echo hello` in a job reproduces the daemon's message: cgroup or runc errors "
        "need a newer docker:dind",
    ),
)
single(
    cause("dind-mtu", "5", "mtu"),
    stops_there("Docker-in-Docker jobs"),
    dind_packets,
    remedy=(
        "start dockerd with `--mtu` no larger than eth0's in the pod: `dind.daemon_args`, and the "
        "service's `command` in "
        "`.gitlab-ci.yml`",
        "networks that jobs create need it too: `docker network create --opt com.docker.network.driver.mtu=…`",
    ),
)
single(
    cause("dind-insecure-registry", "5", "dind-registry-trust"),
    _registry_inside,
    dind_registry,
    faults=(DindFault.INSECURE_REGISTRY,),
    remedy=(
        "start dockerd with `--insecure-registry={inner_host}`: the service's `command` in `.gitlab-ci.yml`, and "
        "`dind.daemon_args` in the inventory",
        "better: give the registry a certificate",
    ),
    names=remedy_names.inner_host,
)
single(
    cause("dind-distrusts-registry", "5", "dind-registry-trust"),
    _registry_inside,
    dind_registry,
    faults=(DindFault.REGISTRY_UNTRUSTED,),
    remedy=(
        "`kubectl create configmap registry-ca -n {job_namespace} --from-file=ca.crt=ca.pem`",
        "mount it at /etc/docker/certs.d/{inner_host}: `[[runners.kubernetes.volumes.config_map]]` with "
        '`name = "registry-ca"` and `mount_path = "/etc/docker/certs.d/{inner_host}"` in {values}',
        "`{upgrade}`",
    ),
    names=remedy_names.inner_host,
)
single(
    cause("dind-registry-unreachable", "5", "dind-build"),
    _registry_inside,
    dind_registry,
    remedy=(
        "`docker pull` in a job shows the daemon's message; allow the pod network {pod_cidr} to reach the registry",
    ),
)
single(
    cause("dind-names", "5.3", "dind-dns"),
    stops_there("Docker-in-Docker jobs"),
    dind_lookups,
    dind_inner_lookups,
    remedy=(
        "set the daemon's resolvers: `{dns_arguments}` in the service's `command` in `.gitlab-ci.yml`, and "
        "`dind.daemon_args` in the inventory",
        "{resolvers} must answer from the pod network",
    ),
)
single(
    cause("service-does-not-start", "5", "job-pod"),
    stops_there(),
    service_start,
    remedy=(
        "the runtime's message is above: correct `entrypoint`, `command` or `service_container_security_context` in "
        "{values}, `{upgrade}`",
    ),
)
