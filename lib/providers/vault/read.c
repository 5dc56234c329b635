/* SPDX-License-Identifier: Apache-2.0 */
#include "vault_priv.h"

#include <stdio.h>

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"

#define MOUNT_STALE_MS (5 * 60 * 1000)

/*
 * A read, and how KV v1 and v2 are told apart: what the server says of a mount decides. Mounts in
 * kv2Mounts are asked for once, before their first read. Elsewhere the plain path is tried first,
 * and the mount is asked for only when that was refused: 404, KV v2's warning, or 403 by policy,
 * since a policy written for KV v2 does not cover the path without data/.
 */

static void read_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                          const struct lh_err *err);
static void mount_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                           const struct lh_err *err);
static void resume(void *arg);

static int check_allowed(const struct lh_provider *p, const char *path, struct lh_err *err)
{
    const struct lh_namespace ns = {.name = p->id.subject.namespace_,
                                    .labels = p->id.namespace_labels};
    int rc = lh_path_check(path, err);

    return rc < 0 ? rc : lh_allow_path(p->store, &ns, &p->id.subject, path, err);
}

/* The path that is sent, checked once more: data/ of a mount that only the server calls KV v2 is
 * not known to the patterns, so there the path without it may be what is allowed. */
static int check_sent(const struct lh_provider *p, const char *sent, const char *logical,
                      struct lh_err *err)
{
    int rc = check_allowed(p, sent, err);

    if (rc < 0 && logical && check_allowed(p, logical, NULL) == 0)
        rc = 0;
    return rc;
}

/* "kv/" and "kv/data/app/x" or "kv/app/x": "kv/data/app/x" in *sent, "kv/app/x" in *logical. */
static int kv2_forms(const char *mount, const char *path, const char *below, char **sent,
                     char **logical, struct lh_err *err)
{
    size_t n = strlen(mount);
    const char *rest = path + n + (n && mount[n - 1] == '/' ? 0 : 1);
    int head = (int)(rest - path);
    char *a, *b;

    if (strncmp(rest, "data/", 5) == 0)
        rest += 5;
    a = lh_asprintf("%.*s%s%s", head, path, below, rest);
    b = lh_asprintf("%.*s%s", head, path, rest);
    if (!a || !b) {
        lh_free(a);
        lh_free(b);
        return lh_err_nomem(err);
    }
    *sent = a;
    *logical = b;
    return 0;
}

/* metadata/ below a KV v2 mount is asked for as it is: any readable path can be read. */
static bool names_metadata(const char *mount, const char *path)
{
    size_t n = strlen(mount);

    return strncmp(path + n + (n && mount[n - 1] == '/' ? 0 : 1), "metadata/", 9) == 0;
}

static int send_read(struct lh_provider_op *op, const char *kv2_mount, struct lh_err *err)
{
    const struct lh_vault_mount *known = lh_vault_mounts_find(op->p, op->path);
    lh_auto_free char *sent = NULL;
    lh_auto_free char *logical = NULL;
    char query[40] = "";
    struct lh_vault_ask ask = {.method = "GET", .issues = !known || !known->kv};
    int rc;

    op->kv2 = kv2_mount && !names_metadata(kv2_mount, op->path);
    if (op->kv2) {
        rc = kv2_forms(kv2_mount, op->path, "data/", &sent, &logical, err);
        if (rc < 0)
            return rc;
        ask.issues = false;
        if (op->version > 0) {
            snprintf(query, sizeof(query), "version=%lld", (long long)op->version);
            ask.query = query;
        }
    } else if (op->version > 0) {
        rc = lh_err_set(err, LH_E_INVALID, "%s: a version was asked for, and this is not KV v2",
                        op->what);
        return lh_err_reason(err, rc, LH_REASON_KVVersionMismatch);
    }
    ask.path = sent ? sent : op->path;
    rc = check_sent(op->p, ask.path, logical, err);
    return rc < 0 ? rc : lh_vault_send(op, &ask, read_answered, err);
}

static int send_write(struct lh_provider_op *op, struct lh_err *err)
{
    const struct lh_vault_ask ask = {
        .method = "POST",
        .path = op->path,
        .body = op->params,
        .issues = true,
        .keep_index = true,
    };

    return lh_vault_send(op, &ask, read_answered, err);
}

static int ask_mount(struct lh_provider_op *op, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("sys/internal/ui/mounts/%s", op->path);
    struct lh_vault_ask ask = {.method = "GET", .path = path};

    if (!path)
        return lh_err_nomem(err);
    op->looked_up = true;
    return lh_vault_send(op, &ask, mount_answered, err);
}

/* The guard rail takes data/ out of paths below kv2Mounts. Where the server says that such a mount
 * is not KV v2, data/ would be part of the name, and the pattern would have been applied to another
 * path than the one that is sent. */
static int check_mismatch(const struct lh_provider_op *op, const struct lh_vault_mount *m,
                          struct lh_err *err)
{
    const char *listed = lh_vault_mounts_listed(op->p, op->path);
    size_t n = listed ? strlen(listed) : 0;
    const char *rest;
    int rc;

