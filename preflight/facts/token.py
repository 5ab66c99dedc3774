"""2.2 The runner's token: where it is configured, whether GitLab accepts it, and the runner that it belongs to."""

from __future__ import annotations

from preflight.clients import kube_api as api_client
from preflight.evidence import Blocked, NotApplicable, Unmeasured
from preflight.fact import fact, view
from preflight.facts.references import Ref
from preflight.faults import GitLabFault, TokenFault
from preflight.inventory import Inventory
from preflight.inventory_forms import Secret
from preflight.probes import runners, token
from preflight.probes.cluster import ApiServer
from preflight.probes.credentials import read_secret
from preflight.probes.gitlab import GitLabVersion
from preflight.probes.runners import OwnRunner, Reader, RegisteredManagers, RunnerRecord
from preflight.probes.token import ConfiguredToken, RunnerToken, TokenReply
from preflight.releasenames import names_of
from preflight.run import Run
from preflight.shell_command import ShellCommand, program
from preflight.values import INSTALL_HELM, Values

_WITHOUT_API_ACCESS = (
    "no gitlab.api_token in the inventory: without one, neither the runner that has the token nor one of its managers "
    "can be found, and verifying the token under any other name would leave a manager in GitLab"
)


@fact(deadline="api", optional=("api_answer",), secret=True, reported_by=("token_presence",))
def configured_token(
    api_answer: ApiServer | None, kubernetes: api_client.Api, helm_values: Values, inventory: Inventory
) -> ConfiguredToken:
    """The runner's token, and where it is configured."""
    runner = inventory.runner
    if runner.token:
        return ConfiguredToken(
            source="runner.token of the inventory",
            command=program("grep", "-n", "-A", 9, "^runner:", "inventory.yaml"),
            text=_text(runner.token, api_answer, kubernetes),
        )
    for key, registration in (("runnerToken", False), ("runnerRegistrationToken", True)):
        text = str(helm_values.get(key, ""))
        if text.strip():
            place, command = _place(helm_values, key)
            return ConfiguredToken(source=f"{key} in {place}", command=command, text=text, registration=registration)
    if helm_values.get("runners.secret"):
        names = names_of(helm_values)
        if names.secret is None:
            raise Unmeasured("runners.secret holds an expression that only Helm can tell", needs=INSTALL_HELM)
        _require(api_answer)
        return token.from_secret(kubernetes, names.namespace, names.secret)
    place, command = _place(helm_values, "runnerToken")
    absent = f"neither runnerToken nor runners.secret is set in {place}, and no `runner.token` in the inventory"
    return ConfiguredToken(source=f"runnerToken in {place}", command=command, absent=absent)


def _text(secret: Secret, api_answer: ApiServer | None, kubernetes: api_client.Api) -> str:
    if secret.text is not None:
        return secret.text
    _require(api_answer)
    namespace, name, key = secret.cluster_key or ("", "", "")
    return read_secret(kubernetes, namespace, name, key)


def _require(api_answer: ApiServer | None) -> None:
    """Raise `Blocked` unless the API server, which holds the Secret, was reached."""
    if api_answer is None or api_answer.fault:
        raise Blocked.by(Ref.API_ANSWER, api_answer, otherwise="the API server could not be asked")


def _place(values: Values, key: str) -> tuple[str, ShellCommand]:
    """Where a key of the values is written, with its line, and a command that shows it."""
    origin = values.origin(key)
    if origin.pair:
        return "runner.set of the inventory", program("grep", "-n", key, "inventory.yaml")
    place = str(origin) if origin.file is not None else values.files[-1].name
    return place, program("grep", "-n", key, place.partition(":")[0])


token_presence = view("token_presence", configured_token, token.presence, "Whether a token is configured.")
token_whitespace = view(
    "token_whitespace",
    configured_token,
    token.whitespace,
    "What surrounds the runner's token.",
    after=("token_presence",),
)
token_kind = view(
    "token_kind", configured_token, token.kind, "The kind of the runner's token.", after=("token_presence",)
)
token_place = view(
    "token_place", configured_token, token.place, "Where the runner's token is configured.", after=("token_kind",)
)
token_form = view(
    "token_form",
    configured_token,
    token.form,
    "The form of the runner's token.",
    after=("token_kind", "token_whitespace"),
)


@fact(after=("gitlab_identity",))
def runner_api(inventory: Inventory, run: Run) -> TokenReply:
    """GitLab's runner API, called with a made-up token."""
    return token.runner_api(
        inventory.gitlab.url, routes=run.routes, ca_file=inventory.gitlab.ca_file, deadline=inventory.deadlines.http
    )


