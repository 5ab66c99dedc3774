"""Every way in which a measured thing can be wrong, one enum a protocol.

A fault is data, never an exception: a probe that finds the port closed returns ``PathFault.REFUSED``. The values are
words that an operator would use; they key the remedies in the checks' docstrings (``Remedy (timeout): …``).

- Fault
    - PathFault      name → address → TCP → TLS → HTTP: how far a request got
    - GitLabFault    what answered is not the GitLab that the guide describes
    - DnsFault       what one resolver said to one question
    - ApiFault       what the Kubernetes API server answered
    - ClusterFault   what the cluster's own objects say about it
    - SshFault       why a node could not be looked at (these make a check unknown, never red)
    - RegistryFault  what an image registry answered
    - PodFault       how far a pod got: admission → scheduling → pull → start → end
    - DindFault      what the Docker daemon inside a pod did
    - PipelineFault  how far a pipeline of ours got: project → configuration → start → runner → end
    - VariableFault  what is the matter with a project's CI/CD variable
    - TuningFault    what the tuned values ask for and the cluster does not have
"""

from enum import StrEnum


class Fault(StrEnum):
    """A way in which something measured is wrong; see the module's tree."""


class PathFault(Fault):
    """How a request to an address ended before the service could answer."""

    UNRESOLVED = "unresolved"  # the name has no address where the question was asked
    REFUSED = "refused"  # a host answered: nobody listens on that port
    TIMEOUT = "timeout"  # nothing came back in time
    UNREACHABLE = "unreachable"  # a router or the host said that there is no way
    RESET = "reset"  # the connection was cut
    SILENT = "silent"  # connected, and then no answer came
    NOT_HTTP = "not-http"  # what came back is not HTTP
    TLS_UNTRUSTED = "tls-untrusted"  # the certificate is signed by nobody we trust
    TLS_EXPIRED = "tls-expired"  # the certificate's time is over, or has not begun
    TLS_WRONG_NAME = "tls-wrong-name"  # the certificate is another host's
    TLS_HANDSHAKE = "tls-handshake"  # no TLS session could be agreed on (plain HTTP behind the port, old protocol)
    NOT_MAPPED = "not-mapped"  # the inventory's connect: forbids addresses that it does not map


class GitLabFault(Fault):
    """Something answered, but it is not the GitLab that the guide describes."""

    BAD_GATEWAY = "bad-gateway"  # 502: nginx is up, Puma is not (reference §4.1)
    UNAVAILABLE = "unavailable"  # 503: maintenance or overload
    HTTP_STATUS = "http-status"  # another status than GitLab gives
    NOT_GITLAB = "not-gitlab"  # another web server
    REDIRECTED = "redirected"  # another scheme or host: the runner's POST becomes a GET (reference §5.2)
    TOKEN_REFUSED = "token-refused"  # noqa: S105 - a word, no secret: the API token was not accepted
    WRONG_VERSION = "wrong-version"
    CLOCK_SKEW = "clock-skew"


class DnsFault(Fault):
    """What one resolver said to one question."""

    NXDOMAIN = "nxdomain"  # it says that the name does not exist
    SERVFAIL = "servfail"  # it could not find out
    REFUSED = "dns-refused"  # it answers others, not us
    TIMEOUT = "timeout"  # it said nothing
    NO_ANSWER = "no-answer"  # the name exists, but has no address
    WRONG_ANSWER = "wrong-answer"  # other addresses than the inventory expects
    UNREACHABLE = "unreachable"  # nothing listens there, or there is no way
    GARBLED = "garbled"  # what came back is not a DNS answer to the question
    DISAGREE = "disagree"  # the resolvers give different answers
    NOT_APPLIED = "not-applied"  # a pod's resolv.conf is not what the values ask for


class ApiFault(Fault):
    """What the Kubernetes API server answered, or did not; path faults stand beside these."""

    UNAUTHORIZED = "unauthorized"  # 401: it does not know who asks
    FORBIDDEN = "forbidden"  # 403: it knows, and a rule is missing
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    INVALID = "invalid"  # 422
    TOO_MANY_REQUESTS = "too-many-requests"
    UNAVAILABLE = "unavailable"  # 503, or an aggregated API whose server is down
    SERVER_ERROR = "server-error"
    GARBLED = "garbled"  # the answer is not JSON, or was cut
    CONTEXT = "kubeconfig"  # the kubeconfig itself cannot be used


class ClusterFault(Fault):
    """What the cluster's own objects say about it."""

    API_UNHEALTHY = "api-unhealthy"
    WRONG_ADDRESS = "wrong-address"
    WRONG_VERSION = "wrong-version"
    VERSION_SKEW = "version-skew"
    NODE_MISSING = "node-missing"
    NODE_NOT_READY = "node-not-ready"
    NODE_CORDONED = "node-cordoned"
    NODE_PRESSURE = "node-pressure"
    NODE_WRONG_ROLE = "node-wrong-role"
    SERVICE_MISSING = "service-missing"
    NO_ENDPOINTS = "no-endpoints"
    METRICS_MISSING = "metrics-missing"
    METRICS_UNAVAILABLE = "metrics-unavailable"
    TOO_FEW_FIT = "too-few-fit"


