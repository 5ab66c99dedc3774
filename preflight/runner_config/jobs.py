"""What fails a job before it has a pod, and what a job then goes without (executors/kubernetes Prepare, cache)."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.quantities import quantity
from preflight.runner_config.decoder import Outcome, nearest_names
from preflight.runner_config.names import dns_subdomain, go_pattern, is_web_url, matches_image
from preflight.runner_config.rules import Broken, Runner, no_quantity, rule

# ---- preparing a job (executors/kubernetes Prepare) -----------------------------------------------------------------

_POLICIES = ("always", "if-not-present", "never")


@rule("shell", Outcome.ALL_JOBS_FAIL, "common/shell.go GetShellConfiguration")
def _shell(runner: Runner) -> Iterator[Broken]:
    """No job finds a shell that is not registered."""
    shell = runner.values.get("shell")
    key = runner.keys.find(("runners", "shell"))
    if shell and key and shell not in key.words:
        yield runner.at("shell"), f'there is no shell "{shell}": the runner knows {", ".join(key.words)}'


@rule("pull-policy", Outcome.ALL_JOBS_FAIL, "common/config.go ConvertFromDockerPullPolicy")
def _pull_policy(runner: Runner) -> Iterator[Broken]:
    """Every job fails with an unsupported pull policy."""
    for name in ("pull_policy", "allowed_pull_policies"):
        for policy in runner.get(name) or ():
            if policy and policy not in _POLICIES:
                near = nearest_names(policy, _POLICIES)
                message = f'unsupported pull policy "{policy}": the runner knows {", ".join(_POLICIES)}'
                yield runner.here(name), message + (f'; did you mean "{near[0]}"?' if near else "")


@rule("pull-policy-not-allowed", Outcome.ALL_JOBS_FAIL, "helpers/pull_policies ComputeEffectivePullPolicies")
def _pull_policy_not_allowed(runner: Runner) -> Iterator[Broken]:
    """Every job that names no policy of its own fails, where none of pull_policy is allowed."""
    allowed = runner.get("allowed_pull_policies") or []
    policies = runner.get("pull_policy") or [""]
    if not allowed or set(allowed) & set(policies):
        return
    listed = ", ".join(allowed)
    if policies == [""]:
        message = f"jobs that name no policy have none, which is not among {listed}: set pull_policy to one of them"
        yield runner.here("allowed_pull_policies"), message
    else:
        yield runner.here("pull_policy"), f"it is not among allowed_pull_policies ({listed})"


@rule("clone-url", Outcome.ALL_JOBS_FAIL, "common/build.go GetRemoteURL")
def _clone_url(runner: Runner) -> Iterator[Broken]:
    """The job's token is put into a URL that begins with http; any other is passed over."""
    url = str(runner.values.get("clone_url") or "")
    if url and not url.startswith("http"):
        message = "it is no URL of HTTP, and is passed over: jobs clone from the URL that GitLab calls itself"
        yield runner.at("clone_url"), message, Outcome.NO_EFFECT
    elif url and not is_web_url(url):
        yield runner.at("clone_url"), "it is no URL of a server, such as https://gitlab.example.com: no job clones"


_RESOURCES = ("cpu", "memory", "ephemeral_storage")
_CONTAINERS = ("", "service_", "helper_", "pod_")  # pod_: since 18.10


@rule("quantity", Outcome.ALL_JOBS_FAIL, "executors/kubernetes createResourceList")
def _quantities(runner: Runner) -> Iterator[Broken]:
    """Every job fails with a quantity that Kubernetes does not read."""
    for prefix in _CONTAINERS:
        for resource in _RESOURCES:
            for bound in ("limit", "request"):
                name = f"{prefix}{resource}_{bound}"
                for key, outcome in ((name, None), (f"{name}_overwrite_max_allowed", Outcome.SOME_JOBS_FAIL)):
                    if problem := no_quantity(runner.get(key)):
                        yield (runner.here(key), problem, outcome) if outcome else (runner.here(key), problem)


@rule("request-above-limit", Outcome.ALL_JOBS_FAIL, "the API: a request is at most its limit")
def _requests(runner: Runner) -> Iterator[Broken]:
    """The API refuses a pod whose container requests more than its limit."""
    for prefix in _CONTAINERS:
        for resource in _RESOURCES:
            limit, request = (runner.get(f"{prefix}{resource}_{bound}") for bound in ("limit", "request"))
            if not limit or not request or no_quantity(limit) or no_quantity(request):
                continue
            if quantity(request) > quantity(limit) > 0:
                services = prefix != "service_" or runner.get("services")
                message = f"{request} is more than {prefix}{resource}_limit, {limit}: the API refuses the pod"
                outcome = Outcome.ALL_JOBS_FAIL if services else Outcome.SOME_JOBS_FAIL
                yield runner.here(f"{prefix}{resource}_request"), message, outcome


@rule("polling", Outcome.ALL_JOBS_FAIL, "executors/kubernetes waitForPodRunning, GetPollAttempts")
def _polling(runner: Runner) -> Iterator[Broken]:
    """A job looks for its pod once, and gives up, where the interval is longer than the timeout."""
    interval, timeout = runner.get("poll_interval") or 3, runner.get("poll_timeout") or 180
    if interval > timeout > 0:
        message = f"it is {interval} s, and poll_timeout {timeout} s: a job looks for its pod once, and gives up"
        yield runner.here("poll_interval"), message


