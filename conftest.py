"""Plug the guide (checks/) into an environment; the instrument is in preflight/, the miniature in lab/."""

pytest_plugins = ("preflight.plugin", "lab.plugin")
