"""5 Docker-in-Docker: a job-shaped pod with the docker service builds and runs on each eligible worker."""

import pytest

from preflight.facts import Daemon, DindRun, InnerRegistry, Lookups, PacketSizes, PodAdmission, PodStart, ResolvConf


def test_the_api_admits_a_dind_pod(dind_admission: PodAdmission) -> None:
    """5.1.1 The API server admits a job's pod with the Docker-in-Docker service.

    Why: the service is privileged, which a namespace with the level baseline or restricted rejects.
    Remedy (pod-security): `kubectl label ns NAMESPACE pod-security.kubernetes.io/enforce=privileged --overwrite`, or
        run privileged jobs in a separate namespace.
    Remedy (quota): raise the ResourceQuota, or remove what uses it up.
    Remedy (limit-range): keep `service_*` requests and limits in `runners.config` within the namespace's LimitRange.
    Remedy: `kubectl apply --dry-run=server` of such a pod shows the API server's message.
    """
    assert not dind_admission.fault


def test_docker_daemon_becomes_ready(dind_daemon: Daemon) -> None:
    """5.1.2 The Docker daemon in the pod is ready in time.

    Why: the guide's jobs wait for it and give up after a minute.
    Remedy (not-privileged): set `privileged = true` under `[runners.kubernetes]` in `runners.config`, upgrade the
        release and restart the managers.
    Remedy (tls-mismatch): use either `DOCKER_HOST=tcp://docker:2375` with `DOCKER_TLS_CERTDIR=""`, or port 2376 with
        the certificates shared between service and job.
    Remedy (daemon-exited): read the end of the daemon's log: cgroups, iptables or storage of this node make it exit.
    Remedy (daemon-slow): give the service more CPU (`service_cpu_limit`), or a longer `ready_within`.
    Remedy (daemon-unreachable): make the service reachable by its alias: `alias: docker` in `services:`.
    Remedy: read the daemon's log: `kubectl logs POD -c docker`.
    """
    assert not dind_daemon.fault


@pytest.mark.advice
def test_docker_daemon_uses_a_fast_storage_driver(dind_storage: Daemon) -> None:
    """5.1.3 The Docker daemon uses a copy-on-write storage driver.

    Why: with vfs every layer is a full copy: builds take many times as long and fill the node's disk.
    Remedy: mount an emptyDir at /var/lib/docker of the service (`[[runners.kubernetes.volumes.empty_dir]]`), so that
        overlay2 is not stacked on an overlay.
    """
    assert not dind_storage.fault


def test_docker_pulls_an_image_inside(dind_pull: DindRun) -> None:
    """5.1.4 Docker-in-Docker pulls an image.

    Why: the inner daemon has its own DNS, CAs and registry settings.
    Remedy: configure the inner daemon: `--insecure-registry` or the CA for the registry, a registry mirror, or DNS that
        resolves its name.
    """
    assert not dind_pull.fault


def test_docker_runs_a_container_inside(dind_run: DindRun) -> None:
    """5.1.5 Docker-in-Docker runs a container.

    Why: it needs cgroups and namespaces that an unprivileged or old daemon can't create.
    Remedy: read the daemon's log; with cgroup v2 use docker:dind 20.10.16 or newer.
    """
    assert not dind_run.fault


def test_container_mtu_inside_does_not_exceed_the_pod_mtu(dind_packets: PacketSizes) -> None:
    """5.1.6 The MTU of containers inside Docker-in-Docker does not exceed their pod's.

    Why: Docker's bridge uses 1500 bytes whatever the pod has; on an overlay network, small requests work and large ones
        hang: `apk add`, TLS handshakes, clones.
    Remedy (mtu): start the service with `--mtu=` and the MTU of the pod's interface (`command: ["--mtu=1450"]`), and
        the same for networks that builds create: `--default-network-opt=bridge=com.docker.network.driver.mtu=1450`.
    Remedy: make `cat /sys/class/net/eth0/mtu` show no more in a container inside than in the pod.
    """
    assert not dind_packets.fault


def test_docker_reaches_each_registry_from_inside(dind_registry: InnerRegistry) -> None:
    """5.1.7 The Docker daemon in the pod reaches and trusts each registry.

    Why: it is a fresh daemon, with neither the node's certificates nor its list of insecure registries; so `docker
        login` and `docker push` of a build fail although the node pulls from there.
    Remedy (insecure-registry): start the service with `--insecure-registry=HOST:PORT`, or give the registry TLS.
    Remedy (registry-untrusted): mount the registry's CA into the service as `/etc/docker/certs.d/HOST:PORT/ca.crt`.
    Remedy (registry-unreachable): open the path from the pod network to the registry.
    Remedy: make `docker login` to the registry succeed in a job with Docker-in-Docker.
    """
    assert not dind_registry.fault


def test_services_of_the_values_start(service_start: PodStart) -> None:
    """5.1.8 The services that the values give to every job start beside its script.

    Why: a container that can't be started keeps a job's pod Pending until the runner gives up.
    Remedy (start-error): correct command, user and security context of the service: the message is the runtime's own.
    Remedy: `kubectl describe pod` of a job shows the state of each container.
    """
    assert not service_start.fault


def test_dind_has_the_dns_settings_of_the_values(dind_resolv_conf: ResolvConf) -> None:
    """5.3.1 The pod with the Docker-in-Docker service uses the resolvers of the values file.

    Why: `docker build` uses the DNS settings of the daemon's pod.
    Remedy: write `dns_policy = "none"` in lower case and the servers under `[runners.kubernetes.dns_config]`.
    """
    assert not dind_resolv_conf.fault


def test_names_resolve_beside_docker(dind_lookups: Lookups) -> None:
    """5.3.2 Names resolve in the pod with the Docker-in-Docker service.

    Why: it is the guide's `nslookup` in the service: builds fetch from the registries by name.
    Remedy (timeout): open UDP and TCP 53 from the pod network to the resolvers of `dns_config`.
    Remedy (nxdomain): add the name to the zone that the resolvers serve.
    Remedy: make `nslookup NAME` answer in such a pod.
    """
    assert not dind_lookups.fault


def test_names_resolve_in_a_container_inside(dind_inner_lookups: Lookups) -> None:
    """5.3.3 Names resolve in a container inside Docker-in-Docker.

    Why: containers inside get their DNS settings from the inner daemon, which may fall back to public resolvers.
    Remedy: set the daemon's resolvers: `--dns 10.0.0.2` in the service's command.
    """
    assert not dind_inner_lookups.fault
