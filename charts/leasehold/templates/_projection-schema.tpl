{{- /* Conditions as the API conventions (and kstatus) have them. */ -}}
{{- define "leasehold.conditionsSchema" -}}
type: array
maxItems: 16
x-kubernetes-list-type: map
x-kubernetes-list-map-keys: [type]
items:
  type: object
  required: [type, status, reason, message, lastTransitionTime]
  properties:
    type: {type: string, minLength: 1, maxLength: 316}
    status: {type: string, enum: ["True", "False", Unknown]}
    reason: {type: string, minLength: 1, maxLength: 1024}
    message: {type: string, maxLength: 32768}
    observedGeneration: {type: integer, format: int64, minimum: 0}
    lastTransitionTime: {type: string, format: date-time}
{{- end }}

{{- /* A duration from .least to a year. .text says the bounds. */ -}}
{{- define "leasehold.durationSchema" -}}
type: string
maxLength: 64
pattern: '^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$'
x-kubernetes-validations:
- rule: "duration(self) >= duration('{{ .least }}') && duration(self) <= duration('8760h')"
  message: must be a duration from {{ .least }} to 8760h
{{- end }}

{{- /*
What lib/api/projection.c checks, as far as a schema and CEL can (tests/component/test_crds.py holds the two together).
Rules on files are priced by the API server for 256 items of 256 files, so what a pattern can say is said by a pattern.
Left to the controllers, as condition and mount error: names that collide over two items, bytes of letters beyond ASCII.
*/ -}}
{{- define "leasehold.projectionVersion" -}}
name: v1alpha1
served: true
storage: true
additionalPrinterColumns:
- {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
- {name: Store, type: string, jsonPath: .spec.storeRef.name}
- {name: Reason, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].reason'}
- {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
subresources:
  status: {}
schema:
  openAPIV3Schema:
    description: Secrets of a manager as files in memory, for the Pods that mount them; on request as a Kubernetes Secret.
    type: object
    required: [spec]
    properties:
      apiVersion: {type: string}
      kind: {type: string}
      metadata: {type: object}
      spec:
        type: object
        required: [items]
        properties:
          storeRef:
            description: The store to ask. Left out, the namespace's default store, or the only one that admits the namespace.
            type: object
            required: [name]
            x-kubernetes-map-type: atomic
            properties:
              kind:
                description: Left out means SecretStore.
                type: string
                enum: [SecretStore, ClusterSecretStore]
              name:
                type: string
                maxLength: 253
                pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'
          role:
            description: The manager's role to log in to, within the store's allow.roles. Left out, the store's own.
            type: string
            minLength: 1
            maxLength: 512
            pattern: '^[^\x00-\x1f\x7f]+$'
          items:
            description: What to read or to have issued. Equal (path, params, version) are one credential.
            type: array
            minItems: 1
            maxItems: 256
            x-kubernetes-list-type: map
            x-kubernetes-list-map-keys: [name]
            x-kubernetes-validations:
            - rule: "self.map(i, has(i.files) && size(i.files) > 0 ? size(i.files) : 1).sum() <= 256"
              message: asks for more than 256 files
            items:
              type: object
              required: [name, path]
              x-kubernetes-validations:
              - rule: "!(has(self.version) && has(self.params))"
                message: version is of reads and params makes a write; give one of them
              properties:
                name:
                  description: A name within the projection; also the folder of its files where files is left out.
                  type: string
                  maxLength: 63
                  pattern: '^[a-zA-Z0-9][a-zA-Z0-9._-]*$'
                path:
                  description: "The manager's path, as database/creds/shop. May hold {cluster}, {namespace}, {serviceAccount}."
                  type: string
                  minLength: 1
                  maxLength: 1024
                  x-kubernetes-validations:
                  - rule: "!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')"
                    message: must be a path without a slash in front, at the end, or twice
                  - rule: "!self.matches('(^|/)[.][.]?(/|$)')"
                    message: must not hold a segment . or ..
                  - rule: '!self.matches(r"[%?#\\\x00-\x1f\x7f-\x{9f}]")'
                    message: "must not hold %, ?, #, a backslash or control characters"
                  - rule: "!self.matches('(^|/) | (/|$)')"
                    message: must not hold a segment that begins or ends with a space
                params:
                  description: Makes it a write with this body, where the manager wants one (pki/issue/...).
                  type: object
                  x-kubernetes-preserve-unknown-fields: true
                version:
                  description: A version of KV 2. Left out, the newest.
                  type: integer
                  format: int64
                  minimum: 1
                optional:
                  description: true lets a Pod start without this item when the manager says that it is not there.
                  type: boolean
                refresh:
                  type: object
                  properties:
                    interval: {{- include "leasehold.durationSchema" (dict "least" "100ms") | nindent 22 }}
                overlap: {{- include "leasehold.durationSchema" (dict "least" "0s") | nindent 18 }}
                files:
                  description: Left out, a folder of the item's name with one raw file per key.
                  type: array
                  maxItems: 256
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [path]
                  items:
                    type: object
                    required: [path]
                    x-kubernetes-validations:
                    - rule: "!self.path.startsWith('/')"
                      message: path must be a relative path, without a slash in front
                    - rule: "!has(self.template) || !has(self.format) || self.format == 'template'"
                      message: has a template, so its format can only be template
                    - rule: "has(self.template) || !has(self.format) || self.format != 'template'"
                      message: has the format template and no template
                    - rule: "!has(self.key) || (!has(self.template) && (!has(self.format) || self.format == 'raw'))"
                      message: names one key, which is written raw; leave the format or the key out
                    properties:
                      path:
                        description: >-
                          Below the mount: relative, each segment 1 to 255 bytes, none . or beginning with two dots.
                          Without key, format and template it is a folder of one raw file per key.
                        type: string
                        maxLength: 512
                        pattern: {{ include "leasehold.filePathPattern" . | squote }}
                      key:
                        description: One key's value, written as it is.
                        type: string
                        minLength: 1
                        maxLength: 1024
                      format:
                        type: string
                        enum: [raw, json, yaml, env, properties, template]
                      template:
                        description: "Text with {{ "{{ .key }}" }} and {{ "{{ .key | urlquery }}" }}."
                        type: string
                        maxLength: 65536
                      mode:
                        description: Octal, at most 0777. Left out, 0440 where the Pod has an fsGroup, else 0444.
                        type: string
                        pattern: '^0?[0-7]{3}$'
          refresh:
            description: How often secrets without a lease are looked at. Left out, the store's refresh.default.
            type: object
            properties:
              interval: {{- include "leasehold.durationSchema" (dict "least" "100ms") | nindent 16 }}
          overlap:
            description: An old credential lives on this long beside the new one, or to its own end. Left out means 5m.
{{ include "leasehold.durationSchema" (dict "least" "0s") | indent 12 }}
          staleness:
            description: What happens to files that could not be confirmed for long. Left out, they stay.
            type: object
            properties:
              maxAge: {{- include "leasehold.durationSchema" (dict "least" "1s") | nindent 16 }}
              then:
                type: string
                enum: [Keep, Remove]
          revocation:
            description: Whether credentials end with their last user. Left out means Revoke.
            type: string
            enum: [Revoke, Retain]
          serviceAccountName:
            description: Whose account asks for the copy in kubernetesSecret. A mount always uses the Pod's own.
            type: string
            maxLength: 253
            pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'
          kubernetesSecret:
            description: >-
              A copy in etcd, where cluster.namespaces of the chart lists the namespace. A Secret that is not ours is never
              overwritten without adopt.
            type: object
            required: [name]
            properties:
              name:
                type: string
                maxLength: 253
                pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'
              type:
                description: Left out means Opaque.
                type: string
                enum:
                - Opaque
                - kubernetes.io/basic-auth
                - kubernetes.io/dockerconfigjson
                - kubernetes.io/ssh-auth
                - kubernetes.io/tls
              adopt: {type: boolean}
          onChange:
            type: object
            properties:
              restart:
                description: Workloads of this namespace that are rolled when a secret without a lease changes.
                type: array
                maxItems: 16
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [kind, name]
                items:
                  type: object
                  required: [kind, name]
                  properties:
                    kind:
                      type: string
                      enum: [Deployment, StatefulSet, DaemonSet]
                    name:
                      type: string
                      maxLength: 253
                      pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'
      status:
        description: Of the copy and the restarts; written on transitions only.
        type: object
        properties:
          observedGeneration: {type: integer, format: int64}
          conditions: {{- include "leasehold.conditionsSchema" . | nindent 12 }}
          items:
            type: array
            maxItems: 256
            x-kubernetes-list-type: map
            x-kubernetes-list-map-keys: [name]
            items:
              type: object
              required: [name]
              properties:
                name: {type: string, maxLength: 63}
                version:
                  description: A keyed hash of the published content; says that it changed, and nothing else.
                  type: string
                  maxLength: 128
                publishedTime: {type: string, format: date-time}
{{- end }}

{{- /* Segments of 1 to 255, not ".", not beginning with "..", without control characters; parted by single slashes. */ -}}
{{- define "leasehold.filePathPattern" -}}
{{- $c := "[^/\\x00-\\x1f\\x7f]" -}}
{{- $d := "[^./\\x00-\\x1f\\x7f]" -}}
{{- $segment := printf "(%s%s{0,254}|\\.%s%s{0,253})" $d $c $d $c -}}
^{{ $segment }}(/{{ $segment }})*$
{{- end }}
