/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cluster controller looks after beside copies, for tests/component/test_stores.py and
 * test_restarts.py: a command is a line of JSON on stdin, what comes of it a line on stdout. argv:
 * kubeconfig. Addresses on loopback are allowed. Ends with stdin.
 */
#include <stdio.h>
#include <string.h>

#include "health_term.h"
#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "obey.h"

static struct health_term *term;
static struct store_wait *wait_op;

static void say_text(const char *what, const char *text)
{
    lh_auto_json lh_json *line = lh_json_new_object();

    lh_json_set(line, "what", lh_json_new_z(what));
    lh_json_set(line, "text", lh_json_new_z(text));
    obey_say(line);
}

static void on_failed(const struct lh_err *err)
{
    say_text("error", err->msg);
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
    obey_say(line);
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

static const struct obey_verb verbs[] = {
    {"want", want}, {"start", start}, {"depend", depend}, {"report", report}};

static int open_term(struct lh_loop *loop, struct lh_kube *kube, struct lh_err *err)
{
    const struct health_term_options o = {.loop = loop,
                                          .kube = kube,
                                          .instance = "health-do",
                                          .allow_loopback = true,
                                          .restarts = true,
                                          .condition = on_condition};

    return health_term_new(&o, &term, err);
}

static void close_term(void)
{
    store_wait_free(wait_op);
    health_term_free(term);
}

int main(int argc, char **argv)
{
    static const struct obey o = {.name = "health-do",
                                  .verbs = verbs,
                                  .n_verbs = LH_ARRAY_LEN(verbs),
                                  .failed = on_failed,
                                  .open = open_term,
                                  .close = close_term};

    return obey_main(&o, argc, argv);
}
