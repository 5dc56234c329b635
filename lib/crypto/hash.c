/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/crypto/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/core/secret.h"

static struct lh_secret *process_key;

static void *ossl_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return lh_malloc(n);
}

static void *ossl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return lh_realloc(p, n);
}

static void ossl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    lh_free(p);
}

int lh_crypto_init(struct lh_err *err)
{
    static bool done;

    if (done)
        return 0;
    /* OpenSSL refuses once it has allocated anything. */
    if (!CRYPTO_set_mem_functions(ossl_malloc, ossl_realloc, ossl_free))
        return lh_err_set(err, LH_E_INVALID,
                          "OpenSSL was used before it was given our allocator; call "
                          "lh_crypto_init first in main");
    if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
        return lh_err_nomem(err);
    done = true;
    return 0;
}

/* EVP_sha256() is only a name: each use of it is looked up anew, which takes longer than to hash
 * what we hash. Without memory for the look-up now, it fails where it is used. */
static const EVP_MD *sha256(void)
{
    static EVP_MD *md;

    if (!md)
        md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    return md ? md : EVP_sha256();
}

int lh_sha256(const void *p, size_t n, uint8_t out[LH_HASH_LEN], struct lh_err *err)
{
    uint8_t md[LH_HASH_LEN];

    if (!EVP_Digest(p, n, md, NULL, sha256(), NULL))
        return lh_err_nomem(err);
    memcpy(out, md, sizeof(md));
    return 0;
}

struct lh_sha256 {
    EVP_MD_CTX *ctx;
};

int lh_sha256_new(struct lh_sha256 **out, struct lh_err *err)
{
    struct lh_sha256 *h = lh_calloc(1, sizeof(*h));

    if (!h)
        return lh_err_nomem(err);
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || !EVP_DigestInit_ex(h->ctx, sha256(), NULL)) {
        lh_sha256_free(h);
        return lh_err_nomem(err);
    }
    *out = h;
    return 0;
}

int lh_sha256_update(struct lh_sha256 *h, const void *p, size_t n, struct lh_err *err)
{
    return EVP_DigestUpdate(h->ctx, p, n) ? 0 : lh_err_nomem(err);
}

int lh_sha256_finish(struct lh_sha256 *h, uint8_t out[LH_HASH_LEN], struct lh_err *err)
{
    uint8_t md[LH_HASH_LEN];

    if (!EVP_DigestFinal_ex(h->ctx, md, NULL))
        return lh_err_nomem(err);
    memcpy(out, md, sizeof(md));
    return 0;
}

void lh_sha256_free(struct lh_sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    lh_free(h);
}

int lh_hmac_sha256(const void *key, size_t key_len, const void *p, size_t n,
                   uint8_t out[LH_HASH_LEN], struct lh_err *err)
{
    uint8_t md[LH_HASH_LEN];
    const void *k = key_len ? key : "";

    if (key_len > INT32_MAX)
        return lh_err_set(err, LH_E_INVALID, "a key of %zu bytes is too long", key_len);
    if (!HMAC(sha256(), k, (int)key_len, p, n, md, NULL))
        return lh_err_nomem(err);
    memcpy(out, md, sizeof(md));
    lh_wipe(md, sizeof(md));
    return 0;
}

int lh_keyed_hash(const void *p, size_t n, struct lh_keyed_hash *out, struct lh_err *err)
{
    if (!process_key) {
        lh_auto_secret struct lh_secret *key = NULL;
        int rc = lh_secret_new(LH_HASH_LEN, &key, err);

        if (rc < 0)
            return rc;
        lh_rand_bytes(lh_secret_expose(key), LH_HASH_LEN);
        process_key = LH_TAKE_PTR(key);
    }
    return lh_hmac_sha256(lh_secret_expose_const(process_key), LH_HASH_LEN, p, n, out->b, err);
}

bool lh_keyed_hash_equal(const struct lh_keyed_hash *a, const struct lh_keyed_hash *b)
{
    return CRYPTO_memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

void lh_hex(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
}
