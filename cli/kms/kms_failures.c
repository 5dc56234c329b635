/* SPDX-License-Identifier: Apache-2.0 */
/* Time, load, cold start, rotation and restart: what decides whether an API server comes up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms_kit.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"

#define KEP      "KEP-3299 (KMS v2 improvements)"
#define PROVIDER "Kubernetes: Using a KMS provider for data encryption"
#define SERVER   "kube-apiserver, value/encrypt/envelope/kmsv2"

enum { TIMED = 60, COLD = 500, ALWAYS = 100, PAIRS_MAX = 100000, PAUSE_MS = 20 };

static int by_time(const void *a, const void *b)
{
    lh_ms x = *(const lh_ms *)a, y = *(const lh_ms *)b;

    return (x > y) - (x < y);
}

static void in_time(struct kms_kit *k, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    lh_ms took[3 * TIMED];
    size_t n = 0;

    for (unsigned i = 0; plain && i < TIMED && r->verdict == KMS_PASSED; i++) {
        struct kms_answer s, e, d = {0};

        kms_status(k, &s);
        kms_encrypt(k, plain, &e);
        if (e.ok)
            kms_decrypt(k, &e.sealed.sealed, &d);
        if (!s.ok || !e.ok || !d.ok)
            kms_fail(r, "call %u was not answered: %.250s", i + 1,
                     !s.ok   ? s.text
                     : !e.ok ? e.text
                             : d.text);
        took[n++] = s.took_ms;
        took[n++] = e.took_ms;
        took[n++] = d.took_ms;
        kms_answer_done(&e);
        kms_answer_done(&d);
    }
    if (!plain || r->verdict != KMS_PASSED)
        return;
    qsort(took, n, sizeof(took[0]), by_time);
    kms_note(r, "%zu calls: half within %lld ms, slowest %lld ms; allowed %u ms", n,
             (long long)took[n / 2], (long long)took[n - 1], k->opts.timeout_ms);
}

static void cold_start(struct kms_kit *k, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    struct kms_answer *all = lh_calloc(COLD, sizeof(*all)), e = {0};
    unsigned failed = 0, wrong = 0;
    lh_ms began;

    if (plain && all)
        kms_encrypt(k, plain, &e);
    if (!e.ok) {
        kms_skip(r, "Encrypt was not answered: %.300s", plain && all ? e.text : "out of memory");
    } else {
        const char *why = "";

        began = lh_clock_now();
        kms_decrypt_many(k, &e.sealed.sealed, all, COLD);
        for (size_t i = 0; i < COLD; i++) {
            failed += !all[i].ok;
            wrong += all[i].ok && !lh_secret_equal(all[i].plain, plain);
            why = all[i].ok ? why : all[i].text;
        }
        if (failed)
            kms_fail(r, "%u of %d identical Decrypts at once fail: %.250s", failed, COLD, why);
        else if (wrong)
            kms_fail(r, "%u of %d identical Decrypts at once give another seed", wrong, COLD);
        else
            kms_note(r, "%d at once within %lld ms", COLD, (long long)(lh_clock_now() - began));
        for (size_t i = 0; i < COLD; i++)
            kms_answer_done(&all[i]);
    }
    kms_answer_done(&e);
    lh_free(all);
}

/* One Encrypt between two Status: it names the one or the other. Counts a mismatch. */
static void pair(struct kms_kit *k, const struct lh_secret *plain, struct kms_answer *before,
                 struct kms_answer *after, unsigned *mismatches, unsigned *failures)
{
    struct kms_answer e;

    kms_encrypt(k, plain, &e);
    kms_status(k, after);
    *failures += !e.ok || !after->ok;
    *mismatches += e.ok && after->ok && before->ok && strcmp(e.key_id, before->key_id) != 0 &&
                   strcmp(e.key_id, after->key_id) != 0;
    kms_answer_done(&e);
    *before = *after;
}

struct race {
    unsigned pairs, mismatches, failures, changes;
    char now[KMS_KEY_ID_ROOM]; /* key_id of the last Status */
};

static void look(struct race *c, const struct kms_answer *s)
{
    if (!s->ok || strcmp(s->key_id, c->now) == 0)
        return;
    c->changes++;
    memcpy(c->now, s->key_id, sizeof(c->now));
}

