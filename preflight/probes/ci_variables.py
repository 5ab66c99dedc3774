"""The CI/CD variables of a GitLab project: whether they exist, and are masked and protected (guide 6.4, 11.4).

A variable's value is read only where GitLab sends it, to log in as the jobs do; it is redacted from then on and
never part of a fact. Hidden variables are sent without a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.clients.gitlab_api import GitLabApi, GitLabError, segment
from preflight.evidence import Evidence, Fact, Unmeasured
from preflight.faults import GitLabFault, VariableFault
from preflight.redaction import remember

_FORBIDDEN, _NOT_FOUND = 403, 404
_ANYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One CI/CD variable.

    Attributes:
        key: its name.
        protected: whether only jobs of protected branches and tags get it.
        masked: whether job logs hide its value.
        scope: of environments; ``*`` is all.
        origin: the project or group that defines it.
        value: None where GitLab keeps it hidden.
    """

    key: str
    protected: bool
    masked: bool
    scope: str
    origin: str
    value: str | None = field(default=None, repr=False, metadata={"live": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """The variables that a project's jobs get, its groups' included.

    Attributes:
        project: its path.
        listed: the project's own come before its groups', the nearer group's before the farther's.
        unread: groups whose variables could not be read, and GitLab's answer.
        evidence: the request and what it listed.
    """

    project: str
    listed: tuple[Variable, ...] = field(repr=False)
    unread: tuple[str, ...] = ()
    evidence: Evidence = field(repr=False)

    def named(self, key: str) -> Variable | None:
        """The variable that a job without an environment gets; the project's own wins over its groups'."""
        matches = [variable for variable in self.listed if variable.key == key]
        return next((variable for variable in matches if variable.scope == _ANYWHERE), next(iter(matches), None))


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableState(Fact):
    """Whether one variable is as the jobs need it."""

    key: str
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefProtection(Fact):
    """Whether jobs of a branch get protected variables."""

    ref: str
    protected: bool = False


def read(api: GitLabApi, project: str, *, secret: Iterable[str]) -> Variables:
    """The variables of a project and of the groups that it is in.

    Args:
        api: with the account of a Maintainer of the project; nobody else may see them.
        project: its path, or its number.
        secret: names of variables whose value is a secret even where nothing masks it.

    Raises:
        Unmeasured: the project's variables may not be read.
    """
    path = f"/projects/{segment(project)}/variables"
    try:
        own = api.items(path)
    except GitLabError as error:
        if error.status in {_FORBIDDEN, _NOT_FOUND} or error.fault is GitLabFault.TOKEN_REFUSED:
            raise error.unmeasured(
                f"an API token with scope `api` of a Maintainer of {project}, as `pipeline.token`"
            ) from error
        raise error.unmeasured(f"GitLab's answer to `{error.command}`") from error
    hidden = frozenset(secret)
    listed = [_variable(document, project, hidden) for document in own]
    unread: list[str] = []
    parts = project.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        group = "/".join(parts[:length])
        try:
            inherited = api.items(f"/groups/{segment(group)}/variables")
            listed += [_variable(document, group, hidden) for document in inherited]
        except GitLabError as error:
            if error.status != _NOT_FOUND:  # 404: a user's own namespace, which is no group
                unread.append(f"{group}: {error}")
    lines = [*map(_describe, listed), *(f"not read: {group}" for group in unread)]
    evidence = Evidence(where="here", command=api.command(path), observed="\n".join(lines) or "no variable")
    return Variables(project=project, listed=tuple(listed), unread=tuple(unread), evidence=evidence)


def _variable(document: Mapping[str, Any], origin: str, secret: frozenset[str]) -> Variable:
    key, value = str(document.get("key", "")), document.get("value")
    masked = bool(document.get("masked"))
    if isinstance(value, str) and (masked or key in secret):
        remember(value)
    return Variable(
        key=key,
        protected=bool(document.get("protected")),
        masked=masked,
        scope=str(document.get("environment_scope") or _ANYWHERE),
        origin=origin,
        value=None if document.get("hidden") or not isinstance(value, str) else value,
    )


def _describe(variable: Variable) -> str:
    flags = [word for word in ("protected", "masked") if getattr(variable, word)]
    scope = "" if variable.scope == _ANYWHERE else f", for environment {variable.scope} only"
    return f"{variable.key} of {variable.origin}: {', '.join(flags) or 'neither protected nor masked'}{scope}"


def presence(variables: Variables, key: str) -> VariableState:
    """Whether jobs get the variable, and with a value."""
    variable = variables.named(key)
    cause = ""
    if variable is None:
        cause = f"{variables.project} has no variable {key}"
        cause += (
            f"; the variables of a group could not be read: {'; '.join(variables.unread)}" if variables.unread else ""
        )
    elif variable.scope != _ANYWHERE:
        cause = f"{key} of {variable.origin} reaches jobs of environment {variable.scope} only"
    elif variable.value == "":
        cause = f"{key} of {variable.origin} is empty"
    if variable is None and variables.unread:
        raise Unmeasured(cause, needs=f"the right to read that group's variables, or {key} in the project itself")
    return _state(variables, key, VariableFault.MISSING if cause else None, cause)


def masking(variables: Variables, key: str, *, required: bool) -> VariableState:
    """Whether job logs hide the variable's value, where that is required."""
    variable = variables.named(key)
    if not required or variable is None or variable.masked:
        return _state(variables, key)
    cause = f"{key} of {variable.origin} is not masked: a job that prints it shows it to everyone"
    return _state(variables, key, VariableFault.UNMASKED, cause)


def protection(variables: Variables, key: str, *, required: bool) -> VariableState:
    """Whether only jobs of protected branches get the variable, where that is required."""
    variable = variables.named(key)
    if not required or variable is None or variable.protected:
        return _state(variables, key)
    cause = f"{key} of {variable.origin} is not protected: a job of any branch gets it"
    return _state(variables, key, VariableFault.UNPROTECTED, cause)


def _state(variables: Variables, key: str, fault: VariableFault | None = None, cause: str = "") -> VariableState:
    variable = variables.named(key)
    origin = variable.origin if variable else ""
    return VariableState(target=key, key=key, origin=origin, fault=fault, cause=cause, evidence=variables.evidence)


def ref_protection(api: GitLabApi, project: str, ref: str, variables: Variables) -> RefProtection:
    """Whether the jobs of a branch get the protected ones among the project's variables.

    Raises:
        Unmeasured: the branch could not be read.
    """
    path = f"/projects/{segment(project)}/repository/branches/{segment(ref)}"
    try:
        branch = api.ask(path)
    except GitLabError as error:
        raise error.unmeasured(f"a branch {ref} in {project}, and an API token that may read its repository") from error
    protected = bool(isinstance(branch, Mapping) and branch.get("protected"))
    withheld = sorted({variable.key for variable in variables.listed if variable.protected})
    fault, cause = None, ""
    if withheld and not protected:
        fault = VariableFault.REF_UNPROTECTED
        cause = f"{ref} of {project} is not protected, so its jobs do not get {', '.join(withheld)}"
    return RefProtection(
        target=f"{ref} of {project}",
        ref=ref,
        protected=protected,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=api.command(path), observed=f"protected: {str(protected).lower()}"),
    )
