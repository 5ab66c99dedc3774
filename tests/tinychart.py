"""A small chart of our own that is made the way runners' charts are, for tests of what reads and renders charts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

CHART = """\
apiVersion: v2
name: gitlab-runner
version: 0.80.1
appVersion: 18.3.1
"""

VALUES = """\
gitlabUrl: ""
replicas: 1
imagePullPolicy: IfNotPresent
image: {registry: registry.example.com, image: ci/runner, tag: ""}
rbac: {create: false, rules: []}
serviceAccount: {create: true, name: ""}
probes: {}
strategy: {}
podLabels: {}
extraEnv: {}
tolerations: []
topologySpreadConstraints: {}
metrics: {enabled: false, port: 9252}
runners:
  config: |
    [[runners]]
      [runners.kubernetes]
        namespace = "{{ .Release.Namespace }}"
        image = "alpine"
  cache: {}
"""

HELPERS = """\
{{- define "tiny.fullname" -}}
{{- default (printf "%s-%s" .Release.Name .Chart.Name) .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "tiny.env" }}
- name: CI_SERVER_URL
  value: {{ .Values.gitlabUrl | quote }}
{{- range $key, $value := .Values.extraEnv }}
- name: {{ $key }}
  value: {{ $value | quote }}
{{- end }}
{{- range .Values.envVars }}
- name: {{ .name }}
  value: {{ .value | quote }}
{{- end }}
{{- end -}}
{{- define "tiny.secret" -}}
{{- if .Values.runners.secret -}}
{{- tpl .Values.runners.secret $ -}}
{{- else -}}
{{- include "tiny.fullname" . -}}
{{- end -}}
{{- end -}}
{{- define "tiny.image" -}}
{{- $tag := default (print "alpine-v" .Chart.AppVersion) .Values.image.tag -}}
{{- printf "%s/%s:%s" .Values.image.registry .Values.image.image $tag -}}
{{- end -}}
{{- define "tiny.account" -}}
{{- .Values.serviceAccount.name | default (include "tiny.fullname" .) -}}
{{- end -}}
"""

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "tiny.fullname" . }}
  namespace: {{ .Release.Namespace | quote }}
data:
  entrypoint: |
    #!/bin/bash
    exec /entrypoint run
  config.toml: |
    concurrent = {{ .Values.concurrent | default 10 }}
  {{ if .Values.runners.config }}
  config.template.toml: {{ tpl .Values.runners.config $ | toYaml | indent 2 }}
  {{ end }}
  register-the-runner: |
    /entrypoint register --non-interactive \\
    {{- if .Values.runners.config }}
      --template-config /configmaps/config.template.toml
    {{- else if .Values.runners.configPath }}
      --template-config {{ .Values.runners.configPath }}
    {{- end }}
"""

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "tiny.fullname" . }}
  namespace: {{ .Release.Namespace | quote }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ include "tiny.fullname" . }}}}
  {{- with .Values.strategy }}
  strategy: {{ toYaml . | nindent 4 }}
  {{- end }}
  template:
    metadata:
      labels:
        app: {{ include "tiny.fullname" . }}
        {{- if .Values.podLabels }}
        {{- tpl (toYaml .Values.podLabels) . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/values: {{ toYaml .Values | sha256sum }}
    spec:
      serviceAccountName: {{ include "tiny.account" . }}
      terminationGracePeriodSeconds: {{ default 30 .Values.terminationGracePeriodSeconds }}
      {{- with .Values.topologySpreadConstraints }}
      topologySpreadConstraints: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- if hasKey .Values "automountServiceAccountToken" }}
      automountServiceAccountToken: {{ .Values.automountServiceAccountToken }}
      {{- end }}
      containers:
      - name: {{ include "tiny.fullname" . }}
        image: {{ include "tiny.image" . }}
        imagePullPolicy: {{ .Values.imagePullPolicy | quote }}
        command: ["/bin/bash", "/configmaps/entrypoint"]
        env:
        {{- include "tiny.env" . | indent 8 }}
        livenessProbe:
          exec: {command: ["/bin/bash", "/configmaps/check-live"]}
          periodSeconds: {{ default 60 .Values.probes.periodSeconds }}
        ports:
        - {name: metrics, containerPort: {{ index .Values "metrics" "port" }}}
        volumeMounts:
        - {name: projected-secrets, mountPath: /secrets}
        - {name: scripts, mountPath: /configmaps}
      volumes:
      - name: projected-secrets
        projected:
          sources:
          {{- if hasKey .Values.runners.cache "secretName" }}
          - secret: {name: {{ .Values.runners.cache.secretName | quote }}}
          {{- end }}
          - secret:
              name: {{ include "tiny.secret" . | quote }}
              items:
              - {key: runner-registration-token, path: runner-registration-token}
              - {key: runner-token, path: runner-token}
      - name: scripts
        configMap: {name: {{ include "tiny.fullname" . }}}
      {{- if .Values.tolerations }}
      tolerations: {{ toYaml .Values.tolerations | nindent 8 }}
      {{- end }}
"""

RIGHTS = """\
{{- if .Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{ include "tiny.account" . }}, namespace: {{ .Release.Namespace }}}
---
{{- end }}
{{- if .Values.rbac.create }}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: {{ include "tiny.fullname" . }}, namespace: {{ .Release.Namespace }}}
rules:
{{- range .Values.rbac.rules }}
- {apiGroups: [""], resources: {{ .resources | toJson }}, verbs: {{ .verbs | toJson }}}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: {{ include "tiny.fullname" . }}, namespace: {{ .Release.Namespace }}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ include "tiny.fullname" . }}}
subjects:
- {kind: ServiceAccount, name: {{ include "tiny.fullname" . }}, namespace: {{ .Release.Namespace }}}
{{- end }}
"""

SECRET = """\
{{- if .Values.runnerToken }}
apiVersion: v1
kind: Secret
metadata: {name: {{ include "tiny.secret" . }}, namespace: {{ .Release.Namespace }}}
data:
  runner-registration-token: ""
  runner-token: {{ .Values.runnerToken | b64enc | quote }}
{{- end }}
"""

MONITOR = """\
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: {{ include "tiny.fullname" . }}, labels: {kube: {{ .Capabilities.KubeVersion.Version | quote }}}}
{{- end }}
"""

NOTES = "{{ .Values.runners.namespace }} is what only the notes read.\n"

FILES: Mapping[str, str] = {
    "Chart.yaml": CHART,
    "values.yaml": VALUES,
    "templates/_helpers.tpl": HELPERS,
    "templates/configmap.yaml": CONFIG_MAP,
    "templates/deployment.yaml": DEPLOYMENT,
    "templates/rights.yaml": RIGHTS,
    "templates/secrets.yaml": SECRET,
    "templates/servicemonitor.yaml": MONITOR,
    "templates/NOTES.txt": NOTES,
}


def archive(files: Mapping[str, str] = FILES, *, top: str = "gitlab-runner") -> bytes:
    """The files as a chart's package."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            content = text.encode()
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def folder(place: Path, files: Mapping[str, str] = FILES) -> Path:
    """The files in a folder."""
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place
