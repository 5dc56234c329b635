/* SPDX-License-Identifier: Apache-2.0 */
/* Which store, and what store and platform let this Pod have of it. */
#include <stdio.h>
#include <string.h>

#include "inject_priv.h"
#include "leasehold/api/fields.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/duration.h"
#include "leasehold/core/mem.h"

#define WHERE_STORE   LH_ANNOTATION_PREFIX "store"
#define WHERE_DEFAULT LH_ANNOTATION_PREFIX "default-store"

static bool admits(const struct lh_store *s, const struct lh_namespace *ns)
{
    return lh_allow_namespace(s, ns, NULL) == 0;
}

static bool is_named(const struct lh_store *s, const struct lh_namespace *ns, bool cluster_scoped,
                     const char *name)
{
    return s->cluster_scoped == cluster_scoped && strcmp(s->name, name) == 0 &&
           (cluster_scoped || strcmp(s->namespace_, ns->name) == 0);
}

static struct lh_store *find(const struct lh_inject_world *w, const struct lh_namespace *ns,
                             bool cluster_scoped, const char *name)
{
    for (size_t i = 0; i < w->n_stores; i++) {
        if (is_named(w->stores[i], ns, cluster_scoped, name))
            return w->stores[i];
    }
    return NULL;
}

/* SecretStores first, each kind by name: the order of candidates does not depend on the watch. */
static bool comes_before(const struct lh_store *a, const struct lh_store *b)
{
    if (a->cluster_scoped != b->cluster_scoped)
        return !a->cluster_scoped;
    return strcmp(a->name, b->name) < 0;
}

/* The first that admits the namespace and comes after last; NULL at the end. */
static struct lh_store *next_admitting(const struct lh_inject_world *w,
                                       const struct lh_namespace *ns, const struct lh_store *last)
{
    struct lh_store *best = NULL;

    for (size_t i = 0; i < w->n_stores; i++) {
        struct lh_store *s = w->stores[i];

        if ((last && !comes_before(last, s)) || (best && !comes_before(s, best)))
            continue;
        if (admits(s, ns))
            best = s;
    }
    return best;
}

static size_t list_admitting(const struct lh_inject_world *w, const struct lh_namespace *ns,
                             struct lh_buf *b)
{
    struct lh_store *s = NULL;
    size_t n = 0;

    for (s = next_admitting(w, ns, NULL); s; s = next_admitting(w, ns, s)) {
        if (n < 8)
            lh_buf_printf(b, "%s%s/%s", n ? ", " : "", lh_store_kind(s), s->name);
        n++;
    }
    if (n > 8)
        lh_buf_printf(b, " and %zu more", n - 8);
    return n;
}

static void not_found(const struct draft *d, const struct lh_namespace *ns, const char *where,
                      const char *kind, const char *name)
{
    lh_auto_buf struct lh_buf b;
    size_t n;

    lh_buf_init(&b, 8192);
    n = list_admitting(d->world, ns, &b);
    if (n)
        problem_add(d->problems, where, LH_REASON_StoreNotFound, true,
                    "there is no %s \"%s\"; namespace \"%s\" may use %s", kind, name, ns->name,
                    problem_buf(d->problems, &b));
    else
        problem_add(d->problems, where, LH_REASON_StoreNotFound, true,
                    "there is no %s \"%s\", and no store admits namespace \"%s\"", kind, name,
                    ns->name);
    problem_mark_store(d->problems);
}

static struct lh_store *by_name(const struct draft *d, const struct lh_namespace *ns,
                                const char *where, const char *name, bool any_kind,
                                bool cluster_scoped)
{
    struct lh_store *own = find(d->world, ns, false, name);
    struct lh_store *cluster = find(d->world, ns, true, name);
    struct lh_store *s = cluster_scoped ? cluster : own;
    struct lh_err err = {0};

    if (any_kind && own && cluster && admits(cluster, ns)) {
        problem_add(d->problems, where, LH_REASON_StoreAmbiguous, true,
                    "there are a SecretStore and a ClusterSecretStore \"%s\"; write "
                    "SecretStore/%s or ClusterSecretStore/%s",
                    name, name, name);
        problem_mark_store(d->problems);
        return NULL;
    }
    if (any_kind)
        s = own ? own : cluster;
    if (!s) {
        struct lh_store_wanted *w = &d->problems->wanted;

        w->missing = true;
        w->any_kind = any_kind;
        w->cluster_scoped = cluster_scoped;
        snprintf(w->name, sizeof(w->name), "%s", name);
        not_found(d, ns, where,
                  any_kind         ? "SecretStore or ClusterSecretStore"
                  : cluster_scoped ? "ClusterSecretStore"
                                   : "SecretStore",
                  name);
        return NULL;
    }
    if (lh_allow_namespace(s, ns, &err) < 0) {
        problem_add_err(d->problems, where, LH_REASON_StoreNotAllowed, true, &err);
        return NULL;
    }
    return s;
}

