/* SPDX-License-Identifier: Apache-2.0 */
/* What Pods tell: how their secrets come, how API servers and etcd run, where KMS plugins live. */
#include "audit.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"

static bool starts(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Deployments own Pods through a ReplicaSet that has their name and a hash. */
static void owner(const lh_json *pod, const char **kind, char name[256])
{
    const lh_json *meta = lh_json_get(pod, "metadata");
    const lh_json *owners = lh_json_get(meta, "ownerReferences"), *o = NULL;
    const char *own = lh_json_get_z(meta, "name"), *hash, *word;
    const lh_json *labels = lh_json_get(meta, "labels");

    for (size_t i = 0; i < lh_json_len(owners); i++) {
        if (lh_json_get_bool(lh_json_at(owners, i), "controller", false))
            o = lh_json_at(owners, i);
    }
    word = o ? lh_json_get_z(o, "kind") : NULL;
    own = o && lh_json_get_z(o, "name") ? lh_json_get_z(o, "name") : own;
    snprintf(name, 256, "%s", own ? own : "");
    *kind = word ? word : "Pod";
    hash = lh_json_get_z(labels, "pod-template-hash");
    if (strcmp(*kind, "ReplicaSet") == 0 && hash && *hash && strlen(name) > strlen(hash) + 1) {
        char *tail = name + strlen(name) - strlen(hash) - 1;

        if (*tail == '-' && strcmp(tail + 1, hash) == 0) {
            *tail = 0;
            *kind = "Deployment";
        }
    }
}

static bool is_injecting(struct lh_str key)
{
    static const char *const prefixes[] = {"leasehold.dev/secret.", "leasehold.dev/projections",
                                           "vault.hashicorp.com/agent-inject",
                                           "openbao.org/agent-inject"};

    for (size_t i = 0; i < LH_ARRAY_LEN(prefixes); i++) {
        if (lh_str_starts(key, lh_str(prefixes[i])))
            return true;
    }
    return false;
}

/* Secrets that annotations name one by one; what only switches injection on counts as one of them
 * where nothing else does. Projections are counted as the volumes that they become. */
static unsigned annotated(const lh_json *pod, bool *injected)
{
    const lh_json *all = lh_json_path(pod, "metadata", "annotations", NULL), *value;
    const char *off = lh_json_get_z(all, "leasehold.dev/inject");
    struct lh_str key, text;
    void *it = NULL;
    unsigned n = 0;

    if (off && strcmp(off, "false") == 0)
        return 0;
    while (lh_json_next(all, &it, &key, &value)) {
        if (!is_injecting(key) || (lh_json_str(value, &text) && lh_str_eqz(text, "false")))
            continue;
        *injected = true;
        n += lh_str_starts(key, LH_STR("leasehold.dev/secret.")) ||
             memmem(key.p, key.n, "agent-inject-secret-", 20) != NULL;
    }
    return n;
}

static bool is_injecting_volume(const lh_json *v)
{
    const char *driver = lh_json_get_z(lh_json_get(v, "csi"), "driver");

    return driver && (strcmp(driver, "csi.leasehold.dev") == 0 ||
                      strcmp(driver, "secrets-store.csi.k8s.io") == 0);
}

/* Pods of one workload are alike: the most of them all, lest a roll-out counts twice. */
static void take_sources(struct audit_workload *w, const lh_json *pod)
{
    const lh_json *volumes = lh_json_path(pod, "spec", "volumes", NULL);
    bool injected = false;
    unsigned n = annotated(pod, &injected);

    for (size_t i = 0; i < lh_json_len(volumes); i++) {
        if (is_injecting_volume(lh_json_at(volumes, i))) {
            injected = true;
            n++;
        }
    }
    if (injected && n == 0)
        n = 1;
    w->injected |= injected;
    if (n > w->sources)
        w->sources = n;
}

static int use(struct audit *a, struct audit_workload *w, const char *name, struct lh_err *err)
{
    struct audit_used *u = NULL;
    char room[600];
    char *copy;
    int rc;

    if (!name || !*name)
        return 0;
    for (size_t i = 0; i < w->secrets.n; i++) {
        if (strcmp(*(char **)lh_vec_at(&w->secrets, i), name) == 0)
            return 0;
    }
    snprintf(room, sizeof(room), "%s/%s", w->namespace_, name);
    if (!lh_map_get(a->used, lh_str(room))) {
        u = lh_calloc(1, sizeof(*u));
        if (!u)
            return lh_err_nomem(err);
        rc = lh_map_set(a->used, lh_str(room), u, NULL, err);
        if (rc < 0) {
            lh_free(u);
            return rc;
        }
    }
    copy = lh_strdup(name);
    if (!copy || !lh_vec_push(&w->secrets, &copy)) {
        lh_free(copy);
        return lh_err_nomem(err);
    }
    return 0;
}

static int take_volume(struct audit *a, struct audit_workload *w, const lh_json *v,
                       struct lh_err *err)
{
    const lh_json *sources = lh_json_path(v, "projected", "sources", NULL);
    const lh_json *csi = lh_json_get(v, "csi");
    int rc;

    rc = use(a, w, lh_json_get_z(lh_json_get(v, "secret"), "secretName"), err);
    if (rc == 0)
        rc = use(a, w, lh_json_get_z(lh_json_get(csi, "nodePublishSecretRef"), "name"), err);
    for (size_t i = 0; i < lh_json_len(sources) && rc == 0; i++)
        rc = use(a, w, lh_json_get_z(lh_json_get(lh_json_at(sources, i), "secret"), "name"), err);
    return rc;
}

static bool names_secret(const char *name)
{
    static const char *const words[] = {"PASSWORD", "PASSWD",     "SECRET",      "TOKEN",
                                        "API_KEY",  "PRIVATEKEY", "PRIVATE_KEY", "CREDENTIAL"};

    for (size_t i = 0; name && i < LH_ARRAY_LEN(words); i++) {
        if (strcasestr(name, words[i]))
            return true;
    }
    return false;
}

/* A name like DB_PASSWORD_FILE points to a secret, and is none. */
static bool is_pointer(const char *name, struct lh_str value)
{
    size_t n = strlen(name);

    return value.n == 0 || value.p[0] == '/' || (n > 5 && strcasecmp(name + n - 5, "_FILE") == 0) ||
           (n > 5 && strcasecmp(name + n - 5, "_NAME") == 0) ||
           (n > 5 && strcasecmp(name + n - 5, "_PATH") == 0) || lh_str_eqz(value, "true") ||
           lh_str_eqz(value, "false");
}

static int take_env(struct audit *a, struct audit_workload *w, const lh_json *container,
                    struct lh_err *err)
{
    const lh_json *env = lh_json_get(container, "env"), *from = lh_json_get(container, "envFrom");
    struct lh_str value;
    int rc = 0;

    for (size_t i = 0; i < lh_json_len(env) && rc == 0; i++) {
        const lh_json *e = lh_json_at(env, i);
        const char *name = lh_json_get_z(e, "name");

        rc = use(a, w, lh_json_get_z(lh_json_path(e, "valueFrom", "secretKeyRef", NULL), "name"),
                 err);
        if (names_secret(name) && lh_json_str(lh_json_get(e, "value"), &value) &&
            !is_pointer(name, value))
            a->pods.env_literals++;
    }
    for (size_t i = 0; i < lh_json_len(from) && rc == 0; i++)
        rc = use(a, w, lh_json_get_z(lh_json_get(lh_json_at(from, i), "secretRef"), "name"), err);
    return rc;
}

static int workload_of(struct audit *a, const lh_json *pod, struct audit_workload **out,
                       struct lh_err *err)
{
    const char *ns = lh_json_get_z(lh_json_get(pod, "metadata"), "namespace"), *kind;
    char name[256], room[800];
    struct audit_workload *w;
    int rc;

    owner(pod, &kind, name);
    snprintf(room, sizeof(room), "%s/%s/%s", ns ? ns : "", kind, name);
    *out = lh_map_get(a->workloads, lh_str(room));
    if (*out)
        return 0;
    if (lh_map_len(a->workloads) >= AUDIT_MAX_WORKLOADS) {
        a->workloads_cut++;
        return 0;
    }
    w = lh_calloc(1, sizeof(*w));
    if (!w)
        return lh_err_nomem(err);
    lh_vec_init(&w->secrets, sizeof(char *));
    w->kind = lh_strdup(kind);
    w->namespace_ = lh_strdup(ns ? ns : "");
    w->name = lh_strdup(name);
    rc = w->kind && w->namespace_ && w->name ? lh_map_set(a->workloads, lh_str(room), w, NULL, err)
                                             : lh_err_nomem(err);
    if (rc < 0) {
        lh_free(w->kind);
        lh_free(w->namespace_);
        lh_free(w->name);
        lh_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* Command lines. */

struct flags {
    const lh_json *command, *args;
};

/* The value of --name=value or --name value, the last one, as the programs take it. false: not
 * there. */
static bool flag(const struct flags *f, const char *name, struct lh_str *out)
{
    const lh_json *lists[] = {f->command, f->args};
    size_t n = strlen(name);
    bool found = false;
    struct lh_str s;

    for (size_t k = 0; k < LH_ARRAY_LEN(lists); k++) {
        for (size_t i = 0; i < lh_json_len(lists[k]); i++) {
            if (!lh_json_str(lh_json_at(lists[k], i), &s) || s.n < n || memcmp(s.p, name, n) != 0)
                continue;
            if (s.n > n && s.p[n] == '=') {
                *out = (struct lh_str){s.p + n + 1, s.n - n - 1};
                found = true;
            } else if (s.n == n) {
                if (!lh_json_str(lh_json_at(lists[k], i + 1), out) ||
                    lh_str_starts(*out, LH_STR("--")))
                    *out = LH_STR("true");
                found = true;
            }
        }
    }
    return found;
}

static bool leaves_kms_out(const lh_json *container, const char *probe)
{
    const char *path = lh_json_get_z(lh_json_path(container, probe, "httpGet", NULL), "path");

    return path && strstr(path, "exclude=kms") != NULL;
}

static void take_apiserver(struct audit *a, const lh_json *container)
{
    const struct flags f = {lh_json_get(container, "command"), lh_json_get(container, "args")};
    struct lh_str s;

    a->pods.apiservers++;
    if (flag(&f, "--encryption-provider-config", &s))
        a->pods.encryption_flag = true;
    else
        a->pods.encryption_absent = true;
    if (flag(&f, "--etcd-servers", &s))
        a->pods.etcd_plain |= memmem(s.p, s.n, "http://", 7) != NULL;
    a->pods.health_excluded |=
        leaves_kms_out(container, "readinessProbe") || leaves_kms_out(container, "startupProbe");
}

/* Any address that is not loopback, by plain http. */
static bool listens_plainly(struct lh_str urls)
{
    struct lh_str one;

    while (urls.n) {
        lh_str_cut(urls, ',', &one, &urls);
        if (lh_str_starts(one, LH_STR("http://")) && !lh_str_starts(one, LH_STR("http://127.")) &&
            !lh_str_starts(one, LH_STR("http://localhost")) &&
            !lh_str_starts(one, LH_STR("http://[::1]")))
            return true;
    }
    return false;
}

static void take_etcd(struct audit *a, const lh_json *container)
{
    const struct flags f = {lh_json_get(container, "command"), lh_json_get(container, "args")};
    struct lh_str s = {0};

    a->pods.etcds++;
    a->pods.etcd_no_client_auth |= !flag(&f, "--client-cert-auth", &s) || lh_str_eqz(s, "false");
    a->pods.etcd_no_peer_auth |= !flag(&f, "--peer-client-cert-auth", &s) || lh_str_eqz(s, "false");
    a->pods.etcd_exposed |= flag(&f, "--listen-client-urls", &s) && listens_plainly(s);
}

/* "…/vault:1.2", "vault@sha256:…": by the last part of the image's path. */
static bool is_manager(const char *image)
{
    const char *base = image ? strrchr(image, '/') : NULL;
    size_t n;

    if (!image)
        return false;
    base = base ? base + 1 : image;
    n = strcspn(base, ":@");
    return (n == 5 && memcmp(base, "vault", 5) == 0) || (n == 7 && memcmp(base, "openbao", 7) == 0);
}

static void take_container(struct audit *a, const lh_json *c)
{
    const char *image = lh_json_get_z(c, "image");
    struct lh_str first;

    a->pods.managers += is_manager(image);
    if (!lh_json_str(lh_json_at(lh_json_get(c, "command"), 0), &first))
        return;
    if (lh_str_ends(first, LH_STR("kube-apiserver")))
        take_apiserver(a, c);
    else if (lh_str_eqz(first, "etcd") || lh_str_ends(first, LH_STR("/etcd")))
        take_etcd(a, c);
}

/* The API server mounts the socket's folder too; it is not the plugin. */
static bool serves_socket(const struct audit *a, const lh_json *pod)
{
    const lh_json *volumes = lh_json_path(pod, "spec", "volumes", NULL);

    for (size_t i = 0; i < lh_json_len(volumes); i++) {
        const char *path = lh_json_get_z(lh_json_get(lh_json_at(volumes, i), "hostPath"), "path");
        size_t n = path ? strlen(path) : 0;

        while (n > 1 && path[n - 1] == '/')
            n--;
        for (size_t k = 0; n > 1 && k < a->sockets.n; k++) {
            const struct audit_file *s = lh_vec_at(&a->sockets, k);

            if (!s->is_abstract && strncmp(s->path, path, n) == 0 &&
                (s->path[n] == '/' || s->path[n] == 0))
                return true;
        }
    }
    return false;
}

static void take_plugin(struct audit *a, const lh_json *pod, bool is_apiserver)
{
    const lh_json *notes = lh_json_path(pod, "metadata", "annotations", NULL);

    if (is_apiserver || !serves_socket(a, pod))
        return;
    if (lh_json_get_z(notes, "kubernetes.io/config.mirror"))
        a->pods.plugin_static++;
    else
        a->pods.plugin_pods++;
}

int audit_take_pod(struct audit *a, const lh_json *pod, struct lh_err *err)
{
    static const char *const lists[] = {"containers", "initContainers"};
    const lh_json *spec = lh_json_get(pod, "spec"), *volumes = lh_json_get(spec, "volumes");
    const lh_json *pulls = lh_json_get(spec, "imagePullSecrets");
    const char *phase = lh_json_get_z(lh_json_get(pod, "status"), "phase");
    unsigned apiservers = a->pods.apiservers;
    struct audit_workload *w = NULL;
    int rc;

    if (phase && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0))
        return 0;
    rc = workload_of(a, pod, &w, err);
    if (rc < 0 || !w)
        return rc;
    w->pods++;
    take_sources(w, pod);
    for (size_t i = 0; i < lh_json_len(volumes) && rc == 0; i++)
        rc = take_volume(a, w, lh_json_at(volumes, i), err);
    for (size_t i = 0; i < lh_json_len(pulls) && rc == 0; i++)
        rc = use(a, w, lh_json_get_z(lh_json_at(pulls, i), "name"), err);
    for (size_t k = 0; k < LH_ARRAY_LEN(lists); k++) {
        const lh_json *list = lh_json_get(spec, lists[k]);

        for (size_t i = 0; i < lh_json_len(list) && rc == 0; i++) {
            rc = take_env(a, w, lh_json_at(list, i), err);
            take_container(a, lh_json_at(list, i));
        }
    }
    take_plugin(a, pod, a->pods.apiservers != apiservers);
    return rc;
}

static int badness(enum audit_protection p)
{
    static const int order[AUDIT_PROTECTIONS] = {[AUDIT_EXTERNAL] = 0,
                                                 [AUDIT_KMS] = 1,
                                                 [AUDIT_LOCAL] = 2,
                                                 [AUDIT_MALFORMED] = 3,
                                                 [AUDIT_NONE] = 4};

    return order[p];
}

/* Not seen in etcd: what the configuration would have made of it. */
static enum audit_protection configured(const struct audit *a, enum audit_proof *proof)
{
    const struct audit_provider *w = audit_writer_of(a, "secrets");

    *proof = a->has_config ? AUDIT_CONFIGURED : AUDIT_INFERRED;
    if (!w || strcmp(w->type, "identity") == 0)
        return AUDIT_NONE;
    return starts(w->type, "kms") ? AUDIT_KMS : AUDIT_LOCAL;
}

enum audit_protection audit_workload_class(const struct audit *a, const struct audit_workload *w,
                                           enum audit_proof *proof)
{
    enum audit_protection worst = AUDIT_EXTERNAL, p;
    enum audit_proof one;
    char room[600];

    /* That nothing of it is in etcd is read off its specification only. */
    *proof = w->secrets.n ? AUDIT_PROVEN : AUDIT_INFERRED;
    for (size_t i = 0; i < w->secrets.n; i++) {
        const struct audit_used *u;

        snprintf(room, sizeof(room), "%s/%s", w->namespace_, *(char **)lh_vec_at(&w->secrets, i));
        u = lh_map_get(a->used, lh_str(room));
        if (u && u->found) {
            p = u->protection;
            one = u->proof;
        } else if (a->has_bytes) {
            continue; /* optional, or not made yet: there is nothing to protect */
        } else {
            p = configured(a, &one);
        }
        if (badness(p) > badness(worst))
            worst = p;
        if (one < *proof)
            *proof = one;
    }
    if (worst == AUDIT_EXTERNAL)
        *proof = AUDIT_INFERRED;
    return worst;
}
