{{- define "lab.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (hasPrefix $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "lab.namespace" -}}
{{- default .Release.Namespace .Values.namespace -}}
{{- end -}}
{{- define "lab.account" -}}
{{- if or .Values.serviceAccount.create .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name | default (include "lab.fullname" .) -}}
{{- else if .Values.rbac.create -}}
{{- .Values.rbac.generatedServiceAccountName | default (include "lab.fullname" .) -}}
{{- else -}}
{{- .Values.rbac.serviceAccountName | default "default" -}}
{{- end -}}
{{- end -}}
{{- define "lab.makesAccount" -}}
{{- if or .Values.serviceAccount.create (and .Values.rbac.create (kindIs "invalid" .Values.serviceAccount.create)) -}}yes{{- end -}}
{{- end -}}
{{- define "lab.secret" -}}
{{- if .Values.runners.secret }}{{ tpl .Values.runners.secret $ }}{{ else }}{{ include "lab.fullname" . }}{{ end -}}
{{- end -}}
{{- define "lab.meta" -}}
namespace: {{ include "lab.namespace" . | quote }}
labels:
{{- include "lab.labels" . | nindent 2 }}
{{- end -}}
{{- define "lab.labels" -}}
app: {{ include "lab.fullname" . }}
chart: {{ .Chart.Name }}-{{ .Chart.Version }}
release: {{ .Release.Name | quote }}
heritage: {{ .Release.Service | quote }}
{{- end -}}
{{- define "lab.image" -}}
{{- $tag := default (printf "alpine-v%s" .Chart.AppVersion) .Values.image.tag -}}
{{- tpl (printf "%s/%s:%s" .Values.image.registry .Values.image.image $tag) $ -}}
{{- end -}}