static struct lh_store *only_one(const struct draft *d, const struct lh_namespace *ns)
{
    struct lh_store *s = next_admitting(d->world, ns, NULL);
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, 8192);
    if (s && !next_admitting(d->world, ns, s))
        return s;
    if (s) {
        list_admitting(d->world, ns, &b);
        problem_add(d->problems, WHERE_STORE, LH_REASON_StoreAmbiguous, true,
                    "namespace \"%s\" may use more than one store: %s; name one with %s", ns->name,
                    problem_buf(d->problems, &b), WHERE_STORE);
    } else {
        problem_add(d->problems, WHERE_STORE, LH_REASON_StoreNotFound, true,
                    "no store admits namespace \"%s\"; create a SecretStore in it, or have a "
                    "ClusterSecretStore's spec.allow admit it",
                    ns->name);
    }
    problem_mark_store(d->problems);
    return NULL;
}

struct lh_store *store_choose(const struct draft *d, const struct lh_namespace *ns)
{
    struct lh_default_store def;
    struct lh_err err = {0};

    if (d->store_given)
        return by_name(d, ns, WHERE_STORE, d->store, d->store_any_kind, d->store_cluster_scoped);
    if (lh_default_store(ns, &def, &err) < 0) {
        problem_add_err(d->problems, WHERE_DEFAULT, LH_REASON_AnnotationInvalid, true, &err);
        problem_mark_store(d->problems);
        return NULL;
    }
    if (!def.name)
        return only_one(d, ns);
    return by_name(d, ns, WHERE_DEFAULT, def.name, def.any_kind, def.cluster_scoped);
}

struct lh_store *lh_inject_choose_store(const struct lh_inject_world *w,
                                        const struct lh_namespace *ns, const char *named,
                                        struct lh_problems *problems)
{
    struct draft d = {.world = w, .problems = problems};
    struct lh_store *s = NULL;

    if (named)
        value_reader(LH_ANN_STORE)(&d, NULL, named, WHERE_STORE);
    if (d.nomem)
        problems->nomem = true;
    else if (!named || d.store_given)
        s = store_choose(&d, ns);
    draft_done(&d);
    return s;
}

static void judge_addresses(const struct draft *d, const struct lh_store *s)
{
    const char *const *cidrs = (const char *const *)d->world->policy->addresses;
    struct lh_err err = {0};

    for (size_t i = 0; s->vault.addresses[i]; i++) {
        if (lh_allow_address(s->vault.addresses[i], cidrs, false, &err) == 0)
            continue;
        lh_err_wrap(&err, -err.code, "%s \"%s\": spec.vault.addresses[%zu]", lh_store_kind(s),
                    s->name, i);
        problem_add_err(d->problems, WHERE_STORE, LH_REASON_AddressNotAllowed, true, &err);
    }
}

/* What the store says with placeholders in it must have values here. */
static void judge_placeholders(const struct draft *d, const struct lh_store *s,
                               const struct lh_subject *who)
{
    const struct {
        const char *field, *text;
    } used[] = {
        {"spec.vault.namespace", s->vault.namespace_},
        {"spec.vault.auth.mount", s->vault.auth.mount},
        {"spec.vault.auth.role", d->role ? NULL : s->vault.auth.role},
    };

    for (size_t i = 0; i < LH_ARRAY_LEN(used); i++) {
        lh_auto_free char *expanded = NULL;
        struct lh_err err = {0};

        if (!used[i].text || lh_subject_expand(who, used[i].text, &expanded, &err) == 0)
            continue;
        lh_err_wrap(&err, -err.code, "%s \"%s\": %s", lh_store_kind(s), s->name, used[i].field);
        problem_add_err(d->problems, WHERE_STORE, LH_REASON_StoreInvalid, true, &err);
    }
}

static void judge_role(const struct draft *d, const struct lh_store *s,
                       const struct lh_namespace *ns, const struct lh_subject *who)
{
    struct lh_err err = {0};
    char where[128];
    bool ok = true;

    if (!d->role)
        return;
    where_of(LH_ANN_ROLE, NULL, where);
    if (lh_allow_role(s, ns, who, d->role, &err) < 0) {
        problem_add_err(d->problems, where, LH_REASON_RoleNotAllowed, true, &err);
        return;
    }
    if (lh_allow_patterns(d->world->policy->roles, NULL, who, d->role, &ok, &err) < 0)
        problem_add_err(d->problems, where, LH_REASON_RoleNotAllowed, true, &err);
    else if (!ok)
        problem_add(d->problems, where, LH_REASON_RoleNotAllowed, true,
                    "the platform's policy.roles does not list \"%s\"", d->role);
}

