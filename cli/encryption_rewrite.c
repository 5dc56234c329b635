/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every object read and written back as it is: the API server writes it anew where its bytes are
 * of an older key, and leaves it alone otherwise. One page of metadata is held, and one object.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "encryption.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

enum { PAGE = 500, CONFLICTS = 10, BAR = 30, NAME = 700 };
#define METADATA "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

struct rewrite {
    const struct enc_options *o;
    struct lh_loop *loop;
    struct enc_api *api;
    struct lh_signal *ints[2];
    bool stop, tty, more;
    const char *resource;
    char *collection;   /* "/api/v1/secrets" */
    const char *plural; /* borrowed from resource, up to the dot */
    size_t plural_n;
    char last[NAME]; /* NAMESPACE/NAME of the last that is done with; "" */
    size_t done, gone, conflicts, left;
};

static void on_signal(void *arg, int signo)
{
    struct rewrite *r = arg;

    (void)signo;
    r->stop = true;
}

static void progress(const struct rewrite *r, bool last)
{
    size_t total = r->done + r->gone + r->left, full = BAR;

    if (!r->tty)
        return;
    if (total > 0)
        full = BAR * (r->done + r->gone) / total;
    fprintf(stderr, "\r%s [%.*s%.*s] %zu of %zu%s", r->resource, (int)full,
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

static int refused(const struct rewrite *r, const char *path, int status, struct lh_err *err)
{
    return lh_err_set(err, status == 403 || status == 401 ? LH_E_DENIED : LH_E_UNAVAILABLE,
                      "%s answers %d to %s", enc_api_server(r->api), status, path);
}

/* "/api/v1/secrets", or the preferred version of a group. */
static int find_collection(struct rewrite *r, struct lh_err *err)
{
    const char *dot = strchr(r->resource, '.'), *version;
    lh_auto_secret struct lh_secret *body = NULL;
    lh_auto_json lh_json *group = NULL;
    lh_auto_free char *path = NULL;
    int status = 0, rc;

    r->plural = r->resource;
    r->plural_n = dot ? (size_t)(dot - r->resource) : strlen(r->resource);
    if (!dot || !dot[1]) {
        r->collection = lh_asprintf("/api/v1/%.*s", (int)r->plural_n, r->plural);
        return r->collection ? 0 : lh_err_nomem(err);
    }
    path = lh_asprintf("/apis/%s", dot + 1);
    if (!path)
        return lh_err_nomem(err);
    rc = enc_api_call(r->api, "GET", path, NULL, NULL, &status, &body, err);
    if (rc == 0 && status != 200)
        rc = refused(r, path, status, err);
    if (rc == 0)
        rc = decode(body, &group, err);
    if (rc < 0)
        return rc;
    version = lh_json_get_z(lh_json_get(group, "preferredVersion"), "version");
    if (!version)
        return lh_err_set(err, LH_E_NOTFOUND, "%s is no group that is served", dot + 1);
    r->collection = lh_asprintf("%s/%s/%.*s", path, version, (int)r->plural_n, r->plural);
    return r->collection ? 0 : lh_err_nomem(err);
}

static char *object_path(const struct rewrite *r, const char *ns, const char *name)
{
    size_t base = strlen(r->collection) - r->plural_n;

    if (!ns[0])
        return lh_asprintf("%s/%s", r->collection, name);
    return lh_asprintf("%.*snamespaces/%s/%.*s/%s", (int)base, r->collection, ns, (int)r->plural_n,
                       r->plural, name);
}

/* One object; its value is in locked memory on its way from answer to request and nowhere else. */
static int rewrite_one(struct rewrite *r, const char *path, struct lh_err *err)
{
    for (int i = 0; i < CONFLICTS; i++) {
        lh_auto_secret struct lh_secret *object = NULL, *answer = NULL;
        int status = 0, rc = enc_api_call(r->api, "GET", path, NULL, NULL, &status, &object, err);

        if (rc == 0 && status == 404) {
            r->gone++;
            return 0;
        }
        if (rc == 0 && status != 200)
            rc = refused(r, path, status, err);
        if (rc == 0)
            rc = enc_api_call(r->api, "PUT", path, NULL, object, &status, &answer, err);
        if (rc < 0)
            return rc;
        if (status == 200) {
            r->done++;
            return 0;
        }
        if (status == 404) {
            r->gone++;
            return 0;
        }
        if (status != 409)
            return refused(r, path, status, err);
        r->conflicts++;
    }
    return lh_err_set(err, LH_E_CONFLICT, "%s is changed by others all the time", path);
}

static int each(struct rewrite *r, const lh_json *items, struct lh_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && !r->stop && i < lh_json_len(items); i++) {
        const lh_json *meta = lh_json_get(lh_json_at(items, i), "metadata");
        const char *name = lh_json_get_z(meta, "name"), *ns = lh_json_get_z(meta, "namespace");
        lh_auto_free char *path = NULL;
        char key[NAME];

        if (!name || strpbrk(name, "/%?#"))
            return lh_err_set(err, LH_E_INVALID, "%s: an object without a usable name",
                              r->collection);
        snprintf(key, sizeof(key), "%s%s%s", ns ? ns : "", ns ? "/" : "", name);
        if (r->last[0] && strcmp(key, r->last) <= 0)
            continue;
        path = object_path(r, ns ? ns : "", name);
        rc = path ? rewrite_one(r, path, err) : lh_err_nomem(err);
        if (rc < 0)
            break;
        snprintf(r->last, sizeof(r->last), "%s", key);
        if (r->left > 0)
            r->left--;
        progress(r, false);
    }
    return rc;
}

static char *page_path(const struct rewrite *r, const char *token)
{
    lh_auto_buf struct lh_buf b;
    char *out = NULL;

    lh_buf_init(&b, 65536);
    lh_buf_printf(&b, "%s?limit=%d", r->collection, PAGE);
    if (token && *token)
        lh_buf_put_z(&b, "&continue=");
    for (; token && *token; token++)
        lh_buf_printf(&b, "%%%02X", (unsigned char)*token);
    return lh_buf_finish(&b, &out, NULL, NULL) < 0 ? NULL : out;
}

/* One page; *token (owned) is replaced by the next one's, NULL at the end. */
static int page(struct rewrite *r, char **token, struct lh_err *err)
{
    lh_auto_free char *path = page_path(r, *token);
    lh_auto_secret struct lh_secret *body = NULL;
    lh_auto_json lh_json *list = NULL;
    const lh_json *meta;
    const char *next;
    int status = 0, rc = path ? 0 : lh_err_nomem(err);

    if (rc == 0)
        rc = enc_api_call(r->api, "GET", path, METADATA, NULL, &status, &body, err);
    if (rc == 0 && status == 410) {
        /* From the start, up to the last that is done. */
        lh_free(*token);
        *token = lh_strdup("");
        return *token ? 0 : lh_err_nomem(err);
    }
    if (rc == 0 && status != 200)
        rc = refused(r, r->collection, status, err);
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
    return rc;
}

static int rewrite_resource(struct rewrite *r, const char *resource, struct lh_buf *said,
                            struct lh_err *err)
{
    lh_auto_free char *token = lh_strdup("");
    int rc;

    r->resource = resource;
    r->done = r->gone = r->conflicts = r->left = 0;
    if (resource[0] == '*')
        return lh_err_set(err, LH_E_INVALID, "%s: name the resources with --resources", resource);
    rc = find_collection(r, err);
    while (rc == 0 && token && !r->stop)
        rc = page(r, &token, err);
    progress(r, true);
    lh_free(r->collection);
    r->collection = NULL;
    if (rc < 0 || r->stop) {
        fprintf(stderr, "leasehold encryption: to go on: --after %s/%s\n", resource, r->last);
        if (rc == 0)
            rc = lh_err_set(err, LH_E_BUSY, "interrupted");
        return rc;
    }
    if (r->o->json)
        lh_buf_printf(said,
                      "%s{\"resource\": \"%s\", \"written\": %zu, \"gone\": %zu, "
                      "\"conflicts\": %zu}",
                      r->more ? ", " : "", resource, r->done, r->gone, r->conflicts);
    else
        lh_buf_printf(said, "%s: %zu written, %zu gone meanwhile, %zu conflicts\n", resource,
                      r->done, r->gone, r->conflicts);
    r->more = true;
    return 0;
}

static int resources_of(const struct enc_options *o, struct lh_vec *out, struct lh_err *err)
{
    lh_auto_free char *first = NULL;
    struct enc_file f = {0};
    lh_auto_buf struct lh_buf b;
    struct lh_str path, rest;
    int rc;

    if (o->resources)
        return enc_split(o->resources, out, err);
    lh_buf_init(&b, 65536);
    lh_str_cut(lh_str(o->file), ',', &path, &rest);
    first = lh_str_dup(path);
    rc = first ? enc_file_read(first, &f, err) : lh_err_nomem(err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < f.config.rules.n; i++) {
        const struct lh_atrest_rule *rule = lh_vec_at(&f.config.rules, i);

        for (size_t k = 0; k < rule->resources.n; k++)
            lh_buf_printf(&b, "%s%s", b.n ? "," : "", *(char **)lh_vec_at(&rule->resources, k));
    }
    enc_file_done(&f);
    rc = lh_buf_check(&b, err);
    return rc < 0 ? rc : enc_split(lh_buf_peek(&b).p, out, err);
}

static int rewrite_all(struct rewrite *r, const struct lh_vec *resources, struct lh_buf *said,
                       struct lh_err *err)
{
    struct lh_str resource = {NULL, 0}, last = {NULL, 0};
    bool skip = r->o->after != NULL;
    int rc = 0;

    if (skip)
        lh_str_cut(lh_str(r->o->after), '/', &resource, &last);
    for (size_t i = 0; rc == 0 && i < resources->n; i++) {
        const char *here = *(char **)lh_vec_at(resources, i);

        r->last[0] = '\0';
        if (skip && !lh_str_eqz(resource, here))
            continue;
        if (skip)
            snprintf(r->last, sizeof(r->last), "%.*s", (int)last.n, last.p);
        skip = false;
        rc = rewrite_resource(r, here, said, err);
    }
    if (rc == 0 && skip)
        rc = lh_err_set(err, LH_E_INVALID, "--after names a resource that is not written again");
    return rc;
}

static int with_api(struct rewrite *r, struct lh_buf *said, struct lh_err *err)
{
    static const int signals[] = {SIGINT, SIGTERM};
    const struct enc_api_limits limits = {.rate = 2 * (unsigned)r->o->rate, /* read and write */
                                          .tries = 8,
                                          .timeout_ms = (unsigned)r->o->timeout_ms};
    struct lh_kube_config cfg = {0};
    struct lh_vec resources;
    int rc = resources_of(r->o, &resources, err);

    if (rc < 0)
        return rc;
    rc = lh_kube_config_load(r->o->kubeconfig, r->o->context, &cfg, err);
    if (rc == 0)
        rc = enc_api_open(r->loop, &cfg, NULL, &limits, &r->api, err);
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = lh_signal_new(r->loop, signals[i], on_signal, r, &r->ints[i], err);
    if (rc == 0)
        rc = rewrite_all(r, &resources, said, err);
    for (int i = 0; i < 2; i++)
        if (r->ints[i])
            lh_signal_free(r->ints[i]);
    enc_api_close(r->api);
    lh_kube_config_done(&cfg);
    enc_list_done(&resources);
    return rc;
}

int enc_rewrite(const struct enc_options *o)
{
    struct rewrite r = {.o = o, .tty = isatty(STDERR_FILENO) == 1};
    lh_auto_buf struct lh_buf said;
    struct lh_err err = {0};
    int rc = lh_crypto_init(&err);

    lh_buf_init(&said, (size_t)1 << 20);
    if (o->json)
        lh_buf_put_z(&said, "{\"resources\": [");
    if (rc == 0)
        rc = lh_http_global_init(&err);
    if (rc == 0)
        rc = lh_loop_new(&r.loop, &err);
    if (rc == 0) {
        rc = with_api(&r, &said, &err);
        lh_loop_free(r.loop);
    }
    if (rc < 0)
        return enc_fail(&err);
    if (o->json)
        lh_buf_put_z(&said, "]}\n");
    return cli_print(&said) == CLI_OK ? CLI_OK : CLI_USAGE;
}
