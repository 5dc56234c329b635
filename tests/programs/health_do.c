/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cluster controller looks after beside copies, for tests/component/test_stores.py and
 * test_restarts.py: a command is a line of JSON on stdin, what comes of it a line on stdout. argv:
 * kubeconfig. Addresses on loopback are allowed. Ends with stdin.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "health_term.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/http/client.h"

enum { MAX_LINE = 1 << 20 };

static struct lh_loop *loop;
static struct lh_kube *kube;
static struct health_term *term;
static struct store_wait *wait_op;
static struct lh_buf input;

static void say(const lh_json *line)
{
    struct lh_buf b;

    lh_buf_init(&b, MAX_LINE);
    lh_json_write(line, LH_JSON_COMPACT, &b);
    puts(lh_buf_peek(&b).p);
    fflush(stdout);
    lh_buf_done(&b);
}

static void say_text(const char *what, const char *text)
{
    lh_auto_json lh_json *line = lh_json_new_object();

    lh_json_set(line, "what", lh_json_new_z(what));
    lh_json_set(line, "text", lh_json_new_z(text));
    say(line);
}

static void on_wake(void *arg)
{
    (void)arg;
    say_text("woken", "");
}

static void on_condition(void *arg, const char *namespace_, const char *projection,
                         const struct condition *c)
{
    static const char *const words[] = {"Unknown", "True", "False"};
    lh_auto_json lh_json *line = lh_json_new_object();

    (void)arg;
    lh_json_set(line, "what", lh_json_new_z("condition"));
    lh_json_set(line, "namespace", lh_json_new_z(namespace_));
    lh_json_set(line, "projection", lh_json_new_z(projection));
    if (c) {
        lh_json_set(line, "status", lh_json_new_z(words[c->status]));
        lh_json_set(line, "reason", lh_json_new_z(c->reason));
        lh_json_set(line, "message", lh_json_new_z(c->message));
    }
    say(line);
}

static int want(const lh_json *cmd, struct lh_err *err)
{
    const struct restarts_want w = {.namespace_ = lh_json_get_z(cmd, "namespace"),
                                    .projection = lh_json_get_z(cmd, "projection"),
                                    .on_change = lh_json_get(cmd, "onChange"),
                                    .hash = lh_json_get_z(cmd, "hash"),
                                    .leased = lh_json_get_bool(cmd, "leased", false)};

    return restarts_set(health_term_restarts(term), &w, err);
}

static int start(const lh_json *cmd, struct lh_err *err)
{
    (void)cmd;
    (void)err;
    restarts_start(health_term_restarts(term));
    return 0;
}

static int depend(const lh_json *cmd, struct lh_err *err)
{
    const struct store_ref ref = {.cluster_scoped = !lh_json_get_z(cmd, "namespace"),
                                  .namespace_ = lh_json_get_z(cmd, "namespace"),
                                  .name = lh_json_get_z(cmd, "name")};

    store_wait_free(wait_op);
    wait_op = NULL;
    return store_wait_new(health_term_stores(term), &ref, on_wake, NULL, &wait_op, err);
}

/* A request of ours met an outage. */
static int report(const lh_json *cmd, struct lh_err *err)
{
    (void)cmd;
    (void)err;
    store_wait_report(wait_op, &(struct lh_err){.code = LH_E_UNAVAILABLE});
    return 0;
}

static const struct verb {
    const char *name;
    int (*fn)(const lh_json *cmd, struct lh_err *err);
} verbs[] = {{"want", want}, {"start", start}, {"depend", depend}, {"report", report}};

static void obey(struct lh_str line)
{
    lh_auto_json lh_json *cmd = NULL;
    struct lh_err err = {0};
    int rc = lh_json_parse(line, NULL, &cmd, &err);
    const char *verb = lh_json_get_z(cmd, "do");

    for (size_t i = 0; rc == 0 && verb && i < LH_ARRAY_LEN(verbs); i++) {
        if (strcmp(verb, verbs[i].name) == 0)
            rc = verbs[i].fn(cmd, &err);
    }
    if (rc < 0)
        say_text("error", err.msg);
}

static void on_input(void *arg, int events, int os)
{
    char bytes[65536];
    ssize_t n = read(0, bytes, sizeof(bytes));
    struct lh_str rest, line;
    lh_auto_free char *left = NULL;

    (void)arg;
    (void)events;
    if (n <= 0 || os) {
        lh_loop_stop(loop);
        return;
    }
    lh_buf_put(&input, bytes, (size_t)n);
    rest = lh_buf_peek(&input);
    while (rest.n > 0 && memchr(rest.p, '\n', rest.n)) {
        lh_str_cut(rest, '\n', &line, &rest);
        obey(line);
    }
    left = lh_str_dup(rest);
    lh_buf_reset(&input);
    lh_buf_put_z(&input, left);
}

static int open_all(const char *kubeconfig, struct lh_err *err)
{
    struct lh_kube_config cfg = {0};
    struct health_term_options o = {.instance = "health-do",
                                    .allow_loopback = true,
                                    .restarts = true,
                                    .condition = on_condition};
    int rc = lh_kube_config_load(kubeconfig, NULL, &cfg, err);

    if (rc == 0)
        rc = lh_loop_new(&loop, err);
    if (rc == 0)
        rc = lh_kube_new(loop, &cfg, "health-do", &kube, err);
    lh_kube_config_done(&cfg);
    o.loop = loop;
    o.kube = kube;
    return rc < 0 ? rc : health_term_new(&o, &term, err);
}

static int run(const char *kubeconfig, struct lh_err *err)
{
    struct lh_poll *in = NULL;
    int rc = open_all(kubeconfig, err);

    if (rc == 0)
        rc = lh_poll_new(loop, 0, on_input, NULL, &in, err);
    if (rc == 0)
        rc = lh_poll_set(in, LH_POLL_IN, err);
    if (rc == 0)
        rc = lh_loop_run(loop, err);
    lh_poll_free(in);
    store_wait_free(wait_op);
    health_term_free(term);
    lh_kube_free(kube);
    lh_loop_free(loop);
    return rc;
}

int main(int argc, char **argv)
{
    struct lh_err err = {0};
    int rc;

    lh_mem_init();
    lh_json_init();
    lh_buf_init(&input, MAX_LINE);
    if (argc != 2)
        return 2;
    rc = lh_crypto_init(&err);
    if (rc == 0)
        rc = lh_http_global_init(&err);
    if (rc == 0)
        rc = run(argv[1], &err);
    if (rc < 0)
        fprintf(stderr, "health_do: %s\n", err.msg);
    lh_buf_done(&input);
    return rc < 0;
}
