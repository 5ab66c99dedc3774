"""Transports: how the probes reach GitLab, Kubernetes, nodes and registries; bounded in time and size, no verdicts."""
