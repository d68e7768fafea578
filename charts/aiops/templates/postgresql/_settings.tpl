{{/* How MLflow reaches its database, embedded or external. */}}

{{- define "aiops.postgresql.secretName" -}}
{{- if .Values.postgresql.embedded.enabled -}}
{{- .Values.postgresql.embedded.existingSecret | default (printf "%s-postgresql" (include "aiops.fullname" .)) }}
{{- else -}}
{{- .Values.postgresql.external.passwordSecret.name }}
{{- end }}
{{- end }}

{{- define "aiops.postgresql.secretKey" -}}
{{- if .Values.postgresql.embedded.enabled }}password{{ else }}{{ .Values.postgresql.external.passwordSecret.key }}{{ end }}
{{- end }}

{{- define "aiops.postgresql.hasCaBundle" -}}
{{- if not .Values.postgresql.embedded.enabled }}
{{- with .Values.postgresql.external.caBundle }}{{ if or .configMap .secret }}true{{ end }}{{ end }}
{{- end }}
{{- end }}

{{/*
The database's address without the password, which libpq takes from PGPASSWORD: so it may hold any character, and the address
may appear in a log.
*/}}
{{- define "aiops.postgresql.uri" -}}
{{- if .Values.postgresql.embedded.enabled -}}
postgresql+psycopg2://mlflow@{{ include "aiops.fullname" . }}-postgresql.{{ .Release.Namespace }}.svc:5432/mlflow
{{- else -}}
{{- with .Values.postgresql.external -}}
postgresql+psycopg2://{{ .username | urlquery }}@{{ .host }}:{{ .port }}/{{ .database | urlquery }}?sslmode={{ .sslMode }}
{{- end }}
{{- end }}
{{- end }}

{{- define "aiops.postgresql.environment" -}}
- name: MLFLOW_BACKEND_STORE_URI
  value: {{ include "aiops.postgresql.uri" . | quote }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "aiops.postgresql.secretName" . }}
      key: {{ include "aiops.postgresql.secretKey" . }}
{{- if include "aiops.postgresql.hasCaBundle" . }}
- name: PGSSLROOTCERT
  value: /etc/aiops/postgresql/ca.crt
{{- end }}
{{- end }}

{{- define "aiops.postgresql.volumeMount" -}}
{{- if include "aiops.postgresql.hasCaBundle" . -}}
- name: postgresql-ca
  mountPath: /etc/aiops/postgresql
  readOnly: true
{{- end }}
{{- end }}

{{- define "aiops.postgresql.volume" -}}
{{- if include "aiops.postgresql.hasCaBundle" . -}}
{{- include "aiops.caVolume" (list "postgresql-ca" .Values.postgresql.external.caBundle) }}
{{- end }}
{{- end }}
