"""A job's pod is what executors/kubernetes makes of the settings: every field, and its patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preflight import podpatch
from preflight.jobpod import job_pod
from preflight.jobsettings import job_shape
from preflight.jobshape import JobShape, job_pod_limits, job_pod_requests
from preflight.podpatch import Patch, PatchError
from preflight.values import load

Json = dict[str, Any]


def shape(config: str, tmp_path: Path, *, of_runner: str = "", version: str = "18.3.1", platform: str = "") -> JobShape:
    text = f"[[runners]]\n{of_runner}\n[runners.kubernetes]\n{config}"
    file = tmp_path / "v.yaml"
    file.write_text("runners:\n  config: |\n" + "".join(f"    {line}\n" for line in text.splitlines()))
    values = load([file], release="r", namespace="ci", runner=version)
    assert values.problem is None
    return job_shape(values, platform) if platform else job_shape(values)


def spec_of(config: str, tmp_path: Path, **more: Any) -> Json:
    spec: Json = job_pod(shape(config, tmp_path, **more))["spec"]
    return spec


def container(spec: Json, name: str) -> Json:
    every = [*spec["containers"], *spec.get("initContainers", ())]
    return next(each for each in every if each["name"] == name)


VOLUMES: dict[str, tuple[str, Json, Json]] = {
    "a path of the node, named by its mount": (
        '[[runners.kubernetes.volumes.host_path]]\nname = "a"\nmount_path = "/var/run/docker.sock"',
        {"name": "a", "hostPath": {"path": "/var/run/docker.sock"}},
        {"name": "a", "mountPath": "/var/run/docker.sock"},
    ),
    "a path of the node": (
        '[[runners.kubernetes.volumes.host_path]]\nname = "a"\nmount_path = "/m"\nhost_path = "/h"\nread_only = true\n'
        'mount_propagation = "HostToContainer"\nsub_path = "s"',
        {"name": "a", "hostPath": {"path": "/h"}},
        {"name": "a", "mountPath": "/m", "subPath": "s", "readOnly": True, "mountPropagation": "HostToContainer"},
    ),
    "a claim": (
        '[[runners.kubernetes.volumes.pvc]]\nname = "a"\nmount_path = "/m"\nmount_propagation = "None"',
        {"name": "a", "persistentVolumeClaim": {"claimName": "a"}},
        {"name": "a", "mountPath": "/m", "mountPropagation": "None"},
    ),
    "a Secret": (
        '[[runners.kubernetes.volumes.secret]]\nname = "a"\nmount_path = "/m"\nread_only = true\n'
        '[runners.kubernetes.volumes.secret.items]\nkey = "path"',
        {"name": "a", "secret": {"secretName": "a", "items": [{"key": "key", "path": "path"}]}},
        {"name": "a", "mountPath": "/m", "readOnly": True},
    ),
    "a ConfigMap": (
        '[[runners.kubernetes.volumes.config_map]]\nname = "a"\nmount_path = "/m"\nsub_path = "s"',
        {"name": "a", "configMap": {"name": "a"}},
        {"name": "a", "mountPath": "/m", "subPath": "s"},
    ),
    "memory": (
        '[[runners.kubernetes.volumes.empty_dir]]\nname = "a"\nmount_path = "/m"\n'
        'medium = "Memory"\nsize_limit = "1Gi"',
        {"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "a", "mountPath": "/m"},
    ),
    "a limit that the runner can't read": (
        '[[runners.kubernetes.volumes.empty_dir]]\nname = "a"\nmount_path = "/m"\nsize_limit = "1 GB"',
        {"name": "a", "emptyDir": {}},
        {"name": "a", "mountPath": "/m"},
    ),
    "a driver": (
        '[[runners.kubernetes.volumes.csi]]\nname = "a"\nmount_path = "/m"\ndriver = "d"\nread_only = true\n'
        '[runners.kubernetes.volumes.csi.volume_attributes]\nclass = "c"',
        {"name": "a", "csi": {"driver": "d", "fsType": "", "readOnly": True, "volumeAttributes": {"class": "c"}}},
        {"name": "a", "mountPath": "/m", "readOnly": True},
    ),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_is_in_the_pod_and_in_every_container(tmp_path: Path, name: str) -> None:
    config, volume, mount = VOLUMES[name]
    spec = spec_of(config, tmp_path)
    assert volume in spec["volumes"]
    for each in (*spec["containers"], *spec["initContainers"]):
        assert mount in each["volumeMounts"], each["name"]


def test_nfs_is_a_volume_for_the_versions_that_read_it(tmp_path: Path) -> None:
    config = '[[runners.kubernetes.volumes.nfs]]\nname = "a"\nmount_path = "/m"\nserver = "s"\npath = "/p"'
    assert {"name": "a", "nfs": {"path": "/p", "server": "s", "readOnly": False}} in spec_of(
        config, tmp_path, version="19.0.0"
    )["volumes"]
    assert all("nfs" not in each for each in spec_of(config, tmp_path)["volumes"])


def test_the_runners_own_volumes_give_way_to_one_at_the_builds_directory(tmp_path: Path) -> None:
    spec = spec_of("", tmp_path)
    assert [each["name"] for each in spec["volumes"]] == ["scripts", "logs", "repo"]
    assert container(spec, "build")["volumeMounts"][-1] == {"name": "repo", "mountPath": "/builds"}
    config = '[[runners.kubernetes.volumes.pvc]]\nname = "a"\nmount_path = "/work"'
    spec = spec_of(config, tmp_path, of_runner='builds_dir = "/work"')
    assert [each["name"] for each in spec["volumes"]] == ["a", "scripts", "logs"]


def test_one_claim_is_mounted_twice_and_one_of_a_jobs_own_name_is_left_out(tmp_path: Path) -> None:
    claims = "".join(
        f'[[runners.kubernetes.volumes.pvc]]\nname = "{name}"\nmount_path = "{path}"\n'
        for name, path in (("a", "/x"), ("a", "/y"), ("cache-$CI_CONCURRENT_ID", "/z"))
    )
    spec = spec_of(claims, tmp_path)
    assert [each["name"] for each in spec["volumes"]] == ["a", "scripts", "logs", "repo"]
    mounted = [mount["mountPath"] for mount in container(spec, "helper")["volumeMounts"] if mount["name"] == "a"]
    assert mounted == ["/x", "/y"]


OWN = "[runners.kubernetes.build_container_security_context]\n"
SECURITY: dict[str, tuple[str, str, Json]] = {
    "of nobody": ("", "build", {"privileged": False, "capabilities": {"drop": ["NET_RAW"]}}),
    "of all": (
        "privileged = true\nallow_privilege_escalation = false",
        "helper",
        {"privileged": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["NET_RAW"]}},
    ),
    "of one": (
        f"privileged = true\nallow_privilege_escalation = true\n{OWN}privileged = false\n"
        "allow_privilege_escalation = false",
        "build",
        {"privileged": False, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["NET_RAW"]}},
    ),
    "of another one": (
        f"privileged = true\n{OWN}privileged = false",
        "helper",
        {"privileged": True, "capabilities": {"drop": ["NET_RAW"]}},
    ),
    "of permissions": (
        "privileged = false\n[runners.kubernetes.init_permissions_container_security_context]\nrun_as_user = 0",
        "init-permissions",
        {"privileged": False, "runAsUser": 0, "capabilities": {"drop": ["NET_RAW"]}},
    ),
    "capabilities": (
        'cap_add = ["SYS_TIME", "NET_RAW"]\ncap_drop = ["CHOWN"]',
        "build",
        {"privileged": False, "capabilities": {"add": ["NET_RAW", "SYS_TIME"], "drop": ["CHOWN"]}},
    ),
    "capabilities of its own, which replace the list": (
        f'cap_add = ["SYS_TIME"]\n{OWN.replace("]", ".capabilities]")}drop = ["ALL"]',
        "build",
        {"privileged": False, "capabilities": {"add": ["SYS_TIME"], "drop": ["ALL"]}},
    ),
    "users": (
        f"{OWN}run_as_user = 1000\nrun_as_group = 1001\nrun_as_non_root = true\nread_only_root_filesystem = true",
        "build",
        {
            "privileged": False,
            "runAsUser": 1000,
            "runAsGroup": 1001,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["NET_RAW"]},
        },
    ),
    "proc and SELinux": (
        f'{OWN}proc_mount = "unmasked"\nselinux_type = "spc_t"',
        "build",
        {
            "privileged": False,
            "procMount": "Unmasked",
            "seLinuxOptions": {"type": "spc_t"},
            "capabilities": {"drop": ["NET_RAW"]},
        },
    ),
    "a way of mounting proc that there is not": (
        f'{OWN}proc_mount = "masked"',
        "build",
        {"privileged": False, "capabilities": {"drop": ["NET_RAW"]}},
    ),
}


@pytest.mark.parametrize("name", SECURITY)
def test_a_container_has_the_security_context_of_its_kind(tmp_path: Path, name: str) -> None:
    config, kind, expected = SECURITY[name]
    found = container(spec_of(config, tmp_path), kind)["securityContext"]
    found["capabilities"] = {key: sorted(names) for key, names in found["capabilities"].items()}
    assert found == expected


def test_profiles_belong_to_the_versions_that_read_them(tmp_path: Path) -> None:
    profile = (
        '[runners.kubernetes.build_container_security_context.seccomp_profile]\ntype = "RuntimeDefault"\n'
        '[runners.kubernetes.pod_security_context.app_armor_profile]\ntype = "Localhost"\nlocalhost_profile = "p"'
    )
    spec = spec_of(profile, tmp_path, version="18.11.0")
    assert container(spec, "build")["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"] == {"appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}}
    assert "securityContext" not in spec_of(profile, tmp_path)


def test_the_pods_own_settings_are_in_it(tmp_path: Path) -> None:
    spec = spec_of(
        "pod_termination_grace_period_seconds = 0\nautomount_service_account_token = false\n"
        'priority_class_name = "high"\nruntime_class_name = "gvisor"\nscheduler_name = "s"\n'
        "[runners.kubernetes.pod_security_context]\nrun_as_user = 1\nfs_group = 2\nsupplemental_groups = [3]",
        tmp_path,
    )
    assert (spec["terminationGracePeriodSeconds"], spec["automountServiceAccountToken"]) == (0, False)
    assert (spec["priorityClassName"], spec["runtimeClassName"], spec["schedulerName"]) == ("high", "gvisor", "s")
    assert spec["securityContext"] == {"runAsUser": 1, "fsGroup": 2, "supplementalGroups": [3]}
    assert "terminationGracePeriodSeconds" not in spec_of("", tmp_path)


def test_hooks_are_those_of_all_containers_but_the_first(tmp_path: Path) -> None:
    spec = spec_of(
        '[runners.kubernetes.container_lifecycle.post_start.exec]\ncommand = ["touch", "/x"]\n'
        '[runners.kubernetes.container_lifecycle.pre_stop.http_get]\nport = 80\npath = "/bye"\nscheme = "HTTP"\n'
        "[[runners.kubernetes.services]]\n"
        'name = "redis:7"',
        tmp_path,
    )
    hooks = {
        "postStart": {"exec": {"command": ["touch", "/x"]}},
        "preStop": {"httpGet": {"port": 80, "path": "/bye", "scheme": "HTTP"}},
    }
    assert [each["lifecycle"] for each in spec["containers"]] == [hooks] * 3
    assert "lifecycle" not in spec["initContainers"][0]


SERVICES = """
service_cpu_request = "1"
service_memory_limit = "1Gi"
[[runners.kubernetes.services]]
name = "registry.example.com:5000/library/postgres:16"
alias = "db, sql.example"
entrypoint = ["/start"]
command = ["-c", "fsync=off"]
environment = ["POSTGRES_PASSWORD=x", "nonsense"]
[[runners.kubernetes.services]]
name = "redis:7"
alias = "db"
[[runners.kubernetes.services]]
alias = "nothing"
"""


def test_services_of_the_values_are_in_every_jobs_pod(tmp_path: Path) -> None:
    found = shape(SERVICES, tmp_path)
    spec = job_pod(found, services=["r.example/docker:dind"])["spec"]
    assert [each["name"] for each in spec["containers"]] == ["build", "helper", "db", "svc-0", "svc-1"]
    database = container(spec, "db")
    assert (database["command"], database["args"]) == (["/start"], ["-c", "fsync=off"])
    assert database["env"] == [{"name": "POSTGRES_PASSWORD", "value": "x"}]
    assert database["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert spec["hostAliases"] == [
        {
            "ip": "127.0.0.1",
            "hostnames": ["registry.example.com-library-postgres", "db", "sql.example", "redis", "db"],
        }
    ]
    assert job_pod_requests(found, 1)["cpu"] == 3, "those of the values count beside the job's own"
    assert job_pod_limits(found, 0)["memory"] == 2 * 2**30
    assert found.service_images == ("registry.example.com:5000/library/postgres:16", "redis:7")
    assert "x" not in repr(found.services[0]).replace("example", "").replace("fsync", "")


@pytest.mark.parametrize(
    ("flag", "init", "volumes"),
    [
        ("", ["init-permissions"], ["scripts", "logs", "repo"]),
        ("FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY", [], ["repo"]),
        ("FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR", ["init-build-uid-gid-collector", "init-permissions"], None),
    ],
)
def test_flags_change_what_is_in_the_pod(tmp_path: Path, flag: str, init: list[str], volumes: list[str] | None) -> None:
    flags = f"[runners.feature_flags]\n{flag} = true" if flag else ""
    spec = spec_of(flags, tmp_path)
    assert [each["name"] for each in spec.get("initContainers", ())] == init
    assert volumes is None or [each["name"] for each in spec["volumes"]] == volumes
    assert spec["activeDeadlineSeconds"] == 3601
    off = "[runners.feature_flags]\nFF_USE_POD_ACTIVE_DEADLINE_SECONDS = false"
    assert "activeDeadlineSeconds" not in spec_of(off, tmp_path)


@pytest.mark.parametrize(
    ("config", "policies"),
    [
        ('pull_policy = ["always", "never"]\nallowed_pull_policies = ["never"]', ("Never",)),
        ('allowed_pull_policies = ["if-not-present"]', ("IfNotPresent",)),
        ('pull_policy = "always"', ("Always",)),
        ("", ()),
    ],
)
def test_the_policies_are_those_that_are_allowed(tmp_path: Path, config: str, policies: tuple[str, ...]) -> None:
    found = shape(config, tmp_path)
    assert found.pull_policy == policies
    expected = policies[0] if policies else None
    assert job_pod(found)["spec"]["initContainers"][0].get("imagePullPolicy") == expected


SELECTOR = "[runners.kubernetes.node_selector]\n"
HELPERS = {
    "nothing set": ("", "", "x86_64-v18.3.1"),
    "arm64": (f'{SELECTOR}"kubernetes.io/arch" = "arm64"', "", "arm64-v18.3.1"),
    "arm": (f'{SELECTOR}"kubernetes.io/arch" = "arm"', "", "arm-v18.3.1"),
    "s390x": (f'{SELECTOR}"kubernetes.io/arch" = "s390x"', "", "s390x-v18.3.1"),
    "ppc64le": (f'{SELECTOR}"kubernetes.io/arch" = "ppc64le"', "", "ppc64le-v18.3.1"),
    "amd64": (f'{SELECTOR}"kubernetes.io/arch" = "amd64"', "", "x86_64-v18.3.1"),
    "PowerShell": ("", 'shell = "pwsh"', "x86_64-v18.3.1-pwsh"),
    "another shell": ("", 'shell = "sh"', "x86_64-v18.3.1"),
    "Ubuntu's with PowerShell": ('helper_image_flavor = "ubuntu"', 'shell = "pwsh"', "ubuntu-x86_64-v18.3.1-pwsh"),
    "Alpine's by its version": ('helper_image_flavor = "alpine3.19"', "", "alpine3.19-x86_64-v18.3.1"),
    "Alpine's": ('helper_image_flavor = "alpine"', "", "x86_64-v18.3.1"),
    "the managers' architecture": ("helper_image_autoset_arch_and_os = true", "", "arm64-v18.3.1"),
    "the jobs' architecture before the managers'": (
        f'helper_image_autoset_arch_and_os = true\n{SELECTOR}"kubernetes.io/arch" = "amd64"',
        "",
        "x86_64-v18.3.1",
    ),
    "Windows": (
        f'{SELECTOR}"kubernetes.io/os" = "windows"\n"node.kubernetes.io/windows-build" = "10.0.20348"',
        "",
        "x86_64-v18.3.1-servercore21H2",
    ),
    "another one": ('helper_image = "r.example/h:x86_64-v${CI_RUNNER_VERSION}"', "", "r.example/h:x86_64-v18.3.1"),
    "another one, without braces": ('helper_image = "r.example/h:$CI_RUNNER_VERSION"', "", "r.example/h:18.3.1"),
    "of a job": ('helper_image = "r.example/h:$CI_RUNNER_REVISION"', "", "r.example/h:$CI_RUNNER_REVISION"),
}


@pytest.mark.parametrize("name", HELPERS)
def test_the_helper_image_is_the_one_that_the_runner_takes(tmp_path: Path, name: str) -> None:
    config, of_runner, expected = HELPERS[name]
    found = shape(config, tmp_path, of_runner=of_runner, platform="linux/arm64").helper_image
    assert found == expected or found.removeprefix(
        "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:"
    ) == (expected)


def test_a_namespace_for_each_job_is_not_the_one_of_the_configuration(tmp_path: Path) -> None:
    found = shape('namespace = "other"\nnamespace_per_job = true', tmp_path)
    assert (found.namespace, found.namespace_per_job) == ("ci", True)


# ---- patches --------------------------------------------------------------------------------------------------------

FLAG = "[runners.feature_flags]\nFF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true\n"


def patch(text: str, kind: str = "strategic") -> str:
    return f"[[runners.kubernetes.pod_spec]]\nname = \"p\"\npatch_type = \"{kind}\"\npatch = '''\n{text}\n'''\n"


def test_patches_are_used_under_their_flag_alone(tmp_path: Path) -> None:
    hosts = patch("hostNetwork: true")
    assert spec_of(FLAG + hosts, tmp_path)["hostNetwork"] is True
    assert "hostNetwork" not in spec_of(hosts, tmp_path)


def test_patches_change_where_jobs_run_and_what_they_ask_for(tmp_path: Path) -> None:
    config = (
        'node_selector = {disk = "ssd"}\nimage_pull_secrets = ["a"]\ncpu_request = "1"\n'
        + FLAG
        + patch("nodeSelector: {disk: null, zone: a}\ntolerations: [{key: k, operator: Exists}]")
        + patch('[{"op": "add", "path": "/containers/0/resources/requests/memory", "value": "3Gi"}]', "json")
        + patch("imagePullSecrets: [{name: b}]\nserviceAccountName: builder", "merge")
        + patch("containers: [{name: build, securityContext: {privileged: true}}]")
    )
    found = shape(config, tmp_path)
    assert found.patch_problem == ""
    assert (found.node_selector, found.tolerations) == ({"zone": "a"}, ({"key": "k", "operator": "Exists"},))
    assert (found.pull_secrets, found.service_account) == (("b",), "builder")
    assert found.build.requests == {"cpu": "1", "memory": "3Gi"}
    assert found.privileged
    assert not found.privileged_services
    spec = job_pod(found)["spec"]
    assert (spec["nodeSelector"], len(spec["tolerations"])) == ({"zone": "a"}, 1), "they are applied once"
    assert container(spec, "build")["securityContext"]["privileged"] is True


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ('[{"op": "remove", "path": "/hostAliases"}]', "json", "its json patch can't be applied"),
        ('[{"op": "add", "path": "/affinity/x/y", "value": 1}]', "json", "its json patch can't be applied"),
        ('[{"op": "test", "path": "/restartPolicy", "value": "Always"}]', "json", "its json patch can't be applied"),
        ("a: 1", "json", "expected a list of operations"),
        ("[1]", "merge", "expected a mapping"),
        ("containers: [{image: x}]", "strategic", "does not contain declared merge key: name"),
        ("a: [", "strategic", "its text is no YAML"),
        ("containers: nothing", "merge", "after the patches of pod_spec the pod's spec is none"),
    ],
)
def test_a_patch_that_cannot_be_applied_is_told(tmp_path: Path, text: str, kind: str, problem: str) -> None:
    found = shape(FLAG + patch(text, kind), tmp_path)
    assert problem in found.patch_problem
    assert found.before_patches is None


def test_a_patch_in_a_file_of_the_managers_is_not_known_here(tmp_path: Path) -> None:
    config = FLAG + '[[runners.kubernetes.pod_spec]]\npatch_path = "/etc/patch.yaml"\n'
    assert shape(config, tmp_path).patch_problem == ""


STRATEGIC: dict[str, tuple[Json, Json, Json]] = {
    "a container by its name": (
        {"containers": [{"name": "build", "image": "a", "env": [{"name": "A", "value": "1"}]}]},
        {"containers": [{"name": "build", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]}]},
        {
            "containers": [
                {
                    "name": "build",
                    "image": "a",
                    "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
                }
            ]
        },
    ),
    "a new one": (
        {"initContainers": [{"name": "a"}]},
        {"initContainers": [{"name": "b"}]},
        {"initContainers": [{"name": "a"}, {"name": "b"}]},
    ),
    "one less": (
        {"volumes": [{"name": "a"}, {"name": "b"}]},
        {"volumes": [{"name": "a", "$patch": "delete"}]},
        {"volumes": [{"name": "b"}]},
    ),
    "another list": (
        {"containers": [{"name": "a"}]},
        {"containers": [{"$patch": "replace"}, {"name": "b"}]},
        {"containers": [{"name": "b"}]},
    ),
    "tolerations, which are replaced": (
        {"tolerations": [{"key": "a"}]},
        {"tolerations": [{"key": "b"}]},
        {"tolerations": [{"key": "b"}]},
    ),
    "a volume of another source": (
        {"volumes": [{"name": "repo", "emptyDir": {}}]},
        {"volumes": [{"name": "repo", "$retainKeys": ["name", "csi"], "csi": {"driver": "d"}}]},
        {"volumes": [{"name": "repo", "csi": {"driver": "d"}}]},
    ),
    "a mapping that is replaced": (
        {"securityContext": {"runAsUser": 1}},
        {"securityContext": {"$patch": "replace", "fsGroup": 2}},
        {"securityContext": {"fsGroup": 2}},
    ),
    "a mapping that is emptied": (
        {"nodeSelector": {"a": "b"}},
        {"nodeSelector": {"$patch": "delete"}},
        {"nodeSelector": {}},
    ),
    "a value that is removed": ({"dnsPolicy": "None"}, {"dnsPolicy": None}, {}),
}


@pytest.mark.parametrize("name", STRATEGIC)
def test_a_strategic_patch_merges_the_apis_lists(name: str) -> None:
    spec, change, expected = STRATEGIC[name]
    before = repr(spec)
    assert podpatch.apply(spec, [Patch(number=1, text=repr(change).replace("None}", "null}"))]) == expected
    assert repr(spec) == before


def test_an_unknown_kind_of_patch_is_refused() -> None:
    with pytest.raises(PatchError, match=r"pod_spec entry 2: .* the runner knows strategic, merge, json"):
        podpatch.apply({}, [Patch(number=2, kind="replace", text="a: 1")])
