{{/* Names, labels and the parts that every pod of the chart has in common. */}}

{{- define "aiops.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of all names. 50 characters leave room for the longest suffix within a Service's 63. */}}
{{- define "aiops.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "aiops.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "aiops.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels that select the pods of a component: (list context component). They never change between versions. */}}
{{- define "aiops.selectorLabels" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ include "aiops.name" $context }}
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of a resource of a component: (list context component). */}}
{{- define "aiops.labels" -}}
{{- $context := index . 0 -}}
{{ include "aiops.selectorLabels" . }}
app.kubernetes.io/part-of: aiops
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Reference of an image: (list context image). */}}
{{- define "aiops.image" -}}
{{- $shared := (index . 0).Values.image -}}
{{- $image := index . 1 -}}
{{- $image.registry | default $shared.registry | trimSuffix "/" }}/{{ $image.repository }}:{{ $image.tag | default $shared.tag }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/*
Metadata of a component's pods: (list context component values). Without the versions, which would restart every pod with each
new version of the chart.
*/}}
{{- define "aiops.podMetadata" -}}
{{- $values := index . 2 -}}
labels:
  {{- include "aiops.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/part-of: aiops
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
What every pod spec starts with: (list context values).
Service links are off: a Service named aiops-… would set variables named AIOPS_…, among which are the product's own.
*/}}
{{- define "aiops.podSpec" -}}
{{- $context := index . 0 -}}
{{- $values := index . 1 -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $context.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "aiops.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The one entry of volumeClaimTemplates of a component: (list context component persistence). */}}
{{- define "aiops.volumeClaimTemplate" -}}
{{- $persistence := index . 2 -}}
- metadata:
    name: data
    labels:
      {{- include "aiops.selectorLabels" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with $persistence.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ $persistence.size }}
{{- end }}

{{/* "true" where ServiceMonitors are wanted. */}}
{{- define "aiops.serviceMonitors" -}}
{{- $wanted := .Values.monitoring.serviceMonitors -}}
{{- if or (eq $wanted "enabled") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor")) -}}
true
{{- end }}
{{- end }}

{{/* A ServiceMonitor of a component whose Service has the port `http` or `metrics`: (list context component port). */}}
{{- define "aiops.serviceMonitor" -}}
{{- $context := index . 0 -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "aiops.fullname" $context }}-{{ index . 1 }}
  namespace: {{ $context.Release.Namespace }}
  labels:
    {{- include "aiops.labels" . | nindent 4 }}
    {{- with $context.Values.monitoring.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "aiops.selectorLabels" . | nindent 6 }}
  endpoints:
    - port: {{ index . 2 }}
      path: /metrics
      interval: {{ $context.Values.monitoring.interval }}
{{- end }}
