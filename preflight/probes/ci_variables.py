"""The CI/CD variables of a GitLab project: whether they are there, masked and protected (guide 6.4, 11.4).

A variable's value is read only where GitLab sends it along, to log in as the jobs do; it is redacted from then on and
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
        evidence: of the look.
    """

    project: str
    listed: tuple[Variable, ...] = field(repr=False)
    unread: tuple[str, ...] = ()
    evidence: Evidence = field(repr=False)

    def named(self, key: str) -> Variable | None:
        """The variable that a job without an environment gets; what the project says wins over its groups."""
        every = [one for one in self.listed if one.key == key]
        return next((one for one in every if one.scope == _ANYWHERE), every[0] if every else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableState(Fact):
    """What is the matter with one variable."""

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
        api: as a Maintainer of the project; nobody else may see them.
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
    found = [_variable(one, project, hidden) for one in own]
    unread: list[str] = []
    parts = project.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        group = "/".join(parts[:length])
        try:
            found += [_variable(one, group, hidden) for one in api.items(f"/groups/{segment(group)}/variables")]
        except GitLabError as error:
            if error.status != _NOT_FOUND:  # 404: a user's own namespace, which is no group
                unread.append(f"{group}: {error}")
    lines = [_words(one) for one in found] + [f"not read: {one}" for one in unread]
    evidence = Evidence(where="here", command=api.command(path), observed="\n".join(lines) or "no variable")
    return Variables(project=project, listed=tuple(found), unread=tuple(unread), evidence=evidence)


def _variable(told: Mapping[str, Any], origin: str, secret: frozenset[str]) -> Variable:
    key, value = str(told.get("key", "")), told.get("value")
    masked = bool(told.get("masked"))
    if isinstance(value, str) and (masked or key in secret):
        remember(value)
    return Variable(
        key=key,
        protected=bool(told.get("protected")),
        masked=masked,
        scope=str(told.get("environment_scope") or _ANYWHERE),
        origin=origin,
        value=None if told.get("hidden") or not isinstance(value, str) else value,
    )


def _words(variable: Variable) -> str:
    told = [word for word in ("protected", "masked") if getattr(variable, word)]
    scope = "" if variable.scope == _ANYWHERE else f", for environment {variable.scope} only"
    return f"{variable.key} of {variable.origin}: {', '.join(told) or 'neither protected nor masked'}{scope}"


def presence(variables: Variables, key: str) -> VariableState:
    """Whether jobs get the variable, and with a value."""
    found = variables.named(key)
    cause = ""
    if found is None:
        cause = f"{variables.project} has no variable {key}"
        cause += (
            f"; the variables of a group could not be read: {'; '.join(variables.unread)}" if variables.unread else ""
        )
    elif found.scope != _ANYWHERE:
        cause = f"{key} of {found.origin} reaches jobs of environment {found.scope} only"
    elif found.value == "":
        cause = f"{key} of {found.origin} is empty"
    if found is None and variables.unread:
        raise Unmeasured(cause, needs=f"the right to read that group's variables, or {key} in the project itself")
    return _state(variables, key, VariableFault.MISSING if cause else None, cause)


def masking(variables: Variables, key: str, *, asked: bool) -> VariableState:
    """Whether job logs hide the variable's value, where that is asked for."""
    found = variables.named(key)
    wrong = asked and found is not None and not found.masked
    cause = f"{key} of {found.origin} is not masked: a job that prints it shows it to everyone" if found else ""
    return _state(variables, key, VariableFault.UNMASKED if wrong else None, cause if wrong else "")


def protection(variables: Variables, key: str, *, asked: bool) -> VariableState:
    """Whether only jobs of protected branches get the variable, where that is asked for."""
    found = variables.named(key)
    wrong = asked and found is not None and not found.protected
    cause = f"{key} of {found.origin} is not protected: a job of any branch gets it" if found else ""
    return _state(variables, key, VariableFault.UNPROTECTED if wrong else None, cause if wrong else "")


def _state(variables: Variables, key: str, fault: VariableFault | None, cause: str) -> VariableState:
    found = variables.named(key)
    origin = found.origin if found else ""
    return VariableState(target=key, key=key, origin=origin, fault=fault, cause=cause, evidence=variables.evidence)


def ref_protection(api: GitLabApi, project: str, ref: str, variables: Variables) -> RefProtection:
    """Whether the jobs of a branch get the protected ones among the project's variables.

    Raises:
        Unmeasured: the branch could not be asked for.
    """
    path = f"/projects/{segment(project)}/repository/branches/{segment(ref)}"
    try:
        told = api.ask(path)
    except GitLabError as error:
        raise error.unmeasured(f"a branch {ref} in {project}, and an API token that may read its repository") from error
    protected = bool(isinstance(told, Mapping) and told.get("protected"))
    waiting = sorted({one.key for one in variables.listed if one.protected})
    fault, cause = None, ""
    if waiting and not protected:
        fault = VariableFault.REF_UNPROTECTED
        cause = f"{ref} of {project} is not protected, so its jobs do not get {', '.join(waiting)}"
    return RefProtection(
        target=f"{ref} of {project}",
        ref=ref,
        protected=protected,
        fault=fault,
        cause=cause,
        evidence=Evidence(where="here", command=api.command(path), observed=f"protected: {str(protected).lower()}"),
    )
