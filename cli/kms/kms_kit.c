/* SPDX-License-Identifier: Apache-2.0 */
#include "kms_kit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kms_frames.h"
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/grpc/client.h"

int kms_kit_reconnect(struct kms_kit *k, struct lh_err *err)
{
    struct lh_kmsv2_client *fresh = NULL;
    int rc = lh_kmsv2_client_new(k->loop, k->opts.socket, k->opts.timeout_ms, &fresh, err);

    if (rc < 0)
        return rc;
    lh_kmsv2_client_free(k->client);
    k->client = fresh;
    return 0;
}

int kms_kit_open(const struct kms_options *opts, struct kms_kit *k, struct lh_err *err)
{
    struct frames f;
    int rc;

    *k = (struct kms_kit){.opts = *opts};
    /* Whoever accepts is tested, whatever it says then. */
    if (frames_open(&f, opts->socket, opts->timeout_ms) < 0)
        rc = lh_err_os(err, errno, "no plugin answers on %.300s", opts->socket);
    else
        rc = lh_loop_new(&k->loop, err);
    frames_close(&f);
    return rc < 0 ? rc : kms_kit_reconnect(k, err);
}

void kms_kit_close(struct kms_kit *k)
{
    lh_kmsv2_client_free(k->client);
    if (k->loop)
        lh_loop_free(k->loop);
    *k = (struct kms_kit){0};
}

static void cut(struct lh_str s, char *out, size_t room)
{
    size_t n = s.n < room - 1 ? s.n : room - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?';
    out[n] = '\0';
}

static void end(struct kms_answer *a, enum lh_grpc_status status, const struct lh_err *err)
{
    a->done = true;
    a->ok = !err;
    a->status = status;
    a->took_ms = lh_clock_now() - a->took_ms;
    if (err)
        snprintf(a->text, sizeof(a->text), "%s", err->msg);
}

static void judge(struct kms_answer *a, int rc, const struct lh_err *err)
{
    a->offence = rc;
    if (rc < 0)
        snprintf(a->offence_text, sizeof(a->offence_text), "%.250s", err->msg);
}

static void on_status(void *arg, enum lh_grpc_status status, const struct lh_kmsv2_status *m,
                      const struct lh_err *err)
{
    struct kms_answer *a = arg;
    struct lh_err why = {0};

    end(a, status, err);
    if (!m)
        return;
    cut(m->version, a->version, sizeof(a->version));
    cut(m->healthz, a->healthz, sizeof(a->healthz));
    cut(m->key_id, a->key_id, sizeof(a->key_id));
    a->key_id_bytes = m->key_id.n;
    judge(a, lh_kmsv2_status_check(m, &why), &why);
}

/* An owned copy, by way of the bytes. */
static int keep(const struct lh_kmsv2_sealed *m, struct kms_answer *a, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    int rc;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    rc = lh_kmsv2_put_encrypt_response(&b, m, err);
    return rc < 0 ? rc : lh_kmsv2_read_encrypt_response(lh_buf_peek(&b), &a->sealed, err);
}

static void on_encrypt(void *arg, enum lh_grpc_status status, const struct lh_kmsv2_sealed *m,
                       const struct lh_err *err)
{
    struct kms_answer *a = arg;
    struct lh_err why = {0};

    end(a, status, err);
    if (!m)
        return;
    if (keep(m, a, &why) < 0) {
        a->ok = false;
        snprintf(a->text, sizeof(a->text), "%s", why.msg);
        return;
    }
    cut(m->key_id, a->key_id, sizeof(a->key_id));
    a->key_id_bytes = m->key_id.n;
    judge(a, lh_kmsv2_sealed_check(m, &why), &why);
}

static void on_decrypt(void *arg, enum lh_grpc_status status, const struct lh_secret *m,
                       const struct lh_err *err)
{
    struct kms_answer *a = arg;

    end(a, status, err);
    if (m && lh_secret_copy(lh_secret_expose_const(m), lh_secret_len(m), &a->plain, NULL) < 0) {
        a->ok = false;
        snprintf(a->text, sizeof(a->text), "out of memory");
    }
}

static void on_raw(void *arg, enum lh_grpc_status status, struct lh_str message, const char *text)
{
    struct kms_answer *a = arg;

    (void)message;
    end(a, status, NULL);
    a->ok = status == LH_GRPC_OK;
    snprintf(a->text, sizeof(a->text), "%s: %.120s", lh_grpc_status_name(status), text);
}

static void begin(struct kms_answer *a)
{
    memset(a, 0, sizeof(*a));
    a->took_ms = lh_clock_now();
}

