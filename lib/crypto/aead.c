/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/crypto/aead.h"

#include <openssl/evp.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"

enum { MESSAGE_MAX = 64 * 1024, INFO_MAX = 1024 };

static void ctx_free(EVP_CIPHER_CTX **c)
{
    EVP_CIPHER_CTX_free(*c);
}
#define auto_ctx __attribute__((cleanup(ctx_free)))

/* Looked up once, as sha256() in hash.c. */
static const EVP_CIPHER *aes_256_gcm(void)
{
    static EVP_CIPHER *cipher;

    if (!cipher)
        cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    return cipher ? cipher : EVP_aes_256_gcm();
}

static int check(const struct lh_secret *key, size_t message, struct lh_str aad, struct lh_err *err)
{
    if (lh_secret_len(key) != LH_AEAD_KEY_LEN)
        return lh_err_set(err, LH_E_INVALID, "a key must have %d bytes", LH_AEAD_KEY_LEN);
    if (message > MESSAGE_MAX || aad.n > MESSAGE_MAX)
        return lh_err_set(err, LH_E_INVALID, "a message is larger than %d bytes", MESSAGE_MAX);
    return 0;
}

int lh_aead_seal_with(const struct lh_secret *key, const uint8_t nonce[LH_AEAD_NONCE_LEN],
                      struct lh_str plain, struct lh_str aad, struct lh_buf *out,
                      struct lh_err *err)
{
    auto_ctx EVP_CIPHER_CTX *c = NULL;
    unsigned char *at;
    int n = 0, rc;

    rc = check(key, plain.n, aad, err);
    if (rc < 0)
        return rc;
    c = EVP_CIPHER_CTX_new();
    at = (unsigned char *)lh_buf_extend(out, plain.n + LH_AEAD_OVERHEAD);
    if (!c || !at)
        return lh_err_nomem(err);
    memcpy(at, nonce, LH_AEAD_NONCE_LEN);
    at += LH_AEAD_NONCE_LEN;
    if (!EVP_EncryptInit_ex2(c, aes_256_gcm(), lh_secret_expose_const(key), nonce, NULL) ||
        !EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)aad.p, (int)aad.n) ||
        !EVP_EncryptUpdate(c, at, &n, (const unsigned char *)plain.p, (int)plain.n) ||
        !EVP_EncryptFinal_ex(c, at + plain.n, &n) ||
        !EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, LH_AEAD_TAG_LEN, at + plain.n))
        return lh_err_nomem(err);
    return 0;
}

int lh_aead_seal(const struct lh_secret *key, struct lh_str plain, struct lh_str aad,
                 struct lh_buf *out, struct lh_err *err)
{
    uint8_t nonce[LH_AEAD_NONCE_LEN];

    lh_rand_bytes(nonce, sizeof(nonce));
    return lh_aead_seal_with(key, nonce, plain, aad, out, err);
}

int lh_aead_open(const struct lh_secret *key, struct lh_str sealed, struct lh_str aad,
                 struct lh_secret **out, struct lh_err *err)
{
    auto_ctx EVP_CIPHER_CTX *c = NULL;
    lh_auto_secret struct lh_secret *plain = NULL;
    const unsigned char *p = (const unsigned char *)sealed.p;
    unsigned char tag[LH_AEAD_TAG_LEN];
    size_t len;
    int n = 0, rc;

    if (sealed.n < LH_AEAD_OVERHEAD)
        return lh_err_set(err, LH_E_INVALID, "what was sealed is cut short");
    len = sealed.n - LH_AEAD_OVERHEAD;
    rc = check(key, len, aad, err);
    if (rc == 0)
        rc = lh_secret_new(len, &plain, err);
    if (rc < 0)
        return rc;
    c = EVP_CIPHER_CTX_new();
    if (!c)
        return lh_err_nomem(err);
    memcpy(tag, p + LH_AEAD_NONCE_LEN + len, sizeof(tag));
    if (!EVP_DecryptInit_ex2(c, aes_256_gcm(), lh_secret_expose_const(key), p, NULL) ||
        !EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)aad.p, (int)aad.n) ||
        !EVP_DecryptUpdate(c, lh_secret_expose(plain), &n, p + LH_AEAD_NONCE_LEN, (int)len) ||
        !EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, LH_AEAD_TAG_LEN, tag))
        return lh_err_nomem(err);
    if (!EVP_DecryptFinal_ex(c, (unsigned char *)lh_secret_expose(plain) + len, &n))
        return lh_err_set(err, LH_E_INVALID,
                          "it was sealed with another key, for another purpose, or was changed");
    *out = LH_TAKE_PTR(plain);
    return 0;
}

int lh_hkdf_expand(const struct lh_secret *prk, struct lh_str info, struct lh_secret **out,
                   struct lh_err *err)
{
    lh_auto_secret struct lh_secret *okm = NULL;
    uint8_t block[INFO_MAX + 1];
    int rc;

    if (info.n > INFO_MAX)
        return lh_err_set(err, LH_E_INVALID, "info is larger than %d bytes", INFO_MAX);
    rc = lh_secret_new(LH_HASH_LEN, &okm, err);
    if (rc < 0)
        return rc;
    if (info.n)
        memcpy(block, info.p, info.n);
    block[info.n] = 1;
    rc = lh_hmac_sha256(lh_secret_expose_const(prk), lh_secret_len(prk), block, info.n + 1,
                        lh_secret_expose(okm), err);
    if (rc < 0)
        return rc;
    *out = LH_TAKE_PTR(okm);
    return 0;
}
