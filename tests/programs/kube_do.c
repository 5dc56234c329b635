/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/kube for tests/component/test_kube.py: a command is a line of JSON on stdin, what comes of it
 * a line on stdout, in the order in which it comes. argv: kubeconfig. Ends with stdin.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/http/client.h"
#include "leasehold/kube/apply.h"
#include "leasehold/kube/elect.h"
#include "leasehold/kube/event.h"
#include "leasehold/kube/watch.h"

enum { MAX_LINE = 16 << 20 };

static struct lh_loop *loop;
static struct lh_kube *kube;
static struct lh_election *election;
static struct lh_events *events;
static struct lh_watch *watch;
static struct lh_buf input;

/* Prints {"what": what, key: value, ...}; value is consumed, key may be NULL. */
static void say(const char *what, const char *key, lh_json *value)
{
    lh_auto_json lh_json *line = lh_json_new_object();
    struct lh_buf b;

    lh_json_set(line, "what", lh_json_new_z(what));
    if (key)
        lh_json_set(line, key, value);
    lh_buf_init(&b, MAX_LINE);
    lh_json_write(line, LH_JSON_COMPACT, &b);
    puts(lh_buf_peek(&b).p);
    fflush(stdout);
    lh_buf_done(&b);
}

static void say_error(const struct lh_err *err)
{
    lh_json *v = lh_json_new_object();

    lh_json_set(v, "code", lh_json_new_z(lh_code_name(err->code)));
    lh_json_set(v, "status", lh_json_new_int(err->http_status));
    lh_json_set(v, "text", lh_json_new_z(err->msg));
    say("error", "error", v);
}

static void on_done(void *arg, const lh_json *obj, const struct lh_err *err)
{
    (void)arg;
    if (err)
        say_error(err);
    else
        say("done", "object", obj ? lh_json_deep_copy(obj) : lh_json_new_null());
}

static void on_token(void *arg, const struct lh_secret *token, const struct lh_err *err)
{
    (void)arg;
    if (err)
        say_error(err);
    else
        say("token", "bytes", lh_json_new_int((int64_t)lh_secret_len(token)));
}

static void on_won(void *arg, int64_t term)
{
    (void)arg;
    say("won", "term", lh_json_new_int(term));
}

static void on_lost(void *arg)
{
    (void)arg;
    say("lost", NULL, NULL);
}

static void on_released(void *arg)
{
    (void)arg;
    say("released", NULL, NULL);
}

static void on_watch(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    static const char *const words[] = {
        [LH_WATCH_UPSERT] = "upsert",
        [LH_WATCH_DELETE] = "delete",
        [LH_WATCH_SYNCED] = "synced",
        [LH_WATCH_SKIPPED] = "skipped",
    };
    lh_json *v = lh_json_new_object();

    (void)arg;
    lh_json_set(v, "key", key ? lh_json_new_z(key) : lh_json_new_null());
    lh_json_set(v, "object", obj ? lh_json_deep_copy(obj) : lh_json_new_null());
    say(words[ev], "event", v);
}

static const char *text_of(const lh_json *cmd, const char *key, const char *otherwise)
{
    const char *z = lh_json_get_z(cmd, key);

    return z ? z : otherwise;
}

static struct lh_kube_resource resource_of(const lh_json *cmd)
{
    return (struct lh_kube_resource){.group = text_of(cmd, "group", ""),
                                     .version = text_of(cmd, "version", "v1"),
                                     .resource = text_of(cmd, "resource", ""),
                                     .namespace_ = lh_json_get_z(cmd, "namespace"),
                                     .name = lh_json_get_z(cmd, "name"),
                                     .subresource = lh_json_get_z(cmd, "subresource")};
}

static int apply(const lh_json *cmd, struct lh_err *err)
{
    const struct lh_kube_resource res = resource_of(cmd);

    return lh_kube_apply(kube, &res, text_of(cmd, "manager", ""),
                         lh_json_get_bool(cmd, "force", false), lh_json_get(cmd, "object"), on_done,
                         NULL, NULL, err);
}

static int patch(const lh_json *cmd, struct lh_err *err)
{
    const struct lh_kube_resource res = resource_of(cmd);

    return lh_kube_json_patch(kube, &res, lh_json_get(cmd, "patch"), on_done, NULL, NULL, err);
}

static int delete (const lh_json *cmd, struct lh_err *err)
{
    const struct lh_kube_resource res = resource_of(cmd);

    return lh_kube_delete(kube, &res, lh_json_get_z(cmd, "uid"),
                          lh_json_get_z(cmd, "resourceVersion"), on_done, NULL, NULL, err);
}

static int finalizer(const lh_json *cmd, struct lh_err *err)
{
    const struct lh_kube_resource res = resource_of(cmd);

    return lh_kube_finalizer(kube, &res, lh_json_get(cmd, "object"), text_of(cmd, "finalizer", ""),
                             lh_json_get_bool(cmd, "present", true), on_done, NULL, NULL, err);
}

