"""Preflight: measure a GitLab Runner environment on Kubernetes, then judge it.

The way of the data is ``inventory → targets → facts → checks → verdicts → reports``; see docs/architecture.md.
"""
