/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "reflect.h"
#include "support.h"

struct lh_watch *watch;
struct lh_buf events;
const char *stop_at, *wanted;
lh_ms work_ms;
unsigned long fail_at;

void on_event(void *arg, enum lh_watch_event ev, const char *key, const lh_json *obj)
{
    char line[200];
    const char *value = lh_json_get_z(obj, "value");

    (void)arg;
    if (ev == LH_WATCH_UPSERT)
        snprintf(line, sizeof(line), "+%s=%s", key, value ? value : "");
    else if (ev == LH_WATCH_DELETE)
        snprintf(line, sizeof(line), "-%s%s", key, obj ? "" : "!");
    else if (ev == LH_WATCH_SYNCED)
        snprintf(line, sizeof(line), "synced");
    else
        snprintf(line, sizeof(line), "?%s", key ? key : "");
    lh_buf_printf(&events, "%s\n", line);
    lh_clock_step(work_ms);
    if (fail_at > 0)
        lh_mem_fail_at(fail_at);
    fail_at = 0;
    if (ev == LH_WATCH_SYNCED)
        lh_mem_fail_at(0);
    if (stop_at && strcmp(stop_at, line) == 0) {
        lh_watch_stop(watch);
        watch = NULL;
    }
}

int reflect_setup(void **state)
{
    (void)state;
    watch = NULL;
    stop_at = NULL;
    work_ms = 0;
    fail_at = 0;
    lh_buf_init(&events, 1 << 20);
    lh_buf_put_z(&events, "");
    return bed_setup();
}

int reflect_teardown(void **state)
{
    (void)state;
    lh_watch_stop(watch);
    bed_teardown();
    lh_buf_done(&events);
    return 0;
}

void start_with(const struct lh_watch_options *opts)
{
    struct lh_err err = {0};

    if (lh_watch_start(bed.kube, opts, on_event, NULL, &watch, &err) < 0)
        fail_msg("%s", err.msg);
}

void start(void)
{
    const struct lh_watch_options opts = {
        .res = {.group = "leasehold.dev", .version = "v1alpha1", .resource = "secretstores"}};

    start_with(&opts);
}

void put(const char *name, const char *value)
{
    char json[600];

    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"shop\"},\"value\":\"%s\"}", name,
             value);
    fake_api_put(bed.api, STORES, json);
}

bool events_are(void *arg)
{
    (void)arg;
    return strcmp(lh_buf_peek(&events).p, wanted) == 0;
}

void forget_events(void)
{
    lh_buf_reset(&events);
    lh_buf_put_z(&events, "");
}

/* Awaits exactly these events, and forgets them. */
void await(const char *want)
{
    wanted = want;
    if (!lh_test_run_until(bed.loop, events_are, NULL))
        fail_msg("came:\n%swanted:\n%s", lh_buf_peek(&events).p, want);
    forget_events();
}

static bool has_watch(void *arg)
{
    (void)arg;
    return fake_api_watches(bed.api) > 0;
}

bool has_requests(void *arg)
{
    return fake_api_requests(bed.api) >= *(size_t *)arg;
}

/* Time passes until so many requests were made. */
static bool step_and_has_requests(void *arg)
{
    lh_clock_step(200);
    return has_requests(arg);
}

void await_requests(size_t n)
{
    if (!lh_test_run_until(bed.loop, step_and_has_requests, &n))
        fail_msg("%zu requests of %zu, trouble: %s", fake_api_requests(bed.api), n,
                 lh_watch_trouble(watch));
}

bool has_trouble(void *arg)
{
    (void)arg;
    return lh_watch_trouble(watch)[0] != '\0';
}

bool has_no_trouble(void *arg)
{
    return !has_trouble(arg);
}

void await_watch(void)
{
    if (!lh_test_run_until(bed.loop, has_watch, NULL))
        fail_msg("no watch, trouble: %s", lh_watch_trouble(watch));
}

/* Two objects, known and followed. */
void start_synced(void)
{
    put("a", "1");
    put("b", "1");
    start();
    await("+shop/a=1\n+shop/b=1\nsynced\n");
    fake_api_forget_requests(bed.api);
}
