/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite: what is stored is written again, so that the key that writes now protects it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "encryption_rewrite.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { MIGRATION_POLL_MS = 500, MIGRATION_START_MS = 30 * 1000 };

static void on_signal(void *arg, int signo)
{
    struct enc_rewrite *r = arg;

    (void)signo;
    r->stop = true;
}

static void say(const struct enc_rewrite *r, bool first, struct lh_buf *said)
{
    if (r->json) {
        lh_buf_put_z(said, first ? "{\"resource\": " : ", {\"resource\": ");
        lh_json_write_str(lh_str(r->res->name), said);
        if (r->migrated)
            lh_buf_put_z(said, ", \"method\": \"migration\"}");
        else
            lh_buf_printf(said,
                          ", \"method\": \"update\", \"written\": %zu, \"gone\": %zu, "
                          "\"conflicts\": %zu}",
                          r->done, r->gone, r->conflicts);
    } else if (r->migrated) {
        lh_buf_printf(said, "%s: migrated by the cluster\n", r->res->name);
    } else {
        lh_buf_printf(said, "%s: %zu written, %zu gone meanwhile, %zu conflicts\n", r->res->name,
                      r->done, r->gone, r->conflicts);
    }
}

static int rewrite_one(struct enc_rewrite *r, const struct enc_resource *res, struct lh_err *err)
{
    const char *instead = NULL;
    int rc;

    r->res = res;
    r->done = r->gone = r->conflicts = r->left = 0;
    r->migrated = false;
    /* A migration does not begin in the middle. */
    if (strcmp(r->method, "update") == 0 || r->last[0])
        return enc_update(r, err);
    rc = enc_migrate(r, &instead, err);
    if (rc < 0 || !instead)
        return rc;
    if (!r->json)
        fprintf(stderr, "leasehold encryption: %s: %s: by updates\n", res->name, instead);
    /* It will not be otherwise for the next resource. */
    r->method = "update";
    return enc_update(r, err);
}

static int all(struct enc_rewrite *r, const struct lh_vec *resources, struct lh_buf *said,
               struct lh_err *err)
{
    struct lh_str resource = {NULL, 0}, last = {NULL, 0};
    bool skip = r->after != NULL, first = true;
    int rc = 0;

    if (skip)
        lh_str_cut(lh_str(r->after), '/', &resource, &last);
    for (size_t i = 0; rc == 0 && i < resources->n; i++) {
        const struct enc_resource *here = lh_vec_at(resources, i);

        r->last[0] = '\0';
        if (skip && !lh_str_eqz(resource, here->name))
            continue;
        if (skip)
            snprintf(r->last, sizeof(r->last), "%.*s", (int)last.n, last.p);
        skip = false;
        rc = rewrite_one(r, here, err);
        if (rc == 0)
            say(r, first, said);
        first = false;
    }
    if (rc == 0 && skip)
        rc = lh_err_set(err, LH_E_INVALID, "--after names a resource that is not written again");
    return rc;
}

int enc_rewrite_run(struct enc_rewrite *r, const struct lh_vec *resources, struct lh_buf *said,
                    struct lh_err *err)
{
    int rc;

    lh_vec_init(&r->refusals, sizeof(char *));
    lh_buf_put_z(said, r->json ? "{\"resources\": [" : "");
    rc = all(r, resources, said, err);
    lh_buf_put_z(said, r->json ? "], \"refused\": [" : "");
    for (size_t i = 0; i < r->refusals.n; i++) {
        const char *line = *(char **)lh_vec_at(&r->refusals, i);

        if (r->json) {
            lh_buf_put_z(said, i ? ", " : "");
            lh_json_write_str(lh_str(line), said);
        } else {
            lh_buf_printf(said, "not written: %s\n", line);
        }
    }
    lh_buf_put_z(said, r->json ? "]}\n" : "");
    enc_list_done(&r->refusals);
    return rc < 0 ? rc : lh_buf_check(said, err);
}

/* What the file names, and a digest of it. */
static int read_file(const struct enc_options *o, struct lh_vec *names, char digest[65],
                     struct lh_err *err)
{
    lh_auto_free char *first = NULL;
    uint8_t hash[LH_HASH_LEN];
    struct enc_file f = {0};
    struct lh_str path, rest;
    int rc;

