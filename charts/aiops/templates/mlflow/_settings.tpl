{{/*
Values of the Host header that MLflow answers. Naming any replaces MLflow's own list, so that list is repeated here, after the
Service's names with and without the port. Matching is by the exact text unless there is a `*` in it.
*/}}
{{- define "aiops.mlflow.allowedHosts" -}}
{{- $name := printf "%s-mlflow" (include "aiops.fullname" .) }}
{{- $hosts := list }}
{{- range list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) "localhost" "127.0.0.1" "[::1]" }}
{{- $hosts = concat $hosts (list . (printf "%s:*" .)) }}
{{- end }}
{{- $hosts = concat $hosts (list "10.*" "192.168.*" "fc00:*" "fd00:*") }}
{{- range untilStep 16 32 1 }}
{{- $hosts = append $hosts (printf "172.%d.*" .) }}
{{- end }}
{{- concat $hosts .Values.mlflow.allowedHosts | uniq | join "," }}
{{- end }}
