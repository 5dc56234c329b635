/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every object read and written back as it is: the API server writes it anew where its bytes are
 * of an older key, and leaves it alone otherwise. One page of metadata is held, and one object.
 */
#include <stdio.h>
#include <string.h>

#include "encryption_rewrite.h"
#include "leasehold/core/mem.h"

enum { PAGE = 500, CONFLICTS = 10, BAR = 30 };
#define METADATA "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

static void progress(const struct enc_rewrite *r, bool last)
{
    size_t total = r->done + r->gone + r->left, full = BAR;

    if (!r->tty)
        return;
    if (total > 0)
        full = BAR * (r->done + r->gone) / total;
    fprintf(stderr, "\r%s [%.*s%.*s] %zu of %zu%s", r->res->name, (int)full,
            "##############################", (int)(BAR - full), "..............................",
            r->done + r->gone, total, last ? "\n" : "");
    fflush(stderr);
}

static int decode(const struct lh_secret *body, lh_json **out, struct lh_err *err)
{
    static const struct lh_json_limits limits = {
        .max_bytes = (size_t)64 << 20, .max_depth = 64, .max_keys = 4000000};

    return lh_json_parse((struct lh_str){lh_secret_expose_const(body), lh_secret_len(body)},
                         &limits, out, err);
}

static int denied(const struct enc_rewrite *r, const char *path, int status, struct lh_err *err)
{
    return lh_err_set(err, status == 403 || status == 401 ? LH_E_DENIED : LH_E_UNAVAILABLE,
                      "%s answers %d to %s", enc_api_server(r->api), status, path);
}

/* An object that its webhook or its kind's rules do not let be written is named and passed over;
 * where the first of its kind is not, or many are not, it is no matter of the object. */
static int not_taken(struct enc_rewrite *r, const char *path, int status, struct lh_err *err)
{
    bool theirs = status == 400 || status == 403 || status == 422;
    char *line;

    if (!theirs || r->refusals.n >= ENC_REFUSALS || (status == 403 && r->done == 0))
        return denied(r, path, status, err);
    line = lh_asprintf("%s: %d", path, status);
    if (!line || !lh_vec_push(&r->refusals, &line)) {
        lh_free(line);
        return lh_err_nomem(err);
    }
    r->refused++;
    return 0;
}

static char *object_path(const struct enc_resource *res, const char *ns, const char *name)
{
    if (!ns[0])
        return lh_asprintf("%s/%s/%s", res->base, res->plural, name);
    return lh_asprintf("%s/namespaces/%s/%s/%s", res->base, ns, res->plural, name);
}

/* One object; its value is in locked memory on its way from answer to request and nowhere else. */
static int update_one(struct enc_rewrite *r, const char *path, struct lh_err *err)
{
    for (int i = 0; i < CONFLICTS; i++) {
        lh_auto_secret struct lh_secret *object = NULL, *answer = NULL;
        int status = 0, rc = enc_api_call(r->api, "GET", path, NULL, NULL, &status, &object, err);

        if (rc == 0 && status == 200)
            rc = enc_api_call(r->api, "PUT", path, NULL, object, &status, &answer, err);
        else if (rc == 0 && status != 404)
            return denied(r, path, status, err);
        if (rc < 0)
            return rc;
        if (status == 404) {
            r->gone++;
            return 0;
        }
        if (status == 200) {
            r->done++;
            return 0;
        }
        if (status != 409)
            return not_taken(r, path, status, err);
        r->conflicts++;
    }
    return lh_err_set(err, LH_E_CONFLICT, "%s is changed by others all the time", path);
}

static int each(struct enc_rewrite *r, const lh_json *items, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && !r->stop && i < lh_json_len(items); i++) {
        const lh_json *meta = lh_json_get(lh_json_at(items, i), "metadata");
        const char *name = lh_json_get_z(meta, "name"), *ns = lh_json_get_z(meta, "namespace");
        lh_auto_free char *path = NULL;
        char key[ENC_LAST];

        /* Roles may have a colon in their names, nothing has what a path is made of. */
        if (!name || strpbrk(name, "/%?#"))
            return lh_err_set(err, LH_E_INVALID, "%s: an object without a usable name",
                              r->res->name);
        snprintf(key, sizeof(key), "%s%s%s", ns ? ns : "", ns ? "/" : "", name);
        if (r->last[0] && strcmp(key, r->last) <= 0)
            continue;
        path = object_path(r->res, ns ? ns : "", name);
        rc = path ? update_one(r, path, err) : lh_err_nomem(err);
        if (rc < 0)
            break;
        snprintf(r->last, sizeof(r->last), "%s", key);
        if (r->left > 0)
            r->left--;
        progress(r, false);
    }
    return rc;
}

static char *page_path(const struct enc_rewrite *r, const char *token)
{
    lh_auto_buf struct lh_buf b;
    char *out = NULL;

    lh_buf_init(&b, 65536);
    lh_buf_printf(&b, "%s/%s?limit=%d", r->res->base, r->res->plural, PAGE);
    if (token && *token)
        lh_buf_put_z(&b, "&continue=");
    for (; token && *token; token++)
        lh_buf_printf(&b, "%%%02X", (unsigned char)*token);
    return lh_buf_finish(&b, &out, NULL, NULL) < 0 ? NULL : out;
}

/* One page; *token (owned) is replaced by the next one's, NULL at the end. */
static int page(struct enc_rewrite *r, char **token, struct lh_err *err)
{
    lh_auto_free char *path = page_path(r, *token);
    lh_auto_secret struct lh_secret *body = NULL;
    lh_auto_json lh_json *list = NULL;
    const lh_json *meta;
    const char *next;
    int status = 0, rc = path ? 0 : lh_err_nomem(err);

    if (rc == 0)
        rc = enc_api_call(r->api, "GET", path, METADATA, NULL, &status, &body, err);
    if (rc == 0 && status == 410 && **token) {
        /* From the start, up to the last that is done. */
        lh_free(*token);
        *token = lh_strdup("");
        return *token ? 0 : lh_err_nomem(err);
    }
    if (rc == 0 && status != 200)
        rc = denied(r, r->res->name, status, err);
    if (rc == 0)
        rc = decode(body, &list, err);
    if (rc < 0)
        return rc;
    meta = lh_json_get(list, "metadata");
    r->left = lh_json_len(lh_json_get(list, "items")) +
              (size_t)lh_json_get_int(meta, "remainingItemCount", 0);
    rc = each(r, lh_json_get(list, "items"), err);
    next = lh_json_get_z(meta, "continue");
    lh_free(*token);
    *token = next && *next ? lh_strdup(next) : NULL;
    return rc < 0 || *token || !next || !*next ? rc : lh_err_nomem(err);
}

int enc_update(struct enc_rewrite *r, struct lh_err *err)
{
    lh_auto_free char *token = lh_strdup("");
    int rc = token ? 0 : lh_err_nomem(err);

    while (rc == 0 && token && !r->stop)
        rc = page(r, &token, err);
    progress(r, true);
    if (rc == 0 && !r->stop)
        return 0;
    fprintf(stderr, "leasehold encryption: to go on: --after %s/%s\n", r->res->name, r->last);
    return rc < 0 ? rc : lh_err_set(err, LH_E_BUSY, "interrupted");
}
