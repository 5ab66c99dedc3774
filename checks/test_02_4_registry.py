"""2.4 Registries: they answer, let the jobs' accounts in, hold the images, and nodes really pull them."""

from preflight.facts import ImagePull, Manifest, Pull, PullLogin, RegistryReply


def test_registry_answers(registry_connection: RegistryReply) -> None:
    """2.4.13 Each registry answers.

    Why: without it no job's image can be pulled on a node that does not hold it yet.
    Remedy (refused): start the registry, or correct host, port and `scheme` in the inventory.
    Remedy (timeout): open the registry's port, and check that its host is up.
    Remedy (unresolved): give the registry's name an address in the DNS that this machine uses.
    Remedy (tls-untrusted): put the PEM of its CA into `ca_file`, and into the nodes' runtime
        (`/etc/containerd/certs.d/HOST/`).
    Remedy (tls-expired): renew the registry's certificate.
    Remedy (tls-wrong-name): reissue the registry's certificate for the name that is used.
    Remedy (tls-handshake): write `scheme: http` if the registry serves no TLS.
    Remedy: let `curl -v` of its `/v2/` answer 200 or 401.
    """
    assert not registry_connection.fault


def test_registry_authenticates(registry_access: RegistryReply) -> None:
    """2.4.14 Each registry lets the given account in.

    Why: an anonymous 401 is normal; one with the jobs' credentials fails every pull.
    Remedy (unauthorized): renew the account's password in the pull secret and in `credentials`; with Huawei SWR and
        Aliyun ACR the login is not the console's password.
    Remedy (token-realm): open the way to the token server that the registry names; it is another host than the
        registry.
    Remedy (not-a-registry): correct the registry's host and port: what answers speaks no registry protocol.
    Remedy (rate-limited): log in, or use a mirror: the registry counts pulls of this address.
    Remedy: let `docker login` to it succeed.
    """
    assert not registry_access.fault


def test_registry_has_the_image(manifest: Manifest) -> None:
    """2.4.15 Each image is in its registry, for the nodes' platform.

    Why: a missing tag or platform is told here in a second, and by a job only after its pod was scheduled.
    Remedy (not-found): push or mirror the image, or correct its name and tag.
    Remedy (denied): give the account pull rights on this repository.
    Remedy (unauthorized): give `credentials` for this registry, or renew them.
    Remedy (wrong-platform): push or mirror the image for the nodes' platform too (`docker buildx imagetools inspect`).
    Remedy (rate-limited): log in, or use a mirror.
    Remedy (blob-host): open the way to the host that the registry sends to for the images' data, from here and from the
        nodes, or let the registry hand the data out itself (`storage.redirect.disable`); or start that host.
    Remedy: let `docker manifest inspect` of the image succeed.
    """
    assert not manifest.fault


def test_worker_runtime_pulls_the_image(node_pull: Pull) -> None:
    """2.4.16 Each worker's own runtime pulls the image.

    Why: it is the guide's `docker pull`, taken by the runtime that the kubelet uses on that node.
    Remedy (pull-unresolved): let the worker's own resolvers know the registry's name (/etc/resolv.conf on the node).
    Remedy (pull-refused): start the registry, or correct the mirror's address in the runtime's configuration.
    Remedy (pull-timeout, pull-unreachable): open the way from this worker to the registry.
    Remedy (pull-tls): give the worker's runtime the registry's CA (`/etc/containerd/certs.d/HOST/hosts.toml`).
    Remedy (pull-unauthorized): give `credentials` for this registry in the inventory.
    Remedy (pull-not-found): push or mirror the image.
    Remedy (pull-rate-limited): log in, or use a mirror.
    Remedy (pull-platform): push or mirror the image for this node's platform.
    Remedy: let `crictl pull` of the image succeed on the worker.
    """
    assert not node_pull.fault


def test_job_pods_on_each_worker_pull_the_image(pod_pull: ImagePull) -> None:
    """2.4.17 A job's pod on each worker pulls each image, with the job's own pull secrets.

    Why: the runner gives up at the first failed pull, and only a pod proves kubelet, secrets and network together.
    Remedy (pull-unauthorized): list a valid pull secret in `image_pull_secrets` of `runners.config`: the service
        account's own are not used as soon as the pod has one.
    Remedy (pull-unresolved): let the nodes' own resolvers know the registry's name; a pod's DNS plays no part in pulls.
    Remedy (pull-refused): start the registry, or correct the mirror's address in the runtime's configuration.
    Remedy (pull-timeout, pull-unreachable): open the way from this worker to the registry and its blob storage.
    Remedy (pull-tls): give this worker's runtime the registry's CA (`/etc/containerd/certs.d/HOST/hosts.toml`).
    Remedy (pull-not-found): push or mirror the image, or correct its tag.
    Remedy (pull-bad-name): correct the image's name: lower case, no scheme.
    Remedy (pull-rate-limited): use a mirror, or pull secrets of an account.
    Remedy (pull-platform): push or mirror the image for this node's platform.
    Remedy: `kubectl describe pod` of a job on this node shows the same message.
    """
    assert not pod_pull.fault


def test_job_pods_on_each_worker_pull_the_helper_image(helper_pull: ImagePull) -> None:
    """2.4.18 A job's pod on each worker pulls the runner's helper image.

    Why: every job has a container of it, which clones, caches and uploads; the default comes from registry.gitlab.com.
    Remedy (pull-timeout, pull-unreachable, pull-refused): open the way from this worker to that registry, or mirror the
        image and name it as `helper_image` in `runners.config`.
    Remedy (pull-unresolved): let the nodes' own resolvers know the registry's name, or mirror the image.
    Remedy (pull-unauthorized): list a pull secret with an account of that registry in `image_pull_secrets`, or remove a
        stale one: registry.gitlab.com gives this image to anybody.
    Remedy (pull-rate-limited): mirror the image and name it as `helper_image`.
    Remedy (pull-not-found, pull-platform): push the image of the runner's version and the nodes' architecture there.
    Remedy: let `crictl pull` of the helper image succeed on the worker, and name a mirror as `helper_image`.
    """
    assert not helper_pull.fault


def test_jobs_have_a_login_for_each_registry(pull_login: PullLogin) -> None:
    """2.4.19 The pull secrets of a job's pod hold an account for each registry that asks for one.

    Why: the service account's own pull secrets are given only to a pod that has none: one name in `image_pull_secrets`
    is enough to lose them all.
    Remedy (secret-missing): `kubectl create secret docker-registry` under the name that `image_pull_secrets` of
        `runners.config` gives, in the jobs' namespace; or correct that name.
    Remedy (pull-secret): list every registry's secret in `image_pull_secrets` of `runners.config`, or set
        `use_service_account_image_pull_secrets = true`; upgrade the release and restart the managers.
    Remedy: let `kubectl get pod -o jsonpath='{.spec.imagePullSecrets}'` of a job's pod name the registry's secret.
    """
    assert not pull_login.fault