/* Encrypts until the change shows and a while longer. */
static void race(struct kms_kit *k, const struct lh_secret *plain, struct kms_answer before,
                 const struct kms_ended *cmd, struct race *c)
{
    lh_ms until = lh_clock_now() + k->opts.settle_ms;
    struct kms_answer after;
    unsigned more = ALWAYS;

    memcpy(c->now, before.key_id, sizeof(c->now));
    while (c->pairs < PAIRS_MAX && lh_clock_now() < until && more > 0 && !kms_shell_failed(cmd)) {
        pair(k, plain, &before, &after, &c->mismatches, &c->failures);
        c->pairs++;
        look(c, &after);
        more -= c->changes > 0 && cmd->done;
    }
}

static void judge_race(const struct race *c, const struct kms_kit *k, const struct kms_ended *cmd,
                       struct kms_result *r)
{
    if (kms_shell_failed(cmd))
        kms_skip(r, "the command of --rotate ended with status %d", cmd->code);
    else if (c->failures)
        kms_fail(r, "%u of %u calls during the rotation failed", c->failures, c->pairs);
    else if (c->mismatches)
        kms_fail(r, "%u of %u Encrypts name a key_id that Status said neither before nor after",
                 c->mismatches, c->pairs);
    else if (c->changes == 0)
        kms_fail(r, "key_id is the same %u ms after the rotation", k->opts.settle_ms);
    else if (c->changes > 1)
        kms_fail(r, "key_id changed %u times in one rotation", c->changes);
    else
        kms_note(r, "%u Encrypts beside the rotation, 0 mismatches", c->pairs);
}

static void rotation(struct kms_kit *k, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    struct kms_answer old = {0}, before, d = {0};
    struct race c = {0};
    struct kms_ended cmd;

    if (!k->opts.rotate || !plain) {
        kms_skip(r, "needs --rotate, a command that rotates the key");
        return;
    }
    kms_encrypt(k, plain, &old);
    /* Before the command starts: it may be done before we look. */
    kms_status(k, &before);
    if (!old.ok) {
        kms_skip(r, "Encrypt was not answered: %.300s", old.text);
    } else if (kms_shell(k, k->opts.rotate, &cmd, r)) {
        race(k, plain, before, &cmd, &c);
        while (!cmd.done)
            lh_loop_turn(k->loop, -1);
        judge_race(&c, k, &cmd, r);
        if (r->verdict == KMS_PASSED) {
            kms_decrypt(k, &old.sealed.sealed, &d);
            if (!d.ok)
                kms_fail(r, "what was sealed before the rotation cannot be opened: %.250s", d.text);
            else if (!lh_secret_equal(plain, d.plain))
                kms_fail(r, "what was sealed before the rotation opens to something else");
        }
    }
    kms_answer_done(&old);
    kms_answer_done(&d);
}

/* Asks until Status answers again; the last answer. */
static void await(struct kms_kit *k, struct kms_answer *s)
{
    lh_ms until = lh_clock_now() + k->opts.settle_ms;

    kms_status(k, s);
    while (!s->ok && lh_clock_now() < until) {
        kms_pause(k, PAUSE_MS);
        kms_status(k, s);
    }
}

static void after_restart(struct kms_kit *k, const struct kms_answer *old,
                          const struct lh_secret *plain, struct kms_result *r)
{
    struct kms_answer s, d = {0};

    await(k, &s);
    if (!s.ok) {
        kms_fail(r, "no Status %u ms after the restart: %.250s", k->opts.settle_ms, s.text);
    } else if (strcmp(s.key_id, old->key_id) != 0) {
        kms_fail(r, "key_id is another one after a restart although nothing was rotated");
    } else {
        kms_decrypt(k, &old->sealed.sealed, &d);
        if (!d.ok)
            kms_fail(r, "what was sealed before the restart cannot be opened: %.250s", d.text);
        else if (!lh_secret_equal(plain, d.plain))
            kms_fail(r, "what was sealed before the restart opens to something else");
    }
    kms_answer_done(&d);
}

static void restart(struct kms_kit *k, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    struct kms_answer old = {0};

    if (!k->opts.restart || !plain) {
        kms_skip(r, "needs --restart, a command that restarts the plugin");
        return;
    }
    kms_encrypt(k, plain, &old);
    if (!old.ok) {
        kms_skip(r, "Encrypt was not answered: %.300s", old.text);
    } else if (kms_shell_wait(k, k->opts.restart, "--restart", r)) {
        after_restart(k, &old, plain, r);
    }
    kms_answer_done(&old);
}

