/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/providers/transit.h"

#include "leasehold/api/allow.h"
#include "leasehold/api/reasons.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "transit_key.h"
#include "vault_priv.h"

enum { WHOLE_MS = 30000, LEAST_MS = 100 };

static void finish(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                   struct lh_transit_result *r, int rc, struct lh_err *err)
{
    const struct lh_prov_result res = {.transit = r};

    if (rc < 0) {
        lh_err_wrap(err, rc, "%s", op->what);
        lh_vault_op_finish(op, NULL, err);
        return;
    }
    r->sent_at = ans->sent_at;
    r->done_at = ans->done_at;
    lh_vault_op_finish(op, &res, NULL);
}

static void key_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                         const struct lh_err *err)
{
    lh_auto_free struct lh_transit_version *versions = NULL;
    struct lh_transit_key key;
    struct lh_transit_result r = {.key = &key};
    struct lh_err mine = {0};

    if (lh_vault_refused(op, ans, err))
        return;
    finish(op, ans, &r, lh_transit_key_read(ans->json, &key, &versions, &mine), &mine);
}

static void config_answered(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                            const struct lh_err *err)
{
    struct lh_transit_result r = {0};

    if (lh_vault_refused(op, ans, err))
        return;
    r.upsert_disabled = lh_json_get_bool(lh_json_get(ans->json, "data"), "disable_upsert", false);
    finish(op, ans, &r, 0, NULL);
}

static bool is_printable(struct lh_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return false;
    }
    return text.n > 0 && text.n <= LH_TRANSIT_CIPHERTEXT_MAX;
}

static int check_ciphertext(struct lh_str text, int64_t version, struct lh_err *err)
{
    if (!is_printable(text))
        return lh_err_set(err, LH_E_UNAVAILABLE, "the answer holds no ciphertext");
    if (lh_transit_version_of(text) != version)
        return lh_err_set(err, LH_E_UNAVAILABLE,
                          "version %lld was asked for, and the answer is of another",
                          (long long)version);
    return 0;
}

static void encrypted(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                      const struct lh_err *err)
{
    struct lh_transit_result r = {0};
    struct lh_err mine = {0};
    int rc;

    if (lh_vault_refused(op, ans, err))
        return;
    (void)lh_json_str(lh_json_path(ans->json, "data", "ciphertext", NULL), &r.ciphertext);
    rc = check_ciphertext(r.ciphertext, op->key_version, &mine);
    finish(op, ans, &r, rc, &mine);
}

static int plaintext_of(const lh_json *json, struct lh_secret **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str text;
    int rc;

    lh_buf_init(&b, LH_TRANSIT_CIPHERTEXT_MAX);
    if (!lh_json_str(lh_json_path(json, "data", "plaintext", NULL), &text))
        return lh_err_set(err, LH_E_UNAVAILABLE, "the answer holds no plaintext");
    rc = lh_base64_decode(text, &b, err);
    return rc < 0 ? rc : lh_secret_copy(b.p, b.n, out, err);
}

static void decrypted(struct lh_provider_op *op, const struct lh_vault_answer *ans,
                      const struct lh_err *err)
{
    lh_auto_secret struct lh_secret *plain = NULL;
    struct lh_transit_result r = {0};
    struct lh_err mine = {0};
    int rc;

    if (lh_vault_refused(op, ans, err))
        return;
    rc = plaintext_of(ans->json, &plain, &mine);
    r.plaintext = plain;
    finish(op, ans, &r, rc, &mine);
}

struct transit_call {
    const char *verb, *method, *mount, *folder, *key;
    const lh_json *body;
    unsigned timeout_ms;
    int64_t version;
    lh_vault_step_fn step;
};

/* Each address gets its share of the time: a node that does not answer must leave some to the next.
 */
static unsigned share(const struct lh_provider *p, unsigned whole_ms)
{
    unsigned ms =
        (whole_ms ? whole_ms : WHOLE_MS) / (unsigned)(p->n_addresses ? p->n_addresses : 1);

    return ms < LEAST_MS ? LEAST_MS : ms;
}

