"""What can be wrong with the image registries (guide 1.3, 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.kubernetes.guide import NAMESPACE, pull_secret
from lab.world import MIRROR, PRIVATE, STORAGE

if TYPE_CHECKING:
    from lab.world import World


@fault("registry-down", "Nothing listens on port 443 of registry.example.com.")
def _(world: World) -> None:
    world.registries[MIRROR].mode = "down"


@fault("registry-tls", "The certificate of private-registry.example.com is signed by an authority that nobody trusts.")
def _(world: World) -> None:
    world.registries[PRIVATE].certificate = "self-signed"


@fault("registry-auth", "private-registry.example.com no longer accepts the password in the pull secret.")
def _(world: World) -> None:
    world.registries[PRIVATE].accounts = {"ops": "a-newer-made-up-password"}


@fault("registry-tag-missing", "registry.example.com does not have library/docker:dind.")
def _(world: World) -> None:
    del world.registries[MIRROR].images["library/docker"]["dind"]


@fault("registry-rate-limited", "registry.example.com answers 429 to every manifest: the pull limit is used up.")
def _(world: World) -> None:
    world.registries[MIRROR].rate_limited = True


@fault("registry-slow", "registry.example.com delivers layers at 100 kbit/s; the workers hold the images of jobs.")
def _(world: World) -> None:
    world.registries[MIRROR].rate = 100_000
    helper = "gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v18.3.0"
    world.hold_images(f"{MIRROR}/library/alpine:latest", f"{MIRROR}/{helper}")


@fault("registry-wrong-platform", "my-namespace/alpine:latest of the private registry is there for arm64 only.")
def _(world: World) -> None:
    for image in world.registries[PRIVATE].images["my-namespace/alpine"].values():
        image.platforms = ("linux/arm64/v8",)


@fault("registry-token-realm-down", "auth.example.com, the token server of registry.example.com, refuses connections.")
def _(world: World) -> None:
    world.registries[MIRROR].realm = "down"


@fault(
    "registry-blob-host-down",
    "storage.example.com, to which registry.example.com redirects for image data, refuses connections.",
)
def _(world: World) -> None:
    world.registries[MIRROR].blob_host = STORAGE


@fault("pull-secret-missing", "The Secret private-registry, with which jobs pull, is not in the jobs' namespace.")
def _(world: World) -> None:
    world.cluster.remove("secrets", NAMESPACE, "private-registry")


@fault("pull-secret-late", "Kubelets learn of a pod's pull secret only after their first pull without it: no harm.")
def _(world: World) -> None:
    world.cluster.secrets_seen_late = True
    world.cluster.pull_backoff = 1.0


@fault(
    "pull-secret-not-in-job",
    "The values name a pull secret for registry.example.com; it replaces the service account's for the other.",
)
def _(world: World) -> None:
    world.registries[MIRROR].accounts = {"ci-mirror": "made-up-mirror-pw"}
    account = world.cluster.get("serviceaccounts", NAMESPACE, "default")
    if account is None:  # its namespace is gone
        return
    world.cluster.add(pull_secret(NAMESPACE, "mirror-login", MIRROR, "ci-mirror", "made-up-mirror-pw"))
    account["imagePullSecrets"] = [{"name": "private-registry"}]
    world.cluster.touch("serviceaccounts", account)
    world.values_edits['image_pull_secrets = ["private-registry"]'] = 'image_pull_secrets = ["mirror-login"]'
