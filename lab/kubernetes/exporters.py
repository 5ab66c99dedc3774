"""The metrics of a runner's manager, as runner 18.3 writes them; read through the pods' proxy."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.cluster.state import Raw
    from lab.world import MetricsState

PORT = 9252
_REVISION = "9ba718cd"
_POLLS_EVERY = 3  # seconds (checkInterval)


def page(state: MetricsState, pod: Raw, port: int) -> str | None:
    """A pod's answer to ``GET /metrics`` on a port; None if nothing listens there."""
    statuses = pod["status"].get("containerStatuses", [])
    running = bool(statuses) and all("running" in status["state"] for status in statuses)
    if not (state.on and running and port == PORT and "release" in pod["metadata"].get("labels", {})):
        return None
    tag = re.search(r"v(\d+\.\d+\.\d+)$", pod["spec"]["containers"][0]["image"])
    version = tag[1] if tag else "18.3.0"
    identity = f'runner="zaxRuzyO8",system_id="r_{pod["metadata"]["uid"].replace("-", "")[:12]}"'
    polls = int((time.time() - state.since) / _POLLS_EVERY)
    before = 172_800  # polls until GitLab began to refuse them
    lines = [
        "# HELP gitlab_runner_api_request_statuses_total The total number of api requests, partitioned by runner, "
        "system_id, endpoint and status.",
        "# TYPE gitlab_runner_api_request_statuses_total counter",
    ]
    counter = "gitlab_runner_api_request_statuses_total"
    for endpoint, method, status, count in (
        ("patch_trace", "patch", "202", 1894),
        ("request_job", "post", "201", 211),
        *((("request_job", "post", "-1", state.lost),) if state.lost else ()),
        *((("request_job", "post", "403", polls),) if state.rejected else ()),
        ("request_job", "post", "204", before if state.rejected else polls),
        ("update_job", "put", "200", 633),
    ):
        labels = f'endpoint="{endpoint}",method="{method}",{identity},status="{status}"'
        lines.append(f"{counter}{{{labels}}} {count}")
    lines += [
        "# HELP gitlab_runner_concurrent The current value of concurrent setting",
        "# TYPE gitlab_runner_concurrent gauge",
        "gitlab_runner_concurrent 10",
        "# HELP gitlab_runner_errors_total The number of caught errors.",
        "# TYPE gitlab_runner_errors_total counter",
        f'gitlab_runner_errors_total{{level="error"}} {3 if state.rejected else 0}',
        "# HELP gitlab_runner_version_info A metric with a constant '1' value labeled by different build stats fields.",
        "# TYPE gitlab_runner_version_info gauge",
        f'gitlab_runner_version_info{{architecture="amd64",branch="18-3-stable",built_at="2025-08-21T10:49:25Z",'
        f'go_version="go1.24.4",name="gitlab-runner",os="linux",revision="{_REVISION}",version="{version}"}} 1',
    ]
    return "".join(line + "\n" for line in lines)
