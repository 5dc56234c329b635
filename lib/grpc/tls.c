/* SPDX-License-Identifier: Apache-2.0 */
#include "tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
/* OpenSSL renames a function of this name. */
#undef lh_free
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/netaddr.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/crypto/x509.h"

struct lh_grpc_tls_context {
    SSL_CTX *ctx;
    char *host;
    bool host_is_ip;
};

struct lh_grpc_tls {
    SSL *ssl;
    BIO *in, *out; /* ssl's */
    const char *why;
    bool ready;
};

/* Length first, as on the wire. */
static const unsigned char alpn[] = {2, 'h', '2'};

/* A key under a passphrase would ask at the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return 0;
}

static BIO *bio_of(const void *p, size_t n)
{
    return n > 0 && n <= INT_MAX ? BIO_new_mem_buf(p, (int)n) : NULL;
}

static int add_cas(SSL_CTX *ctx, struct lh_str pem, struct lh_err *err)
{
    unsigned count = 0, added = 0;
    int rc = lh_x509_bundle_count(pem, &count, err);
    BIO *bio;

    if (rc < 0)
        return lh_err_wrap(err, rc, "CA bundle");
    bio = bio_of(pem.p, pem.n);
    for (; bio && added < count; added++) {
        X509 *x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        bool ok = x && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x);

        X509_free(x);
        if (!ok)
            break;
    }
    BIO_free(bio);
    return added == count ? 0 : lh_err_set(err, LH_E_INVALID, "CA bundle: cannot be used");
}

/* The leaf, then what it was signed by. */
static bool use_chain(SSL_CTX *ctx, struct lh_str pem)
{
    BIO *bio = bio_of(pem.p, pem.n);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
    bool ok = x && SSL_CTX_use_certificate(ctx, x) == 1;

    X509_free(x);
    while (ok && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        ok = SSL_CTX_add0_chain_cert(ctx, x) == 1;
        if (!ok)
            X509_free(x);
    }
    ERR_clear_error(); /* the end of the text is one */
    BIO_free(bio);
    return ok;
}

static bool use_key(SSL_CTX *ctx, const struct lh_secret *pem)
{
    BIO *bio = bio_of(lh_secret_expose_const(pem), lh_secret_len(pem));
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    bool ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;

    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok;
}

static int add_identity(SSL_CTX *ctx, const struct lh_grpc_tls_options *o, struct lh_err *err)
{
    int rc;

    if (o->cert_pem.n == 0)
        return 0;
    if (!o->key_pem)
        return lh_err_set(err, LH_E_INVALID, "a client certificate without its key");
    rc = lh_x509_pair_check(o->cert_pem, o->key_pem, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "client certificate");
    if (!use_chain(ctx, o->cert_pem) || !use_key(ctx, o->key_pem))
        return lh_err_set(err, LH_E_INVALID, "client certificate: cannot be used");
    return 0;
}

static int fill_context(struct lh_grpc_tls_context *c, const struct lh_grpc_tls_options *o,
                        struct lh_err *err)
{
    struct lh_ip ip;
    int rc;

    c->host = lh_strdup(o->host);
    c->ctx = SSL_CTX_new(TLS_client_method());
    if (!c->host || !c->ctx || !SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) ||
        SSL_CTX_set_alpn_protos(c->ctx, alpn, sizeof(alpn)) != 0)
        return lh_err_nomem(err);
    c->host_is_ip = lh_ip_parse(o->host, &ip, NULL);
    SSL_CTX_set_options(c->ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION |
                                    SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_keylog_callback(c->ctx, NULL);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    rc = add_cas(c->ctx, o->ca_pem, err);
    return rc < 0 ? rc : add_identity(c->ctx, o, err);
}

int lh_grpc_tls_context_new(const struct lh_grpc_tls_options *o, struct lh_grpc_tls_context **out,
                            struct lh_err *err)
{
    struct lh_grpc_tls_context *c;
    int rc = lh_crypto_init(err);

