/* SPDX-License-Identifier: Apache-2.0 */
/*
 * StorageVersionMigration (storagemigration.k8s.io, v1alpha1 since Kubernetes 1.30, v1beta1 since
 * 1.35): the cluster writes every object of a resource again by itself. It goes on while nobody
 * looks; whoever comes back finds it by its label. What it does not tell is how far it is.
 */
#include <stdio.h>
#include <string.h>

#include "encryption_rewrite.h"
#include "leasehold/core/mem.h"

#define GROUP   "/apis/storagemigration.k8s.io"
#define KIND    "storageversionmigrations"
#define MANAGED "app.kubernetes.io/managed-by"
#define DIGEST  "leasehold.dev/encryption-config"

enum state { WAITING, RUNNING, SUCCEEDED, FAILED };

struct migration {
    struct enc_rewrite *r;
    char *base; /* "/apis/storagemigration.k8s.io/v1beta1/storageversionmigrations" */
    bool alpha; /* resources with a version */
    char *name;
    lh_ms begun;
    char why[200]; /* it failed */
};

static int call(struct migration *m, const char *method, const char *path,
                const struct lh_secret *body, int *status, lh_json **out, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *answer = NULL;
    int rc = enc_api_call(m->r->api, method, path, NULL, body, status, &answer, err);

    *out = NULL;
    if (rc < 0 || *status >= 300)
        return rc;
    return lh_json_parse((struct lh_str){lh_secret_expose_const(answer), lh_secret_len(answer)},
                         NULL, out, err);
}

/* *instead: it is not served. */
static int find_version(struct migration *m, const char **instead, struct lh_err *err)
{
    lh_auto_json lh_json *group = NULL;
    const char *version;
    int status = 0, rc = call(m, "GET", GROUP, NULL, &status, &group, err);

    if (rc < 0)
        return rc;
    version = lh_json_get_z(lh_json_get(group, "preferredVersion"), "version");
    if (!version) {
        *instead = "StorageVersionMigration is not served";
        return 0;
    }
    m->alpha = strcmp(version, "v1alpha1") == 0;
    m->base = lh_asprintf("%s/%s/" KIND, GROUP, version);
    return m->base ? 0 : lh_err_nomem(err);
}

static void put_field(struct lh_buf *b, const char *before, const char *value)
{
    lh_buf_put_z(b, before);
    lh_json_write_str(lh_str(value), b);
}

static int body_of(const struct migration *m, struct lh_secret **out, struct lh_err *err)
{
    const struct enc_resource *res = m->r->res;
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, 8192);
    lh_buf_put_z(&b, "{\"metadata\": {\"generateName\": \"leasehold-\", \"labels\": {\"" MANAGED
                     "\": \"leasehold\"}");
    put_field(&b, ", \"annotations\": {\"" DIGEST "\": ", m->r->digest);
    put_field(&b, "}}, \"spec\": {\"resource\": {\"group\": ", res->group);
    if (m->alpha)
        put_field(&b, ", \"version\": ", strrchr(res->base, '/') + 1);
    put_field(&b, ", \"resource\": ", res->plural);
    lh_buf_put_z(&b, "}}}");
    rc = lh_buf_check(&b, err);
    return rc < 0 ? rc : lh_secret_copy(b.p, b.n, out, err);
}

static enum state state_of(struct migration *m, const lh_json *object)
{
    const lh_json *conditions = lh_json_path(object, "status", "conditions", NULL);
    enum state state = WAITING;

    for (size_t i = 0; i < lh_json_len(conditions); i++) {
        const lh_json *c = lh_json_at(conditions, i);
        const char *type = lh_json_get_z(c, "type"), *is = lh_json_get_z(c, "status");
        const char *message = lh_json_get_z(c, "message");

        if (!type || !is || strcmp(is, "True") != 0)
            continue;
        if (strcmp(type, "Succeeded") == 0)
            return SUCCEEDED;
        if (strcmp(type, "Failed") == 0) {
            snprintf(m->why, sizeof(m->why), "%s", message ? message : "");
            enc_plain(m->why);
            return FAILED;
        }
        state = RUNNING;
    }
    return state;
}

static bool is_ours(struct migration *m, const lh_json *object)
{
    const lh_json *resource = lh_json_path(object, "spec", "resource", NULL);
    const lh_json *meta = lh_json_get(object, "metadata");
    const char *digest = lh_json_get_z(lh_json_get(meta, "annotations"), DIGEST);
    const char *group = lh_json_get_z(resource, "group");
    const char *plural = lh_json_get_z(resource, "resource");

    return digest && strcmp(digest, m->r->digest) == 0 && plural &&
           strcmp(plural, m->r->res->plural) == 0 &&
           strcmp(group ? group : "", m->r->res->group) == 0 && state_of(m, object) < SUCCEEDED;
}