    lh_str_cut(lh_str(o->file), ',', &path, &rest);
    first = lh_str_dup(path);
    rc = first ? enc_file_read(first, &f, err) : lh_err_nomem(err);
    if (rc < 0)
        return rc;
    rc = lh_sha256(f.text, f.n, hash, err);
    if (rc == 0)
        lh_hex(hash, sizeof(hash), digest);
    for (size_t i = 0; rc == 0 && i < f.config.rules.n; i++) {
        const struct lh_atrest_rule *rule = lh_vec_at(&f.config.rules, i);

        for (size_t k = 0; rc == 0 && k < rule->resources.n; k++) {
            char *copy = lh_strdup(*(char **)lh_vec_at(&rule->resources, k));

            if (!copy || !lh_vec_push(names, &copy)) {
                lh_free(copy);
                rc = lh_err_nomem(err);
            }
        }
    }
    enc_file_done(&f);
    return rc;
}

static int names_of(const struct enc_options *o, struct lh_vec *out, char digest[65],
                    struct lh_err *err)
{
    struct lh_vec of_file;
    int rc;

    lh_vec_init(&of_file, sizeof(char *));
    rc = read_file(o, &of_file, digest, err);
    if (rc == 0 && o->resources) {
        enc_list_done(&of_file);
        return enc_split(o->resources, out, err);
    }
    if (rc == 0)
        *out = of_file;
    else
        enc_list_done(&of_file);
    return rc;
}

static int with_signals(struct enc_rewrite *r, const struct lh_vec *resources, struct lh_buf *said,
                        struct lh_err *err)
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct lh_signal *ints[2] = {NULL, NULL};
    int rc = 0;

    for (int i = 0; rc == 0 && i < 2; i++)
        rc = lh_signal_new(r->loop, signals[i], on_signal, r, &ints[i], err);
    if (rc == 0)
        rc = enc_rewrite_run(r, resources, said, err);
    for (int i = 0; i < 2; i++)
        if (ints[i])
            lh_signal_free(ints[i]);
    return rc;
}

static int with_cluster(const struct enc_options *o, struct enc_rewrite *r,
                        const struct lh_vec *names, struct lh_buf *said, struct lh_err *err)
{
    const struct enc_api_limits limits = {.rate = 2 * (unsigned)o->rate, /* read and write */
                                          .tries = 8,
                                          .timeout_ms = (unsigned)o->timeout_ms};
    struct lh_vec resources;
    struct cli_cluster c;
    int rc = cli_cluster_open(o->kubeconfig, o->context, &c, err);

    if (rc < 0)
        return rc;
    r->loop = c.loop;
    rc = enc_api_open(c.loop, &c.cfg, NULL, &limits, &r->api, err);
    if (rc == 0)
        rc = enc_discover(r->api, names, &resources, err);
    if (rc == 0) {
        rc = with_signals(r, &resources, said, err);
        enc_resources_done(&resources);
    }
    enc_api_close(r->api);
    cli_cluster_close(&c);
    return rc;
}

int enc_rewrite(const struct enc_options *o)
{
    char digest[2 * LH_HASH_LEN + 1] = "";
    struct enc_rewrite r = {.method = o->method,
                            .after = o->after,
                            .digest = digest,
                            .poll_ms = MIGRATION_POLL_MS,
                            .start_ms = MIGRATION_START_MS,
                            .json = o->json,
                            .tty = isatty(STDERR_FILENO) == 1};
    lh_auto_buf struct lh_buf said;
    struct lh_err err = {0};
    struct lh_vec names;
    int rc = lh_crypto_init(&err);

    lh_buf_init(&said, (size_t)1 << 20);
    if (rc == 0)
        rc = names_of(o, &names, digest, &err);
    if (rc < 0)
        return enc_fail(&err);
    rc = with_cluster(o, &r, &names, &said, &err);
    enc_list_done(&names);
    if (rc < 0)
        return enc_fail(&err);
    if (cli_print(&said) != CLI_OK)
        return CLI_USAGE;
    return r.refused ? CLI_FAILED : CLI_OK;
}
