/* SPDX-License-Identifier: Apache-2.0 */
#include "serve_priv.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"

struct pair {
    X509 *cert;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

static void pair_done(struct pair *p)
{
    X509_free(p->cert);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    ERR_clear_error();
}

static int bio_of(const void *p, size_t n, BIO **out, struct lh_err *err)
{
    *out = n <= INT32_MAX ? BIO_new_mem_buf(n ? p : "", (int)n) : NULL;
    return *out ? 0 : lh_err_nomem(err);
}

static int read_certs(struct lh_str pem, struct pair *out, struct lh_err *err)
{
    BIO *bio;
    X509 *x;
    int rc = bio_of(pem.p, pem.n, &bio, err);

    if (rc < 0)
        return rc;
    out->chain = sk_X509_new_null();
    out->cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    while (out->chain && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(out->chain, x) <= 0) {
            X509_free(x);
            rc = lh_err_nomem(err);
            break;
        }
    }
    BIO_free(bio);
    return !out->cert || !out->chain ? lh_err_nomem(err) : rc;
}

static int read_key(const struct lh_secret *pem, struct pair *out, struct lh_err *err)
{
    BIO *bio;
    int rc = bio_of(lh_secret_expose_const(pem), lh_secret_len(pem), &bio, err);

    if (rc < 0)
        return rc;
    out->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return out->key ? 0 : lh_err_nomem(err);
}

int serve_tls_set_pair(SSL_CTX *ctx, struct lh_str cert_pem, const struct lh_secret *key_pem,
                       struct lh_err *err)
{
    struct pair p = {0};
    unsigned n;
    int rc;

    /* All is known to be right before anything is changed. */
    rc = lh_x509_bundle_count(cert_pem, &n, err);
    if (rc == 0)
        rc = lh_x509_pair_check(cert_pem, key_pem, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "server certificate");
    rc = read_certs(cert_pem, &p, err);
    if (rc == 0)
        rc = read_key(key_pem, &p, err);
    /* Connections have copied what they use: none is touched. */
    if (rc == 0 && SSL_CTX_use_cert_and_key(ctx, p.cert, p.key, p.chain, 1) != 1)
        rc = lh_err_set(err, LH_E_INVALID,
                        "server certificate: OpenSSL refuses it, perhaps its key is too small");
    pair_done(&p);
    return rc;
}

static int trust(SSL_CTX *ctx, struct lh_str pem, struct lh_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    unsigned n;
    BIO *bio;
    X509 *x;
    int rc;

    rc = lh_x509_bundle_count(pem, &n, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "CA of client certificates");
    rc = bio_of(pem.p, pem.n, &bio, err);
    while (rc == 0 && n-- > 0) {
        x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!x || !X509_STORE_add_cert(store, x) || !SSL_CTX_add_client_CA(ctx, x))
            rc = lh_err_nomem(err);
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

int serve_tls_set_up(struct lh_listener *l, SSL_CTX *ctx, struct lh_err *err)
{
    int rc;

    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    /* A resumed session would not show a client's certificate again. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    rc = serve_tls_set_pair(ctx, l->cert_pem, l->key_pem, err);
    if (rc < 0 || !l->client_ca_pem.n)
        return rc;
    rc = trust(ctx, l->client_ca_pem, err);
    /* OpenSSL's own verification and no callback: the one that lws installs by its option for
     * client certificates turns "no" into "yes" unless its user's code returns !ok. */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return rc;
}
