/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>

#include "backend.h"
#include "leasehold/codec/base64.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/aead.h"
#include "leasehold/crypto/hash.h"

enum { FILE_MAX = 64 * 1024, KEYS_MAX = 64, MESSAGE_MAX = 96 * 1024 };

struct local_key {
    struct lh_secret *key;
    struct kms_version v;
};

struct local {
    struct kms_backend base; /* first */
    struct lh_loop *loop;
    char *path;
    struct local_key keys[KEYS_MAX];
    size_t n;
    struct lh_timer *ended;
    void (*end_fn)(void *arg);
    void *end_arg;
};

static void drop_keys(struct local_key *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lh_secret_free(keys[i].key);
}

/* Told apart by a keyed hash under the key itself: it says nothing about the key. */
static int identify(struct local_key *k, int64_t number, struct lh_err *err)
{
    static const char what[] = "leasehold-kms local key id 1";
    uint8_t hash[LH_HASH_LEN];
    int rc = lh_hmac_sha256(lh_secret_expose_const(k->key), LH_AEAD_KEY_LEN, what, sizeof(what) - 1,
                            hash, err);

    if (rc < 0)
        return rc;
    k->v.version = number;
    lh_hex(hash, sizeof(hash), k->v.mark);
    return 0;
}

static int read_line(struct lh_str line, size_t number, struct local_key *out, struct lh_err *err)
{
    lh_auto_buf struct lh_buf b;
    struct lh_str name, text;
    int rc;

    lh_buf_init(&b, LH_AEAD_KEY_LEN);
    if (!lh_str_cut(line, ' ', &name, &text) || name.n == 0)
        return lh_err_set(err, LH_E_INVALID, "line %zu: write NAME BASE64", number);
    rc = lh_base64_decode(lh_str_trim(text), &b, err);
    if (rc < 0 || b.n != LH_AEAD_KEY_LEN)
        return lh_err_set(err, LH_E_INVALID, "line %zu: the key must be %d bytes in base64", number,
                          LH_AEAD_KEY_LEN);
    return lh_secret_copy(b.p, b.n, &out->key, err);
}

static int read_keys(struct lh_str rest, struct local_key *keys, size_t *n, struct lh_err *err)
{
    struct lh_str line;

    for (size_t number = 1; rest.n; number++) {
        int rc;

        (void)lh_str_cut(rest, '\n', &line, &rest);
        line = lh_str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (*n == KEYS_MAX)
            return lh_err_set(err, LH_E_TOOBIG, "more than %d keys", KEYS_MAX);
        rc = read_line(line, number, &keys[*n], err);
        if (rc < 0)
            return rc;
        (*n)++;
        rc = identify(&keys[*n - 1], (int64_t)*n, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i + 1 < *n; i++) {
            if (lh_secret_equal(keys[i].key, keys[*n - 1].key))
                return lh_err_set(err, LH_E_INVALID, "line %zu: this key is there already", number);
        }
    }
    return *n ? 0 : lh_err_set(err, LH_E_INVALID, "it holds no key");
}

static int load(struct local *l, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *text = NULL;
    struct local_key keys[KEYS_MAX] = {0};
    size_t n = 0;
    int rc = lh_secret_read_at(AT_FDCWD, l->path, FILE_MAX, &text, err);

    if (rc < 0)
        return rc;
    rc = read_keys((struct lh_str){lh_secret_expose_const(text), lh_secret_len(text)}, keys, &n,
                   err);
    if (rc < 0) {
        drop_keys(keys, n);
        return lh_err_wrap(err, rc, "%s", l->path);
    }
    /* The number is not the place: a key keeps what it is when a line is put before it. */
    for (size_t i = 0; i < n; i++)
        keys[i].v.version = 0;
    drop_keys(l->keys, l->n);
    memcpy(l->keys, keys, sizeof(keys));
    l->n = n;
    lh_wipe(keys, sizeof(keys));
    return 0;
}

static void local_look(struct kms_backend *b, unsigned timeout_ms, kms_facts_fn fn, void *arg)
{
    struct local *l = (struct local *)b;
    struct kms_version versions[KEYS_MAX];
    struct kms_facts f = {.versions = versions};
    struct lh_err err = {0};

    (void)timeout_ms;
    if (load(l, &err) < 0) {
        fn(arg, NULL, &err);
        return;
    }
    f.n = l->n;
    for (size_t i = 0; i < l->n; i++)
        versions[i] = l->keys[i].v;
    fn(arg, &f, NULL);
}

static const struct local_key *find(const struct local *l, const struct kms_version *v)
{
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->keys[i].v.mark, v->mark) == 0)
            return &l->keys[i];
    }
    return NULL;
}

static const struct local_key *need(const struct local *l, const struct kms_version *v,
                                    struct lh_err *err)
{
    const struct local_key *k = find(l, v);

    if (!k)
        lh_err_set(err, LH_E_NOTFOUND, "%s does not hold the key any more: put it back", l->path);
    return k;
}

static void local_encrypt(struct kms_backend *b, const struct kms_version *v, struct lh_str plain,
                          struct lh_str aad, unsigned timeout_ms, kms_encrypted_fn fn, void *arg)
{
    lh_auto_buf struct lh_buf out;
    struct lh_err err = {0};
    const struct local_key *k = need((struct local *)b, v, &err);

    (void)timeout_ms;
    lh_buf_init(&out, MESSAGE_MAX);
    if (!k || lh_aead_seal(k->key, plain, aad, &out, &err) < 0)
        fn(arg, (struct lh_str){NULL, 0}, &err);
    else
        fn(arg, lh_buf_peek(&out), NULL);
}

static void local_decrypt(struct kms_backend *b, const struct kms_version *v,
                          struct lh_str ciphertext, struct lh_str aad, unsigned timeout_ms,
                          kms_decrypted_fn fn, void *arg)
{
    lh_auto_secret struct lh_secret *plain = NULL;
    struct lh_err err = {0};
    const struct local_key *k = need((struct local *)b, v, &err);

    (void)timeout_ms;
    if (!k || lh_aead_open(k->key, ciphertext, aad, &plain, &err) < 0)
        fn(arg, NULL, &err);
    else
        fn(arg, plain, NULL);
}

static void on_ended(void *arg)
{
    struct local *l = arg;

    l->end_fn(l->end_arg);
}

static void local_end(struct kms_backend *b, unsigned limit_ms, void (*done)(void *arg), void *arg)
{
    struct local *l = (struct local *)b;

    (void)limit_ms;
    l->end_fn = done;
    l->end_arg = arg;
    lh_timer_in(l->ended, 0);
}

static void local_free(struct kms_backend *b)
{
    struct local *l = (struct local *)b;

    drop_keys(l->keys, l->n);
    lh_timer_free(l->ended);
    lh_free(l->path);
    lh_free(l);
}

static const struct kms_backend_ops local_ops = {
    .look = local_look,
    .encrypt = local_encrypt,
    .decrypt = local_decrypt,
    .end = local_end,
    .free = local_free,
};

int kms_local_new(struct lh_loop *loop, const char *path, struct kms_backend **out,
                  struct lh_err *err)
{
    struct local *l = lh_calloc(1, sizeof(*l));
    int rc;

    if (!l)
        return lh_err_nomem(err);
    l->base.ops = &local_ops;
    l->loop = loop;
    l->path = lh_strdup(path);
    rc = l->path ? lh_timer_new(loop, on_ended, l, &l->ended, err) : lh_err_nomem(err);
    if (rc == 0)
        rc = load(l, err);
    if (rc < 0) {
        local_free(&l->base);
        return rc;
    }
    *out = &l->base;
    return 0;
}