/* A call that could not even be made. */
static void unstarted(struct kms_answer *a, int rc, const struct lh_err *err)
{
    if (rc < 0)
        end(a, LH_GRPC_INTERNAL, err);
}

/* Every call has a deadline, so each comes back. */
static void wait_for(struct kms_kit *k, const struct kms_answer *a)
{
    while (!a->done)
        lh_loop_turn(k->loop, -1);
}

void kms_status(struct kms_kit *k, struct kms_answer *a)
{
    struct lh_err err = {0};

    begin(a);
    unstarted(a, lh_kmsv2_start_status(k->client, on_status, a, NULL, &err), &err);
    wait_for(k, a);
}

void kms_encrypt_many(struct kms_kit *k, const struct lh_secret *plain, struct kms_answer *a,
                      size_t n)
{
    lh_auto_secret struct lh_secret *copy = NULL;
    struct lh_kmsv2_encrypt_request req = {.uid = LH_STR("leasehold-conformance")};
    struct lh_err err = {0};
    int rc = lh_secret_copy(lh_secret_expose_const(plain), lh_secret_len(plain), &copy, &err);

    req.plaintext = copy;
    for (size_t i = 0; i < n; i++) {
        begin(&a[i]);
        if (rc == 0)
            rc = lh_kmsv2_start_encrypt(k->client, &req, on_encrypt, &a[i], NULL, &err);
        unstarted(&a[i], rc, &err);
    }
    for (size_t i = 0; i < n; i++)
        wait_for(k, &a[i]);
}

void kms_encrypt(struct kms_kit *k, const struct lh_secret *plain, struct kms_answer *a)
{
    kms_encrypt_many(k, plain, a, 1);
}

void kms_decrypt_many(struct kms_kit *k, const struct lh_kmsv2_sealed *sealed, struct kms_answer *a,
                      size_t n)
{
    struct lh_kmsv2_decrypt_request req = {.sealed = *sealed,
                                           .uid = LH_STR("leasehold-conformance")};
    struct lh_err err = {0};
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        begin(&a[i]);
        if (rc == 0)
            rc = lh_kmsv2_start_decrypt(k->client, &req, on_decrypt, &a[i], NULL, &err);
        unstarted(&a[i], rc, &err);
    }
    for (size_t i = 0; i < n; i++)
        wait_for(k, &a[i]);
}

void kms_decrypt(struct kms_kit *k, const struct lh_kmsv2_sealed *sealed, struct kms_answer *a)
{
    kms_decrypt_many(k, sealed, a, 1);
}

void kms_raw_call(struct kms_kit *k, const char *method, struct lh_str message,
                  struct kms_answer *a)
{
    struct lh_grpc_client_options opts = {.loop = k->loop, .path = k->opts.socket};
    struct lh_grpc_client *c = NULL;
    struct lh_grpc_client_call *call = NULL;
    struct lh_err err = {0};
    int rc = lh_grpc_client_new(&opts, &c, &err);

    begin(a);
    if (rc == 0)
        rc = lh_grpc_client_start(c, method, message, k->opts.timeout_ms, on_raw, a, &call, &err);
    unstarted(a, rc, &err);
    wait_for(k, a);
    lh_grpc_client_free(c);
}

void kms_answer_done(struct kms_answer *a)
{
    lh_kmsv2_encrypt_response_done(&a->sealed);
    a->plain = lh_secret_free(a->plain);
}

struct lh_secret *kms_random(size_t n)
{
    struct lh_secret *s = NULL;

    if (lh_secret_new(n, &s, NULL) == 0 && n > 0)
        lh_rand_bytes(lh_secret_expose(s), n);
    return s;
}

void kms_pass(struct kms_result *r)
{
    r->verdict = KMS_PASSED;
}

static void say(struct kms_result *r, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static void say(struct kms_result *r, const char *fmt, va_list ap)
{
    vsnprintf(r->detail, sizeof(r->detail), fmt, ap);
}

void kms_note(struct kms_result *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(r, fmt, ap);
    va_end(ap);
}

void kms_fail(struct kms_result *r, const char *fmt, ...)
{
    va_list ap;

    r->verdict = KMS_FAILED;
    va_start(ap, fmt);
    say(r, fmt, ap);
    va_end(ap);
}

void kms_skip(struct kms_result *r, const char *fmt, ...)
{
    va_list ap;

    r->verdict = KMS_SKIPPED;
    va_start(ap, fmt);
    say(r, fmt, ap);
    va_end(ap);
}
