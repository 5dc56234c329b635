/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/stat.h>

#include "http_priv.h"
#include "leasehold/core/fs.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"

struct http_identity *http_identity_ref(struct http_identity *id)
{
    id->refs++;
    return id;
}

void http_identity_unref(struct http_identity *id)
{
    if (!id || --id->refs > 0)
        return;
    lh_free(id->ca);
    lh_free(id->cert);
    lh_secret_free(id->key);
    lh_free(id);
}

static int identity_new(struct http_identity **out, struct lh_err *err)
{
    struct http_identity *id = lh_calloc(1, sizeof(*id));

    if (!id)
        return lh_err_nomem(err);
    id->refs = 1;
    *out = id;
    return 0;
}

static int copy_text(const char *from, char **out, struct lh_err *err)
{
    char *copy = from ? lh_strdup(from) : NULL;

    if (from && !copy)
        return lh_err_nomem(err);
    *out = copy;
    return 0;
}

static int copy_bytes(struct lh_str from, char **out, size_t *len, struct lh_err *err)
{
    char *copy = lh_memdup(from.p, from.n);

    if (!copy)
        return lh_err_nomem(err);
    *out = copy;
    *len = from.n;
    return 0;
}

static int from_bytes(struct http_identity *id, const struct lh_http_options *o, struct lh_err *err)
{
    unsigned n;
    int rc = 0;

    if (o->ca_pem.n) {
        rc = lh_x509_bundle_count(o->ca_pem, &n, err);
        if (rc < 0)
            return lh_err_reason(err, lh_err_wrap(err, rc, "CA bundle"), "CertificateInvalid");
        rc = copy_bytes(o->ca_pem, &id->ca, &id->ca_len, err);
    }
    if (rc < 0 || !o->client_cert_pem.n)
        return rc;
    if (!o->client_key_pem)
        return lh_err_set(err, LH_E_INVALID, "a client certificate without its key");
    rc = lh_x509_pair_check(o->client_cert_pem, o->client_key_pem, err);
    if (rc < 0)
        return lh_err_reason(err, lh_err_wrap(err, rc, "client certificate"), "CertificateInvalid");
    rc = copy_bytes(o->client_cert_pem, &id->cert, &id->cert_len, err);
    if (rc < 0)
        return rc;
    return lh_secret_copy(lh_secret_expose_const(o->client_key_pem),
                          lh_secret_len(o->client_key_pem), &id->key, err);
}

int http_source_init(struct lh_http *h, const struct lh_http_options *o, struct lh_err *err)
{
    int rc = identity_new(&h->identity, err);

    if (rc == 0)
        rc = from_bytes(h->identity, o, err);
    if (rc == 0 && !o->ca_pem.n)
        rc = copy_text(o->ca_file, &h->source.ca_file, err);
    if (rc == 0 && !o->client_cert_pem.n && o->client_cert_file && o->client_key_file) {
        rc = copy_text(o->client_cert_file, &h->source.cert_file, err);
        if (rc == 0)
            rc = copy_text(o->client_key_file, &h->source.key_file, err);
    }
    return rc;
}

void http_source_done(struct lh_http *h)
{
    lh_free(h->source.ca_file);
    lh_free(h->source.cert_file);
    lh_free(h->source.key_file);
    http_identity_unref(h->identity);
}

/* The inode changes too when kubelet swaps ..data, whatever the times say. */
static bool mark_of(const char *path, struct http_file_mark *out)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return false;
    *out = (struct http_file_mark){
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size = (unsigned long long)st.st_size,
        .mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
        .ctime_ns = st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec,
    };
    return true;
}

static bool has_changed(const char *path, struct http_file_mark *mark)
{
    struct http_file_mark now = {0};

    /* A file that is gone differs from what was read, and reading it says so. */
    if (!path || (mark_of(path, &now) && memcmp(&now, mark, sizeof(now)) == 0))
        return false;
    *mark = now;
    return true;
}

static int read_ca(struct http_source *src, struct http_identity *id, struct lh_err *err)
{
    lh_auto_free char *pem = NULL;
    unsigned count;
    size_t n = 0;
    int rc;

    rc = lh_fs_read_at(AT_FDCWD, src->ca_file, HTTP_MAX_PEM, &pem, &n, err);
    if (rc < 0)
        return rc;
    rc = lh_x509_bundle_count((struct lh_str){pem, n}, &count, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "CA file %s", src->ca_file);
    lh_free(id->ca);
    id->ca = LH_TAKE_PTR(pem);
    id->ca_len = n;
    return 0;
}

