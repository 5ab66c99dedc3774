"""All ways in which a measured thing can be wrong, one enum per protocol.

A fault is data, never an exception: a probe that finds the port closed returns ``PathFault.REFUSED``. The values are
terms that an operator would use; they key the remedies in the checks' docstrings (``Remedy (timeout): …``).

- Fault
    - PathFault      name → address → TCP → TLS → HTTP: how far a request got
    - GitLabFault    what answered is not the GitLab that the guide describes
    - DnsFault       what one resolver answered to one query
    - ApiFault       what the Kubernetes API server answered
    - ClusterFault   what the cluster's own objects show
    - SshFault       why a node could not be reached (these make a check unknown, never failed)
    - RegistryFault  what an image registry answered
    - PodFault       how far a pod got: admission → scheduling → pull → start → end
    - DindFault      what the Docker daemon inside a pod did
    - TokenFault     what is wrong with the runner's token, or what GitLab answers to it
    - RunnerFault    what GitLab knows of the runner and its managers
    - ValuesFault    settings of the values that chart or runner do not apply as written
    - NetworkFault   how the networks and addresses of inventory and cluster contradict each other
    - ReleaseFault   what Helm's storage and the chart repository show of the runner's release
    - ManagerFault   what the release's Deployment, its pods and their logs show
    - StreamFault    exec, attach and logs: how far a command in a container got
    - RightsFault    what the runner's own account may not do, and what may refuse a job's pod
    - MetricsFault   what the managers' metrics show, or that there are none
    - PipelineFault  how far one of the suite's pipelines got: project → configuration → start → runner → end
    - VariableFault  what is wrong with a project's CI/CD variable
    - TuningFault    what the tuned values need and the cluster does not have
    - EncryptionFault  how a connection that carries secrets is not protected
    - PacketFault    what the network path to a destination does to packets
    - CertificateFault  how little time a certificate has left
"""

from enum import StrEnum


class Fault(StrEnum):
    """A way in which something measured is wrong; see the module's tree."""


class PathFault(Fault):
    """How a request to an address ended before the service could answer."""

    UNRESOLVED = "unresolved"  # the name has no address at that vantage
    REFUSED = "refused"  # a host answered: nothing listens on that port
    TIMEOUT = "timeout"  # nothing came back in time
    UNREACHABLE = "unreachable"  # a router or the host answered that there is no route
    RESET = "reset"  # the connection was cut
    SILENT = "silent"  # connected, and then no answer came
    NOT_HTTP = "not-http"  # what came back is not HTTP
    TLS_UNTRUSTED = "tls-untrusted"  # the certificate is not signed by a trusted authority
    TLS_EXPIRED = "tls-expired"  # the certificate's time is over, or has not begun
    TLS_WRONG_NAME = "tls-wrong-name"  # the certificate is another host's
    TLS_HANDSHAKE = "tls-handshake"  # no TLS session could be agreed on (plain HTTP behind the port, old protocol)
    NOT_MAPPED = "not-mapped"  # the inventory's connect: forbids addresses that it does not map


class GitLabFault(Fault):
    """Something answered, but it is not the GitLab that the guide describes."""

    BAD_GATEWAY = "bad-gateway"  # 502: nginx is up, Puma is not (docs/sources.md#gitlab-answers)
    UNAVAILABLE = "unavailable"  # 503: maintenance or overload
    HTTP_STATUS = "http-status"  # another status than GitLab gives
    NOT_GITLAB = "not-gitlab"  # another web server
    REDIRECTED = "redirected"  # another scheme or host: the runner's POST becomes a GET (docs/sources.md#manager-logs)
    TOKEN_REFUSED = "token-refused"  # noqa: S105 - a word, no secret: the API token was not accepted
    WRONG_VERSION = "wrong-version"
    UPLOAD_TOO_LARGE = "upload-too-large"  # 413: it, or a proxy in front of it
    CLOCK_SKEW = "clock-skew"


