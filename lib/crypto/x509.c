/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "x509_priv.h"

void lh_cert_pair_done(struct lh_cert_pair *p)
{
    lh_free(p->cert_pem);
    p->cert_pem = NULL;
    p->key_pem = lh_secret_free(p->key_pem);
}

int x509_bio(struct lh_str text, BIO **out, struct lh_err *err)
{
    BIO *bio;

    if (text.n > INT_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "a PEM text of %zu bytes", text.n);
    bio = BIO_new_mem_buf(text.n ? text.p : "", (int)text.n);
    if (!bio)
        return lh_err_nomem(err);
    *out = bio;
    return 0;
}

/* 0 and NULL at the end of the text. OpenSSL passes over what is no certificate. */
static int read_next(BIO *bio, X509 **out, struct lh_err *err)
{
    unsigned long why;

    *out = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (*out)
        return 0;
    why = ERR_peek_last_error();
    ERR_clear_error();
    if (ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE)
        return 0;
    if (ERR_GET_REASON(why) == ERR_R_MALLOC_FAILURE)
        return lh_err_nomem(err);
    return lh_err_set(err, LH_E_INVALID, "holds a certificate that is broken");
}

static int none(struct lh_err *err)
{
    return lh_err_set(err, LH_E_INVALID, "holds no PEM certificate");
}

int x509_read_first(struct lh_str pem, X509 **out, struct lh_err *err)
{
    auto_bio BIO *bio = NULL;
    X509 *x = NULL;
    int rc;

    rc = x509_bio(pem, &bio, err);
    if (rc == 0)
        rc = read_next(bio, &x, err);
    if (rc < 0)
        return rc;
    if (!x)
        return none(err);
    *out = x;
    return 0;
}

/* Without this OpenSSL would ask for a passphrase on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

int x509_read_key(const struct lh_secret *pem, EVP_PKEY **out, struct lh_err *err)
{
    auto_bio BIO *bio = NULL;
    EVP_PKEY *key;
    int rc;

    rc = x509_bio((struct lh_str){lh_secret_expose_const(pem), lh_secret_len(pem)}, &bio, err);
    if (rc < 0)
        return rc;
    key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    if (!key)
        return lh_err_set(err, LH_E_INVALID,
                          "the private key is not PEM, or is encrypted; it must be neither");
    *out = key;
    return 0;
}

static int wall_ms_of(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;

    if (!ASN1_TIME_to_tm(t, &tm))
        return -1;
    *out = (int64_t)timegm(&tm) * 1000;
    return 0;
}

static int fill_info(X509 *x, struct lh_cert_info *info, struct lh_err *err)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned md_len = 0;

    if (wall_ms_of(X509_get0_notBefore(x), &info->not_before_ms) < 0 ||
        wall_ms_of(X509_get0_notAfter(x), &info->not_after_ms) < 0)
        return lh_err_set(err, LH_E_INVALID, "holds a certificate without usable dates");
    if (ASN1_STRING_length(serial) * 2 >= (int)sizeof(info->serial_hex))
        return lh_err_set(err, LH_E_INVALID, "holds a certificate with an overlong serial number");
    lh_hex(ASN1_STRING_get0_data(serial), (size_t)ASN1_STRING_length(serial), info->serial_hex);
    if (!X509_digest(x, EVP_sha256(), md, &md_len) || md_len != LH_HASH_LEN)
        return lh_err_nomem(err);
    lh_hex(md, md_len, info->fingerprint_hex);
    info->is_ca = X509_check_ca(x) == 1;
    return 0;
}

int lh_x509_info(struct lh_str pem, struct lh_cert_info *out, struct lh_err *err)
{
    auto_x509 X509 *x = NULL;
    struct lh_cert_info info = {0};
    int rc;

    rc = x509_read_first(pem, &x, err);
    if (rc == 0)
        rc = fill_info(x, &info, err);
    if (rc < 0)
        return rc;
    *out = info;
    return 0;
}

int lh_x509_bundle_count(struct lh_str pem, unsigned *out, struct lh_err *err)
{
    auto_bio BIO *bio = NULL;
    unsigned n = 0;
    X509 *x;
    int rc;

    rc = x509_bio(pem, &bio, err);
    if (rc < 0)
        return rc;
    for (;;) {
        rc = read_next(bio, &x, err);
        if (rc < 0)
            return rc;
        if (!x)
            break;
        X509_free(x);
        n++;
    }
    if (!n)
        return none(err);
    *out = n;
    return 0;
}

int lh_x509_pair_check(struct lh_str cert_pem, const struct lh_secret *key_pem, struct lh_err *err)
{
    auto_x509 X509 *x = NULL;
    auto_key EVP_PKEY *key = NULL;
    int rc;

    rc = x509_read_first(cert_pem, &x, err);
    if (rc == 0)
        rc = x509_read_key(key_pem, &key, err);
    if (rc < 0)
        return rc;
    rc = X509_check_private_key(x, key);
    ERR_clear_error();
    if (rc != 1)
        return lh_err_set(err, LH_E_INVALID, "the private key belongs to another certificate");
    return 0;
}

/* Everything in pem but the first skip certificates, into a stack or a store. */
static int read_into(struct lh_str pem, unsigned skip, STACK_OF(X509) * stack, X509_STORE *store,
                     struct lh_err *err)
{
    auto_bio BIO *bio = NULL;
    int rc, ok;
    X509 *x;

    rc = x509_bio(pem, &bio, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0;; i++) {
        rc = read_next(bio, &x, err);
        if (rc < 0 || !x)
            return rc;
        if (i < skip) {
            X509_free(x);
            continue;
        }
        ok = store ? X509_STORE_add_cert(store, x) : sk_X509_push(stack, x) > 0;
        if (store || !ok)
            X509_free(x);
        if (!ok)
            return lh_err_nomem(err);
    }
}

static int verify(X509_STORE *store, STACK_OF(X509) * others, X509 *leaf, struct lh_err *err)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int rc = 0;

    if (!ctx || !X509_STORE_CTX_init(ctx, store, leaf, others)) {
        X509_STORE_CTX_free(ctx);
        return lh_err_nomem(err);
    }
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)(lh_clock_wall_ms() / 1000));
    X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_verify_cert(ctx) != 1)
        rc = lh_err_set(err, LH_E_INVALID, "the certificate is not trusted: %s",
                        X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return rc;
}

int lh_x509_verify(struct lh_str leaf_pem, struct lh_str bundle_pem, struct lh_err *err)
{
    auto_x509 X509 *leaf = NULL;
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    int rc = store && others ? 0 : lh_err_nomem(err);

    if (rc == 0)
        rc = x509_read_first(leaf_pem, &leaf, err);
    if (rc == 0)
        rc = read_into(leaf_pem, 1, others, NULL, err);
    if (rc == 0)
        rc = read_into(bundle_pem, 0, NULL, store, err);
    if (rc == 0)
        rc = verify(store, others, leaf, err);
    sk_X509_pop_free(others, X509_free);
    X509_STORE_free(store);
    return rc;
}