static int keep_name(struct migration *m, const lh_json *object, struct lh_err *err)
{
    const char *name = lh_json_get_z(lh_json_get(object, "metadata"), "name");

    if (!name || strpbrk(name, "/%?#"))
        return lh_err_set(err, LH_E_INVALID, "a migration without a usable name");
    m->name = lh_strdup(name);
    return m->name ? 0 : lh_err_nomem(err);
}

/* One of an earlier run, under the same configuration and not at its end. */
static int join(struct migration *m, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("%s?labelSelector=app.kubernetes.io%%2Fmanaged-by%%3D"
                                          "leasehold",
                                          m->base);
    lh_auto_json lh_json *list = NULL;
    const lh_json *items;
    int status = 0, rc = path ? 0 : lh_err_nomem(err);

    if (rc == 0)
        rc = call(m, "GET", path, NULL, &status, &list, err);
    items = lh_json_get(list, "items");
    for (size_t i = 0; rc == 0 && !m->name && i < lh_json_len(items); i++)
        if (is_ours(m, lh_json_at(items, i)))
            rc = keep_name(m, lh_json_at(items, i), err);
    return rc;
}

static int begin(struct migration *m, const char **instead, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *body = NULL;
    lh_auto_json lh_json *made = NULL;
    int status = 0, rc = join(m, err);

    m->begun = lh_clock_now();
    if (rc < 0 || m->name)
        return rc;
    rc = body_of(m, &body, err);
    if (rc == 0)
        rc = call(m, "POST", m->base, body, &status, &made, err);
    if (rc < 0 || made)
        return rc < 0 ? rc : keep_name(m, made, err);
    *instead = status == 403 ? "there is no right to create a StorageVersionMigration"
                             : "the API server takes no StorageVersionMigration";
    return 0;
}

/* It is over, or nobody will do it. Without the right to, it stays: that is no failure. */
static void forget(struct migration *m)
{
    lh_auto_free char *path = lh_asprintf("%s/%s", m->base, m->name);
    lh_auto_json lh_json *answer = NULL;
    int status = 0;

    if (path)
        call(m, "DELETE", path, NULL, &status, &answer, NULL);
}

static void progress(const struct migration *m, enum state state)
{
    if (m->r->tty)
        fprintf(stderr, "\r%s: the cluster %s, %lld s ", m->r->res->name,
                state == RUNNING ? "migrates" : "has not begun yet",
                (long long)(lh_clock_now() - m->begun) / 1000);
}

static int look(struct migration *m, enum state *state, struct lh_err *err)
{
    lh_auto_free char *path = lh_asprintf("%s/%s", m->base, m->name);
    lh_auto_json lh_json *object = NULL;
    int status = 0, rc = path ? 0 : lh_err_nomem(err);

    if (rc == 0)
        rc = call(m, "GET", path, NULL, &status, &object, err);
    if (rc < 0)
        return rc;
    if (!object)
        return lh_err_set(err, LH_E_NOTFOUND, "%s answers %d to %s, which was made for this",
                          enc_api_server(m->r->api), status, path);
    *state = state_of(m, object);
    return 0;
}

static int follow(struct migration *m, const char **instead, struct lh_err *err)
{
    enum state state = WAITING;
    int rc = 0;

    while (rc == 0 && !m->r->stop) {
        rc = look(m, &state, err);
        if (rc < 0 || state >= SUCCEEDED ||
            (state == WAITING && lh_clock_now() - m->begun >= m->r->start_ms))
            break;
        progress(m, state);
        rc = enc_wait(m->r->loop, m->r->poll_ms, err);
    }
    if (m->r->tty)
        fputc('\n', stderr);
    if (rc < 0)
        return rc;
    if (state == SUCCEEDED) {
        m->r->migrated = true;
        forget(m);
    } else if (state == FAILED) {
        *instead = "the migration failed";
    } else if (m->r->stop) {
        fprintf(stderr, "leasehold encryption: the cluster goes on with it; the same command waits "
                        "for it again\n");
        return lh_err_set(err, LH_E_BUSY, "interrupted");
    } else {
        forget(m);
        *instead = "nobody carries a StorageVersionMigration out";
    }
    return 0;
}

int enc_migrate(struct enc_rewrite *r, const char **instead, struct lh_err *err)
{
    struct migration m = {.r = r};
    int rc;

    *instead = NULL;
    rc = find_version(&m, instead, err);
    if (rc == 0 && !*instead)
        rc = begin(&m, instead, err);
    if (rc == 0 && !*instead)
        rc = follow(&m, instead, err);
    if (rc == 0 && *instead && strcmp(r->method, "migration") == 0)
        rc = lh_err_set(err, LH_E_UNAVAILABLE, "%s: %s%s%s", r->res->name, *instead,
                        m.why[0] ? ": " : "", m.why);
    lh_free(m.base);
    lh_free(m.name);
    return rc;
}
