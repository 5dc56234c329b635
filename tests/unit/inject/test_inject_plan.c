/* SPDX-License-Identifier: Apache-2.0 */
/* What each annotation takes, and the sentence that whoever writes a wrong one gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "leasehold/core/mem.h"
#include "world.h"

static const char stores[] =
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: ClusterSecretStore\n"
    "metadata: {name: vault, generation: 3}\n"
    "spec:\n"
    "  vault:\n"
    "    addresses: [\"https://vault.example:8200\"]\n"
    "    auth: {jwt: {role: \"{namespace}-{serviceAccount}\", audience: vault}}\n"
    "  allow:\n"
    "  - namespaceSelector: {matchLabels: {team: shop}}\n"
    "    roles: [\"{namespace}-*\"]\n"
    "    paths: [\"secret/{namespace}/*\", \"database/creds/shop\"]\n"
    "---\n"
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: ClusterSecretStore\n"
    "metadata: {name: closed}\n"
    "spec:\n"
    "  vault: {addresses: [\"https://vault.example\"], auth: {jwt: {role: r, audience: vault}}}\n"
    "---\n"
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: ClusterSecretStore\n"
    "metadata: {name: local}\n"
    "spec:\n"
    "  vault:\n"
    "    addresses: [\"https://127.0.0.1:8200\"]\n"
    "    auth: {jwt: {mount: \"k8s-{cluster}\", role: r, audience: vault}}\n"
    "  allow: [{namespaces: [lab], paths: [\"secret/*\"]}]\n"
    "---\n"
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: SecretStore\n"
    "metadata: {name: vault, namespace: both}\n"
    "spec: {vault: {addresses: [\"https://v\"], auth: {jwt: {role: r, audience: vault}}}}\n"
    "---\n"
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: SecretStore\n"
    "metadata: {name: a, namespace: two}\n"
    "spec: {vault: {addresses: [\"https://v\"], auth: {token: {secretRef: {name: s, key: k}}}}}\n"
    "---\n"
    "apiVersion: leasehold.dev/v1alpha1\n"
    "kind: SecretStore\n"
    "metadata: {name: b, namespace: two}\n"
    "spec: {vault: {addresses: [\"https://v\"], auth: {jwt: {role: r, audience: vault}}}}\n"
    "---\n"
    "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: shop}}}\n"
    "---\n"
    "{apiVersion: v1, kind: Namespace, metadata: {name: both, labels: {team: shop}}}\n"
    "---\n"
    "{apiVersion: v1, kind: Namespace, metadata: {name: odd, labels: {team: shop}, annotations: "
    "{leasehold.dev/default-store: SecretStore/none}}}\n"
    "---\n"
    "{apiVersion: v1, kind: Namespace, metadata: {name: worse, labels: {team: shop}, annotations: "
    "{leasehold.dev/default-store: Store/none}}}\n";

#define P      "leasehold.dev/"
#define DB     P "secret.db: database/creds/shop"
#define SEE(r) " See: kubectl leasehold explain " r
#define HOOK   P "on-change: 'exec:[\"/hooks/reload\"]'"
#define WEB    "{containers: [{name: web, image: w}]}"

static const struct row {
    const char *name;
    const char *ns, *annotations, *spec, *policy;
    const char *says; /* every problem, "deny " or "warn " in front, joined by newlines; "": none */
} rows[] = {
    {"one annotation is enough", "shop", DB, WEB, NULL, ""},
    {"a key", "shop", P "secret.db: database/creds/shop#username", WEB, NULL, ""},
    {"nothing behind the #", "shop", P "secret.db: \"database/creds/shop#\"", WEB, NULL,
     "deny " P "secret.db: AnnotationInvalid: has no key behind #; write PATH#KEY, or PATH for all "
     "keys." SEE("AnnotationInvalid")},
    {"a path that is not allowed", "shop", P "secret.db: database/creds/bank", WEB, NULL,
     "deny " P "secret.db: PathNotAllowed: ClusterSecretStore \"vault\" does not let namespace "
     "\"shop\" read \"database/creds/bank\"; it allows secret/shop/*, database/creds/shop." SEE(
         "PathNotAllowed")},
    {"dots", "shop", P "secret.db: secret/shop/../bank", WEB, NULL,
     "deny " P "secret.db: PathInvalid: the path \"secret/shop/../bank\": has a segment . or "
     ".." SEE("PathInvalid")},
    {"encoded dots", "shop", P "secret.db: secret/shop/%2e%2e/bank", WEB, NULL,
     "deny " P "secret.db: PathInvalid: the path \"secret/shop/%2e%2e/bank\": holds %; write the "
     "characters themselves, they are encoded where needed." SEE("PathInvalid")},
    {"placeholders in the path", "shop", P "secret.db: \"secret/{namespace}/x\"", WEB, NULL, ""},
    {"an unknown placeholder", "shop", P "secret.db: \"secret/{pod}/x\"", WEB, NULL,
     "deny " P "secret.db: PathInvalid: braces hold something other than {cluster}, {namespace} "
     "or {serviceAccount}." SEE("PathInvalid")},
    {"a value that is no string", "shop", P "secret.db: 5", WEB, NULL,
     "deny " P "secret.db: AnnotationInvalid: an annotation's value must be a string; put it in "
     "quotes." SEE("AnnotationInvalid")},
    {"an empty value", "shop", P "secret.db: \"\"", WEB, NULL,
     "deny " P "secret.db: AnnotationInvalid: must not be empty." SEE("AnnotationInvalid")},
    {"a misspelled name", "shop", DB ", " P "stor: vault", WEB, NULL,
     "deny " P "stor: AnnotationUnknown: no annotation of this name is known; the nearest is " P
     "store." SEE("AnnotationUnknown")},
    {"a misspelled name where that is a warning", "shop", DB ", " P "stor: vault", WEB,
     "unknownAnnotations: Warn",
     "warn " P "stor: AnnotationUnknown: no annotation of this name is known; the nearest is " P
     "store." SEE("AnnotationUnknown")},
    {"a setting of no secret", "shop", DB ", " P "file.bd: a", WEB, NULL,
     "deny " P "file.bd: AnnotationInvalid: there is no " P "secret.bd." SEE("AnnotationInvalid")},
    {"a setting of nearly a secret", "shop",
     P "secret.database: database/creds/shop, " P "file.databsae: a", WEB, NULL,
     "deny " P "file.databsae: AnnotationInvalid: there is no " P "secret.databsae; the nearest "
     "is " P "secret.database." SEE("AnnotationInvalid")},
    {"inject that is neither", "shop", DB ", " P "inject: \"yes\"", WEB, NULL,
     "deny " P
     "inject: AnnotationInvalid: must be \"true\" or \"false\"." SEE("AnnotationInvalid")},
    {"inject without a secret", "shop", P "inject: \"true\"", WEB, NULL,
     "deny " P "inject: AnnotationInvalid: injection is asked for and no secret named; add " P
     "secret.NAME." SEE("AnnotationInvalid")},
    {"projections of a platform without the driver", "shop", P "projections: a", WEB,
     "projections: false",
     "deny " P "projections: ProjectionsNotServed: the platform runs no driver for "
     "SecretProjection volumes; name the secrets with " P
     "secret.NAME." SEE("ProjectionsNotServed")},
    {"a projection of no possible name", "shop", P "projections: \"a,B\"", WEB, NULL,
     "deny " P "projections: AnnotationInvalid: must be names of SecretProjections, at most 32, "
     "with commas in between." SEE("AnnotationInvalid")},
    {"a projection twice", "shop", P "projections: \"a, a\"", WEB, NULL,
     "deny " P "projections: AnnotationInvalid: must name each SecretProjection "
     "once." SEE("AnnotationInvalid")},
    {"a projection where a secret's files are", "shop", DB ", " P "projections: db", WEB, NULL,
     "deny " P "projections: FileConflict: the files of " P "secret.db are where SecretProjection "
     "\"db\" is to be mounted; call one of them differently." SEE("FileConflict")},
    {"a container's own mount in the way", "shop", P "projections: db",
     "{containers: [{name: web, image: a, volumeMounts: [{name: own, mountPath: "
     "/run/secrets/leasehold/db}]}]}",
     NULL,
     "deny " P "projections: FileConflict: container \"web\" already mounts \"own\" at "
     "/run/secrets/leasehold/db." SEE("FileConflict")},
    {"a volume of our name", "shop", P "projections: db",
     "{containers: [{name: web, image: a}], volumes: [{name: leasehold-projection-0, emptyDir: "
     "{}}]}",
     NULL,
     "deny " P "projections: NameReserved: the Pod has a volume \"leasehold-projection-0\" of its "
     "own, a name that is ours." SEE("NameReserved")},
    {"a projection for a container that is not there", "shop",
     P "projections: db, " P "containers: webb", WEB, NULL,
     "deny " P "containers: AnnotationInvalid: the Pod has no container \"webb\"; the nearest is "
     "\"web\"." SEE("AnnotationInvalid")},

    /* Which store. */
    {"a store by name", "shop", DB ", " P "store: vault", WEB, NULL, ""},
    {"a store by kind and name", "shop", DB ", " P "store: ClusterSecretStore/vault", WEB, NULL,
     ""},
    {"a store of another kind", "shop", DB ", " P "store: Vault/vault", WEB, NULL,
     "deny " P "store: AnnotationInvalid: must be NAME, SecretStore/NAME or "
     "ClusterSecretStore/NAME." SEE("AnnotationInvalid")},
    {"a store that is not there", "shop", DB ", " P "store: valt", WEB, NULL,
     "deny " P "store: StoreNotFound: there is no SecretStore or ClusterSecretStore \"valt\"; "
     "namespace \"shop\" may use ClusterSecretStore/vault." SEE("StoreNotFound")},
    {"a SecretStore that is not there", "shop", DB ", " P "store: SecretStore/vault", WEB, NULL,
     "deny " P "store: StoreNotFound: there is no SecretStore \"vault\"; namespace \"shop\" may "
     "use ClusterSecretStore/vault." SEE("StoreNotFound")},
    {"a store that admits nobody", "shop", DB ", " P "store: closed", WEB, NULL,
     "deny " P "store: StoreNotAllowed: ClusterSecretStore \"closed\" does not admit namespace "
     "\"shop\"; its spec.allow is empty, which admits nobody." SEE("StoreNotAllowed")},
    {"no store for the namespace", "mail", DB, WEB, NULL,
     "deny " P "store: StoreNotFound: no store admits namespace \"mail\"; create a SecretStore in "
     "it, or have a ClusterSecretStore's spec.allow admit it." SEE("StoreNotFound")},
    {"two stores for the namespace", "two", P "secret.db: x", WEB, NULL,
     "deny " P "store: StoreAmbiguous: namespace \"two\" may use more than one store: "
     "SecretStore/a, SecretStore/b; name one with " P "store." SEE("StoreAmbiguous")},
    {"one name in both kinds", "both", P "secret.db: secret/both/x, " P "store: vault", WEB, NULL,
     "deny " P "store: StoreAmbiguous: there are a SecretStore and a ClusterSecretStore "
     "\"vault\"; write SecretStore/vault or ClusterSecretStore/vault." SEE("StoreAmbiguous")},
    {"one name in both kinds, kind given", "both",
     P "secret.db: secret/both/x, " P "store: SecretStore/vault", WEB, NULL, ""},
    {"a default store that is not there", "odd", P "secret.db: secret/odd/x", WEB, NULL,
     "deny " P "default-store: StoreNotFound: there is no SecretStore \"none\"; namespace \"odd\" "
     "may use ClusterSecretStore/vault." SEE("StoreNotFound")},
    {"a default store of another kind", "worse", P "secret.db: secret/worse/x", WEB, NULL,
     "deny " P "default-store: AnnotationInvalid: of namespace \"worse\" must be NAME, "
     "SecretStore/NAME or ClusterSecretStore/NAME." SEE("AnnotationInvalid")},
    {"a store on loopback", "lab", P "secret.db: secret/x", WEB, "clusterName: prod",
     "deny " P "store: AddressNotAllowed: ClusterSecretStore \"local\": spec.vault.addresses[0]: "
     "\"127.0.0.1\" is a loopback address; it is refused unless the platform lists it in "
     "policy.addresses." SEE("AddressNotAllowed")},
    {"a store on loopback that is listed", "lab", P "secret.db: secret/x", WEB,
     "{clusterName: prod, addresses: [127.0.0.1/32]}", ""},
    {"a placeholder without a value", "lab", P "secret.db: secret/x", WEB,
     "addresses: [127.0.0.1/32]",
     "deny " P "store: StoreInvalid: ClusterSecretStore \"local\": spec.vault.auth.mount: "
     "{cluster} is used and has no value here; set clusterName of the chart." SEE("StoreInvalid")},

    /* Role and platform. */
    {"a role", "shop", DB ", " P "role: shop-x", WEB, NULL, ""},
    {"a role that is not allowed", "shop", DB ", " P "role: bank", WEB, NULL,
     "deny " P "role: RoleNotAllowed: ClusterSecretStore \"vault\" does not let namespace "
     "\"shop\" choose the role \"bank\"; it allows its own role, shop-*." SEE("RoleNotAllowed")},
    {"a role that the platform does not list", "shop", DB ", " P "role: shop-x", WEB,
     "roles: [\"{namespace}-y\"]",
     "deny " P "role: RoleNotAllowed: the platform's policy.roles does not list "
     "\"shop-x\"." SEE("RoleNotAllowed")},
    {"a path that the platform does not list", "shop", DB, WEB, "paths: [\"secret/*\"]",
     "deny " P "secret.db: PathNotAllowed: the platform's policy.paths does not list "
     "\"database/creds/shop\"." SEE("PathNotAllowed")},
    {"an image", "shop",
     DB ", " P "image: \"r/x@sha256:"
        "0123456789012345678901234567890123456789012345678901234567890123\"",
     WEB, "images: [\"r/x@sha256:*\"]", ""},
    {"an image that is not listed", "shop", DB ", " P "image: r/x", WEB,
     "images: [\"r/x@sha256:*\"]",
     "deny " P "image: ImageNotAllowed: the platform does not list this image in "
     "policy.images." SEE("ImageNotAllowed")},
    {"an image where none are", "shop", DB ", " P "image: r/x", WEB, NULL,
     "deny " P "image: ImageNotAllowed: the platform lets Pods choose no image of their own "
     "(policy.images is empty)." SEE("ImageNotAllowed")},
    {"too much CPU", "shop", DB ", " P "cpu: 2", WEB, NULL,
     "deny " P "cpu: AnnotationInvalid: an annotation's value must be a string; put it in "
     "quotes." SEE("AnnotationInvalid")},
    {"too much CPU in quotes", "shop", DB ", " P "cpu: \"2\"", WEB, NULL,
     "deny " P "cpu: ResourceNotAllowed: the platform allows at most 500m (policy.maxCPU)." SEE(
         "ResourceNotAllowed")},
    {"too much memory", "shop", DB ", " P "memory: 1Gi", WEB, NULL,
     "deny " P "memory: ResourceNotAllowed: the platform allows at most 128Mi "
     "(policy.maxMemory)." SEE("ResourceNotAllowed")},
    {"too little memory", "shop", DB ", " P "memory: 18Mi", WEB, NULL,
     "deny " P "memory: AnnotationInvalid: must be at least 20Mi, since the files count as the "
     "agent's memory." SEE("AnnotationInvalid")},
    {"too large", "shop", DB ", " P "size: 1Gi", WEB, NULL,
     "deny " P "size: ResourceNotAllowed: the platform allows at most 64Mi (policy.maxSize)." SEE(
         "ResourceNotAllowed")},
    {"too small", "shop", DB ", " P "size: 1Ki", WEB, NULL,
     "deny " P "size: AnnotationInvalid: must be at least 64Ki." SEE("AnnotationInvalid")},

    /* One secret's settings. */
    {"a file outside", "shop", DB ", " P "file.db: ../x", WEB, NULL,
     "deny " P "file.db: AnnotationInvalid: must not hold a segment that begins with .." SEE(
         "AnnotationInvalid")},
    {"an unknown format", "shop", DB ", " P "format.db: toml", WEB, NULL,
     "deny " P "format.db: AnnotationInvalid: must be one of raw, json, yaml, env, properties, "
     "template." SEE("AnnotationInvalid")},
    {"a format and a key", "shop", P "secret.db: \"database/creds/shop#a\", " P "format.db: json",
     WEB, NULL,
     "deny " P "format.db: AnnotationInvalid: " P "secret.db names one key, which is written raw; "
     "leave #a out." SEE("AnnotationInvalid")},
    {"a template and another format", "shop", DB ", " P "format.db: json, " P "template.db: x", WEB,
     NULL,
     "deny " P "format.db: AnnotationInvalid: the secret has a template, so its format can only "
     "be template." SEE("AnnotationInvalid")},
    {"the format template without one", "shop", DB ", " P "format.db: template", WEB, NULL,
     "deny " P "format.db: AnnotationInvalid: format template needs " P
     "template.db." SEE("AnnotationInvalid")},
    {"version 0", "shop", DB ", " P "version.db: \"0\"", WEB, NULL,
     "deny " P
     "version.db: AnnotationInvalid: must be a whole number from 1." SEE("AnnotationInvalid")},
    {"params that are no object", "shop", DB ", " P "params.db: \"[]\"", WEB, NULL,
     "deny " P "params.db: AnnotationInvalid: must be a JSON object, such as {\"common_name\": "
     "\"shop.example\"}." SEE("AnnotationInvalid")},
    {"version and params", "shop", DB ", " P "params.db: \"{}\", " P "version.db: \"1\"", WEB, NULL,
     "deny " P "version.db: AnnotationInvalid: a version is of reads, and params makes a write; "
     "give one of them." SEE("AnnotationInvalid")},
    {"a refresh below the store's least", "shop", DB ", " P "refresh.db: 1s", WEB, NULL,
     "deny " P "refresh.db: AnnotationInvalid: must be at least 10s, the refresh.min of "
     "ClusterSecretStore \"vault\"." SEE("AnnotationInvalid")},
    {"a refresh of all below the store's least", "shop", DB ", " P "refresh: 1s", WEB, NULL,
     "deny " P "refresh: AnnotationInvalid: must be at least 10s, the refresh.min of "
     "ClusterSecretStore \"vault\"." SEE("AnnotationInvalid")},
    {"an overlap that is none", "shop", DB ", " P "overlap: soon", WEB, NULL,
     "deny " P "overlap: AnnotationInvalid: must be a duration such as \"90s\", \"5m\" or "
     "\"1h30m\"." SEE("AnnotationInvalid")},
    {"two secrets at one place", "shop", DB ", " P "secret.kv: secret/shop/x, " P "file.kv: db",
     WEB, NULL,
     "deny " P
     "secret.kv: FileConflict: \"db\" and \"kv\" would write the same place." SEE("FileConflict")},
    {"a name that is no file", "shop", P "secret.-db: database/creds/shop", WEB, NULL,
     "deny " P "secret.-db: AnnotationInvalid: NAME must be a name of letters, digits, - _ and ., "
     "at most 63 characters, beginning with a letter or digit." SEE("AnnotationInvalid")},

    /* What has to fit to the Pod. */
    {"an unknown container", "shop", DB ", " P "containers: batch", WEB, NULL,
     "deny " P
     "containers: AnnotationInvalid: the Pod has no container \"batch\"." SEE("AnnotationInvalid")},
    {"nearly a container", "shop", DB ", " P "containers: frontned",
     "{containers: [{name: frontend, image: w}]}", NULL,
     "deny " P "containers: AnnotationInvalid: the Pod has no container \"frontned\"; the nearest "
     "is \"frontend\"." SEE("AnnotationInvalid")},
    {"a list with a hole", "shop", DB ", " P "containers: \"web,,x\"", WEB, NULL,
     "deny " P "containers: AnnotationInvalid: must be names of containers with commas in "
     "between." SEE("AnnotationInvalid")},
    {"a container before the agent", "shop", DB ", " P "after: one, " P "containers: \"one, web\"",
     "{initContainers: [{name: one}], containers: [{name: web}]}", NULL,
     "deny " P "containers: AnnotationInvalid: init container \"one\" comes before the agent, so "
     "it cannot have the files." SEE("AnnotationInvalid")},
    {"after a container that starts later", "shop", DB ", " P "after: web", WEB, NULL,
     "deny " P "after: AnnotationInvalid: \"web\" is no init container, so it starts after the "
     "agent." SEE("AnnotationInvalid")},
    {"after a container that is not there yet", "shop", DB ", " P "after: net", WEB, NULL,
     "warn " P "after: there is no init container \"net\" yet; until one appears the agent is not "
     "put after it"},
    {"a mount path that is taken", "shop", DB,
     "{containers: [{name: web, volumeMounts: [{name: x, mountPath: /run/secrets/leasehold}]}], "
     "volumes: [{name: x}]}",
     NULL,
     "deny " P "mount-path: AnnotationInvalid: container \"web\" already mounts \"x\" at "
     "/run/secrets/leasehold; choose another path." SEE("AnnotationInvalid")},
    {"a relative mount path", "shop", DB ", " P "mount-path: secrets", WEB, NULL,
     "deny " P "mount-path: AnnotationInvalid: must be an absolute path without .., // and :." SEE(
         "AnnotationInvalid")},
    {"a mount path of the agent", "shop", DB ", " P "mount-path: /run/leasehold/state", WEB, NULL,
     "deny " P "mount-path: AnnotationInvalid: must not lie in /proc, /sys, /dev or the agent's "
     "own /run/leasehold." SEE("AnnotationInvalid")},
    {"a port that is taken", "shop", DB ", " P "metrics-port: \"8080\"",
     "{containers: [{name: web, ports: [{containerPort: 8080}]}]}", NULL,
     "deny " P "metrics-port: AnnotationInvalid: container \"web\" already uses port 8080; choose "
     "another." SEE("AnnotationInvalid")},
    {"a low port", "shop", DB ", " P "metrics-port: \"80\"", WEB, NULL,
     "deny " P "metrics-port: AnnotationInvalid: must be a port from 1024 to 65535, or 0 for "
     "none." SEE("AnnotationInvalid")},
    {"a signal", "shop", DB ", " P "on-change: signal:HUP@x",
     "{securityContext: {runAsUser: 7}, containers: [{name: web}]}", NULL, ""},
    {"a signal in a Pod that says no", "shop", DB ", " P "on-change: signal:HUP@x",
     "{shareProcessNamespace: false, securityContext: {runAsUser: 7}, containers: [{name: web}]}",
     NULL,
     "deny " P "on-change: AnnotationInvalid: a signal needs shareProcessNamespace, and the Pod "
     "sets it to false; use a loopback URL, or leave the field out." SEE("AnnotationInvalid")},
    {"a signal with hostPID", "shop", DB ", " P "on-change: signal:HUP@x",
     "{hostPID: true, securityContext: {runAsUser: 7}, containers: [{name: web}]}", NULL,
     "deny " P "on-change: AnnotationInvalid: a signal needs shareProcessNamespace, which a Pod "
     "with hostPID cannot have; use a loopback URL." SEE("AnnotationInvalid")},
    {"a signal to an unknown uid", "shop", DB ", " P "on-change: signal:HUP@x", WEB, NULL,
     "deny " P "on-change: AnnotationInvalid: a signal needs agent and application under one uid: "
     "set runAsUser, other than 0 and equal in the chosen containers, or use a loopback URL." SEE(
         "AnnotationInvalid")},
    {"a signal to two uids", "shop", DB ", " P "on-change: signal:HUP@x",
     "{containers: [{name: web, securityContext: {runAsUser: 7}}, {name: x, securityContext: "
     "{runAsUser: 8}}]}",
     NULL,
     "deny " P "on-change: AnnotationInvalid: a signal needs agent and application under one uid: "
     "set runAsUser, other than 0 and equal in the chosen containers, or use a loopback URL." SEE(
         "AnnotationInvalid")},
    {"a program in a volume", "shop", DB ", " HOOK,
     "{containers: [{name: web, volumeMounts: [{name: hooks, mountPath: /hooks/}]}]}", NULL, ""},
    {"the agent's own program", "shop", DB ", " P "on-change: 'exec:[\"/leasehold-agent\"]'", WEB,
     NULL, ""},
    {"a program that is nowhere", "shop", DB ", " HOOK,
     "{containers: [{name: web, volumeMounts: [{name: hooks, mountPath: /hook}]}]}", NULL,
     "warn " P "on-change: no chosen container has a volume with \"/hooks/reload\", and the "
     "platform's image of the agent holds nothing but /leasehold-agent"},
    {"a program in another container's volume", "shop", DB ", " HOOK ", " P "containers: web",
     "{containers: [{name: web}, {name: x, volumeMounts: [{name: hooks, mountPath: /hooks}]}]}",
     NULL,
     "warn " P "on-change: no chosen container has a volume with \"/hooks/reload\", and the "
     "platform's image of the agent holds nothing but /leasehold-agent"},
    {"a program of an image that was chosen", "shop",
     DB ", " HOOK ", " P "image: r/agent@sha256:"
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
     WEB,
     "images: [\"r/agent@sha256:"
     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]",
     ""},
    {"a program's volume over the agent's files", "shop",
     DB ", " P "on-change: 'exec:[\"/run/x\"]'",
     "{containers: [{name: web, volumeMounts: [{name: hooks, mountPath: /run}]}]}", NULL,
     "deny " P "on-change: AnnotationInvalid: \"/run/x\" is in the volume at /run, which the agent "
     "cannot have there, since its own /run/secrets/leasehold is; mount the program's volume "
     "elsewhere." SEE("AnnotationInvalid")},
    {"a program's volume inside the agent's", "shop",
     DB ", " P "on-change: 'exec:[\"/run/leasehold/state/x\"]'",
     "{containers: [{name: web, volumeMounts: [{name: hooks, mountPath: /run/leasehold/state}]}]}",
     NULL,
     "deny " P "on-change: AnnotationInvalid: \"/run/leasehold/state/x\" is in the volume at "
     "/run/leasehold/state, which the agent cannot have there, since its own /run/leasehold is; "
     "mount the program's volume elsewhere." SEE("AnnotationInvalid")},
    {"a program behind subPathExpr", "shop", DB ", " HOOK,
     "{containers: [{name: web, volumeMounts: [{name: hooks, mountPath: /hooks, subPathExpr: "
     "\"$(X)\"}]}]}",
     NULL,
     "deny " P "on-change: AnnotationInvalid: \"/hooks/reload\" is in a volume with subPathExpr, "
     "which means nothing in the agent; use subPath, or mount the whole "
     "volume." SEE("AnnotationInvalid")},
    {"a signal to the one that is chosen", "shop",
     DB ", " P "on-change: signal:HUP@x, " P "containers: web",
     "{containers: [{name: web, securityContext: {runAsUser: 7}}, {name: x, securityContext: "
     "{runAsUser: 8}}]}",
     NULL, ""},
    {"a signal to root", "shop", DB ", " P "on-change: signal:HUP@x",
     "{securityContext: {runAsUser: 0}, containers: [{name: web}]}", NULL,
     "deny " P "on-change: AnnotationInvalid: a signal needs agent and application under one uid: "
     "set runAsUser, other than 0 and equal in the chosen containers, or use a loopback URL." SEE(
         "AnnotationInvalid")},
    {"a signal from an init agent", "shop",
     P "secret.db: secret/shop/x, " P "agent: init, " P "on-change: signal:HUP@x",
     "{securityContext: {runAsUser: 7}, containers: [{name: web}]}", NULL,
     "deny " P "on-change: AnnotationInvalid: with agent: init nothing changes later; leave one "
     "of the two out." SEE("AnnotationInvalid")},
    {"metrics of an init agent", "shop",
     P "secret.db: secret/shop/x, " P "agent: init, " P "metrics-port: \"9102\"", WEB, NULL,
     "deny " P "metrics-port: AnnotationInvalid: with agent: init there is no agent to ask; leave "
     "one of the two out." SEE("AnnotationInvalid")},
    {"an init agent and a lease", "shop", DB ", " P "agent: init", WEB, NULL,
     "warn " P "secret.db: agent: init renews nothing, so a credential of \"database/creds/shop\" "
     "ends with its lease while the Pod still runs; agent: sidecar keeps it alive"},
    {"an init agent and KV", "shop", P "secret.db: secret/shop/creds, " P "agent: init", WEB, NULL,
     ""},
    {"another agent", "shop", DB ", " P "agent: daemon", WEB, NULL,
     "deny " P "agent: AnnotationInvalid: must be sidecar or init." SEE("AnnotationInvalid")},
    {"Windows", "shop", DB, "{os: {name: windows}, containers: [{name: web}]}", NULL,
     "deny spec.os.name: PodUnsupported: the agent runs on Linux only." SEE("PodUnsupported")},
    {"our name", "shop", DB, "{containers: [{name: leasehold-agent}]}", NULL,
     "deny spec.containers: NameReserved: a container is called leasehold-agent, which is the "
     "agent's own name." SEE("NameReserved")},
    {"our volume", "shop", DB,
     "{containers: [{name: web, volumeMounts: [{name: leasehold-state, mountPath: /x}]}]}", NULL,
     "deny spec.volumes: NameReserved: a container mounts a volume that is the agent's alone "
     "(leasehold-state, leasehold-token, leasehold-credential)." SEE("NameReserved")},
    {"revocation of another word", "shop", DB ", " P "revocation: never", WEB, NULL,
     "deny " P "revocation: AnnotationInvalid: must be Revoke or Retain." SEE("AnnotationInvalid")},
    {"a start timeout below a second", "shop", DB ", " P "start-timeout: 10ms", WEB, NULL,
     "deny " P
     "start-timeout: AnnotationInvalid: must be at least 1000 ms." SEE("AnnotationInvalid")},
    {"reserved names are never denied", "shop",
     DB ", " P "status: x, " P "store-generation: x, " P "restarted-at: x, " P "restart-hash: x, " P
        "force-sync: x, " P "default-store: x",
     WEB, NULL, ""},
};

