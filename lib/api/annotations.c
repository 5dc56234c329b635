/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/api/annotations.h"
#include "leasehold/core/mem.h"

#define A(id_, name_, arity_, value_, def_, help_)                                                 \
    [LH_ANN_##id_] = {.id = LH_ANN_##id_,                                                          \
                      .name = (name_),                                                             \
                      .arity = LH_ANN_##arity_,                                                    \
                      .value = (value_),                                                           \
                      .def = (def_),                                                               \
                      .help = (help_)}

const struct lh_annotation lh_annotations[LH_ANN_COUNT] = {
    A(SECRET, "secret", PER_SECRET, "PATH or PATH#KEY", NULL,
      "The secret NAME is read from this path of the manager. The only annotation that a Pod "
      "needs."),
    A(INJECT, "inject", PLAIN, "true | false", "true where any secret is named",
      "\"false\" is the off switch."),
    A(STORE, "store", PLAIN, "[SecretStore/|ClusterSecretStore/]NAME",
      "the namespace's label or annotation leasehold.dev/default-store, else the only store that "
      "admits the namespace",
      "The store that secrets come from."),
    A(FILE, "file", PER_SECRET, "relative path", "NAME",
      "Where the file (or the folder of files) is put below the mount path."),
    A(FORMAT, "format", PER_SECRET, "raw | json | yaml | env | properties | template", "raw",
      "All keys of the secret in one file of this format. Raw without a key: a folder with one "
      "file per key."),
    A(TEMPLATE, "template", PER_SECRET, "text with {{ .key }} and {{ .key | urlquery }}", NULL,
      "One file made from the secret's keys. At most 64 KiB."),
    A(MODE, "mode", PER_SECRET, "octal, at most 0777",
      "0440 where agent and application share uid or fsGroup, else 0444",
      "Permission bits of the secret's files."),
    A(VERSION, "version", PER_SECRET, "number from 1", "the newest",
      "A version of a KV version 2 secret."),
    A(PARAMS, "params", PER_SECRET, "JSON object", NULL,
      "Makes the request a write with these parameters, as PKI issue wants."),
    A(OVERLAP, "overlap", BOTH, "duration", "5m",
      "How long a replaced credential lives on: longer than your pool keeps connections. Without "
      "NAME for all secrets."),
    A(REFRESH, "refresh", BOTH, "duration", "the store's refresh.default",
      "How often a secret without a lease is looked at; at least the store's refresh.min. Without "
      "NAME for all secrets."),
    A(OPTIONAL, "optional", PER_SECRET, "true | false", "false",
      "A missing secret does not keep the Pod from starting."),
    A(ON_CHANGE, "on-change", PLAIN,
      "signal:HUP@PROCESS | exec:[\"/path\", ...] | http://127.0.0.1:PORT/PATH",
      "nothing is called",
      "How the application learns that files changed; never on the first publication. A signal "
      "sets shareProcessNamespace. A program is of the agent's image, or of a volume that a chosen "
      "container mounts: the agent then has it at the same path."),
    A(AGENT, "agent", PLAIN, "sidecar | init", "sidecar",
      "init publishes once and ends: nothing is renewed, nothing is revoked."),
    A(PROJECTIONS, "projections", PLAIN, "a,b", NULL, "Volumes of these SecretProjections."),
    A(MOUNT_PATH, "mount-path", PLAIN, "absolute path", "/run/secrets/leasehold",
      "Where the files appear in the containers."),
    A(CONTAINERS, "containers", PLAIN, "a,b", "all but a mesh's proxies",
      "The containers that get the files."),
    A(AFTER, "after", PLAIN, "name of an init container",
      "first, but after a mesh's native sidecar", "A container that must come before the agent."),
    A(ROLE, "role", PLAIN, "name", "the store's",
      "The role to log in with, within the store's allow.roles."),
    A(IMAGE, "image", PLAIN, "image reference", "the platform's",
      "The agent's image, within policy.images."),
    A(CPU, "cpu", PLAIN, "quantity", "5m", "The agent's CPU request, at most policy.maxCPU."),
    A(MEMORY, "memory", PLAIN, "quantity", "24Mi plus size",
      "The agent's memory limit, at most policy.maxMemory."),
    A(SIZE, "size", PLAIN, "quantity", "4Mi",
      "The memory volume's size, at most policy.maxSize. Two generations live during a swap."),
    A(METRICS_PORT, "metrics-port", PLAIN, "port from 1024, or 0", "the platform's, else off",
      "The agent serves /metrics and /status there."),
    A(REVOCATION, "revocation", PLAIN, "Revoke | Retain", "Revoke",
      "What becomes of the token and its leases when the Pod ends."),
    A(START_TIMEOUT, "start-timeout", PLAIN, "duration",
      "none: the Pod waits for as long as it takes",
      "kubelet restarts an agent that has published nothing for so long."),
    A(STATUS, "status", RESERVED, NULL, NULL, "Written on injected Pods."),
    A(STORE_GENERATION, "store-generation", RESERVED, NULL, NULL,
      "Written on injected Pods: the store and its generation at admission."),
    A(RESTARTED_AT, "restarted-at", RESERVED, NULL, NULL,
      "Written on Pod templates by restarts on change."),
    A(RESTART_HASH, "restart-hash", RESERVED, NULL, NULL,
      "Written on workloads and Pod templates: keyed hashes of the secrets that they run with."),
    A(FORCE_SYNC, "force-sync", RESERVED, NULL, NULL,
      "Any new value on a SecretProjection has it fetched now."),
    A(DEFAULT_STORE, "default-store", RESERVED, NULL, NULL,
      "On a namespace, as label or annotation: the store of Pods and SecretProjections that name "
      "none."),
};

