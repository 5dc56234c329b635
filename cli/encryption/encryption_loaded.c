/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has every API server read this very file? By the hash it tells in its metrics where it reloads,
 * else by a start after the file was last written.
 */
#include <stdio.h>
#include <string.h>

#include "encryption.h"
#include "leasehold/core/mem.h"

#define WHO_MAX ((size_t)64 * 1024)
enum { POLL_MS = 500 };

static void judge(const struct enc_servers *servers, const struct enc_file *f,
                  const struct enc_phases *phases, struct lh_buf *who)
{
    for (size_t i = 0; i < servers->all.n; i++) {
        const struct enc_server *s = lh_vec_at(&servers->all, i);
        const char *phase;

        switch (enc_server_phase(s, f, phases, &phase)) {
        case ENC_LOADED:
            break;
        case ENC_UNKNOWN:
            lh_buf_printf(who, "  not known: %s\n", s->trouble);
            break;
        case ENC_OLDER:
            lh_buf_printf(who, "  %s: has not started since\n", s->url);
            break;
        case ENC_OTHER:
            lh_buf_printf(who, "  %s: has loaded another content%s%s\n", s->url,
                          strcmp(phase, "other") == 0 ? "" : ", that of step ",
                          strcmp(phase, "other") == 0 ? "" : phase);
            break;
        }
    }
    if (servers->alive > 0 && (size_t)servers->alive > servers->all.n)
        lh_buf_printf(who, "  the cluster has %d API servers, --servers names %zu\n",
                      servers->alive, servers->all.n);
    else if (servers->uncounted)
        lh_buf_printf(who, "  how many API servers there are is not known: %s\n",
                      servers->uncounted);
}

int enc_loaded_by_all(struct lh_loop *loop, const struct lh_kube_config *cfg, const char *urls,
                      lh_ms wait_ms, const struct enc_file *f, char **who, struct lh_err *err)
{
    lh_ms until = lh_clock_now() + wait_ms;
    struct enc_phases phases;
    lh_auto_buf struct lh_buf b;
    int rc = enc_phases_of(f, &phases, err);

    lh_buf_init(&b, WHO_MAX);
    while (rc == 0) {
        struct enc_servers servers;

        lh_buf_reset(&b);
        rc = enc_servers_ask(loop, cfg, urls, &servers, err);
        if (rc < 0)
            break;
        judge(&servers, f, &phases, &b);
        enc_servers_done(&servers);
        rc = lh_buf_check(&b, err);
        if (rc < 0 || b.n == 0 || lh_clock_now() >= until)
            break;
        rc = enc_wait(loop, POLL_MS, err);
    }
    if (rc == 0 && b.n > 0)
        rc = lh_buf_finish(&b, who, NULL, err);
    return rc;
}

int enc_loaded(const struct enc_options *o, const struct enc_file *f, char **who,
               struct lh_err *err)
{
    struct cli_cluster c;
    int rc = cli_cluster_open(o->kubeconfig, o->context, &c, err);

    if (rc < 0)
        return rc;
    rc = enc_loaded_by_all(c.loop, &c.cfg, o->servers, o->wait_ms, f, who, err);
    cli_cluster_close(&c);
    return rc;
}