/* Placeholders in the path are filled in here, so that the agent gets the path itself. */
static bool expand_path(const struct draft *d, struct lh_item *it, const struct lh_subject *who,
                        const char *where)
{
    lh_auto_free char *expanded = NULL;
    struct lh_err err = {0};

    if (!strpbrk(it->path, "{}"))
        return true;
    if (lh_subject_expand(who, it->path, &expanded, &err) < 0) {
        problem_add_err(d->problems, where, LH_REASON_PathInvalid, false, &err);
        return false;
    }
    lh_free(it->path);
    it->path = LH_TAKE_PTR(expanded);
    return true;
}

/* Of the Pod alone: the form of the path. */
static bool judge_form(const struct draft *d, const struct lh_item *it, const char *where)
{
    struct lh_err err = {0};
    int rc;

    rc = lh_path_check(it->path, &err);
    if (rc == 0)
        return true;
    lh_err_wrap(&err, rc, "the path \"%.200s\"", it->path);
    problem_add_err(d->problems, where, LH_REASON_PathInvalid, false, &err);
    return false;
}

static void judge_path(const struct draft *d, const struct lh_store *s,
                       const struct lh_namespace *ns, const struct lh_subject *who,
                       const struct lh_item *it, const char *where)
{
    struct lh_err err = {0};
    bool ok = true;

    if (lh_allow_path(s, ns, who, it->path, &err) < 0) {
        problem_add_err(d->problems, where, LH_REASON_PathNotAllowed, true, &err);
        return;
    }
    if (lh_allow_patterns(d->world->policy->paths, s->vault.kv2_mounts, who, it->path, &ok, &err) <
        0)
        problem_add_err(d->problems, where, LH_REASON_PathNotAllowed, true, &err);
    else if (!ok)
        problem_add(d->problems, where, LH_REASON_PathNotAllowed, true,
                    "the platform's policy.paths does not list \"%.300s\"", it->path);
}

static void judge_refresh(const struct draft *d, const struct lh_store *s, int64_t ms,
                          const char *name)
{
    lh_auto_buf struct lh_buf b;
    char where[128];

    lh_buf_init(&b, 64);
    if (ms < 0 || ms >= s->refresh_min_ms)
        return;
    lh_duration_put(&b, s->refresh_min_ms);
    problem_add(d->problems, where_of(LH_ANN_REFRESH, name, where), LH_REASON_AnnotationInvalid,
                true, "must be at least %s, the refresh.min of %s \"%s\"",
                problem_buf(d->problems, &b), lh_store_kind(s), s->name);
    problem_mark_store(d->problems);
}

static bool under_kv(const struct lh_store *s, const char *path)
{
    for (size_t i = 0; s->vault.kv2_mounts[i]; i++) {
        size_t n = strlen(s->vault.kv2_mounts[i]);

        if (strncmp(path, s->vault.kv2_mounts[i], n) == 0 && path[n] == '/')
            return true;
    }
    return false;
}

/* The endpoints of secret engines that hand out something with an end: database, cloud, PKI, SSH,
 * and the like. What lies in a KV mount has none. */
static bool looks_leased(const struct lh_store *s, const char *path)
{
    static const char *const words[] = {"creds",       "static-creds", "static-cred", "sts",
                                        "issue",       "sign",         "token",       "key",
                                        "credentials", "otp",          NULL};
    struct lh_str rest = lh_str(path), part;
    bool more = lh_str_cut(rest, '/', &part, &rest); /* the mount's own name says nothing */

    if (under_kv(s, path))
        return false;
    while (more) {
        more = lh_str_cut(rest, '/', &part, &rest);
        for (size_t i = 0; words[i]; i++) {
            if (lh_str_eqz(part, words[i]))
                return true;
        }
    }
    return false;
}

static void warn_leased(const struct draft *d, const struct lh_store *s, const struct lh_item *it)
{
    char where[128];

    if (d->mode == LH_AGENT_INIT && looks_leased(s, it->path))
        problem_add(d->problems, where_of(LH_ANN_SECRET, it->name, where), NULL, false,
                    "agent: init renews nothing, so a credential of \"%.200s\" ends with its lease "
                    "while the Pod still runs; agent: sidecar keeps it alive",
                    it->path);
}

void store_judge(const struct draft *d, const struct lh_store *s, const struct lh_namespace *ns,
                 const struct lh_subject *who)
{
    struct lh_projection *p = d->projection;
    char where[128];

    if (s) {
        judge_addresses(d, s);
        judge_placeholders(d, s, who);
        judge_role(d, s, ns, who);
        judge_refresh(d, s, p->refresh_ms, NULL);
    }
    for (size_t i = 0; i < p->n_items; i++) {
        where_of(LH_ANN_SECRET, p->items[i].name, where);
        if (!expand_path(d, &p->items[i], who, where) || !judge_form(d, &p->items[i], where) || !s)
            continue;
        judge_path(d, s, ns, who, &p->items[i], where);
        judge_refresh(d, s, p->items[i].refresh_ms, p->items[i].name);
        warn_leased(d, s, &p->items[i]);
    }
}