class DnsFault(Fault):
    """What one resolver answered to one query."""

    NXDOMAIN = "nxdomain"  # it says that the name does not exist
    SERVFAIL = "servfail"  # it could not resolve it
    REFUSED = "dns-refused"  # it answers others, not us
    TIMEOUT = "timeout"  # it did not answer
    NO_ANSWER = "no-answer"  # the name exists, but has no address
    WRONG_ANSWER = "wrong-answer"  # other addresses than the inventory expects
    UNREACHABLE = "unreachable"  # nothing listens there, or there is no route
    GARBLED = "garbled"  # what came back is not a DNS answer to the query
    LATE = "late-answers"  # its answers are right, and take seconds
    SEARCH_LIST = "search-list"  # a search domain answers in the place of the name itself
    SLOW = "slow-names"  # a name takes longer than a resolver that answers: another one before it does not
    DISAGREE = "disagree"  # the resolvers give different answers
    NOT_APPLIED = "not-applied"  # a pod's resolv.conf is not what the values configure


class ApiFault(Fault):
    """What the Kubernetes API server answered, or did not; path faults stand beside these."""

    UNAUTHORIZED = "unauthorized"  # 401: it does not know the user
    FORBIDDEN = "forbidden"  # 403: it knows the user, and a rule is missing
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    INVALID = "invalid"  # 422
    TOO_MANY_REQUESTS = "too-many-requests"
    UNAVAILABLE = "unavailable"  # 503, or an aggregated API whose server is down
    SERVER_ERROR = "server-error"
    GARBLED = "garbled"  # the answer is not JSON, or was cut
    CONTEXT = "kubeconfig"  # the kubeconfig itself cannot be used


class ClusterFault(Fault):
    """What the cluster's own objects show."""

    API_UNHEALTHY = "api-unhealthy"
    WRONG_ADDRESS = "wrong-address"
    WRONG_VERSION = "wrong-version"
    VERSION_SKEW = "version-skew"
    NODE_MISSING = "node-missing"
    NODE_NOT_READY = "node-not-ready"
    NODE_PRESSURE = "node-pressure"
    NODE_WRONG_ROLE = "node-wrong-role"
    SERVICE_MISSING = "service-missing"
    NO_ENDPOINTS = "no-endpoints"
    METRICS_MISSING = "metrics-missing"
    METRICS_UNAVAILABLE = "metrics-unavailable"
    TOO_FEW_FIT = "too-few-fit"
    CLOCK_SKEW = "clock-skew"  # the API server's clock is another than ours and GitLab's
    DISK_TOO_SMALL = "disk-too-small"  # with the images that jobs need, the kubelet will evict pods
    DISK_NEARLY_FULL = "disk-nearly-full"
    JOB_LEFTOVERS = "job-leftovers"  # objects of jobs that are older than any job may be
    QUOTA_FILLED = "quota-filled"  # such objects take what the next job needs of a quota


class SshFault(Fault):
    """Why a node could not be reached over SSH."""

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
    NOT_TRIED = "not-tried"  # two nodes refused the key: no further one is tried


class RegistryFault(Fault):
    """What an image registry answered; path faults stand beside these."""

    NOT_A_REGISTRY = "not-a-registry"
    UNAUTHORIZED = "unauthorized"  # the credentials are not accepted
    DENIED = "denied"  # accepted, but not for this repository
    NOT_FOUND = "not-found"  # no such repository or tag
    RATE_LIMITED = "rate-limited"
    WRONG_PLATFORM = "wrong-platform"
    TOKEN_REALM = "token-realm"  # noqa: S105 - a word, no secret: the token server cannot be used
    BLOB_HOST = "blob-host"  # the images' data is kept at another host, and that one cannot be used
    HTTP_STATUS = "http-status"
    SLOW = "registry-slow"  # it delivers layers more slowly than the inventory accepts


class PodFault(Fault):
    """How far one of the suite's pods got, by the API's own messages."""

    NAMESPACE_MISSING = "namespace-missing"
    POD_SECURITY = "pod-security"
    SECURITY_CONSTRAINTS = "security-constraints"  # no SecurityContextConstraints of OpenShift lets it in
    QUOTA = "quota"
    LIMIT_RANGE = "limit-range"
    SERVICE_ACCOUNT_MISSING = "service-account-missing"
    CLASS_MISSING = "class-missing"  # the PriorityClass or RuntimeClass of a job's pod
    WEBHOOK = "webhook"
    PATCH = "patch-not-applied"  # a patch of pod_spec can't be applied: the runner makes no pod
    REFUSED_BY_API = "refused-by-api"  # admission refused it with a message that is not known
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


