"""5 Docker-in-Docker: privilege, TLS and port, the daemon's log, its start, storage driver and names."""

from __future__ import annotations

from preflight.conclusions.model import cause
from preflight.conclusions.single_fact import single
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

single(
    cause("dind-not-privileged", "5", "privileged"),
    dind_daemon,
    faults=(DindFault.NOT_PRIVILEGED,),
    remedy=(
        "`privileged = true` below `[runners.kubernetes]` in {values}, `{upgrade}`",
        "`kubectl label ns {job_namespace} pod-security.kubernetes.io/enforce=privileged --overwrite`",
    ),
)
single(
    cause("dind-tls-mismatch", "5", "dind-tls"),
    dind_daemon,
    faults=(DindFault.TLS_MISMATCH,),
    remedy=(
        "with TLS: `DOCKER_HOST=tcp://docker:2376`, `DOCKER_TLS_CERTDIR=/certs` and an emptyDir at /certs/client",
        'without: `DOCKER_HOST=tcp://docker:2375` and `DOCKER_TLS_CERTDIR=""`, for the job and for the service alike',
    ),
)
single(
    cause("dind-daemon-exits", "5", "dind-iptables"),
    dind_daemon,
    faults=(DindFault.DAEMON_EXITED,),
    remedy=(
        "the daemon's last log lines are above: iptables or nft → `DOCKER_IPTABLES_LEGACY=1`; "
        "cgroup → a newer docker:dind",
        "on {node}: `lsmod | grep -E 'ip_tables|nf_tables|overlay'`, `modprobe` what is missing",
    ),
)
single(
    cause("dind-daemon-slow", "5", "dind-tls"),
    dind_daemon,
    faults=(DindFault.DAEMON_SLOW,),
    remedy=(
        "let jobs wait: `until docker info; do sleep 1; done`; give the service more CPU in {values}",
        "on {node}: `iostat -x 1 3`, and what else runs there",
    ),
)
single(
    cause("dind-unreachable", "5", "dind-alias"),
    dind_daemon,
    remedy=(
        "let DOCKER_HOST name the service's alias (`docker`) and its port: 2375 without TLS, 2376 with it",
        "`kubectl logs` of the service container shows where it listens",
    ),
)
single(
    cause("dind-storage-driver", "5", "dind-storage"),
    dind_storage,
    remedy=(
        "mount a volume at /var/lib/docker: `[[runners.kubernetes.volumes.empty_dir]]` with `mount_path = "
        '"/var/lib/docker"` in {values}, `{upgrade}`',
    ),
)
single(
    cause("dind-pull-fails", "5", "dind-build"),
    dind_pull,
    likely="the same pull by the node's own runtime (2.4.15), and the MTU inside",
    remedy=(
        "x509: mount the CA at /etc/docker/certs.d/HOST/ca.crt of the service; HTTP only: `--insecure-registry=HOST`",
        "hangs: `--mtu` of dockerd no larger than eth0's in the pod",
        "times out: allow the pods on {nodes} to the registry, as the node itself is (firewall, NetworkPolicy)",
    ),
)
single(
    cause("dind-run-fails", "5", "dind-cgroup"),
    dind_run,
    remedy=("the daemon's message is above; `docker run --rm IMAGE echo hello` in a job reproduces it",),
)
single(
    cause("dind-mtu", "5", "mtu"),
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
    dind_registry,
    faults=(DindFault.INSECURE_REGISTRY,),
    remedy=(
        "the registry serves plain HTTP: start dockerd with `--insecure-registry=HOST` (`dind.daemon_args`, and the "
        "service's `command` in `.gitlab-ci.yml`)",
        "better: give the registry a certificate",
    ),
)
single(
    cause("dind-distrusts-registry", "5", "dind-registry-trust"),
    dind_registry,
    faults=(DindFault.REGISTRY_UNTRUSTED,),
    remedy=(
        "mount the CA at /etc/docker/certs.d/HOST/ca.crt of the Docker service: "
        "`[[runners.kubernetes.volumes.config_map]]` in {values}, `{upgrade}`",
    ),
)
single(
    cause("dind-registry-unreachable", "5", "dind-build"),
    dind_registry,
    remedy=(
        "`docker pull` in a job shows the daemon's message; allow the pod network {pod_cidr} to reach the registry",
    ),
)
single(
    cause("dind-names", "5.3", "dind-dns"),
    dind_lookups,
    dind_inner_lookups,
    remedy=(
        "set the daemon's resolvers: `--dns` for dockerd in the service's command, or `dns` in its daemon.json",
        "{resolvers} must answer from the pod network",
    ),
)
single(
    cause("service-does-not-start", "5", "job-pod"),
    service_start,
    remedy=(
        "the runtime's message is above: correct `entrypoint`, `command` or `service_container_security_context` in "
        "{values}, `{upgrade}`",
    ),
)
