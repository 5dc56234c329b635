/* SPDX-License-Identifier: Apache-2.0 */
/* What each API server tells of its configuration, and how many of them there are. */
#include "audit_servers.h"
#include "encryption.h"
#include "leasehold/core/mem.h"

static int ask_metrics(struct enc_api *a, struct enc_server *s, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *body = NULL;
    int rc = enc_api_get(a, "/metrics", NULL, "text/plain", &body, err);

    if (rc < 0)
        return rc;
    return audit_metrics_read((struct lh_str){lh_secret_expose_const(body), lh_secret_len(body)},
                              &s->metrics, err);
}

/* API servers that lately renewed their lease. */
static int ask_alive(struct enc_api *a, int *out, struct lh_err *err)
{
    lh_auto_json lh_json *list = NULL;
    unsigned alive = 0;
    int rc = enc_api_get_json(a, ENC_LEASES_PATH, ENC_LEASES, &list, err);

    if (rc == 0)
        rc = audit_servers_by_leases(list, lh_clock_wall_ms(), &alive, NULL, err);
    if (rc == 0)
        *out = (int)alive;
    return rc;
}

static bool keep_text(char **to, const char *text)
{
    *to = lh_strdup(text);
    return *to != NULL;
}

/* Nobody's silence is an error here: it is what is told of that server. */
static int ask_one(struct lh_loop *loop, const struct lh_kube_config *cfg, struct enc_servers *all,
                   struct enc_server *s, struct lh_err *err)
{
    /* Asked once: whoever wants to wait says --wait. */
    static const struct enc_api_limits limits = {.tries = 1, .timeout_ms = 10 * 1000};
    struct enc_api *a = NULL;
    struct lh_err why = {0};
    int rc = enc_api_open(loop, cfg, s->url, &limits, &a, &why);

    if (rc == 0)
        rc = ask_metrics(a, s, &why);
    if (rc < 0 && !keep_text(&s->trouble, why.msg))
        rc = lh_err_nomem(err);
    else if (rc == 0 && all->alive < 0) {
        lh_free(all->uncounted);
        all->uncounted = NULL;
        if (ask_alive(a, &all->alive, &why) < 0 && !keep_text(&all->uncounted, why.msg))
            rc = lh_err_nomem(err);
    } else {
        rc = 0;
    }
    enc_api_close(a);
    return rc;
}

int enc_servers_ask(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *urls,
                    struct enc_servers *out, struct lh_err *err)
{
    struct lh_vec list;
    int rc = enc_split(urls ? urls : cfg->server, &list, err);

    lh_vec_init(&out->all, sizeof(struct enc_server));
    out->alive = -1;
    out->uncounted = NULL;
    for (size_t i = 0; rc == 0 && i < list.n; i++) {
        struct enc_server s = {.url = lh_strdup(*(char **)lh_vec_at(&list, i))}, *kept;

        lh_vec_init(&s.metrics.series, sizeof(struct audit_series));
        kept = s.url ? lh_vec_push(&out->all, &s) : NULL;
        if (!kept)
            lh_free(s.url);
        rc = kept ? ask_one(loop, cfg, out, kept, err) : lh_err_nomem(err);
    }
    enc_list_done(&list);
    if (rc < 0)
        enc_servers_done(out);
    return rc;
}

void enc_servers_done(struct enc_servers *s)
{
    for (size_t i = 0; i < s->all.n; i++) {
        struct enc_server *one = lh_vec_at(&s->all, i);

        lh_free(one->url);
        lh_free(one->trouble);
        audit_server_done(&one->metrics);
    }
    lh_vec_done(&s->all);
    lh_free(s->uncounted);
    *s = (struct enc_servers){.alive = -1};
}