static lh_json *pod_of(const struct row *r)
{
    char *text = lh_asprintf("apiVersion: v1\nkind: Pod\nmetadata: {namespace: %s, annotations: "
                             "{%s}}\nspec: %s\n",
                             r->ns, r->annotations, r->spec);
    struct lh_yaml_doc *docs = NULL;
    struct lh_err err = {0};
    lh_json *pod;
    size_t n;

    if (lh_yaml_parse(lh_str(text), "pod", NULL, &docs, &n, &err) < 0)
        fail_msg("%s", err.msg);
    pod = lh_json_ref(docs[0].value);
    lh_yaml_free(docs, n);
    lh_free(text);
    return pod;
}

static void annotation_is_judged(void **state)
{
    const struct row *r = *state;
    struct lh_problems ps = {0};
    lh_json *pod = pod_of(r), *patch = NULL;
    struct lh_err err = {0};
    char *got, *want = lh_asprintf("%s%s", r->says, *r->says ? "\n" : "");
    struct world w;
    bool denied;

    if (world_init(&w, stores, r->policy, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(lh_inject_object(&w.w, pod, NULL, &patch, &ps, &err), 0);
    got = world_problems(&ps);
    assert_string_equal(got, want);
    denied = lh_problems_denial(&ps) != NULL;
    assert_int_equal(patch == NULL, denied);
    lh_json_unref(patch);
    lh_json_unref(pod);
    lh_problems_done(&ps);
    world_done(&w);
    lh_free(got);
    lh_free(want);
}

/* The watch brings stores in any order; the bytes do not depend on it. */
static void order_of_stores_changes_nothing(void **state)
{
    const struct row r = {"", "two", P "secret.db: x", WEB, NULL, ""};
    lh_json *pod = pod_of(&r), *patch = NULL;
    struct lh_problems ps = {0};
    struct lh_store *swap;
    char *a, *b;
    struct world w;

    (void)state;
    assert_int_equal(world_init(&w, stores, NULL, NULL), 0);
    assert_int_equal(lh_inject_object(&w.w, pod, NULL, &patch, &ps, NULL), 0);
    a = world_problems(&ps);
    lh_problems_done(&ps);
    for (size_t i = 0; i < w.n_stores / 2; i++) {
        swap = w.stores[i];
        w.stores[i] = w.stores[w.n_stores - 1 - i];
        w.stores[w.n_stores - 1 - i] = swap;
    }
    assert_int_equal(lh_inject_object(&w.w, pod, NULL, &patch, &ps, NULL), 0);
    b = world_problems(&ps);
    assert_string_equal(a, b);
    lh_free(a);
    lh_free(b);
    lh_problems_done(&ps);
    lh_json_unref(pod);
    world_done(&w);
}

static void too_large_a_config_is_denied(void **state)
{
    struct lh_buf b;
    struct row r = {"", "shop", NULL, WEB, NULL, ""};
    struct lh_problems ps = {0};
    lh_json *pod, *patch = NULL;
    struct world w;
    char *text;

    (void)state;
    lh_buf_init(&b, 1 << 20);
    for (int i = 0; i < 2; i++) {
        lh_buf_printf(&b, "%s" P "secret.n%d: database/creds/shop, " P "template.n%d: \"",
                      i ? ", " : "", i, i);
        for (int k = 0; k < 60000; k++)
            lh_buf_put_c(&b, 'x');
        lh_buf_put_c(&b, '"');
    }
    r.annotations = lh_buf_peek(&b).p;
    pod = pod_of(&r);
    assert_int_equal(world_init(&w, stores, NULL, NULL), 0);
    assert_int_equal(lh_inject_object(&w.w, pod, NULL, &patch, &ps, NULL), 0);
    assert_null(patch);
    text = world_problems(&ps);
    assert_non_null(strstr(text, "deny metadata.annotations: ConfigTooLarge: "));
    assert_non_null(strstr(text, "the largest item is secret \"n0\""));
    lh_free(text);
    lh_problems_done(&ps);
    lh_json_unref(pod);
    lh_buf_done(&b);
    world_done(&w);
}

static void missing_store_is_named(void **state)
{
    const struct row r = {"", "shop", DB ", " P "store: ClusterSecretStore/new", WEB, NULL, ""};
    lh_json *pod = pod_of(&r), *patch = NULL;
    struct lh_problems ps = {0};
    struct world w;

    (void)state;
    assert_int_equal(world_init(&w, stores, NULL, NULL), 0);
    assert_int_equal(lh_inject_object(&w.w, pod, NULL, &patch, &ps, NULL), 0);
    assert_true(ps.wanted.missing);
    assert_true(ps.wanted.cluster_scoped);
    assert_false(ps.wanted.any_kind);
    assert_string_equal(ps.wanted.name, "new");
    lh_problems_done(&ps);
    lh_json_unref(pod);
    world_done(&w);
}

int main(void)
{
    static struct CMUnitTest tests[128];
    size_t n = 0;

    lh_json_init();
    for (; n < sizeof(rows) / sizeof(rows[0]); n++)
        tests[n] = (struct CMUnitTest){rows[n].name, annotation_is_judged, NULL, NULL,
                                       (void *)(uintptr_t)&rows[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(order_of_stores_changes_nothing);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(too_large_a_config_is_denied);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(missing_store_is_named);
    return _cmocka_run_group_tests("inject_plan", tests, n, NULL, NULL);
}