    if (!listed || m->kv2 || !op->p->store->cluster_scoped)
        return 0;
    rest = op->path + n + (listed[n - 1] == '/' ? 0 : 1);
    if (strncmp(rest, "data/", 5) != 0 && strncmp(rest, "metadata/", 9) != 0)
        return 0;
    rc = lh_err_set(err, LH_E_INVALID,
                    "%s: the store's kv2Mounts names \"%s\", which is not KV v2: take it out there",
                    op->what, listed);
    return lh_err_reason(err, rc, LH_REASON_KVVersionMismatch);
}

/* With what is known of the mount: by now or by an earlier look-up. */
static int read_known(struct lh_provider_op *op, const struct lh_vault_mount *m, struct lh_err *err)
{
    int rc = check_mismatch(op, m, err);

    return rc < 0 ? rc : send_read(op, m->kv2 ? m->path : NULL, err);
}

static int ask_listed(struct lh_provider_op *op, const char *listed, struct lh_err *err)
{
    if (lh_vault_mounts_join(op, listed, resume))
        return 0;
    op->asks = listed;
    return ask_mount(op, err);
}

static int begin(struct lh_provider_op *op, struct lh_err *err)
{
    const struct lh_vault_mount *m = lh_vault_mounts_find(op->p, op->path);
    const char *listed = lh_vault_mounts_listed(op->p, op->path);

    if (op->params)
        return send_write(op, err);
    if (m)
        return read_known(op, m, err);
    if (op->hidden)
        return send_read(op, listed, err);
    if (listed)
        return ask_listed(op, listed, err);
    if (op->version > 0)
        return ask_mount(op, err);
    return send_read(op, NULL, err);
}

/* One read a turn: what it calls may close the provider. */
static void resume(void *arg)
{
    struct lh_provider_op *op = lh_vault_mounts_next(arg);
    struct lh_err err = {0};

    if (!op)
        return;
    if (op->refused.code) {
        err = op->refused;
        lh_vault_op_finish(op, NULL, &err);
        return;
    }
    if (begin(op, &err) < 0)
        lh_vault_op_finish(op, NULL, &err);
}

static void finish_refused(struct lh_provider_op *op)
{
    struct lh_err err = op->refused;

    lh_vault_op_finish(op, NULL, &err);
}

/* The server would not say: kv2Mounts stands in for it. */
static int assume(struct lh_provider_op *op, struct lh_err *err)
{
    const char *listed = lh_vault_mounts_listed(op->p, op->path);

    return send_read(op, listed, err);
}

/* False where the answer does not say what mount it is, or there is no memory to keep it. */
static bool learn(struct lh_provider_op *op, const struct lh_vault_answer *ans, bool *news,
                  struct lh_vault_mount **out)
{
    struct lh_vault_mount_fact fact;

    if (ans->class != LH_VAULT_OK ||
        lh_vault_answer_mount(ans->json, lh_str(op->path), &fact, NULL) < 0)
        return false;
    /* The path as it was sent may have been KV v2's already. */
    *news = fact.kv2 != op->kv2 &&
            !(fact.kv2 && strncmp(op->path + fact.path.n, "data/", 5) == 0 && op->version == 0);
    return lh_vault_mounts_put(op->p, &fact, out, NULL) == 0;
}

static bool refused_to_say(enum lh_vault_class c)
{
    return c == LH_VAULT_DENIED || c == LH_VAULT_NOT_FOUND || c == LH_VAULT_NO_MOUNT ||
           c == LH_VAULT_BAD_REQUEST || c == LH_VAULT_BAD_METHOD;
}

