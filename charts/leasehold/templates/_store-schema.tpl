{{- /* The part of both store kinds' schema that is equal. Arguments: cluster (bool). */ -}}
{{- define "leasehold.storeVersion" -}}
name: v1alpha1
served: true
storage: true
additionalPrinterColumns:
- {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
- {name: Reason, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].reason'}
- {name: Address, type: string, jsonPath: ".spec.vault.addresses[0]"}
- {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
subresources:
  status: {}
schema:
  openAPIV3Schema:
    type: object
    required: [spec]
    properties:
      apiVersion: {type: string}
      kind: {type: string}
      metadata: {type: object}
      spec:
        type: object
        required: [vault]
        properties:
          vault:
            description: A Vault or OpenBao server.
            type: object
            required: [addresses, auth]
            x-kubernetes-validations:
            - rule: "!(has(self.caBundle) && has(self.caBundleRef))"
              message: give caBundle or caBundleRef, not both
            properties:
              addresses:
                description: Base URLs of one cluster, in order of preference. Also the only hosts a redirect may lead to.
                type: array
                minItems: 1
                maxItems: 8
                x-kubernetes-list-type: atomic
                items:
                  type: string
                  maxLength: 512
                  pattern: '^https://[^/?#@\s]+$'
              namespace:
                description: The manager's own namespace. May hold {cluster}, {namespace}, {serviceAccount}.
                type: string
                minLength: 1
                maxLength: 512
              caBundle:
                description: Base64 of PEM certificates, several while a CA is rotated.
                type: string
                format: byte
                maxLength: 131072
              caBundleRef:
                description: A ConfigMap in the Pod's namespace, mounted into the agent and re-read when it changes.
                type: object
                required: [name, key]
                properties:
                  name: {type: string, minLength: 1, maxLength: 253}
                  key: {type: string, minLength: 1, maxLength: 253}
              tlsServerName:
                description: The name on the certificate, where it is not the host of the address.
                type: string
                minLength: 1
                maxLength: 253
              kv2Mounts:
                description: KV version 2 mounts, for comparing paths with allow. Left out means [secret].
                type: array
                maxItems: 64
                x-kubernetes-list-type: set
                items: {type: string, minLength: 1, maxLength: 512}
              auth:
                type: object
                x-kubernetes-validations:
{{- if .cluster }}
                - rule: "(has(self.jwt) ? 1 : 0) + (has(self.kubernetes) ? 1 : 0) == 1"
                  message: give exactly one of jwt and kubernetes (secret references belong to a SecretStore)
{{- else }}
                - rule: "(has(self.jwt) ? 1 : 0) + (has(self.kubernetes) ? 1 : 0) + (has(self.appRole) ? 1 : 0) + (has(self.cert) ? 1 : 0) + (has(self.token) ? 1 : 0) == 1"
                  message: give exactly one of jwt, kubernetes, appRole, cert and token
{{- end }}
                properties:
                  jwt:
                    description: The Pod's ServiceAccount token, checked by the manager against the issuer's keys.
                    type: object
                    required: [role, audience]
                    properties:
                      mount: {type: string, minLength: 1, maxLength: 512}
                      role: {type: string, minLength: 1, maxLength: 512}
                      audience:
                        type: string
                        minLength: 1
                        maxLength: 512
                        x-kubernetes-validations:
                        - rule: "!self.startsWith('https://kubernetes.default') && !self.startsWith('kubernetes.default') && self != 'api'"
                          message: this is the API server's own audience, with which the manager could act as the Pod
                  kubernetes:
                    description: The Pod's ServiceAccount token, checked by the manager with a TokenReview.
                    type: object
                    required: [role, audience]
                    properties:
                      mount: {type: string, minLength: 1, maxLength: 512}
                      role: {type: string, minLength: 1, maxLength: 512}
                      audience:
                        type: string
                        minLength: 1
                        maxLength: 512
                        x-kubernetes-validations:
                        - rule: "!self.startsWith('https://kubernetes.default') && !self.startsWith('kubernetes.default') && self != 'api'"
                          message: this is the API server's own audience, with which the manager could act as the Pod
{{- if not .cluster }}
                  appRole:
                    type: object
                    required: [roleId, secretIdRef]
                    properties:
                      mount: {type: string, minLength: 1, maxLength: 512}
                      roleId: {type: string, minLength: 1, maxLength: 512}
                      secretIdRef:
                        description: A key of a Secret in the store's namespace; kubelet mounts it into the agent.
                        type: object
                        required: [name, key]
                        properties:
                          name: {type: string, minLength: 1, maxLength: 253}
                          key: {type: string, minLength: 1, maxLength: 253}
                  cert:
                    type: object
                    required: [secretRef]
                    properties:
                      mount: {type: string, minLength: 1, maxLength: 512}
                      role: {type: string, minLength: 1, maxLength: 512}
                      secretRef:
                        description: A Secret of type kubernetes.io/tls in the store's namespace.
                        type: object
                        required: [name]
                        properties:
                          name: {type: string, minLength: 1, maxLength: 253}
                  token:
                    type: object
                    required: [secretRef]
                    properties:
                      secretRef:
                        type: object
                        required: [name, key]
                        properties:
                          name: {type: string, minLength: 1, maxLength: 253}
                          key: {type: string, minLength: 1, maxLength: 253}
{{- end }}
          refresh:
            description: How often secrets without a lease are looked at.
            type: object
            properties:
              default: {type: string, pattern: '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'}
              min: {type: string, pattern: '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'}
          verify:
            description: The token is looked up when nothing else proved it alive for so long.
            type: string
            pattern: '^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$'
          limits:
            description: Per process.
            type: object
            properties:
              requestsPerSecond: {type: integer, minimum: 1, maximum: 100000}
              maxInFlight: {type: integer, minimum: 1, maximum: 10000}
{{- if .cluster }}
          allow:
            description: Who may use this store, for which roles and paths. Empty means nobody.
            type: array
            maxItems: 256
            x-kubernetes-list-type: atomic
            items:
              type: object
              x-kubernetes-validations:
              - rule: "has(self.namespaces) != has(self.namespaceSelector)"
                message: give exactly one of namespaces and namespaceSelector
              properties:
                namespaceSelector:
                  type: object
                  x-kubernetes-map-type: atomic
                  properties:
                    matchLabels:
                      type: object
                      additionalProperties: {type: string}
                    matchExpressions:
                      type: array
                      x-kubernetes-list-type: atomic
                      items:
                        type: object
                        required: [key, operator]
                        properties:
                          key: {type: string}
                          operator: {type: string, enum: [In, NotIn, Exists, DoesNotExist]}
                          values:
                            type: array
                            x-kubernetes-list-type: atomic
                            items: {type: string}
                namespaces:
                  type: array
                  minItems: 1
                  maxItems: 256
                  x-kubernetes-list-type: set
                  items: {type: string, minLength: 1, maxLength: 63}
                roles:
                  type: array
                  maxItems: 64
                  x-kubernetes-list-type: atomic
                  items: {type: string, minLength: 1, maxLength: 512}
                paths:
                  type: array
                  maxItems: 256
                  x-kubernetes-list-type: atomic
                  items: {type: string, minLength: 1, maxLength: 1024}
{{- end }}
      status:
        description: What the cluster controller found; written when it changes.
        type: object
        properties:
          observedGeneration: {type: integer, format: int64}
          conditions: {{- include "leasehold.conditionsSchema" . | nindent 12 }}
{{- end }}