@rule("api-access", Outcome.ALL_JOBS_FAIL, "executors/kubernetes getOutClusterClientConfig")
def _api_access(runner: Runner) -> Iterator[Broken]:
    """A certificate for the API needs its key and the CA, and host; without host none of them is used."""
    host, certificate = runner.get("host"), runner.get("cert_file")
    if host and certificate and not (runner.get("key_file") and runner.get("ca_file")):
        yield runner.here("cert_file"), "with it key_file and ca_file must be set"
    for name in ("cert_file", "key_file", "ca_file"):
        if not host and runner.get(name):
            message = "it is not used without host: the manager uses its service account"
            yield runner.here(name), message, Outcome.NO_EFFECT


@rule("overwrite-pattern", Outcome.SOME_JOBS_FAIL, "executors/kubernetes overwriteRegexCheck")
def _patterns(runner: Runner) -> Iterator[Broken]:
    """A job that overwrites a setting fails where the pattern that allows it is none."""
    for name, value in runner.kubernetes.items():
        if name.endswith("_overwrite_allowed") and isinstance(value, str) and not go_pattern(value):
            yield runner.here(name), "it is no regular expression of Go: a job that overwrites this fails"


@rule("namespace-per-job", Outcome.NO_EFFECT, "executors/kubernetes checkDefaults")
def _namespace_per_job(runner: Runner) -> Iterator[Broken]:
    """With namespace_per_job no other namespace is used."""
    if runner.get("namespace_per_job"):
        for name in ("namespace", "namespace_overwrite_allowed"):
            if runner.get(name):
                yield runner.here(name), "it is not used: with namespace_per_job every job has ci-job-ID"


@rule("pull-secrets", Outcome.NO_EFFECT, "executors/kubernetes prepareImagePullSecrets")
def _pull_secrets(runner: Runner) -> Iterator[Broken]:
    """With use_service_account_image_pull_secrets the pod names no Secret of its own."""
    if runner.get("use_service_account_image_pull_secrets") and runner.get("image_pull_secrets"):
        message = "they are not used: with use_service_account_image_pull_secrets the service account's are"
        yield runner.here("image_pull_secrets"), message


@rule("services", Outcome.ALL_JOBS_FAIL, "executors/kubernetes createServicesHostAlias, verifyAllowedImages")
def _services(runner: Runner) -> Iterator[Broken]:
    """A service needs a name; its aliases are DNS names, and its image is an allowed one."""
    allowed = runner.get("allowed_services") or []
    internal = {runner.get("image")}
    for number, service in enumerate(runner.get("services") or ()):
        place, name = ("services", number), service.get("name", "")
        if not name and not any(service.values()):
            continue  # registering writes such an entry by itself
        if not name:
            yield runner.here(*place), "it is passed over: it has no name", Outcome.NO_EFFECT
            continue
        for alias in service.get("alias", "").replace(",", " ").split():
            if "$" not in alias and not dns_subdomain(alias):
                yield runner.here(*place, "alias"), f'"{alias}" is no DNS name'
        if allowed and name not in internal and "$" not in name and not matches_image(name, allowed):
            yield runner.here(*place, "name"), f"{name} is not among allowed_services"


# ---- the cache (cache/cache.go: a job without one runs) --------------------------------------------------------------

_ENCRYPTIONS = ("", "S3", "AES256", "KMS", "AWS:KMS", "DSSE-KMS", "AWS:KMS:DSSE")
_BUCKETS = {"s3": "BucketName", "gcs": "BucketName", "azure": "ContainerName"}


@rule("cache", Outcome.NO_EFFECT, "cache/cache.go getAdaptorForBuild; the adapters' New")
def _cache(runner: Runner) -> Iterator[Broken]:
    """Jobs run without a cache where its type is unknown, or the type's table or bucket is not there."""
    cache = runner.values.get("cache", {})
    kind = cache.get("Type", "")
    key = runner.keys.find(("runners", "cache", "Type"))
    if not kind or key is None:
        return
    if kind not in key.words:
        if runner.keys.known:
            near = nearest_names(kind, key.words)
            message = f'there is no cache of the type "{kind}", and jobs have none: {", ".join(key.words)}'
            yield runner.at("cache", "Type"), message + (f'; did you mean "{near[0]}"?' if near else "")
        return
    table = kind.removesuffix("v2")
    settings = cache.get(table)
    if settings is None:
        yield runner.at("cache", "Type"), f"there is no [runners.cache.{table}], and jobs have no cache"
    elif not settings.get(_BUCKETS[table]):
        yield runner.at("cache", table), f"{_BUCKETS[table]} is not set, and jobs have no cache"
    encryption = cache.get("s3", {}).get("ServerSideEncryption", "")
    if table == "s3" and encryption.upper() not in _ENCRYPTIONS:
        message = f'"{encryption}" is passed over: it is S3, KMS or DSSE-KMS'
        yield runner.at("cache", "s3", "ServerSideEncryption"), message