class ReferenceFault(Fault):
    """What a job's pod refers to by name, and the cluster does not have (docs/sources.md#job-references)."""

    CLAIM_MISSING = "claim-missing"
    CLAIM_UNBOUND = "claim-unbound"  # there is no volume for it, and none is being made
    SOURCE_MISSING = "source-missing"  # the Secret, ConfigMap, key or driver of a volume or variable
    PULL_SECRET_MISSING = "pull-secret-missing"  # noqa: S105 - a word, no secret: the runner gives up without it
    ONE_NODE = "one-node"  # jobs on several nodes can't have the claim at the same time


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
    MTU = "mtu"  # containers inside send larger packets than their pod's network carries
    INSECURE_REGISTRY = "insecure-registry"  # a registry speaks plain HTTP, and the daemon is not configured for it
    REGISTRY_UNTRUSTED = "registry-untrusted"  # the daemon does not trust a registry's certificate
    REGISTRY_UNREACHABLE = "registry-unreachable"  # the daemon cannot reach a registry at all


class TokenFault(Fault):
    """What is wrong with the runner's token, or what GitLab answers to it.

    docs/sources.md#runner-verify, docs/sources.md#token-kinds
    """

    MISSING = "token-missing"  # neither the values nor the Secret that they name hold one
    PLACEHOLDER = "token-placeholder"  # still an example's placeholder
    WHITESPACE = "token-whitespace"  # a blank or an end of line in it or around it
    REGISTRATION = "token-registration"  # the deprecated registration token, not a runner's own
    JOB = "token-job"  # a CI job's token
    PERSONAL = "token-personal"  # a user's access token
    OTHER_KIND = "token-other-kind"  # another of GitLab's tokens
    UNRECOGNISED = "token-unrecognised"  # the runner decides by the prefix glrt- alone, and this has another one
    MISPLACED = "token-misplaced"  # a runner's own token in the key of registration tokens, where it works as well
    FORM = "token-form"  # begins with glrt-, but has no form that GitLab is known to make
    CHECKSUM = "token-checksum"  # its end is not the checksum of what precedes: cut or mistyped
    REVOKED = "token-revoked"  # no runner of this GitLab has it
    OTHER_RUNNER = "token-other-runner"  # it is not the token of the runner that the inventory names
    EXPIRED = "token-expired"
    EXPIRING = "token-expiring"
    RATE_LIMITED = "rate-limited"  # 429: GitLab answers no runner for now


class RunnerFault(Fault):
    """What GitLab knows of the runner and its managers (docs/sources.md#runner-list)."""

    PAUSED = "runner-paused"
    WRONG_TAGS = "runner-wrong-tags"
    UNTAGGED = "runner-untagged"  # jobs without tags are taken or not, contrary to the inventory
    OFFLINE = "runner-offline"  # no manager was seen for an hour
    TOO_FEW = "runner-too-few"  # fewer managers than replicas
    MANAGER_VERSION = "manager-version"
    MANAGER_ADDRESS = "manager-address"  # seen from an address that is no node's


