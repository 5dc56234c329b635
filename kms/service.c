/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "metrics.h"
#include "service_priv.h"

/* What is taken off the API server's patience, so that our answer, with its cause, comes first. */
enum { MARGIN_MS = 100 };

static const char *const names[] = {
    [KMS_STATUS] = "Status", [KMS_ENCRYPT] = "Encrypt", [KMS_DECRYPT] = "Decrypt"};

void kms_waiters_add(struct kms_waiters *list, struct kms_waiter *w)
{
    w->prev = NULL;
    w->next = list->first;
    if (list->first)
        list->first->prev = w;
    list->first = w;
}

void kms_waiters_remove(struct kms_waiters *list, struct kms_waiter *w)
{
    *(w->prev ? &w->prev->next : &list->first) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->prev = w->next = NULL;
}

static void waiter_free(struct kms_waiter *w)
{
    kms_waiters_remove(w->flight ? &w->flight->waiters : &w->s->waiting, w);
    lh_kmsv2_encrypt_request_done(&w->encrypt);
    lh_kmsv2_decrypt_request_done(&w->decrypt);
    lh_free(w);
}

void kms_reply(struct kms_waiter *w, const struct lh_buf *b)
{
    struct lh_grpc_call *call = w->call;

    kms_count_call(names[w->method], LH_GRPC_OK, lh_clock_now() - w->came_at);
    waiter_free(w);
    lh_grpc_reply(call, lh_buf_peek(b));
}

static enum lh_grpc_status status_of(int code)
{
    switch (code) {
    case LH_E_INVALID:
        return LH_GRPC_INVALID_ARGUMENT;
    case LH_E_TOOBIG:
        return LH_GRPC_RESOURCE_EXHAUSTED;
    case LH_E_NOTFOUND:
    case LH_E_CONFLICT:
        return LH_GRPC_FAILED_PRECONDITION;
    case LH_E_DENIED:
        return LH_GRPC_PERMISSION_DENIED;
    default:
        return LH_GRPC_UNAVAILABLE;
    }
}

void kms_fail(struct kms_waiter *w, const struct lh_err *err)
{
    struct lh_grpc_call *call = w->call;
    enum lh_grpc_status status = status_of(err->code);

    kms_count_call(names[w->method], status, lh_clock_now() - w->came_at);
    lh_log_warn("call failed", LH_F_STR("method", names[w->method]),
                LH_F_STR("code", lh_grpc_status_name(status)),
                LH_F_STRN("uid", w->method == KMS_ENCRYPT ? w->encrypt.uid : w->decrypt.uid),
                LH_F_ERR(err));
    waiter_free(w);
    lh_grpc_fail(call, status, err->msg);
}

static void on_cancel(void *arg)
{
    struct kms_waiter *w = arg;
    struct lh_grpc_call *call = w->call;

    kms_count_call(names[w->method], LH_GRPC_CANCELLED, lh_clock_now() - w->came_at);
    waiter_free(w);
    lh_grpc_fail(call, LH_GRPC_CANCELLED, "");
}

struct lh_str kms_aad(const struct kms_key *k, char out[KMS_AAD_MAX])
{
    int n = snprintf(out, KMS_AAD_MAX, "leasehold-kms 1\n%s\n", k->id);

    return (struct lh_str){out, (size_t)n};
}

static void say_late(struct kms_waiter *w)
{
    const struct lh_err *cause = &w->s->probe.last_err;
    struct lh_err err = {0};

    lh_err_set(&err, LH_E_UNAVAILABLE, "no answer of the backend in time%s%.400s",
               cause->code ? ": " : "", cause->code ? cause->msg : "");
    kms_fail(w, &err);
}

lh_ms kms_expire(struct kms_waiters *list, lh_ms now, lh_ms next)
{
    for (struct kms_waiter *w = list->first, *after; w; w = after) {
        after = w->next;
        if (w->answer_by <= now)
            say_late(w);
        else if (w->answer_by < next)
            next = w->answer_by;
    }
    return next;
}

static struct kms_waiter *waiter_new(struct kms_service *s, struct lh_grpc_call *call,
                                     enum kms_method method)
{
    struct kms_waiter *w = lh_calloc(1, sizeof(*w));
    lh_ms now = lh_clock_now(), by = lh_grpc_call_deadline(call), left;

    if (!w || s->ended || lh_grpc_call_is_cancelled(call)) {
        lh_free(w);
        lh_grpc_fail(call, LH_GRPC_UNAVAILABLE, s->ended ? "the plugin ends" : "out of memory");
        return NULL;
    }
    left = by == INT64_MAX ? KMS_DEFAULT_MS : by - now;
    w->s = s;
    w->call = call;
    w->method = method;
    w->came_at = now;
    w->answer_by = now + left - (left / 5 < MARGIN_MS ? left / 5 : MARGIN_MS);
    kms_waiters_add(&s->waiting, w);
    return w;
}

