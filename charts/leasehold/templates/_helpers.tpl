{{- define "leasehold.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}
{{- define "leasehold.webhook" -}}{{ include "leasehold.name" . }}-webhook{{- end }}
{{- define "leasehold.caSecret" -}}{{ include "leasehold.name" . }}-webhook-ca{{- end }}

{{- define "leasehold.selector" -}}
app.kubernetes.io/name: leasehold-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "leasehold.labels" -}}
{{ include "leasehold.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: leasehold
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* repository:tag or repository@digest. Arguments: image, appVersion. */ -}}
{{- define "leasehold.image" -}}
{{- if .image.digest -}}{{ .image.repository }}@{{ .image.digest }}{{- else -}}{{ .image.repository }}:{{ .image.tag | default .appVersion }}{{- end -}}
{{- end }}

{{- /* Namespaces that no webhook entry ever sees. */ -}}
{{- define "leasehold.namespaceSelector" -}}
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
  - kube-node-lease
  - kube-public
  - kube-system
  - {{ .Release.Namespace }}
{{- range .Values.webhook.excludedNamespaces }}
  - {{ . }}
{{- end }}
{{- end }}

{{- define "leasehold.clientConfig" -}}
service:
  namespace: {{ .root.Release.Namespace }}
  name: {{ include "leasehold.webhook" .root }}
  path: {{ .path }}
  port: 443
{{- if and (eq .root.Values.webhook.certificates.source "files") .root.Values.webhook.certificates.caBundle }}
caBundle: {{ .root.Values.webhook.certificates.caBundle }}
{{- end }}
{{- end }}