class ValuesFault(Fault):
    """Settings of the values that the chart or the runner does not apply as written; most are silently ignored."""

    NOT_TOML = "not-toml"  # runners.config can't be parsed: the manager ends at its start
    UNKNOWN_KEY = "unknown-key"  # neither reads it
    MOVED_KEY = "moved-key"  # an older version read it there
    WRONG_FORM = "wrong-form"  # text where a number is read, and the like
    REFUSED = "config-refused"  # the runner does not load its configuration: no manager registers
    OTHER_VERSION = "other-version"  # a TOML key that another version of the runner reads
    NOT_KNOWN = "not-known"  # a key that no table has, of a version that is newer than the tables
    NO_EFFECT = "no-effect"  # a setting of the TOML that is read, and does not do what it says
    JOBS_FAIL = "jobs-fail"  # a setting with which every job fails
    SOME_JOBS_FAIL = "some-jobs-fail"  # a setting with which jobs of one kind fail
    WRONG_TABLE = "wrong-table"  # a TOML key below the header of a table that is not its own
    TWICE = "twice"  # one key, two places in a file: the last one counts
    CONTRADICTION = "contradiction"  # two settings of which one makes the other void
    TOKEN_IN_FILE = "token-in-file"  # noqa: S105 - a word, no secret: runners.secret is set, and a token as well
    DNS_POLICY = "dns-policy-spelling"  # Kubernetes' spelling, which the runner does not know
    FLAT_NAMESERVERS = "flat-nameservers"  # outside of dns_config, where they are ignored
    TOO_MANY_NAMESERVERS = "too-many-nameservers"  # the API takes three
    NO_NAMESERVERS = "no-nameservers"  # dns_policy "none" without any
    OTHER_NAMESERVERS = "nameservers-differ"  # not those of the inventory
    TEMPLATE = "template"  # {{ }} that Helm evaluates before TOML is read
    GITLAB_URL = "gitlab-url"  # not the inventory's GitLab
    NOT_PRIVILEGED = "not-privileged"  # and Docker-in-Docker needs it
    RBAC_OFF = "rbac-off"  # nothing grants the managers the right to make pods
    IMAGE_FLAVOUR = "image-flavour"  # an image whose user is not the one it is started as
    PULL_SECRET = "pull-secret"  # noqa: S105 - a word, no secret: none of the jobs' pull secrets is for a registry
    NOT_ALLOWED = "not-allowed"  # an image that jobs use is not among those that the values allow
    HELPER_IMAGE = "helper-image"  # the nodes can't pull it
    METRICS_OFF = "metrics-off"
    MANAGERS_ONLY = "managers-only"  # a setting of the managers' pods that is easily taken for the jobs'
    UNREGISTER = "unregister"  # managers that stop stay in GitLab, or take the runner with them
    POLL_TIMEOUT = "poll-timeout"  # shorter than the pulls take
    CONCURRENT = "concurrent"  # no job can run, or fewer than the values seem to say
    SECRET_MISSING = "secret-missing"  # noqa: S105 - a word, no secret
    SECRET_KEYS = "secret-keys"  # noqa: S105 - a word, no secret: a key that the chart mounts is not there
    CERTIFICATE_KEY = "certificate-key"  # the secret with the CA has no key of GitLab's name


class NetworkFault(Fault):
    """How the networks and addresses of inventory, values and cluster contradict each other."""

    OVERLAP = "overlap"  # two networks share addresses
    NODE_INSIDE = "node-inside"  # a node's address lies in the pod or service network
    OTHER_POD_NETWORK = "pod-network-differs"  # the cluster's pods are elsewhere
    OTHER_SERVICE_NETWORK = "service-network-differs"  # the cluster's services are elsewhere
    NOT_CONTROL_PLANE = "not-control-plane"  # the API server's address is no control-plane node's
    OUTSIDE_VPC = "outside-vpc"
    PROXY = "proxy"  # a proxy variable sends internal requests to a proxy


class ReleaseFault(Fault):
    """What Helm's storage and the chart repository show of the runner's release."""

    NOT_A_REPOSITORY = "not-a-repository"  # what answers has no index of charts
    HTTP_STATUS = "http-status"
    CHART_MISSING = "chart-missing"  # the repository does not have this version
    ONLY_HELM = "only-helm-can-tell"  # an expression that can't be read here, where helm or the package is missing
    NOT_RENDERED = "not-rendered"  # Helm refuses the chart with these values
    APP_VERSION = "app-version"  # chart and image are of different runner versions
    MISSING = "release-missing"
    PRESENT = "release-present"  # where none is expected yet
    UNREADABLE = "release-unreadable"  # Helm's record is not what Helm writes
    PENDING = "release-pending"  # an operation began and did not end: Helm refuses the next one
    FAILED = "release-failed"
    WRONG_CHART = "wrong-chart"
    DRIFT = "drift"  # what is deployed is not what the values files configure
    DOWNGRADE = "downgrade"
    SKEW = "upgrade-skew"  # the runner would be newer than GitLab, or of an older major version
    JOBS_RUNNING = "jobs-running"
    LEFTOVERS = "leftovers"
    EDITED = "edited-by-hand"  # a ConfigMap or Secret that managers read at their next start
    OBJECT_EDITED = "object-edited"  # another object of the release is not as the release has it


