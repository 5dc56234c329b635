{{- define "leasehold.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}
{{- define "leasehold.webhook" -}}{{ include "leasehold.name" . }}-webhook{{- end }}
{{- define "leasehold.node" -}}{{ include "leasehold.name" . }}-node{{- end }}
{{- define "leasehold.cluster" -}}{{ include "leasehold.name" . }}-controller{{- end }}
{{- define "leasehold.ledger" -}}{{ include "leasehold.cluster" . }}-ledger{{- end }}
{{- define "leasehold.caSecret" -}}{{ include "leasehold.name" . }}-webhook-ca{{- end }}

{{- define "leasehold.selector" -}}
app.kubernetes.io/name: leasehold-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "leasehold.nodeSelector" -}}
app.kubernetes.io/name: leasehold-node
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "leasehold.clusterSelector" -}}
app.kubernetes.io/name: leasehold-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "leasehold.labels" -}}
{{ include "leasehold.selector" . }}
{{ include "leasehold.commonLabels" . }}
{{- end }}

{{- define "leasehold.nodeLabels" -}}
{{ include "leasehold.nodeSelector" . }}
{{ include "leasehold.commonLabels" . }}
{{- end }}

{{- define "leasehold.clusterLabels" -}}
{{ include "leasehold.clusterSelector" . }}
{{ include "leasehold.commonLabels" . }}
{{- end }}

{{- define "leasehold.commonLabels" -}}
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

{{- /* The token that automount would give, as the only one, mounted read-only where it is needed. */ -}}
{{- define "leasehold.apiToken" -}}
name: api-token
projected:
  defaultMode: 0440
  sources:
  - serviceAccountToken: {path: token, expirationSeconds: 3607}
  - configMap:
      name: kube-root-ca.crt
      items: [{key: ca.crt, path: ca.crt}]
  - downwardAPI:
      items:
      - {path: namespace, fieldRef: {fieldPath: metadata.namespace}}
{{- end }}

{{- define "leasehold.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Whose tokens the cluster controller may ask for: the same audiences as kubelet's, unless it has its own. */ -}}
{{- define "leasehold.clusterAudiences" -}}
{{ .Values.cluster.audiences | default .Values.node.audiences | toJson }}
{{- end }}

{{- /* Egress that each of our Pods needs: names, and the API server. */ -}}
{{- define "leasehold.egressCluster" -}}
- ports:
  - {port: 53, protocol: UDP}
  - {port: 53, protocol: TCP}
- ports:
  - {port: 443, protocol: TCP}
  - {port: 6443, protocol: TCP}
  {{- with .Values.networkPolicy.apiServerCIDR }}
  to:
  - ipBlock: {cidr: {{ . | quote }}}
  {{- end }}
{{- end }}

{{- /* Where the secret managers are. */ -}}
{{- define "leasehold.egressManager" -}}
- ports:
  {{- range .Values.networkPolicy.managerPorts }}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
  {{- with .Values.networkPolicy.managerCIDRs }}
  to:
  {{- range . }}
  - ipBlock: {cidr: {{ . | quote }}}
  {{- end }}
  {{- end }}
{{- end }}
