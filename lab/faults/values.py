"""What can be wrong in the values file (guide 3.3); the operator's copy of it is changed, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults import fault
from lab.world import Image, Registry, Rule

if TYPE_CHECKING:
    from lab.world import World

_DEFAULT, _DEFAULT_ADDRESS = "registry.gitlab.com", "35.227.35.254"
_POLICY = 'dns_policy = "none"'
_TABLE = "[runners.kubernetes.dns_config]"
_HELPER_PATH, _HELPER_TAG = "gitlab-org/gitlab-runner/gitlab-runner-helper", "x86_64-v18.3.0"
_HELPER = f'        helper_image = "registry.example.com/{_HELPER_PATH}:{_HELPER_TAG}"\n'
_SERVERS = 'nameservers = ["10.0.0.2", "10.1.0.251", "10.1.0.252"]'


@fault("values-unknown-key", "The values say `concurency`, which the chart does not read.")
def _(world: World) -> None:
    world.values_edits["concurrent: 10"] = "concurency: 10"


@fault("values-moved-key", "The values set `runners.privileged`, which the chart has not read since 0.53.")
def _(world: World) -> None:
    world.values_edits["runners:\n"] = "runners:\n  privileged: true\n"


@fault("values-toml-broken", "In runners.config, a text has no closing quote.")
def _(world: World) -> None:
    world.values_edits['cpu_request = "500m"'] = 'cpu_request = "500m'


@fault("values-not-rendered", "The values give `image` as one text, where the chart's templates take its parts.")
def _(world: World) -> None:
    note = "# the manager's image; alpine's user is 100/65533, which podSecurityContext assumes by default"
    table = (
        f"image: {note}\n  registry: registry.example.com\n  image: gitlab-org/gitlab-runner\n  tag: alpine-v18.3.0\n"
    )
    world.values_edits[table] = "image: registry.example.com/gitlab-org/gitlab-runner:alpine-v18.3.0\n"


@fault("values-unread", "An expression of runners.config is beyond this suite, and `runner.helm` is none.")
def _(world: World) -> None:
    world.inventory_edits["runner.helm"] = "none"
    world.values_edits["poll_timeout = 600"] = "poll_timeout = {{ mul 60 10 }}"
    world.release.unapplied.add("poll_timeout = 600")


@fault("values-config-refused", "In runners.config, one table stands where the runner reads a list of tables.")
def _(world: World) -> None:
    volume = '[runners.kubernetes.volumes.pvc]\n          name = "cache"\n          mount_path = "/cache"'
    world.values_edits[f"        {_TABLE}\n"] = f"        {volume}\n        {_TABLE}\n"


@fault("values-pull-policy", "In runners.config, pull_policy is spelled as Kubernetes does, and every job fails.")
def _(world: World) -> None:
    world.values_edits["        privileged = true\n"] = '        privileged = true\n        pull_policy = "Always"\n'


@fault("values-patch-broken", "In runners.config, a patch of the pod removes host aliases, of which the pod has none.")
def _(world: World) -> None:
    patch = '[{"op": "remove", "path": "/hostAliases"}]'
    entry = f"[[runners.kubernetes.pod_spec]]\n          patch_type = \"json\"\n          patch = '{patch}'"
    flags = "[runners.feature_flags]\n          FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true"
    world.values_edits[f"        {_TABLE}\n"] = f"        {entry}\n        {_TABLE}\n"
    world.values_edits["    [[runners]]\n"] = f"    [[runners]]\n      {flags}\n"


@fault("values-services-not-allowed", "The values allow jobs the services of another registry alone.")
def _(world: World) -> None:
    allowed = '        allowed_services = ["other.example.com/**"]\n'
    world.values_edits["        privileged = true\n"] = f"        privileged = true\n{allowed}"


@fault("values-service-image", "The values give every job a service whose image is in no registry.")
def _(world: World) -> None:
    service = '[[runners.kubernetes.services]]\n          name = "registry.example.com/library/absent:1"'
    world.values_edits[f"        {_TABLE}\n"] = f"        {service}\n        {_TABLE}\n"


@fault("values-wrong-table", "In runners.config, poll_timeout stands below the header of dns_config.")
def _(world: World) -> None:
    world.values_edits["        poll_timeout = 600\n"] = ""
    world.values_edits[_SERVERS] = f"{_SERVERS}\n          poll_timeout = 600"


@fault("values-dns-policy-spelling", "The values spell dns_policy as Kubernetes does, which the runner does not know.")
def _(world: World) -> None:
    world.values_edits[_POLICY] = 'dns_policy = "None"'


@fault(
    "values-flat-nameservers", "The values list nameservers under [runners.kubernetes], where the runner ignores them."
)
def _(world: World) -> None:
    world.values_edits[f"        {_TABLE}\n          {_SERVERS}\n"] = f"        {_SERVERS}\n        {_TABLE}\n"


@fault("values-four-nameservers", "The values give jobs a fourth resolver; the API takes three.")
def _(world: World) -> None:
    world.values_edits[_SERVERS] = _SERVERS.replace("]", ', "10.1.0.253"]')


@fault("values-gitlab-url", "The values name another machine as GitLab than the inventory does.")
def _(world: World) -> None:
    world.values_edits["gitlabUrl: http://192.168.1.50/"] = "gitlabUrl: http://192.168.1.51/"


@fault("values-not-privileged", "The values do not say that jobs are privileged.")
def _(world: World) -> None:
    world.values_edits["        privileged = true\n"] = ""


@fault("values-rbac-off", "The values do not let the chart give the managers their rights.")
def _(world: World) -> None:
    world.values_edits["  create: true"] = "  create: false"


@fault("values-image-flavour", "The values start Ubuntu's image of the runner as the user of Alpine's.")
def _(world: World) -> None:
    world.values_edits["tag: alpine-v18.3.0"] = "tag: v18.3.0"


@fault("values-helper-image", "The values name no helper image, and registry.gitlab.com is out of reach.")
def _(world: World) -> None:
    world.values_edits[_HELPER] = ""
    world.registries[_DEFAULT] = Registry(_DEFAULT, _DEFAULT_ADDRESS, mode="vanished")


@fault("helper-image-unreachable", "The values name no helper image, and no node reaches registry.gitlab.com.")
def _(world: World) -> None:
    world.values_edits[_HELPER] = ""
    images = {_HELPER_PATH: {_HELPER_TAG: Image(size=33_600_000)}}
    world.registries[_DEFAULT] = Registry(_DEFAULT, _DEFAULT_ADDRESS, images=images)
    world.zones[_DEFAULT] = (_DEFAULT_ADDRESS,)
    listed = {"host": _DEFAULT, "ca_file": "registry-ca.pem", "images": []}
    world.inventory_edits["registries.gitlab"] = listed
    world.firewall.append(Rule("node *", _DEFAULT_ADDRESS))