static int send(struct lh_provider_op *op, const struct transit_call *c, struct lh_err *err)
{
    lh_auto_free char *path = c->key ? lh_asprintf("%s/%s/%s", c->mount, c->folder, c->key)
                                     : lh_asprintf("%s/%s", c->mount, c->folder);
    const struct lh_vault_ask ask = {.method = c->method,
                                     .path = path,
                                     .body = c->body,
                                     .timeout_ms = share(op->p, c->timeout_ms)};
    int rc = path ? lh_path_check(path, err) : lh_err_nomem(err);

    if (rc == 0)
        rc = lh_vault_op_what(op, err, "%s \"%.200s\"", c->verb, path);
    if (rc < 0)
        return rc;
    op->key_version = c->version;
    return lh_vault_send(op, &ask, c->step, err);
}

static int start(struct lh_provider *p, const struct lh_secret *token, const struct transit_call *c,
                 lh_prov_done_fn done, void *arg, struct lh_provider_op **out, struct lh_err *err)
{
    struct lh_provider_op *op;
    int rc;

    rc = lh_vault_op_new(p, token, done, arg, &op, err);
    if (rc < 0)
        return rc;
    rc = send(op, c, err);
    if (rc < 0) {
        lh_vault_op_free(op);
        return rc;
    }
    *out = op;
    return 0;
}

int lh_transit_read_key(struct lh_provider *p, const struct lh_secret *token,
                        const struct lh_transit_name *name, unsigned timeout_ms,
                        lh_prov_done_fn done, void *arg, struct lh_provider_op **out,
                        struct lh_err *err)
{
    const struct transit_call c = {.verb = "read the key",
                                   .method = "GET",
                                   .mount = name->mount,
                                   .folder = "keys",
                                   .key = name->key,
                                   .timeout_ms = timeout_ms,
                                   .step = key_answered};

    return start(p, token, &c, done, arg, out, err);
}

int lh_transit_read_config(struct lh_provider *p, const struct lh_secret *token, const char *mount,
                           unsigned timeout_ms, lh_prov_done_fn done, void *arg,
                           struct lh_provider_op **out, struct lh_err *err)
{
    const struct transit_call c = {.verb = "read",
                                   .method = "GET",
                                   .mount = mount,
                                   .folder = "config/keys",
                                   .timeout_ms = timeout_ms,
                                   .step = config_answered};

    return start(p, token, &c, done, arg, out, err);
}

static int set_base64(lh_json *body, const char *name, struct lh_str bytes)
{
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, (size_t)2 * LH_TRANSIT_CIPHERTEXT_MAX);
    lh_base64_put(&b, bytes.p, bytes.n);
    return lh_buf_check(&b, NULL) < 0 ? -1
                                      : lh_json_set(body, name, lh_json_new_str(lh_buf_peek(&b)));
}

int lh_transit_encrypt(struct lh_provider *p, const struct lh_secret *token,
                       const struct lh_transit_name *name, int64_t version, struct lh_str plain,
                       struct lh_str aad, unsigned timeout_ms, lh_prov_done_fn done, void *arg,
                       struct lh_provider_op **out, struct lh_err *err)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    const struct transit_call c = {.verb = "encrypt by",
                                   .method = "POST",
                                   .mount = name->mount,
                                   .folder = "encrypt",
                                   .key = name->key,
                                   .body = body,
                                   .timeout_ms = timeout_ms,
                                   .version = version,
                                   .step = encrypted};

    if (!body || set_base64(body, "plaintext", plain) < 0 ||
        set_base64(body, "associated_data", aad) < 0 ||
        lh_json_set(body, "key_version", lh_json_new_int(version)) < 0)
        return lh_err_nomem(err);
    return start(p, token, &c, done, arg, out, err);
}

int lh_transit_decrypt(struct lh_provider *p, const struct lh_secret *token,
                       const struct lh_transit_name *name, struct lh_str ciphertext,
                       struct lh_str aad, unsigned timeout_ms, lh_prov_done_fn done, void *arg,
                       struct lh_provider_op **out, struct lh_err *err)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    const struct transit_call c = {.verb = "decrypt by",
                                   .method = "POST",
                                   .mount = name->mount,
                                   .folder = "decrypt",
                                   .key = name->key,
                                   .body = body,
                                   .timeout_ms = timeout_ms,
                                   .step = decrypted};

    if (!is_printable(ciphertext))
        return lh_err_set(err, LH_E_INVALID, "this is no ciphertext of Transit");
    if (!body || lh_json_set(body, "ciphertext", lh_json_new_str(ciphertext)) < 0 ||
        set_base64(body, "associated_data", aad) < 0)
        return lh_err_nomem(err);
    return start(p, token, &c, done, arg, out, err);
}