static int read_pair(struct http_source *src, struct http_identity *id, struct lh_err *err)
{
    lh_auto_secret struct lh_secret *key = NULL;
    lh_auto_free char *pem = NULL;
    size_t n = 0;
    int rc;

    rc = lh_fs_read_at(AT_FDCWD, src->cert_file, HTTP_MAX_PEM, &pem, &n, err);
    if (rc < 0)
        return rc;
    rc = lh_secret_read_at(AT_FDCWD, src->key_file, HTTP_MAX_PEM, &key, err);
    if (rc < 0)
        return rc;
    /* Two files are not replaced at once: an old half with a new one is no pair. */
    rc = lh_x509_pair_check((struct lh_str){pem, n}, key, err);
    if (rc < 0)
        return lh_err_wrap(err, rc, "%s and %s", src->cert_file, src->key_file);
    lh_free(id->cert);
    lh_secret_free(id->key);
    id->cert = LH_TAKE_PTR(pem);
    id->cert_len = n;
    id->key = LH_TAKE_PTR(key);
    return 0;
}

static int identity_copy(const struct http_identity *from, struct http_identity *to,
                         struct lh_err *err)
{
    int rc = 0;

    if (from->ca)
        rc = copy_bytes((struct lh_str){from->ca, from->ca_len}, &to->ca, &to->ca_len, err);
    if (rc == 0 && from->cert)
        rc = copy_bytes((struct lh_str){from->cert, from->cert_len}, &to->cert, &to->cert_len, err);
    if (rc == 0 && from->key)
        rc = lh_secret_copy(lh_secret_expose_const(from->key), lh_secret_len(from->key), &to->key,
                            err);
    return rc;
}

static bool is_same(const struct http_identity *a, const struct http_identity *b)
{
    return a->ca_len == b->ca_len && a->cert_len == b->cert_len && !a->ca == !b->ca &&
           !a->key == !b->key && (!a->ca || memcmp(a->ca, b->ca, a->ca_len) == 0) &&
           (!a->cert || memcmp(a->cert, b->cert, a->cert_len) == 0) &&
           (!a->key || lh_secret_equal(a->key, b->key));
}

static int load(struct lh_http *h, bool ca, bool pair, struct http_identity *id, struct lh_err *err)
{
    int rc = identity_copy(h->identity, id, err);

    if (rc < 0)
        return rc;
    if (ca) {
        rc = read_ca(&h->source, id, err);
        if (rc < 0) {
            memset(&h->source.ca_mark, 0, sizeof(h->source.ca_mark)); /* look again next time */
            if (!id->ca)
                return lh_err_reason(err, rc, "CertificateInvalid");
        }
    }
    if (pair) {
        rc = read_pair(&h->source, id, err);
        if (rc < 0) {
            memset(&h->source.cert_mark, 0, sizeof(h->source.cert_mark));
            if (!id->cert)
                return lh_err_reason(err, rc, "CertificateInvalid");
        }
    }
    return 0;
}

int http_identity_refresh(struct lh_http *h, bool *changed, struct lh_err *err)
{
    struct http_source *src = &h->source;
    struct http_identity *id;
    bool ca = has_changed(src->ca_file, &src->ca_mark);
    bool cert = has_changed(src->cert_file, &src->cert_mark);
    bool key = has_changed(src->key_file, &src->key_mark);
    int rc;

    if (!ca && !cert && !key)
        return 0;
    rc = identity_new(&id, err);
    if (rc < 0)
        return rc;
    rc = load(h, ca, cert || key, id, err);
    if (rc < 0 || is_same(h->identity, id)) {
        http_identity_unref(id);
        return rc;
    }
    http_identity_unref(h->identity);
    h->identity = id;
    *changed = true;
    return 0;
}

CURLcode http_on_ssl_ctx(CURL *easy, void *ctx, void *arg)
{
    struct lh_http_op *op = arg;

    (void)easy;
    op->handshaking = true; /* curl is about to begin it */
    SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    /* Whatever SSLKEYLOGFILE said when curl was started. */
    SSL_CTX_set_keylog_callback(ctx, NULL);
    return CURLE_OK;
}