static void mount_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                           const struct lh_err *err)
{
    bool after_refusal = op->refused.code != 0;
    struct lh_vault_mount *m = NULL;
    struct lh_err mine = {0};
    bool news = false, known = false;
    int rc;

    if (!err && lh_vault_check(op, ans, &mine) < 0 && !refused_to_say(ans->class))
        err = &mine;
    if (!err)
        known = learn(op, ans, &news, &m);
    lh_vault_mounts_wake(op, err, !known);
    if (err) {
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    if (after_refusal && !news) {
        finish_refused(op);
        return;
    }
    mine = (struct lh_err){0};
    rc = known ? read_known(op, m, &mine) : assume(op, &mine);
    if (rc < 0)
        lh_vault_op_finish(op, NULL, &mine);
}

/* Is it worth asking what the mount is? Once an operation. What was learned long ago may be wrong
 * by now: a mount can be made KV v2 later. */
static bool ask_after(const struct lh_provider_op *op, enum lh_vault_class c)
{
    const struct lh_vault_mount *known = lh_vault_mounts_find(op->p, op->path);

    if (op->looked_up || op->params)
        return false;
    switch (c) {
    case LH_VAULT_NOT_FOUND:
    case LH_VAULT_KV2_PATH:
        return !known || (known->kv && lh_clock_now() - known->learned_at > MOUNT_STALE_MS);
    case LH_VAULT_DENIED:
        return !known;
    default:
        return false;
    }
}

static void refused(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                    const struct lh_err *why)
{
    struct lh_err mine = {0};

    op->refused = *why;
    if (ask_after(op, ans->class)) {
        int rc = ask_mount(op, &mine);

        if (rc < 0)
            lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    finish_refused(op);
}

/* A read that worked proves what kv2Mounts says, where the server would not. */
static void remember_assumed(struct lh_provider_op *op)
{
    const char *listed = lh_vault_mounts_listed(op->p, op->path);
    lh_auto_free char *path = NULL;
    struct lh_vault_mount *m;

    if (!op->kv2 || !listed || lh_vault_mounts_find(op->p, op->path))
        return;
    path = lh_asprintf("%s%s", listed, listed[strlen(listed) - 1] == '/' ? "" : "/");
    if (!path)
        return;
    /* For want of memory it is asked for again: no harm. */
    (void)lh_vault_mounts_put(
        op->p, &(struct lh_vault_mount_fact){.path = lh_str(path), .kv = true, .kv2 = true}, &m,
        NULL);
}

static void read_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                          const struct lh_err *err)
{
    struct lh_vault_texts texts = {0};
    struct lh_prov_read read = {0};
    const struct lh_prov_result res = {.read = &read};
    const struct lh_vault_mount *m;
    struct lh_err mine = {0};
    int rc;

    if (err) {
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    rc = lh_vault_check(op, ans, &mine);
    if (rc < 0) {
        refused(op, ans, &mine);
        return;
    }
    rc = lh_vault_answer_read(ans->json, op->kv2, &texts, &read, &mine);
    if (rc < 0) {
        lh_err_wrap(&mine, rc, "%s", op->what);
        /* It did what it was asked: asking again would do it again. */
        mine.sent = op->issues;
        lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    remember_assumed(op);
    m = lh_vault_mounts_find(op->p, op->path);
    if (!op->params)
        read.kv2_mismatch = (m ? m->kv2 : read.version != NULL) !=
                            (lh_vault_mounts_listed(op->p, op->path) != NULL);
    read.sent_at = ans->sent_at;
    read.done_at = ans->done_at;
    lh_vault_op_finish(op, &res, NULL);
}

static int new_op(struct lh_provider *p, const struct lh_secret *token, const char *verb,
                  const char *path, lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                  struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc;

    rc = lh_vault_op_new(p, token, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = lh_subject_expand(&p->id.subject, path, &op->path, err);
    if (rc == 0)
        rc = check_allowed(p, op->path, err);
    if (rc == 0)
        rc = lh_vault_op_what(op, err, "%s \"%.200s\"", verb, op->path);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

int lh_vault_read(struct lh_provider *p, const struct lh_secret *token,
                  const struct lh_read_request *req, lh_prov_done_fn done, void *arg,
                  struct lh_provider_op **out, struct lh_err *err)
{
    const char *verb = req->params ? "write" : "read";
    struct lh_provider_op *op;
    int rc;

    rc = new_op(p, token, verb, req->path, done, arg, &op, err);
    if (rc < 0)
        return rc;
    op->version = req->version;
    if (req->params) {
        op->params = lh_json_deep_copy(req->params);
        rc = op->params ? 0 : lh_err_nomem(err);
    }
    if (rc == 0)
        rc = begin(op, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

static void probe_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                           const struct lh_err *err)
{
    struct lh_vault_texts texts = {0};
    struct lh_prov_version version = {0};
    const struct lh_prov_result res = {.version = &version};
    struct lh_err mine = {0};
    int rc;

    if (lh_vault_refused(op, ans, err))
        return;
    rc = lh_vault_answer_version(ans->json, lh_clock_wall_ms(), &texts, &version, &mine);
    if (rc < 0) {
        lh_err_wrap(&mine, rc, "%s", op->what);
        lh_vault_op_finish(op, NULL, &mine);
        return;
    }
    lh_vault_op_finish(op, &res, NULL);
}

static int send_probe(struct lh_provider_op *op, struct lh_err *err)
{
    const struct lh_vault_mount *m = lh_vault_mounts_find(op->p, op->path);
    lh_auto_free char *sent = NULL;
    lh_auto_free char *logical = NULL;
    struct lh_vault_ask ask = {.method = "GET"};
    int rc;

    if (!m || !m->kv2 || names_metadata(m->path, op->path))
        return lh_err_set(err, LH_E_INVALID, "%s: not known to be KV v2", op->what);
    rc = kv2_forms(m->path, op->path, "metadata/", &sent, &logical, err);
    if (rc < 0)
        return rc;
    rc = check_sent(op->p, sent, logical, err);
    if (rc < 0)
        return rc;
    ask.path = sent;
    return lh_vault_send(op, &ask, probe_answered, err);
}

int lh_vault_probe(struct lh_provider *p, const struct lh_secret *token, const char *path,
                   lh_prov_done_fn done, void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc;

    rc = new_op(p, token, "version of", path, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = send_probe(op, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}