class ManagerFault(Fault):
    """What the release's Deployment, its pods and their logs show."""

    DEPLOYMENT_MISSING = "deployment-missing"
    ROLLOUT_STUCK = "rollout-stuck"
    ROLLOUT_UNDER_WAY = "rollout-under-way"  # within the time that its Deployment allows, and no new pod fails
    TOO_FEW = "too-few-managers"
    SCALED_DOWN = "scaled-down"  # fewer replicas than the release's values say: somebody scaled them by hand
    NOT_READY = "manager-not-ready"
    CRASH_LOOP = "crash-loop"
    OOM_KILLED = "oom-killed"  # a manager that runs again was ended for its memory a short while ago
    RESTARTED = "restarted"  # again and again: the last run was short, and this one is not longer yet
    RECOVERED = "recovered"  # restarts and log lines of a short while ago that are over
    TOKEN_REJECTED = "token-rejected"  # noqa: S105 - a word, no secret: GitLab does not accept the runner's token
    GITLAB_UNREACHABLE = "gitlab-unreachable"  # by the managers' own logs
    CONFIG_REFUSED = "config-refused"  # the runner cannot use its configuration
    WRONG_USER = "wrong-user"  # the image's user is not the one that the pod runs as
    NOT_RESTARTED = "not-restarted"  # the ConfigMap was changed after the managers had copied it
    OLD_CONFIG = "old-config"  # what a manager runs with is not what the values configure


class StreamFault(Fault):
    """How far a command in a running container, or its output, came through the API server (exec, attach, logs)."""

    NO_UPGRADE = "no-upgrade"  # something on the way to the API server does not forward WebSockets
    KUBELET_UNREACHABLE = "kubelet-unreachable"  # the API server cannot reach the node's port 10250
    NOT_STARTED = "not-started"  # the container's runtime could not start the command
    CUT = "stream-cut"  # the connection ended before the command had
    SLOW = "stream-slow"  # no end came in time
    IDLE_CUT = "stream-idle-cut"  # it was cut while nothing was sent, long before the command had ended
    WRONG_OUTPUT = "wrong-output"  # what came back is not what was sent


class RightsFault(Fault):
    """What stands between the runner's own account and a job's pod."""

    ACCOUNT_MISSING = "account-missing"  # the service account of the managers does not exist
    MISSING = "rights-missing"  # no job can run without them
    WANTING = "rights-wanting"  # jobs run, and the runner sees or reports less
    WEBHOOK_FAILS_CLOSED = "webhook-fails-closed"  # where its server is down, no job's pod is made
    STRICTER_ANNOUNCED = "stricter-announced"  # a level of Pod Security that is only warned of would refuse jobs


class MetricsFault(Fault):
    """What the metrics of a runner's managers show, or that there are none."""

    OFF = "metrics-off"  # nothing listens on the metrics port
    GARBLED = "metrics-garbled"  # what answers there is not a runner's metrics
    WRONG_VERSION = "wrong-version"
    POLLS_REJECTED = "polls-rejected"  # GitLab refuses the token of the managers: 403
    POLLS_FAILED = "polls-failed"  # GitLab was not reached by a request for jobs: -1
    WARNINGS = "warnings"  # the cluster has recorded recent warnings about the managers


class PipelineFault(Fault):
    """How far one of the suite's pipelines got in GitLab."""

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
    """What is wrong with a CI/CD variable of a project."""

    MISSING = "variable-missing"
    UNMASKED = "variable-unmasked"  # a job's log may show its value
    UNPROTECTED = "variable-unprotected"  # a job of any branch gets it
    REF_UNPROTECTED = "ref-unprotected"  # protected variables do not reach jobs of this branch


class TuningFault(Fault):
    """What the values need and the cluster does not have."""

    NO_NODE_MATCHES = "no-node-matches"  # no node has the labels that a selector or a required affinity wants
    PREFERENCE_UNMET = "preference-unmet"  # no node has the labels that are preferred: the preference does nothing


class EncryptionFault(Fault):
    """How a connection that carries secrets or charts is not protected (docs/sources.md#encryption)."""

    NOT_ENCRYPTED = "not-encrypted"  # there is no TLS at all
    NOT_VERIFIED = "not-verified"  # there is TLS, and any certificate is accepted


class PacketFault(Fault):
    """What the network path to a destination does to packets (docs/sources.md#packet-loss)."""

    LOST = "packets-lost"  # more of them than `limits.packet_loss`
    FAR = "long-round-trip"  # longer than `limits.round_trip`


class CertificateFault(Fault):
    """How little time a certificate has left that is still valid (docs/sources.md#certificate-names)."""

    ENDS_SOON = "certificate-ends-soon"  # within `limits.certificate_days_left`
    RENEWAL_DUE = "certificate-renewal-due"  # within `limits.certificate_renewal_days`: automatic renewal is overdue
