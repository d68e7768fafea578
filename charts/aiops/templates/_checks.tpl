{{/*
Values that contradict each other, each as one line that says what to write instead. The schema says what a single value may
be; what two of them may be together is said here. All are reported at once.
*/}}
{{- define "aiops.checks" -}}
{{- $errors := concat
  (include "aiops.checks.postgresql" . | fromYamlArray)
  (include "aiops.checks.objectStore" . | fromYamlArray)
}}
{{- if $errors }}
{{- fail (printf "the values contradict each other:\n  - %s" (join "\n  - " $errors)) }}
{{- end }}
{{- end }}

{{- define "aiops.checks.postgresql" -}}
{{- $embedded := .Values.postgresql.embedded }}
{{- $external := .Values.postgresql.external }}
{{- $errors := list }}
{{- if and $embedded.enabled $external.host }}
{{- $errors = append $errors (printf "postgresql.embedded.enabled is true and postgresql.external.host is %q: set postgresql.embedded.enabled=false to use that server, or leave postgresql.external.host empty" $external.host) }}
{{- end }}
{{- if not $embedded.enabled }}
{{- if not $external.host }}
{{- $errors = append $errors "postgresql.embedded.enabled is false and postgresql.external.host is empty: name the server that MLflow is to use" }}
{{- else if not $external.passwordSecret.name }}
{{- $errors = append $errors (printf "postgresql.external.host is %q and postgresql.external.passwordSecret.name is empty: name the Secret in namespace %s that holds the password" $external.host .Release.Namespace) }}
{{- end }}
{{- if and $external.caBundle.configMap $external.caBundle.secret }}
{{- $errors = append $errors "postgresql.external.caBundle names a configMap and a secret: leave one of them empty" }}
{{- end }}
{{- if and (has $external.sslMode (list "verify-ca" "verify-full")) (not (or $external.caBundle.configMap $external.caBundle.secret)) }}
{{- $errors = append $errors (printf "postgresql.external.sslMode is %s and postgresql.external.caBundle names nothing to verify with: set its configMap or secret" $external.sslMode) }}
{{- end }}
{{- end }}
{{- toYaml $errors }}
{{- end }}

{{- define "aiops.checks.objectStore" -}}
{{- $embedded := .Values.objectStore.embedded }}
{{- $external := .Values.objectStore.external }}
{{- $buckets := .Values.objectStore.buckets }}
{{- $errors := list }}
{{- if $embedded.enabled }}
{{- if $external.endpoint }}
{{- $errors = append $errors (printf "objectStore.embedded.enabled is true and objectStore.external.endpoint is %q: set objectStore.embedded.enabled=false to use that store, or leave objectStore.external.endpoint empty" $external.endpoint) }}
{{- end }}
{{- if $external.secret.name }}
{{- $errors = append $errors (printf "objectStore.embedded.enabled is true and objectStore.external.secret.name is %q: set objectStore.embedded.enabled=false to use an external store, or objectStore.embedded.existingSecret to give the embedded one your credentials" $external.secret.name) }}
{{- end }}
{{- else }}
{{- if not $external.secret.name }}
{{- $errors = append $errors (printf "objectStore.embedded.enabled is false and objectStore.external.secret.name is empty: name the Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in namespace %s and in each workload namespace" .Release.Namespace) }}
{{- end }}
{{- if and $external.caBundle.configMap $external.caBundle.secret }}
{{- $errors = append $errors "objectStore.external.caBundle names a configMap and a secret: leave one of them empty" }}
{{- end }}
{{- if and (hasPrefix "http://" $external.endpoint) (or $external.caBundle.configMap $external.caBundle.secret) }}
{{- $errors = append $errors (printf "objectStore.external.caBundle is set and objectStore.external.endpoint is %q, which uses no TLS: write https://, or leave caBundle empty" $external.endpoint) }}
{{- end }}
{{- end }}
{{- if ne (len (uniq (list $buckets.mlflow $buckets.models $buckets.datasets))) 3 }}
{{- $errors = append $errors (printf "objectStore.buckets are mlflow=%s, models=%s, datasets=%s: name three different buckets" $buckets.mlflow $buckets.models $buckets.datasets) }}
{{- end }}
{{- toYaml $errors }}
{{- end }}
