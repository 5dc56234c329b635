/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/kube for tests/component/test_kube.py: a command is a line of JSON on stdin, what comes of it
 * a line on stdout, in the order in which it comes. argv: kubeconfig. Ends with stdin.
 */
#include <stdio.h>
#include <string.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/apply.h"
#include "leasehold/kube/elect.h"
#include "leasehold/kube/event.h"
#include "leasehold/kube/watch.h"
#include "obey.h"

static struct lh_loop *loop;
static struct lh_kube *kube;
static struct lh_election *election;
static struct lh_events *events;
static struct lh_watch *watch;

/* Prints {"what": what, key: value, ...}; value is consumed, key may be NULL. */
static void say(const char *what, const char *key, lh_json *value)
{
    lh_auto_json lh_json *line = lh_json_new_object();

    lh_json_set(line, "what", lh_json_new_z(what));
    if (key)
        lh_json_set(line, key, value);
    obey_say(line);
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

static const struct obey_verb verbs[] = {
    {"apply", apply}, {"patch", patch},  {"delete", delete},   {"finalizer", finalizer},
    {"token", token}, {"stand", stand},  {"release", release}, {"term", term},
    {"event", event}, {"watch", follow},
};

static int take(struct lh_loop *on, struct lh_kube *with, struct lh_err *err)
{
    (void)err;
    loop = on;
    kube = with;
    return 0;
}

static void close_all(void)
{
    lh_election_free(election);
    lh_events_free(events);
    lh_watch_stop(watch);
}

int main(int argc, char **argv)
{
    static const struct obey o = {.name = "kube-do",
                                  .verbs = verbs,
                                  .n_verbs = LH_ARRAY_LEN(verbs),
                                  .failed = say_error,
                                  .open = take,
                                  .close = close_all};

    return obey_main(&o, argc, argv);
}
