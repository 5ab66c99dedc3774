"""The stages of a job's log: where the runner says that each begins, and which of them has failed."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping


class Stage(enum.StrEnum):
    """A stage of a job, in the runner's order."""

    PREPARE = "prepare"
    GET_SOURCES = "get_sources"
    RESTORE_CACHE = "restore_cache"
    DOWNLOAD_ARTIFACTS = "download_artifacts"
    STEP_SCRIPT = "step_script"
    AFTER_SCRIPT = "after_script"
    ARCHIVE_CACHE = "archive_cache"
    UPLOAD = "upload"
    CLEANUP = "cleanup"

    @property
    def rank(self) -> int:
        """Its place in the order."""
        return _ORDER[self]


_ORDER = {stage: rank for rank, stage in enumerate(Stage)}

SECTIONS: Mapping[str, Stage] = {
    "prepare_executor": Stage.PREPARE,
    "resolve_secrets": Stage.PREPARE,
    "prepare_script": Stage.PREPARE,
    "get_sources": Stage.GET_SOURCES,
    "restore_cache": Stage.RESTORE_CACHE,
    "download_artifacts": Stage.DOWNLOAD_ARTIFACTS,
    "step_script": Stage.STEP_SCRIPT,
    "build_script": Stage.STEP_SCRIPT,
    "step_release": Stage.STEP_SCRIPT,
    "after_script": Stage.AFTER_SCRIPT,
    "archive_cache": Stage.ARCHIVE_CACHE,
    "archive_cache_on_failure": Stage.ARCHIVE_CACHE,
    "upload_artifacts_on_success": Stage.UPLOAD,
    "upload_artifacts_on_failure": Stage.UPLOAD,
    "cleanup_file_variables": Stage.CLEANUP,
}
"""Names of the runner's sections (`section_start:TIME:NAME`); a script's own sections have others."""

HEADLINES: Mapping[str, Stage] = {
    'preparing the "': Stage.PREPARE,
    "preparing environment": Stage.PREPARE,
    "getting source from git repository": Stage.GET_SOURCES,
    "restoring cache": Stage.RESTORE_CACHE,
    "downloading artifacts": Stage.DOWNLOAD_ARTIFACTS,
    'executing "step_script" stage of the job script': Stage.STEP_SCRIPT,
    'executing "build_script" stage of the job script': Stage.STEP_SCRIPT,
    'executing "step_release" stage of the job script': Stage.STEP_SCRIPT,
    "running after_script": Stage.AFTER_SCRIPT,
    "running after script...": Stage.AFTER_SCRIPT,
    "saving cache for successful job": Stage.ARCHIVE_CACHE,
    "saving cache for failed job": Stage.ARCHIVE_CACHE,
    "uploading artifacts for successful job": Stage.UPLOAD,
    "uploading artifacts for failed job": Stage.UPLOAD,
    "cleaning up project directory and file based variables": Stage.CLEANUP,
    "cleaning up file based variables": Stage.CLEANUP,
}
"""Lines that stand at the head of each section, in lower case, for logs that were copied from GitLab's page."""

MARKS = (
    "section_start:",
    "running with gitlab-runner ",
    "job succeeded",
    "error: job failed",
    *(headline for headline in HEADLINES),
)
"""Runs of plain characters that every line holds which tells of a stage."""

_SECTION = re.compile(r"\Asection_start:\d{1,20}:([\w-]{1,100})")
_HEADLINE = re.compile(r'\A(preparing the "|[a-z][^:]{5,60}?)(?:[a-z+-]{1,30}" executor)?(?: ?\d\d:\d\d)?\Z')
_ON_FAILURE = ("archive_cache_on_failure", "upload_artifacts_on_failure", "saving cache for failed job",
               "uploading artifacts for failed job")  # fmt: skip


class Progress:
    """Follows a log through its stages.

    Attributes:
        stage: where the log is; None before the first mark.
        succeeded: whether the job has; None while the log does not say so.
    """

    def __init__(self) -> None:
        self.stage: Stage | None = None
        self.succeeded: bool | None = None
        self._failed_before: Stage | None = None
        self._before_cleanup: Stage | None = None
        self._failed_in: Stage | None = None

    def see(self, line: str) -> bool:
        """Take note of a line; returns whether another job's log begins with it."""
        small = line.lower()
        if small.startswith("running with gitlab-runner "):
            began = self.stage is not None or self.succeeded is not None
            self.__init__()  # type: ignore[misc]  # a log of several jobs: the last one counts
            return began
        if small == "job succeeded":
            self.succeeded = True
        elif small.startswith("error: job failed"):
            self.succeeded = False
            if "prepare environment:" in small:
                self._failed_in = Stage.PREPARE
        elif (section := _SECTION.match(line)) and section[1] in SECTIONS:
            self._enter(SECTIONS[section[1]], failed=section[1] in _ON_FAILURE)
        elif (headline := _HEADLINE.match(small)) and headline[1] in HEADLINES:
            self._enter(HEADLINES[headline[1]], failed=headline[1] in _ON_FAILURE)
        return False

    def _enter(self, stage: Stage, *, failed: bool) -> None:
        """A script may print the runner's words: stages only go forward."""
        if self.stage is not None and stage.rank <= self.stage.rank:
            return
        if failed and self._failed_before is None:
            self._failed_before = self._before_cleanup
        self.stage = stage
        if stage is not Stage.CLEANUP:
            self._before_cleanup = stage

    @property
    def failed_in(self) -> Stage | None:
        """The stage that the job failed in; None where the log does not show it, or the job succeeded."""
        if self.succeeded:
            return None
        if self._failed_in is not None:
            return self._failed_in
        last = self._before_cleanup
        if last is None:
            return self.stage
        before = self._failed_before or last
        return Stage.STEP_SCRIPT if before is Stage.AFTER_SCRIPT else before
