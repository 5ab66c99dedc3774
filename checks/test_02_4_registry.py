"""2.4 Registries: they answer, accept the jobs' accounts, have the images, and nodes really pull them."""

import pytest

from preflight.facts import Encryption, ImagePull, LayerRate, Manifest, Pull, PullLogin, RegistryReply


def test_registry_answers(registry_connection: RegistryReply) -> None:
    """2.4.13 Each registry answers.

    Why: without it, no image can be pulled on a node that does not have it yet.
    Remedy (refused): start the registry, or correct host, port and `scheme` in the inventory.
    Remedy (timeout): open the registry's port to this machine, and check that its host is up.
    Remedy (unresolved): add a record for the registry's name to the DNS that this machine uses.
    Remedy (tls-untrusted): set `ca_file` to the PEM of its CA, and add it to the nodes' runtime
        (`/etc/containerd/certs.d/HOST/`).
    Remedy (tls-expired): renew the registry's certificate.
    Remedy (tls-wrong-name): reissue the registry's certificate for the name that is used.
    Remedy (tls-handshake): write `scheme: http` if the registry serves no TLS.
    Remedy: make `curl -v` of its `/v2/` answer 200 or 401.
    """
    assert not registry_connection.fault


def test_registry_authenticates(registry_access: RegistryReply) -> None:
    """2.4.14 Each registry accepts the configured account.

    Why: a 401 without credentials is normal; with the jobs' credentials, it means that every pull fails.
    Remedy (unauthorized): renew the account's password in the pull secret and in `credentials`; for Huawei SWR and
        Aliyun ACR this is not the console's password.
    Remedy (token-realm): open the path to the token server that the registry names; it is not the registry's own host.
    Remedy (not-a-registry): correct the registry's host and port: the server there does not speak the registry
        protocol.
    Remedy (rate-limited): log in, or use a mirror: the registry limits the pulls of this address.
    Remedy: make `docker login` to it succeed.
    """
    assert not registry_access.fault


def test_registry_has_the_image(manifest: Manifest) -> None:
    """2.4.15 Each image is in its registry, for the nodes' platform.

    Why: a missing tag or platform is found here in a second; a job finds it only after its pod was scheduled.
    Remedy (not-found): push or mirror the image, or correct its name and tag.
    Remedy (denied): give the account pull rights on this repository.
    Remedy (unauthorized): set `credentials` for this registry, or renew them.
    Remedy (wrong-platform): push or mirror the image for the nodes' platform too (`docker buildx imagetools inspect`).
    Remedy (rate-limited): log in, or use a mirror.
    Remedy (blob-host): open the path to the host that the registry redirects to for the images' data, from here and
        from the nodes, or have the registry serve the data itself (`storage.redirect.disable`); or start that host.
    Remedy: make `docker manifest inspect` of the image succeed.
    """
    assert not manifest.fault


def test_worker_runtime_pulls_the_image(node_pull: Pull) -> None:
    """2.4.16 Each worker's own runtime pulls the image.

    Why: it is the guide's `docker pull`, by the runtime that the kubelet uses on that node.
    Remedy (pull-unresolved): make the worker's own resolvers resolve the registry's name (/etc/resolv.conf on the
        node).
    Remedy (pull-refused): start the registry, or correct the mirror's address in the runtime's configuration.
    Remedy (pull-timeout, pull-unreachable): open the path from this worker to the registry.
    Remedy (pull-tls): add the registry's CA to the worker's runtime (`/etc/containerd/certs.d/HOST/hosts.toml`).
    Remedy (pull-unauthorized): set `credentials` for this registry in the inventory.
    Remedy (pull-not-found): push or mirror the image.
    Remedy (pull-rate-limited): log in, or use a mirror.
    Remedy (pull-platform): push or mirror the image for this node's platform.
    Remedy: make `crictl pull` of the image succeed on the worker.
    """
    assert not node_pull.fault