static bool fits(const struct lh_annotation *a, bool has_suffix)
{
    switch (a->arity) {
    case LH_ANN_PLAIN:
    case LH_ANN_RESERVED:
        return !has_suffix;
    case LH_ANN_PER_SECRET:
        return has_suffix;
    case LH_ANN_BOTH:
        return true;
    }
    return false;
}

/* What the user could have meant, as "mode.NAME". */
static const char *nearest_of(struct lh_str base)
{
    static const char *const with_name[LH_ANN_COUNT] = {
        [LH_ANN_SECRET] = "secret.NAME", [LH_ANN_FILE] = "file.NAME",
        [LH_ANN_FORMAT] = "format.NAME", [LH_ANN_TEMPLATE] = "template.NAME",
        [LH_ANN_MODE] = "mode.NAME",     [LH_ANN_VERSION] = "version.NAME",
        [LH_ANN_PARAMS] = "params.NAME", [LH_ANN_OPTIONAL] = "optional.NAME",
    };
    const char *names[LH_ANN_COUNT + 1] = {NULL};
    const char *near;

    for (size_t i = 0; i < LH_ANN_COUNT; i++)
        names[i] = lh_annotations[i].name;
    near = lh_str_nearest(base, names);
    for (size_t i = 0; near && i < LH_ANN_COUNT; i++) {
        if (lh_annotations[i].name == near && with_name[i])
            return with_name[i];
    }
    return near;
}

const struct lh_annotation *lh_annotation_find(struct lh_str key, struct lh_str *suffix,
                                               const char **nearest)
{
    struct lh_str prefix = LH_STR(LH_ANNOTATION_PREFIX), base, rest;
    bool cut;

    *nearest = NULL;
    *suffix = (struct lh_str){NULL, 0};
    if (!lh_str_starts(key, prefix))
        return NULL;
    key.p += prefix.n;
    key.n -= prefix.n;
    cut = lh_str_cut(key, '.', &base, &rest);
    for (size_t i = 0; i < LH_ANN_COUNT; i++) {
        if (lh_str_eqz(base, lh_annotations[i].name) && cut == (rest.n > 0) &&
            fits(&lh_annotations[i], cut)) {
            *suffix = rest;
            return &lh_annotations[i];
        }
    }
    *nearest = nearest_of(base);
    return NULL;
}