class SshFault(Fault):
    """Why a node could not be looked at over SSH."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    UNRESOLVED = "unresolved"
    SILENT = "silent"  # the port answers, sshd does not
    AUTHENTICATION = "authentication"
    HOST_KEY_UNKNOWN = "host-key-unknown"
    HOST_KEY_CHANGED = "host-key-changed"
    KEY_UNREADABLE = "key-unreadable"
    PROTOCOL = "protocol"  # what answers is not SSH, or no algorithm is shared
    NOT_MAPPED = "not-mapped"
    NO_SHELL = "no-shell"  # the login gives no POSIX shell
    NOT_TRIED = "not-tried"  # two nodes refused our key: no further one is asked


class RegistryFault(Fault):
    """What an image registry answered; path faults stand beside these."""

    NOT_A_REGISTRY = "not-a-registry"
    UNAUTHORIZED = "unauthorized"  # the credentials are not accepted
    DENIED = "denied"  # accepted, but this repository is not theirs
    NOT_FOUND = "not-found"  # no such repository or tag
    RATE_LIMITED = "rate-limited"
    WRONG_PLATFORM = "wrong-platform"
    TOKEN_REALM = "token-realm"  # noqa: S105 - a word, no secret: the token server cannot be used
    HTTP_STATUS = "http-status"


class PodFault(Fault):
    """How far a pod of ours got; the API's own words decide (recordings/)."""

    NAMESPACE_MISSING = "namespace-missing"
    POD_SECURITY = "pod-security"
    QUOTA = "quota"
    LIMIT_RANGE = "limit-range"
    SERVICE_ACCOUNT_MISSING = "service-account-missing"
    WEBHOOK = "webhook"
    REFUSED_BY_API = "refused-by-api"  # admission said no in words that we do not know
    NO_ELIGIBLE_NODE = "no-eligible-node"
    UNSCHEDULABLE_RESOURCE = "unschedulable-resource"
    UNSCHEDULABLE_TAINT = "unschedulable-taint"
    UNSCHEDULABLE_SELECTOR = "unschedulable-selector"
    UNSCHEDULABLE_CORDONED = "unschedulable-cordoned"
    UNSCHEDULABLE = "unschedulable"
    PULL_BAD_NAME = "pull-bad-name"
    PULL_UNRESOLVED = "pull-unresolved"
    PULL_REFUSED = "pull-refused"
    PULL_UNREACHABLE = "pull-unreachable"
    PULL_TIMEOUT = "pull-timeout"
    PULL_TLS = "pull-tls"
    PULL_UNAUTHORIZED = "pull-unauthorized"
    PULL_NOT_FOUND = "pull-not-found"
    PULL_RATE_LIMITED = "pull-rate-limited"
    PULL_PLATFORM = "pull-platform"
    PULL_FAILED = "pull-failed"
    START_ERROR = "start-error"
    EXITED = "exited"
    EVICTED = "evicted"
    DEADLINE = "deadline"
    LOST = "lost"


class DindFault(Fault):
    """What the Docker daemon inside a job-shaped pod did."""

    NOT_PRIVILEGED = "not-privileged"
    DAEMON_EXITED = "daemon-exited"
    DAEMON_SLOW = "daemon-slow"
    TLS_MISMATCH = "tls-mismatch"
    UNREACHABLE = "daemon-unreachable"
    STORAGE_DRIVER = "storage-driver"
    PULL_FAILED = "pull-failed"
    RUN_FAILED = "run-failed"
    INNER_DNS = "inner-dns"


class PipelineFault(Fault):
    """How far a pipeline of ours got in GitLab."""

    PROJECT_MISSING = "project-missing"  # there is none of that name, or the token's user does not see it
    CI_DISABLED = "ci-disabled"  # the project runs no pipelines: archived, or CI/CD is switched off
    CONFIGURATION_INVALID = "configuration-invalid"  # no .gitlab-ci.yml on that ref, or GitLab does not accept it
    OTHER_JOBS = "other-jobs"  # a pipeline there would run more than the suite's own jobs
    REFUSED = "pipeline-refused"  # GitLab does not start it
    STUCK = "job-stuck"  # no runner takes the job
    FAILED = "job-failed"
    SLOW = "job-slow"  # it runs, and did not end in time
    OTHER_RUNNER = "other-runner"  # it ran, but not on the runner of the inventory


class VariableFault(Fault):
    """What is the matter with a CI/CD variable of a project."""

    MISSING = "variable-missing"
    UNMASKED = "variable-unmasked"  # a job's log may show its value
    UNPROTECTED = "variable-unprotected"  # a job of any branch gets it
    REF_UNPROTECTED = "ref-unprotected"  # protected variables do not reach jobs of this branch


class TuningFault(Fault):
    """What the values ask for and the cluster does not have."""

    NO_NODE_MATCHES = "no-node-matches"  # no node has the labels that a selector or a required affinity wants
    PREFERENCE_UNMET = "preference-unmet"  # no node has the labels that are preferred: the preference does nothing