static int token(const lh_json *cmd, struct lh_err *err)
{
    return lh_kube_token_request(kube, text_of(cmd, "namespace", ""), text_of(cmd, "account", ""),
                                 text_of(cmd, "audience", ""),
                                 lh_json_get_int(cmd, "seconds", 3600), on_token, NULL, NULL, err);
}

static int stand(const lh_json *cmd, struct lh_err *err)
{
    const struct lh_election_options opts = {.kube = kube,
                                             .namespace_ = text_of(cmd, "namespace", ""),
                                             .name = text_of(cmd, "name", ""),
                                             .identity = text_of(cmd, "identity", ""),
                                             .won = on_won,
                                             .lost = on_lost};

    return lh_election_start(&opts, &election, err);
}

static int release(const lh_json *cmd, struct lh_err *err)
{
    (void)err;
    lh_election_release(election, (unsigned)lh_json_get_int(cmd, "ms", 3000), on_released, NULL);
    return 0;
}

static int term(const lh_json *cmd, struct lh_err *err)
{
    (void)cmd;
    (void)err;
    say("term", "term", lh_json_new_int(lh_election_term(election)));
    return 0;
}

static int event(const lh_json *cmd, struct lh_err *err)
{
    const struct lh_event ev = {.api_version = text_of(cmd, "apiVersion", "v1"),
                                .kind = text_of(cmd, "kind", ""),
                                .namespace_ = lh_json_get_z(cmd, "namespace"),
                                .name = text_of(cmd, "name", ""),
                                .uid = lh_json_get_z(cmd, "uid"),
                                .warning = lh_json_get_bool(cmd, "warning", false),
                                .reason = text_of(cmd, "reason", ""),
                                .action = text_of(cmd, "action", ""),
                                .note = text_of(cmd, "note", "")};
    int rc = events ? 0 : lh_events_new(kube, "leasehold.dev/test", "kube-do", &events, err);

    if (rc == 0)
        lh_events_emit(events, &ev);
    return rc;
}

static int follow(const lh_json *cmd, struct lh_err *err)
{
    const struct lh_watch_options opts = {
        .res = resource_of(cmd),
        .label_selector = lh_json_get_z(cmd, "labels"),
        .field_selector = lh_json_get_z(cmd, "fields"),
        .metadata_only = lh_json_get_bool(cmd, "metadata", false),
        .max_object = (size_t)lh_json_get_int(cmd, "most", 0),
    };

    return lh_watch_start(kube, &opts, on_watch, NULL, &watch, err);
}

static const struct verb {
    const char *name;
    int (*fn)(const lh_json *cmd, struct lh_err *err);
} verbs[] = {
    {"apply", apply}, {"patch", patch},  {"delete", delete},   {"finalizer", finalizer},
    {"token", token}, {"stand", stand},  {"release", release}, {"term", term},
    {"event", event}, {"watch", follow},
};

static void obey(struct lh_str line)
{
    lh_auto_json lh_json *cmd = NULL;
    struct lh_err err = {0};
    int rc = lh_json_parse(line, NULL, &cmd, &err);

    for (size_t i = 0; rc == 0 && i < LH_ARRAY_LEN(verbs); i++) {
        if (strcmp(text_of(cmd, "do", ""), verbs[i].name) == 0)
            rc = verbs[i].fn(cmd, &err);
    }
    if (rc < 0)
        say_error(&err);
}

static void on_input(void *arg, int events_seen, int os)
{
    char bytes[65536];
    ssize_t n = read(0, bytes, sizeof(bytes));
    struct lh_str rest, line;
    lh_auto_free char *left = NULL;

    (void)arg;
    (void)events_seen;
    if (n <= 0 || os) {
        lh_loop_stop(loop);
        return;
    }
    lh_buf_put(&input, bytes, (size_t)n);
    rest = lh_buf_peek(&input);
    while (memchr(rest.p, '\n', rest.n)) {
        lh_str_cut(rest, '\n', &line, &rest);
        obey(line);
    }
    left = lh_str_dup(rest);
    lh_buf_reset(&input);
    lh_buf_put_z(&input, left);
}

static int run(const char *kubeconfig, struct lh_err *err)
{
    struct lh_kube_config cfg = {0};
    struct lh_poll *in = NULL;
    int rc = lh_kube_config_load(kubeconfig, NULL, &cfg, err);

    if (rc == 0)
        rc = lh_loop_new(&loop, err);
    if (rc == 0)
        rc = lh_kube_new(loop, &cfg, "kube-do", &kube, err);
    lh_kube_config_done(&cfg);
    if (rc == 0)
        rc = lh_poll_new(loop, 0, on_input, NULL, &in, err);
    if (rc == 0)
        rc = lh_poll_set(in, LH_POLL_IN, err);
    if (rc == 0)
        rc = lh_loop_run(loop, err);
    lh_poll_free(in);
    lh_election_free(election);
    lh_events_free(events);
    lh_watch_stop(watch);
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
    rc = lh_http_global_init(&err);
    if (rc == 0)
        rc = run(argv[1], &err);
    if (rc < 0)
        fprintf(stderr, "kube_do: %s\n", err.msg);
    lh_buf_done(&input);
    return rc < 0;
}
