/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that a person gives the kit: only they can rotate a key or take a backend away. */
#include <stdio.h>
#include <stdlib.h>

#include "kms_kit.h"
#include "leasehold/core/clock.h"

static void on_ended(void *arg, int exit_code, int term_signal, bool timed_out)
{
    struct kms_ended *e = arg;

    *e = (struct kms_ended){true, timed_out ? -1 : exit_code, term_signal};
}

bool kms_shell(struct kms_kit *k, const char *command, struct kms_ended *e, struct kms_result *r)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    const char *path = getenv("PATH");
    char env[4096];
    const char *const envp[] = {env, NULL};
    struct lh_child *child = NULL;
    struct lh_err err = {0};

    *e = (struct kms_ended){0};
    snprintf(env, sizeof(env), "PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    if (lh_child_start(k->loop, argv, envp, (int)k->opts.settle_ms, on_ended, e, &child, &err) == 0)
        return true;
    kms_skip(r, "the command could not be started: %.300s", err.msg);
    return false;
}

bool kms_shell_failed(const struct kms_ended *e)
{
    return e->done && (e->code != 0 || e->signal != 0);
}

bool kms_shell_wait(struct kms_kit *k, const char *command, const char *option,
                    struct kms_result *r)
{
    struct kms_ended e;

    if (!kms_shell(k, command, &e, r))
        return false;
    while (!e.done)
        lh_loop_turn(k->loop, -1);
    if (kms_shell_failed(&e))
        kms_skip(r, "the command of %s ended with status %d", option, e.code);
    return !kms_shell_failed(&e);
}

void kms_pause(struct kms_kit *k, unsigned ms)
{
    lh_ms until = lh_clock_now() + ms;

    while (lh_clock_now() < until)
        lh_loop_turn(k->loop, (int)ms);
}
