/* SPDX-License-Identifier: Apache-2.0 */
#include "hash_key.h"

#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"

enum { KEY_LEN = 32, TEXT_MAX = 64 };

struct hash_key {
    struct lh_kube *kube;
    char *namespace_, *secret;
    void (*done)(void *arg, const struct lh_secret *key, const struct lh_err *err);
    void *arg;
    struct lh_secret *key; /* made, not written yet */
    struct lh_kube_op *op;
};

void hash_key_cancel(struct hash_key *h)
{
    if (!h)
        return;
    lh_kube_cancel(h->op);
    lh_secret_free(h->key);
    lh_free(h->namespace_);
    lh_free(h->secret);
    lh_free(h);
}

static void finish(struct hash_key *h, const struct lh_secret *key, const struct lh_err *err)
{
    h->op = NULL;
    h->done(h->arg, key, err);
    hash_key_cancel(h);
}

static const struct lh_kube_resource *at(const struct hash_key *h, struct lh_kube_resource *res)
{
    *res = (struct lh_kube_resource){.group = "",
                                     .version = "v1",
                                     .resource = "secrets",
                                     .namespace_ = h->namespace_,
                                     .name = h->secret};
    return res;
}

static int decode(const lh_json *secret, struct lh_secret **out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str text;
    int rc;

    lh_buf_init(&b, TEXT_MAX);
    if (!lh_json_str(lh_json_get(lh_json_get(secret, "data"), HASH_KEY_NAME), &text))
        return -LH_E_NOTFOUND;
    rc = lh_base64_decode(text, &b, err);
    if (rc == 0 && lh_buf_peek(&b).n != KEY_LEN)
        rc = lh_err_set(err, LH_E_INVALID, "%s of the ledger is damaged: remove it", HASH_KEY_NAME);
    return rc < 0 ? rc : lh_secret_copy(lh_buf_peek(&b).p, KEY_LEN, out, err);
}

static void written(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct hash_key *h = arg;

    (void)obj;
    finish(h, err ? NULL : h->key, err);
}

/* One that meanwhile made another makes a conflict of this. */
static int write_key(struct hash_key *h, const char *version, struct lh_err *err)
{
    lh_auto_json lh_json *body = lh_json_new_object();
    lh_json *meta = lh_json_new_object(), *data = lh_json_new_object();
    struct lh_kube_resource res;
    lh_auto_buf struct lh_buf text;
    int rc = lh_secret_new(KEY_LEN, &h->key, err);

    lh_buf_init(&text, TEXT_MAX);
    if (rc == 0) {
        lh_rand_bytes(lh_secret_expose(h->key), KEY_LEN);
        lh_base64_put(&text, lh_secret_expose_const(h->key), KEY_LEN);
    }
    if (rc == 0 &&
        (!body || !meta || !data ||
         lh_json_set(meta, "resourceVersion", lh_json_new_z(version ? version : "")) < 0 ||
         lh_json_set(data, HASH_KEY_NAME, lh_json_new_str(lh_buf_peek(&text))) < 0))
        rc = lh_err_nomem(err);
    if (rc < 0) {
        lh_json_unref(meta);
        lh_json_unref(data);
        return rc;
    }
    if (lh_json_set(body, "metadata", meta) < 0) {
        lh_json_unref(data);
        return lh_err_nomem(err);
    }
    if (lh_json_set(body, "data", data) < 0)
        return lh_err_nomem(err);
    return lh_kube_start(h->kube, "PATCH", at(h, &res), NULL, "application/merge-patch+json", body,
                         0, written, h, &h->op, err);
}

static void have(void *arg, const lh_json *obj, const struct lh_err *err)
{
    struct hash_key *h = arg;
    lh_auto_secret struct lh_secret *key = NULL;
    struct lh_err e = {0};
    int rc;

    if (err) {
        finish(h, NULL, err);
        return;
    }
    rc = decode(obj, &key, &e);
    if (rc == -LH_E_NOTFOUND)
        rc = write_key(h, lh_json_get_z(lh_json_get(obj, "metadata"), "resourceVersion"), &e);
    if (rc < 0 || key)
        finish(h, key, rc < 0 ? &e : NULL);
}

int hash_key_start(struct lh_kube *kube, const char *namespace_, const char *secret,
                   void (*done)(void *arg, const struct lh_secret *key, const struct lh_err *err),
                   void *arg, struct hash_key **out, struct lh_err *err)
{
    struct hash_key *h = lh_calloc(1, sizeof(*h));
    struct lh_kube_resource res;
    int rc;

    if (!h)
        return lh_err_nomem(err);
    *h = (struct hash_key){.kube = kube,
                           .namespace_ = lh_strdup(namespace_),
                           .secret = lh_strdup(secret),
                           .done = done,
                           .arg = arg};
    rc = h->namespace_ && h->secret ? 0 : lh_err_nomem(err);
    if (rc == 0)
        rc = lh_kube_start(kube, "GET", at(h, &res), NULL, NULL, NULL, 0, have, h, &h->op, err);
    if (rc < 0) {
        hash_key_cancel(h);
        return rc;
    }
    *out = h;
    return 0;
}