def test_job_pods_on_each_worker_pull_the_image(pod_pull: ImagePull) -> None:
    """2.4.17 A job's pod on each worker pulls each image, with the job's own pull secrets.

    Why: the runner gives up at the first failed pull, and only a pod tests kubelet, secrets and network together.
    Remedy (pull-unauthorized): list a valid pull secret in `image_pull_secrets` of `runners.config`: the service
        account's own secrets are not used once the pod names one.
    Remedy (pull-unresolved): make the nodes' own resolvers resolve the registry's name; a pod's DNS settings are not
        used for pulls.
    Remedy (pull-refused): start the registry, or correct the mirror's address in the runtime's configuration.
    Remedy (pull-timeout, pull-unreachable): open the path from this worker to the registry and its blob storage.
    Remedy (pull-tls): add the registry's CA to this worker's runtime (`/etc/containerd/certs.d/HOST/hosts.toml`).
    Remedy (pull-not-found): push or mirror the image, or correct its tag.
    Remedy (pull-bad-name): correct the image's name: lower case, no scheme.
    Remedy (pull-rate-limited): use a mirror, or a pull secret with an account.
    Remedy (pull-platform): push or mirror the image for this node's platform.
    Remedy: `kubectl describe pod` of a job on this node shows the same message.
    """
    assert not pod_pull.fault


def test_job_pods_on_each_worker_pull_the_helper_image(helper_pull: ImagePull) -> None:
    """2.4.18 A job's pod on each worker pulls the runner's helper image.

    Why: every job's pod has a container from it, which clones, caches and uploads; the default image is on
        registry.gitlab.com.
    Remedy (pull-timeout, pull-unreachable, pull-refused): open the path from this worker to that registry, or mirror
        the image and set `helper_image` in `runners.config`.
    Remedy (pull-unresolved): make the nodes' own resolvers resolve the registry's name, or mirror the image.
    Remedy (pull-unauthorized): list a pull secret with an account of that registry in `image_pull_secrets`, or remove a
        stale one: registry.gitlab.com serves this image without a login.
    Remedy (pull-rate-limited): mirror the image and set `helper_image`.
    Remedy (pull-not-found, pull-platform): push the image for the runner's version and the nodes' architecture there.
    Remedy: make `crictl pull` of the helper image succeed on the worker, or set `helper_image` to a mirror.
    """
    assert not helper_pull.fault


def test_jobs_have_a_login_for_each_registry(pull_login: PullLogin) -> None:
    """2.4.19 The pull secrets of a job's pod have an account for each registry that requires one.

    Why: a pod gets the service account's own pull secrets only if it names none: a single name in `image_pull_secrets`
        drops them all.
    Remedy (secret-missing): create it with `kubectl create secret docker-registry` in the jobs' namespace, under the
        name in `image_pull_secrets` of `runners.config`; or correct that name.
    Remedy (pull-secret): list every registry's secret in `image_pull_secrets` of `runners.config`, or set
        `use_service_account_image_pull_secrets = true`; upgrade the release and restart the managers.
    Remedy: make `kubectl get pod -o jsonpath='{.spec.imagePullSecrets}'` of a job's pod name the registry's secret.
    """
    assert not pull_login.fault


@pytest.mark.advice
def test_registry_password_is_encrypted(registry_encryption: Encryption) -> None:
    """2.4.20 The account of each registry is sent to it encrypted.

    Why: without TLS, anyone on the path can read the password with which images are pulled and pushed.
    Remedy: serve the registry by TLS, and take `scheme: http` out of the inventory; or let it be read without an
        account.
    """
    assert not registry_encryption.fault


@pytest.mark.advice
def test_charts_come_encrypted(repository_encryption: Encryption) -> None:
    """2.4.21 Charts come from their repository encrypted.

    Why: without TLS, anyone on the path can decide what is installed with the rights of the release.
    Remedy: write the repository's https address as `runner.repository`, and its CA as `runner.repository_ca_file`.
    """
    assert not repository_encryption.fault


def test_registry_delivers_layers_quickly(registry_rate: LayerRate) -> None:
    """2.4.22 Each registry delivers the layers of images quickly.

    Why: the runner waits for a pod, its pulls included, as long as `poll_timeout` says, by default 180 s.
    Remedy (registry-slow): look at the way to the registry, the proxy before it, and the load of its storage; until it
        is faster, raise `poll_timeout`, and pull images on the nodes beforehand.
    Remedy: let `curl -r 0-262143` of a layer in the registry bring its bytes.
    """
    assert not registry_rate.fault