static void answer_status(struct kms_waiter *w)
{
    struct kms_service *s = w->s;
    struct lh_kmsv2_status m = {.version = LH_STR("v2"), .healthz = LH_STR("ok")};
    lh_auto_buf struct lh_buf b;
    struct lh_err why, err = {0};
    bool fatal;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    kms_probe_verdict(s, &why, &fatal);
    if (fatal) {
        kms_fail(w, &why);
        return;
    }
    if (why.code)
        m.healthz = lh_str(why.msg);
    m.key_id = lh_str(s->keys.current->id);
    if (lh_kmsv2_put_status(&b, &m, &err) < 0)
        kms_fail(w, &err);
    else
        kms_reply(w, &b);
}

/* What every id of ours looks like, of whatever key and cluster. */
static bool is_our_form(struct lh_str id)
{
    if (id.n != KMS_KEY_ID_SIZE - 1)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        if (!strchr("0123456789abcdef", id.p[i]) || id.p[i] == '\0')
            return false;
    }
    return true;
}

/* What another plugin, key or cluster made is not shown to the backend. */
static int check_decrypt(const struct kms_service *s, const struct lh_kmsv2_sealed *m,
                         struct lh_err *err)
{
    if (!is_our_form(m->key_id))
        return lh_err_set(err, LH_E_NOTFOUND,
                          "this key_id is another plugin's: keep that plugin in the "
                          "EncryptionConfiguration, under the name it had, behind this one under a "
                          "new name, until everything is rewritten");
    if (!kms_keys_find(&s->keys, m->key_id))
        return lh_err_set(err, LH_E_NOTFOUND,
                          "this key_id is of another key, mount, cluster or --generation, or of a "
                          "version that min_decryption_version has closed");
    if (m->n_annotations != 1 || !lh_str_eqz(m->annotations[0].name, KMS_FORMAT_NAME) ||
        !lh_str_eqz(m->annotations[0].value, KMS_FORMAT_VALUE))
        return lh_err_set(err, LH_E_INVALID, "these annotations are not this plugin's");
    if (m->ciphertext.n == 0)
        return lh_err_set(err, LH_E_INVALID, "there is no ciphertext");
    return 0;
}

/* The key is known. */
static void proceed(struct kms_waiter *w)
{
    struct kms_service *s = w->s;
    struct lh_err err = {0};

    switch (w->method) {
    case KMS_STATUS:
        answer_status(w);
        return;
    case KMS_ENCRYPT:
        if (s->keys.lost.code) {
            kms_fail(w, &s->keys.lost);
            return;
        }
        kms_fly_encrypt(w);
        return;
    case KMS_DECRYPT:
        if (check_decrypt(s, &w->decrypt.sealed, &err) < 0) {
            kms_fail(w, &err);
            return;
        }
        kms_fly_decrypt(w);
        return;
    }
}

void kms_go_on(struct kms_service *s)
{
    while (s->waiting.first)
        proceed(s->waiting.first);
}

static void begin(struct kms_waiter *w, int rc, const struct lh_err *err)
{
    struct kms_service *s = w->s;

    if (rc < 0) {
        kms_fail(w, err);
        return;
    }
    lh_grpc_call_on_cancel(w->call, on_cancel, w);
    if (!lh_timer_is_armed(s->deadline) || w->answer_by < lh_timer_when(s->deadline))
        lh_timer_at(s->deadline, w->answer_by);
    if (s->probe.ready)
        proceed(w);
}

static void on_status(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    struct kms_waiter *w = waiter_new(arg, call, KMS_STATUS);
    struct lh_err err = {0};

    if (w)
        begin(w, lh_kmsv2_read_status_request(request, &err), &err);
}

static void on_encrypt(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    struct kms_waiter *w = waiter_new(arg, call, KMS_ENCRYPT);
    struct lh_err err = {0};

    if (w)
        begin(w, lh_kmsv2_read_encrypt_request(request, &w->encrypt, &err), &err);
}

static void on_decrypt(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    struct kms_waiter *w = waiter_new(arg, call, KMS_DECRYPT);
    struct lh_err err = {0};

    if (w)
        begin(w, lh_kmsv2_read_decrypt_request(request, &w->decrypt, &err), &err);
}

static void on_v1(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    static const char text[] =
        "this plugin serves KMS v2 alone: set apiVersion: v2 for its provider in the "
        "EncryptionConfiguration (left out it means v1), under a name of its own";
    struct kms_service *s = arg;

    (void)request;
    if (!s->told_v1)
        lh_log_warn("an API server asks for KMS v1", LH_F_STR("mend", text));
    s->told_v1 = true;
    lh_grpc_fail(call, LH_GRPC_UNIMPLEMENTED, text);
}

const struct lh_grpc_method kms_methods[] = {
    {LH_KMSV2_STATUS, on_status},
    {LH_KMSV2_ENCRYPT, on_encrypt},
    {LH_KMSV2_DECRYPT, on_decrypt},
    {"/v1beta1.KeyManagementService/Version", on_v1},
    {"/v1beta1.KeyManagementService/Encrypt", on_v1},
    {"/v1beta1.KeyManagementService/Decrypt", on_v1},
    {NULL, NULL},
};