    if (rc < 0)
        return rc;
    c = lh_calloc(1, sizeof(*c));
    if (!c)
        return lh_err_nomem(err);
    rc = fill_context(c, o, err);
    ERR_clear_error();
    if (rc < 0) {
        lh_grpc_tls_context_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void lh_grpc_tls_context_free(struct lh_grpc_tls_context *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ctx);
    lh_free(c->host);
    lh_free(c);
}

static bool expect_host(SSL *ssl, const struct lh_grpc_tls_context *c)
{
    if (c->host_is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), c->host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, c->host) == 1 && SSL_set_tlsext_host_name(ssl, c->host) == 1;
}

int lh_grpc_tls_new(struct lh_grpc_tls_context *c, struct lh_grpc_tls **out, struct lh_err *err)
{
    struct lh_grpc_tls *t = lh_calloc(1, sizeof(*t));

    if (!t)
        return lh_err_nomem(err);
    t->ssl = SSL_new(c->ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out || !expect_host(t->ssl, c)) {
        BIO_free(t->in);
        BIO_free(t->out);
        SSL_free(t->ssl);
        lh_free(t);
        return lh_err_nomem(err);
    }
    BIO_set_mem_eof_return(t->in, -1);
    BIO_set_mem_eof_return(t->out, -1);
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_connect_state(t->ssl);
    *out = t;
    return 0;
}

void lh_grpc_tls_free(struct lh_grpc_tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    lh_free(t);
}

/* Everything that TLS wants said. */
static int drain(struct lh_grpc_tls *t, struct lh_buf *out)
{
    size_t n = BIO_ctrl_pending(t->out);

    if (n > 0) {
        char *to = lh_buf_extend(out, n);

        if (!to || BIO_read(t->out, to, (int)n) != (int)n) {
            t->why = "out of memory";
            return -1;
        }
    }
    return 0;
}

static const char *why_of(const SSL *ssl)
{
    long verdict = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    if (verdict != X509_V_OK)
        return X509_verify_cert_error_string(verdict);
    return text ? text : "TLS failed";
}

/* Of a call that returned rc: 0: later, -1: it is over. */
static int judge(struct lh_grpc_tls *t, int rc, struct lh_buf *out)
{
    int error = SSL_get_error(t->ssl, rc);

    drain(t, out); /* an alert, perhaps */
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    if (error != SSL_ERROR_ZERO_RETURN)
        t->why = why_of(t->ssl);
    ERR_clear_error();
    return -1;
}

static int shake(struct lh_grpc_tls *t, struct lh_buf *out)
{
    const unsigned char *chosen = NULL;
    unsigned n = 0;
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        return judge(t, rc, out);
    SSL_get0_alpn_selected(t->ssl, &chosen, &n);
    if (n != 2 || memcmp(chosen, "h2", 2) != 0) {
        t->why = "the server does not speak HTTP/2";
        return -1;
    }
    t->ready = true;
    return drain(t, out);
}

int lh_grpc_tls_begin(struct lh_grpc_tls *t, struct lh_buf *out)
{
    return shake(t, out);
}

int lh_grpc_tls_feed(struct lh_grpc_tls *t, const void *wire, size_t n, struct lh_buf *out)
{
    if (BIO_write(t->in, wire, (int)n) != (int)n) {
        t->why = "out of memory";
        return -1;
    }
    return t->ready ? 0 : shake(t, out);
}

int lh_grpc_tls_write(struct lh_grpc_tls *t, const void *plain, size_t n, struct lh_buf *out)
{
    int rc;

    ERR_clear_error();
    /* Into memory: all of it, or an error. */
    rc = SSL_write(t->ssl, plain, (int)n);
    if (rc != (int)n) {
        judge(t, rc, out);
        return -1;
    }
    return drain(t, out);
}

ssize_t lh_grpc_tls_read(struct lh_grpc_tls *t, void *plain, size_t n, struct lh_buf *out)
{
    int rc;

    if (!t->ready)
        return 0;
    ERR_clear_error();
    rc = SSL_read(t->ssl, plain, (int)n);
    return rc > 0 ? rc : judge(t, rc, out);
}

bool lh_grpc_tls_is_ready(const struct lh_grpc_tls *t)
{
    return t->ready;
}

const char *lh_grpc_tls_why(const struct lh_grpc_tls *t)
{
    return t->why;
}