/* An error, in the plugin's own words, that says "later" and not "never". */
static void judge_outage(const struct kms_kit *k, const char *method, const struct kms_answer *a,
                         struct kms_result *r)
{
    if (a->ok || r->verdict != KMS_PASSED)
        return;
    if (a->took_ms >= k->opts.timeout_ms)
        kms_fail(r, "%s gives no answer within the timeout of %u ms", method, k->opts.timeout_ms);
    else if (a->status == LH_GRPC_INVALID_ARGUMENT || a->status == LH_GRPC_NOT_FOUND ||
             a->status == LH_GRPC_FAILED_PRECONDITION || a->status == LH_GRPC_UNIMPLEMENTED)
        kms_fail(r, "%s says %.200s: it reads as if the request were wrong", method, a->text);
}

static void during_outage(struct kms_kit *k, const struct kms_answer *old,
                          const struct lh_secret *plain, struct kms_result *r)
{
    struct kms_answer s, e, d;

    kms_status(k, &s);
    kms_encrypt(k, plain, &e);
    kms_decrypt(k, &old->sealed.sealed, &d);
    judge_outage(k, "Status", &s, r);
    judge_outage(k, "Encrypt", &e, r);
    judge_outage(k, "Decrypt", &d, r);
    if (d.ok && !lh_secret_equal(plain, d.plain))
        kms_fail(r, "Decrypt answers with something else");
    if (r->verdict == KMS_PASSED)
        kms_note(r, "Status: %s; Encrypt: %s; Decrypt: %s",
                 s.ok ? s.healthz : lh_grpc_status_name(s.status),
                 e.ok ? "OK" : lh_grpc_status_name(e.status),
                 d.ok ? "OK" : lh_grpc_status_name(d.status));
    kms_answer_done(&s);
    kms_answer_done(&e);
    kms_answer_done(&d);
}

static void after_outage(struct kms_kit *k, const struct lh_secret *plain, struct kms_result *r)
{
    lh_ms since = lh_clock_now();
    struct kms_answer e;

    kms_encrypt(k, plain, &e);
    while (!e.ok && lh_clock_now() - since < k->opts.settle_ms) {
        kms_answer_done(&e);
        kms_pause(k, PAUSE_MS);
        kms_encrypt(k, plain, &e);
    }
    if (!e.ok)
        kms_fail(r, "no Encrypt %u ms after the recovery: %.250s", k->opts.settle_ms, e.text);
    kms_answer_done(&e);
}

static void outage(struct kms_kit *k, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    struct kms_result back = {0};
    struct kms_answer old = {0};

    if (!k->opts.outage || !k->opts.recover || !plain) {
        kms_skip(r, "needs --outage and --recover, commands that take the backend away and back");
        return;
    }
    kms_encrypt(k, plain, &old);
    if (!old.ok) {
        kms_skip(r, "Encrypt was not answered: %.300s", old.text);
    } else if (kms_shell_wait(k, k->opts.outage, "--outage", r)) {
        during_outage(k, &old, plain, r);
        if (!kms_shell_wait(k, k->opts.recover, "--recover", &back))
            *r = back;
        else
            after_outage(k, plain, r->verdict == KMS_PASSED ? r : &back);
    }
    kms_answer_done(&old);
}

const struct kms_test kms_failure_tests[] = {
    {"in-time",
     "Status, Encrypt and Decrypt answer within the `timeout` of the EncryptionConfiguration (3 s "
     "unless set), time to connect included.",
     PROVIDER ", timeout; " SERVER, in_time},
    {"cold-start",
     "500 identical Decrypts at once are answered, each within the timeout: an API server that "
     "starts asks once for every object that it reads, without waiting for the first answer.",
     SERVER ", TransformFromStorage (no single flight)", cold_start},
    {"rotation",
     "While the key is rotated every Encrypt names a key_id that Status says just then; key_id "
     "changes once; what was sealed before can still be opened.",
     KEP ", Key Rotation; " PROVIDER, rotation},
    {"restart", "A restart changes no key_id, and what was sealed before it can be opened.",
     KEP ", Key Rotation; " PROVIDER, restart},
    {"outage",
     "While the backend is away Status, Encrypt and Decrypt answer within the timeout all the "
     "same, "
     "with an error that does not read as if the request were wrong; when it is back, Encrypt "
     "works "
     "again by itself.",
     KEP ", Status; " SERVER, outage},
    {0},
};
