/* SPDX-License-Identifier: Apache-2.0 */
#include "obey.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

enum { MAX_LINE = 16 << 20 };

struct reader {
    const struct obey *o;
    struct lh_loop *loop;
    struct lh_buf input;
};

void obey_say(const lh_json *line)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, MAX_LINE);
    lh_json_write(line, LH_JSON_COMPACT, &b);
    puts(lh_buf_peek(&b).p);
    fflush(stdout);
}

static void obey(const struct obey *o, struct lh_str line)
{
    lh_auto_json lh_json *cmd = NULL;
    struct lh_err err = {0};
    int rc = lh_json_parse(line, NULL, &cmd, &err);
    const char *verb = lh_json_get_z(cmd, "do");

    for (size_t i = 0; rc == 0 && verb && i < o->n_verbs; i++) {
        if (strcmp(verb, o->verbs[i].name) == 0)
            rc = o->verbs[i].fn(cmd, &err);
    }
    if (rc < 0)
        o->failed(&err);
}

static void on_input(void *arg, int events, int os)
{
    struct reader *r = arg;
    char bytes[65536];
    ssize_t n = read(0, bytes, sizeof(bytes));
    struct lh_str rest, line;
    lh_auto_free char *left = NULL;

    (void)events;
    if (n <= 0 || os) {
        lh_loop_stop(r->loop);
        return;
    }
    lh_buf_put(&r->input, bytes, (size_t)n);
    rest = lh_buf_peek(&r->input);
    while (rest.n > 0 && memchr(rest.p, '\n', rest.n)) {
        lh_str_cut(rest, '\n', &line, &rest);
        obey(r->o, line);
    }
    left = lh_str_dup(rest);
    lh_buf_reset(&r->input);
    lh_buf_put_z(&r->input, left);
}

static int run(struct reader *r, const char *kubeconfig, struct lh_err *err)
{
    struct lh_kube_config cfg = {0};
    struct lh_kube *kube = NULL;
    struct lh_poll *in = NULL;
    int rc = lh_kube_config_load(kubeconfig, NULL, &cfg, err);

    if (rc == 0)
        rc = lh_loop_new(&r->loop, err);
    if (rc == 0)
        rc = lh_kube_new(r->loop, &cfg, r->o->name, &kube, err);
    lh_kube_config_done(&cfg);
    if (rc == 0)
        rc = r->o->open(r->loop, kube, err);
    if (rc == 0)
        rc = lh_poll_new(r->loop, 0, on_input, r, &in, err);
    if (rc == 0)
        rc = lh_poll_set(in, LH_POLL_IN, err);
    if (rc == 0)
        rc = lh_loop_run(r->loop, err);
    lh_poll_free(in);
    r->o->close();
    lh_kube_free(kube);
    lh_loop_free(r->loop);
    return rc;
}

int obey_main(const struct obey *o, int argc, char **argv)
{
    struct reader r = {.o = o};
    struct lh_err err = {0};
    int rc;

    lh_mem_init();
    lh_json_init();
    lh_buf_init(&r.input, MAX_LINE);
    if (argc != 2)
        return 2;
    rc = lh_crypto_init(&err);
    if (rc == 0)
        rc = lh_http_global_init(&err);
    if (rc == 0)
        rc = run(&r, argv[1], &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\n", o->name, err.msg);
    lh_buf_done(&r.input);
    return rc < 0;
}