@fact(after=("gitlab_identity",), reported_by=("own_runner",))
def gitlab_api_token(inventory: Inventory) -> Secret:
    """The API token for GitLab."""
    if not inventory.gitlab.api_token or not inventory.gitlab.api_token.text:
        raise NotApplicable(_WITHOUT_API_ACCESS)
    return inventory.gitlab.api_token


def reading(token: Secret, inventory: Inventory, run: Run) -> Reader:
    """A reader of GitLab's API with one fact's deadline."""
    return Reader(
        inventory.gitlab.url,
        token.text or "",
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=inventory.deadlines.http,
    )


@fact(after=("token_kind",), optional=("gitlab_version",))
def own_runner(
    gitlab_api_token: Secret,
    gitlab_version: GitLabVersion | None,
    configured_token: ConfiguredToken,
    inventory: Inventory,
    run: Run,
) -> OwnRunner:
    """The runner in GitLab that has the token."""
    if gitlab_version is not None and gitlab_version.fault is GitLabFault.TOKEN_REFUSED:
        raise Blocked.by(Ref.GITLAB_VERSION, gitlab_version)
    return runners.own_runner(reading(gitlab_api_token, inventory, run), configured_token, inventory.runner.id)


@fact()
def token_expiry(own_runner: OwnRunner, token_presence: RunnerToken, inventory: Inventory) -> RunnerToken:
    """How long the runner's token is valid."""
    return token.expiry(
        token_presence,
        own_runner.expires,
        days_left=inventory.limits.token_days_left,
        evidence=own_runner.evidence,
    )


@fact(tolerates=("token_expiry",), reported_by=("runner_online",))
def valid_runner(own_runner: OwnRunner, token_expiry: RunnerToken) -> OwnRunner:
    """The runner in GitLab, unless its token has expired."""
    if token_expiry.fault is TokenFault.EXPIRED:
        raise Blocked.by(Ref.TOKEN_EXPIRY, token_expiry)
    return own_runner


@fact(reported_by=("runner_online",))
def manager_list(
    valid_runner: OwnRunner, gitlab_api_token: Secret, inventory: Inventory, run: Run
) -> RegisteredManagers:
    """The runner's managers, as GitLab lists them."""
    return runners.managers(reading(gitlab_api_token, inventory, run), valid_runner.id or 0)


@fact(after=("runner_api", "token_whitespace"), effect="probe")
def token_acceptance(
    valid_runner: OwnRunner,
    manager_list: RegisteredManagers,
    configured_token: ConfiguredToken,
    inventory: Inventory,
    run: Run,
) -> TokenReply:
    """GitLab's answer to the runner's token."""
    # A manager that polls every few seconds: what this request changes in its record, its next poll corrects.
    manager = next((candidate for candidate in manager_list.online if candidate.system_id), None)
    if manager is None:
        reason = (
            f"runner #{valid_runner.id} has the token, and no manager online to verify it with: verifying it "
            "under any other name would leave a manager in GitLab"
        )
        raise NotApplicable(reason)
    return token.acceptance(
        inventory.gitlab.url,
        configured_token,
        manager.system_id,
        routes=run.routes,
        ca_file=inventory.gitlab.ca_file,
        deadline=inventory.deadlines.http,
    )


@fact(reported_by=("runner_activity",))
def runner_record(own_runner: OwnRunner, gitlab_api_token: Secret, inventory: Inventory, run: Run) -> RunnerRecord:
    """The runner's settings in GitLab."""
    return runners.record(reading(gitlab_api_token, inventory, run), own_runner.id or 0)


runner_activity = view("runner_activity", runner_record, runners.activity, "Whether the runner gets jobs.")


@fact()
def runner_tags(runner_record: RunnerRecord, inventory: Inventory) -> RunnerRecord:
    """The runner's tags."""
    if inventory.runner.tags is None:
        reason = "no runner.tags in the inventory"
        raise NotApplicable(reason)
    return runners.tags(runner_record, inventory.runner.tags)


@fact()
def runner_untagged(runner_record: RunnerRecord, inventory: Inventory) -> RunnerRecord:
    """Whether the runner takes jobs without tags."""
    if inventory.runner.run_untagged is None:
        reason = "no runner.run_untagged in the inventory"
        raise NotApplicable(reason)
    return runners.untagged(runner_record, expected=inventory.runner.run_untagged)
