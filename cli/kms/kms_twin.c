/* SPDX-License-Identifier: Apache-2.0 */
/* Two plugins of one key, as beside two API servers on one etcd: each reads what the other wrote.
 */
#include <string.h>

#include "kms_kit.h"
#include "leasehold/core/clock.h"

#define KEP      "KEP-3299 (KMS v2 improvements)"
#define PROVIDER "Kubernetes: Using a KMS provider for data encryption"

enum { ALWAYS = 20, LOOK_MS = 20 };

/* The kit, but with the other socket. */
static bool open_twin(const struct kms_kit *k, struct kms_kit *twin, struct kms_result *r)
{
    struct lh_err err = {0};

    *twin = (struct kms_kit){.opts = k->opts, .loop = k->loop};
    twin->opts.socket = k->opts.second;
    if (!k->opts.second)
        kms_skip(r, "needs --second, the socket of another plugin of the same key");
    else if (kms_kit_reconnect(twin, &err) < 0)
        kms_skip(r, "%.300s", err.msg);
    return twin->client != NULL;
}

static void crossed(struct kms_kit *writer, struct kms_kit *reader, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    struct kms_answer e = {0}, d = {0};

    if (plain)
        kms_encrypt(writer, plain, &e);
    if (!e.ok) {
        kms_fail(r, "Encrypt of %.100s was not answered: %.200s", writer->opts.socket, e.text);
    } else {
        kms_decrypt(reader, &e.sealed.sealed, &d);
        if (!d.ok)
            kms_fail(r, "what %.80s sealed cannot be opened by %.80s: %.150s", writer->opts.socket,
                     reader->opts.socket, d.text);
        else if (!lh_secret_equal(plain, d.plain))
            kms_fail(r, "what %.80s sealed opens to something else at %.80s", writer->opts.socket,
                     reader->opts.socket);
    }
    kms_answer_done(&e);
    kms_answer_done(&d);
}

/* Both ids, "" where there was no Status. */
static void ids(struct kms_kit *k, struct kms_kit *twin, struct kms_answer out[2])
{
    kms_status(k, &out[0]);
    kms_status(twin, &out[1]);
}

static void agree(struct kms_kit *k, struct kms_result *r)
{
    struct kms_kit twin;
    struct kms_answer s[2];

    if (!open_twin(k, &twin, r))
        return;
    ids(k, &twin, s);
    if (!s[0].ok || !s[1].ok)
        kms_fail(r, "Status was not answered: %.300s", s[0].ok ? s[1].text : s[0].text);
    else if (strcmp(s[0].key_id, s[1].key_id) != 0)
        kms_fail(r,
                 "one says key_id \"%.100s\", the other \"%.100s\": each API server writes anew "
                 "what the other wrote",
                 s[0].key_id, s[1].key_id);
    if (r->verdict == KMS_PASSED)
        crossed(k, &twin, r);
    if (r->verdict == KMS_PASSED)
        crossed(&twin, k, r);
    lh_kmsv2_client_free(twin.client);
}

/* Until both have left the old id, and a while longer. */
static void cross_while_it_rotates(struct kms_kit *k, struct kms_kit *twin, const char *old,
                                   const struct kms_ended *cmd, struct kms_result *r)
{
    lh_ms until = lh_clock_now() + k->opts.settle_ms;
    unsigned pairs = 0, more = ALWAYS;
    struct kms_answer s[2];

    while (more > 0 && r->verdict == KMS_PASSED && !kms_shell_failed(cmd)) {
        crossed(k, twin, r);
        if (r->verdict == KMS_PASSED)
            crossed(twin, k, r);
        pairs++;
        ids(k, twin, s);
        if (r->verdict == KMS_PASSED && lh_clock_now() > until)
            kms_fail(r, "%u ms after the rotation not both have another key_id", k->opts.settle_ms);
        more -= cmd->done && s[0].ok && s[1].ok && strcmp(s[0].key_id, old) != 0 &&
                strcmp(s[0].key_id, s[1].key_id) == 0;
        kms_pause(k, LOOK_MS);
    }
    if (r->verdict == KMS_PASSED)
        kms_note(r, "%u times in both directions", pairs);
}

static void rotate(struct kms_kit *k, struct kms_result *r)
{
    struct kms_kit twin;
    struct kms_answer s;
    struct kms_ended cmd;

    if (!k->opts.rotate) {
        kms_skip(r, "needs --second, and --rotate, a command that rotates the key");
        return;
    }
    if (!open_twin(k, &twin, r))
        return;
    kms_status(k, &s);
    if (!s.ok) {
        kms_skip(r, "Status was not answered: %.300s", s.text);
    } else if (kms_shell(k, k->opts.rotate, &cmd, r)) {
        cross_while_it_rotates(k, &twin, s.key_id, &cmd, r);
        while (!cmd.done)
            lh_loop_turn(k->loop, -1);
        if (kms_shell_failed(&cmd))
            kms_skip(r, "the command of --rotate ended with status %d", cmd.code);
    }
    lh_kmsv2_client_free(twin.client);
}

const struct kms_test kms_twin_tests[] = {
    {"second-agrees",
     "Two plugins of one key say the same key_id, and each opens what the other sealed.",
     KEP ", High Level Requirements (key_id); " PROVIDER, agree},
    {"second-rotation",
     "While the key is rotated each opens what the other seals, whichever of them sees the new "
     "version first, and in the end both name it.",
     KEP ", Key Rotation; " PROVIDER, rotate},
    {0},
};
