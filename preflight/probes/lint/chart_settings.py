"""Settings of the chart that contradict each other, or the environment that the values are for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from preflight.faults import ValuesFault
from preflight.probes.lint.findings import Expected, Finding, chart_finding
from preflight.values import CHART_CONCURRENT, Values

_ALPINE, _UBUNTU = (100, 65533), (999, 999)  # user and group of the two images (docs/sources.md#image-flavour)
_RELEASE_TAG = re.compile(r"^(?:(?P<flavour>[a-z][a-z0-9.]{0,60})-)?(?:v\d{1,9}\.\d{1,9}\.\d{1,9}|latest|bleeding)$")

_Verdict = tuple[ValuesFault, str, str]  # fault, key, message


def check_chart_settings(values: Values, expected: Expected) -> Iterator[Finding]:
    """Everything in the chart's settings that contradicts another of them or the inventory."""
    for fault, path, message in (*_contradictions(values), *_environment(values, expected), *_image_user(values)):
        yield chart_finding(values, fault, path, message)


def _contradictions(values: Values) -> Iterator[_Verdict]:
    get, fault = values.get, ValuesFault.CONTRADICTION
    replicas = get("replicas", 1)
    if get("runners.secret") and get("runnerToken"):
        message = (
            "runners.secret names a Secret of your own, and the chart would make another of that name with this token"
        )
        yield ValuesFault.TOKEN_IN_FILE, "runnerToken", f"{message}: remove the token from the file"
    if get("runners.configPath") and values.text.strip():
        whose = "is set" if get("runners.config") else "has a default in the chart: take it away with an empty one"
        yield fault, "runners.configPath", f"it is not read, since runners.config {whose}"
    if not values.text and "runners.config" in values.removed:
        message = "Helm refuses null here, since the chart's templates take a text: write an empty one"
        yield ValuesFault.WRONG_FORM, "runners.config", message
    if get("sessionServer.enabled") is True and replicas != 1:
        message = f"the chart silently switches it off, since there are {replicas} managers and not one"
        yield fault, "sessionServer.enabled", message
    if get("service.enabled") is True and get("metrics.enabled") is not True:
        yield fault, "service.enabled", "there is no Service, since metrics.enabled is not true"
    if get("metrics.serviceMonitor.enabled") is True and get("service.enabled") is not True:
        yield fault, "metrics.serviceMonitor.enabled", "it has nothing to watch, since service.enabled is not true"
    if get("hpa") and get("replicas") is not None:
        yield fault, "replicas", "it is not read, since hpa is set"


def _environment(values: Values, expected: Expected) -> Iterator[_Verdict]:
    get = values.get
    url = get("gitlabUrl")
    if url is None:
        yield ValuesFault.GITLAB_URL, "gitlabUrl", f"it is not set; the inventory says {expected.gitlab_url}"
    elif server_of(str(url)) != server_of(expected.gitlab_url):
        yield ValuesFault.GITLAB_URL, "gitlabUrl", f"it is {url}, the inventory says {expected.gitlab_url}"
    own = get("serviceAccount.name") or get("rbac.serviceAccountName")
    if get("rbac.create") is not True and not own:
        message = "it is not true (the default is false), and no serviceAccount.name names one that has the rights"
        yield ValuesFault.RBAC_OFF, "rbac.create", f"{message}: the managers may not make a job's pod"
    if get("metrics.enabled") is not True:
        message = "it is not true (the default is false): nothing listens on port 9252"
        yield ValuesFault.METRICS_OFF, "metrics.enabled", message
    if get("unregisterRunners", default=True) is False and not get("deploymentLifecycle"):
        message = "every manager that stops leaves its record in GitLab behind, offline"
        yield ValuesFault.UNREGISTER, "unregisterRunners", message
    concurrent = get("concurrent", CHART_CONCURRENT)
    if str(concurrent).lstrip("-").isdigit() and int(concurrent) < 1:
        yield ValuesFault.CONCURRENT, "concurrent", f"it is {concurrent}: the manager ends at once"


def server_of(url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path of a URL, so that two spellings of one address compare equal."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # no URL at all
        return "", url, None, ""
    return parts.scheme, (parts.hostname or "").lower(), port, parts.path.rstrip("/")


def _image_user(values: Values) -> Iterator[_Verdict]:
    """The manager's image beside the user that it is started as; other images than the runner's own are not judged."""
    tag = str(values.get("image.tag") or "alpine-v0.0.0")
    named = _RELEASE_TAG.fullmatch(tag)
    if named is None:
        return
    flavour, (user, group) = ("Alpine", _ALPINE) if "alpine" in (named["flavour"] or "") else ("Ubuntu", _UBUNTU)
    context = values.get("podSecurityContext")
    started = context.get("runAsUser", _ALPINE[0]) if isinstance(context, Mapping) else _ALPINE[0]
    if started in (0, user):
        return
    other_tag = f", or tag to alpine-{tag}" if flavour == "Ubuntu" and named["flavour"] is None else ""
    message = (
        f"{tag} is the image with {flavour}, whose user is {user}, and it is started as {started}: it ends with "
        f'"mkdir /nonexistent: permission denied"; set podSecurityContext to runAsUser {user} and fsGroup {group}'
        f"{other_tag}"
    )
    yield ValuesFault.IMAGE_FLAVOUR, "image.tag", message
