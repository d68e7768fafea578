{{/* What pods of the chart need to reach the object store, embedded or external. */}}

{{/* Secret with the credentials, of this name in the release's namespace and in each workload namespace. */}}
{{- define "aiops.objectStore.secretName" -}}
{{- if .Values.objectStore.embedded.enabled -}}
{{- .Values.objectStore.embedded.existingSecret | default "aiops-object-store" }}
{{- else -}}
{{- .Values.objectStore.external.secret.name }}
{{- end }}
{{- end }}

{{/* Empty for Amazon S3 itself. */}}
{{- define "aiops.objectStore.endpoint" -}}
{{- if .Values.objectStore.embedded.enabled -}}
http://{{ include "aiops.fullname" . }}-minio.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{- .Values.objectStore.external.endpoint }}
{{- end }}
{{- end }}

{{- define "aiops.objectStore.region" -}}
{{- if .Values.objectStore.embedded.enabled }}us-east-1{{ else }}{{ .Values.objectStore.external.region }}{{ end }}
{{- end }}

{{- define "aiops.objectStore.pathStyle" -}}
{{- if .Values.objectStore.embedded.enabled }}true{{ else }}{{ .Values.objectStore.external.pathStyle }}{{ end }}
{{- end }}

{{/* "true" where the store is checked with an authority of its own. */}}
{{- define "aiops.objectStore.hasCaBundle" -}}
{{- if not .Values.objectStore.embedded.enabled }}
{{- with .Values.objectStore.external.caBundle }}{{ if or .configMap .secret }}true{{ end }}{{ end }}
{{- end }}
{{- end }}

{{- define "aiops.objectStore.environment" -}}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ include "aiops.objectStore.secretName" . }}
      key: AWS_ACCESS_KEY_ID
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ include "aiops.objectStore.secretName" . }}
      key: AWS_SECRET_ACCESS_KEY
{{- with include "aiops.objectStore.endpoint" . }}
- name: AWS_ENDPOINT_URL_S3
  value: {{ . | quote }}
{{- end }}
- name: AWS_REGION
  value: {{ include "aiops.objectStore.region" . | quote }}
- name: AIOPS_S3_PATH_STYLE
  value: {{ include "aiops.objectStore.pathStyle" . | quote }}
{{- if include "aiops.objectStore.hasCaBundle" . }}
- name: AWS_CA_BUNDLE
  value: /etc/aiops/object-store/ca.crt
{{- end }}
{{- end }}

{{/* The same in the words of boto3, which reads neither AWS_REGION nor the path style. */}}
{{- define "aiops.objectStore.botoEnvironment" -}}
{{ include "aiops.objectStore.environment" . }}
- name: AWS_DEFAULT_REGION
  value: {{ include "aiops.objectStore.region" . | quote }}
- name: MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE
  value: {{ eq (include "aiops.objectStore.pathStyle" .) "true" | ternary "path" "virtual" }}
{{- end }}

{{- define "aiops.objectStore.volumeMount" -}}
{{- if include "aiops.objectStore.hasCaBundle" . -}}
- name: object-store-ca
  mountPath: /etc/aiops/object-store
  readOnly: true
{{- end }}
{{- end }}

{{- define "aiops.objectStore.volume" -}}
{{- if include "aiops.objectStore.hasCaBundle" . -}}
{{- include "aiops.caVolume" (list "object-store-ca" .Values.objectStore.external.caBundle) }}
{{- end }}
{{- end }}

{{/* A volume with one file ca.crt out of a ConfigMap or a Secret: (list name caBundle). */}}
{{- define "aiops.caVolume" -}}
{{- $bundle := index . 1 -}}
- name: {{ index . 0 }}
  {{- if $bundle.configMap }}
  configMap:
    name: {{ $bundle.configMap }}
  {{- else }}
  secret:
    secretName: {{ $bundle.secret }}
  {{- end }}
    items:
      - key: {{ $bundle.key }}
        path: ca.crt
{{- end }}
