/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: whose certificate is shown and asked for, changing it, and many requests at once. The client
 * is OpenSSL on a socket of our own, or our HTTP client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#undef lh_free /* an old name of OpenSSL's hash tables */
#include <stdio.h>
#include <string.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"
#include "leasehold/http/client.h"
#include "peer.h"
#include "support.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static struct lh_cert_pair ca, other_ca, leaf, next_leaf, client, stranger;
static struct lh_server *server;
static struct lh_listener *open_to_all, *for_clients;
static struct lh_call *held;

/* A TLS connection. */
struct tls {
    struct peer p;
    SSL_CTX *ctx;
    SSL *ssl;
    bool up, failed;
    char got[4096];
    size_t n;
};
static struct tls t, second;

static void on_root(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    lh_call_answer(call, 200, "text/plain", req->body.n ? req->body : LH_STR("hello"));
}

static void on_hold(void *arg, const struct lh_request *req, struct lh_call *call)
{
    (void)arg;
    (void)req;
    held = call;
}

static const struct lh_route routes[] = {
    {NULL, "/", on_root, 4 << 20}, {"GET", "/hold", on_hold, 0}, {0}};

static int group_setup(void **state)
{
    static const char *const names[] = {"webhook.test", NULL}, *const next[] = {"next.test", NULL};

    (void)state;
    lh_mem_init();
    if (lh_http_global_init(NULL) < 0 || lh_x509_new_ca("CA", 1, &ca, NULL) < 0 ||
        lh_x509_new_ca("other CA", 1, &other_ca, NULL) < 0 ||
        lh_x509_new_leaf(&ca, names, 1, &leaf, NULL) < 0 ||
        lh_x509_new_leaf(&ca, next, 1, &next_leaf, NULL) < 0 ||
        lh_x509_new_client_leaf(&ca, "client", 1, &client, NULL) < 0)
        return -1;
    return lh_x509_new_client_leaf(&other_ca, "stranger", 1, &stranger, NULL);
}

static int group_teardown(void **state)
{
    struct lh_cert_pair *all[] = {&ca, &other_ca, &leaf, &next_leaf, &client, &stranger};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(all); i++)
        lh_cert_pair_done(all[i]);
    return 0;
}

static int setup(void **state)
{
    struct lh_listener_options o = {.address = "127.0.0.1:0",
                                    .routes = routes,
                                    .cert_pem = lh_str(leaf.cert_pem),
                                    .key_pem = leaf.key_pem};

    (void)state;
    memset(&t, 0, sizeof(t));
    memset(&second, 0, sizeof(second));
    t.p.fd = second.p.fd = -1;
    held = NULL;
    lh_clock_real();
    if (lh_loop_new(&peer_loop, NULL) < 0 || lh_server_new(peer_loop, &server, NULL) < 0 ||
        lh_server_listen(server, &o, &open_to_all, NULL) < 0)
        return -1;
    o.client_ca_pem = lh_str(ca.cert_pem);
    return lh_server_listen(server, &o, &for_clients, NULL);
}

static void tls_close(struct tls *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    c->ssl = NULL;
    c->ctx = NULL;
    peer_close(&c->p);
}

static int teardown(void **state)
{
    (void)state;
    tls_close(&t);
    tls_close(&second);
    if (held)
        lh_call_abort(held);
    lh_server_free(server);
    lh_loop_free(peer_loop);
    lh_clock_real();
    return 0;
}

static void use_pair(SSL_CTX *ctx, const struct lh_cert_pair *pair)
{
    BIO *cert = BIO_new_mem_buf(pair->cert_pem, -1);
    BIO *key =
        BIO_new_mem_buf(lh_secret_expose_const(pair->key_pem), (int)lh_secret_len(pair->key_pem));
    X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

    SSL_CTX_use_certificate(ctx, x);
    SSL_CTX_use_PrivateKey(ctx, k);
    X509_free(x);
    EVP_PKEY_free(k);
    BIO_free(cert);
    BIO_free(key);
}

/* What a test looks at is what the server shows, so nothing is verified here. */
static void tls_open(struct tls *c, struct lh_listener *l, const struct lh_cert_pair *pair,
                     const char *sni)
{
    static const unsigned char alpn[] = "\x02h2\x08http/1.1";

    memset(c, 0, sizeof(*c));
    peer_open(&c->p, lh_listener_port(l));
    c->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_alpn_protos(c->ctx, alpn, sizeof(alpn) - 1);
    if (pair)
        use_pair(c->ctx, pair);
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->p.fd);
    if (sni)
        SSL_set_tlsext_host_name(c->ssl, sni);
    SSL_set_connect_state(c->ssl);
}

static bool want(struct tls *c, int rc)
{
    int why = SSL_get_error(c->ssl, rc);

    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        c->failed = true;
    return !c->failed;
}

static bool is_up(void *arg)
{
    struct tls *c = arg;
    int rc = SSL_do_handshake(c->ssl);

    if (rc == 1)
        c->up = true;
    else
        want(c, rc);
    return c->up || c->failed;
}

static bool handshake(struct tls *c)
{
    return lh_test_run_until(peer_loop, is_up, c) && c->up;
}

static bool has_answer(void *arg)
{
    struct tls *c = arg;
    int rc;

    while ((rc = SSL_read(c->ssl, c->got + c->n, (int)(sizeof(c->got) - 1 - c->n))) > 0)
        c->n += (size_t)rc;
    want(c, rc);
    return c->failed || strstr(c->got, "hello");
}

static bool exchange(struct tls *c)
{
    memset(c->got, 0, sizeof(c->got));
    c->n = 0;
    if (SSL_write(c->ssl, REQUEST, sizeof(REQUEST) - 1) <= 0)
        return false;
    return lh_test_run_until(peer_loop, has_answer, c) && strstr(c->got, "hello");
}

static const char *shown_name(const struct tls *c, char out[64])
{
    X509 *x = SSL_get1_peer_certificate(c->ssl);

    out[0] = '\0';
    if (x)
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, 64);
    X509_free(x);
    return out;
}

static void speaks_http_1_1_over_a_recent_tls(void **state)
{
    const unsigned char *alpn;
    unsigned n;

    (void)state;
    tls_open(&t, open_to_all, NULL, NULL);
    assert_true(handshake(&t));
    assert_true(SSL_version(t.ssl) >= TLS1_2_VERSION);
    SSL_get0_alpn_selected(t.ssl, &alpn, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(alpn, "http/1.1", 8);
    assert_true(exchange(&t));
    assert_true(exchange(&t));
}

static void tls_1_2_is_spoken_too(void **state)
{
    (void)state;
    tls_open(&t, open_to_all, NULL, NULL);
    SSL_set_max_proto_version(t.ssl, TLS1_2_VERSION);
    assert_true(handshake(&t));
    assert_int_equal(SSL_version(t.ssl), TLS1_2_VERSION);
    assert_true(exchange(&t));
}

static struct who {
    const char *name;
    const struct lh_cert_pair *pair;
    bool right;
} whos[] = {
    {"a client with a certificate of our CA", &client, true},
    {"a client without a certificate", NULL, false},
    {"a client with a certificate of another CA", &stranger, false},
    {"a client with a server's certificate", &leaf, false},
};

/* Both versions: in 1.3 the client learns of it after its handshake. */
static void client_certificates_are_verified(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    const struct who *w = *state;

    for (size_t i = 0; i < LH_ARRAY_LEN(versions); i++) {
        tls_open(&t, for_clients, w->pair, NULL);
        SSL_set_max_proto_version(t.ssl, versions[i]);
        SSL_set_min_proto_version(t.ssl, versions[i]);
        assert_int_equal(handshake(&t) && exchange(&t), w->right);
        tls_close(&t);
    }
}

/* libwebsockets looks a name up among all its virtual hosts, and would swap the context. */
static void a_name_does_not_lead_to_another_listener(void **state)
{
    static const char *const names[] = {"listener0", "listener1", "guest", "x.listener0"};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(names); i++) {
        tls_open(&t, for_clients, NULL, names[i]);
        assert_false(handshake(&t) && exchange(&t));
        tls_close(&t);
        tls_open(&t, open_to_all, NULL, names[i]);
        assert_true(handshake(&t) && exchange(&t));
        tls_close(&t);
    }
}

static void a_new_certificate_drops_no_connection(void **state)
{
    char name[64];

    (void)state;
    tls_open(&t, open_to_all, NULL, NULL);
    assert_true(handshake(&t));
    assert_true(exchange(&t));
    assert_int_equal(
        lh_listener_set_cert(open_to_all, lh_str(next_leaf.cert_pem), next_leaf.key_pem, NULL), 0);
    assert_true(exchange(&t));
    assert_string_equal(shown_name(&t, name), "webhook.test");
    tls_open(&second, open_to_all, NULL, NULL);
    assert_true(handshake(&second));
    assert_string_equal(shown_name(&second, name), "next.test");
    assert_true(exchange(&second));
    assert_true(exchange(&t));
}

static void a_pair_that_is_none_leaves_the_old_one(void **state)
{
    struct lh_err err = {0};
    char name[64];

    (void)state;
    assert_int_equal(
        lh_listener_set_cert(open_to_all, lh_str(next_leaf.cert_pem), leaf.key_pem, &err),
        -LH_E_INVALID);
    assert_non_null(strstr(err.msg, "another certificate"));
    assert_int_equal(lh_listener_set_cert(open_to_all, LH_STR("rubbish"), leaf.key_pem, NULL),
                     -LH_E_INVALID);
    tls_open(&t, open_to_all, NULL, NULL);
    assert_true(handshake(&t));
    assert_string_equal(shown_name(&t, name), "webhook.test");
    assert_true(exchange(&t));
}

static void a_listener_needs_a_pair(void **state)
{
    struct lh_listener_options o = {.address = "127.0.0.1:0",
                                    .routes = routes,
                                    .cert_pem = lh_str(leaf.cert_pem),
                                    .key_pem = next_leaf.key_pem};
    struct lh_listener *l = NULL;

    (void)state;
    assert_int_equal(lh_server_listen(server, &o, &l, NULL), -LH_E_INVALID);
    o.key_pem = NULL;
    assert_int_equal(lh_server_listen(server, &o, &l, NULL), -LH_E_INVALID);
    o.key_pem = leaf.key_pem;
    o.client_ca_pem = LH_STR("rubbish");
    assert_int_equal(lh_server_listen(server, &o, &l, NULL), -LH_E_INVALID);
    assert_null(l);
    tls_open(&t, open_to_all, NULL, NULL); /* the others go on */
    assert_true(handshake(&t) && exchange(&t));
}

static void a_chain_is_shown_whole(void **state)
{
    lh_auto_free char *chain = lh_asprintf("%s%s", leaf.cert_pem, ca.cert_pem);

    (void)state;
    assert_int_equal(lh_listener_set_cert(open_to_all, lh_str(chain), leaf.key_pem, NULL), 0);
    tls_open(&t, open_to_all, NULL, NULL);
    assert_true(handshake(&t));
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(t.ssl)), 2);
}

static void plain_http_is_turned_away(void **state)
{
    (void)state;
    peer_open(&t.p, lh_listener_port(open_to_all));
    peer_send(&t.p, REQUEST);
    assert_true(peer_wait_end(&t.p));
    assert_null(strstr(t.p.got, "HTTP/1.1"));
}

static unsigned connections(void)
{
    struct lh_server_stats s;

    lh_server_stats(server, &s);
    return s.connections;
}

static void a_handshake_that_never_ends_is_cut_off(void **state)
{
    struct lh_server_stats s;

    (void)state;
    lh_clock_fake(1000000, 1795500000000);
    peer_open(&t.p, lh_listener_port(open_to_all));
    peer_send_bytes(&t.p, "\x16\x03\x01\x00\xf0", 5);
    peer_turns(&t.p, 5);
    assert_int_equal(connections(), 1);
    lh_clock_step(5001);
    assert_true(peer_wait_end(&t.p));
    peer_turns(NULL, 3);
    lh_server_stats(server, &s);
    assert_int_equal(s.connections, 0);
    assert_int_equal(s.timeouts, 1);
}

/* The API server opens connections before it needs them. */
static void a_connection_may_wait_after_its_handshake(void **state)
{
    (void)state;
    lh_clock_fake(lh_clock_now(), lh_clock_wall_ms());
    tls_open(&t, open_to_all, NULL, NULL);
    assert_true(handshake(&t));
    peer_turns(NULL, 5); /* our side is up before theirs */
    lh_clock_step(60000);
    peer_turns(NULL, 5);
    assert_true(exchange(&t));
}

static bool has_ended(void *arg)
{
    struct tls *c = arg;

    has_answer(c);
    return c->failed;
}

static void the_end_is_said_in_tls(void **state)
{
    (void)state;
    tls_open(&t, open_to_all, NULL, NULL);
    assert_true(handshake(&t));
    assert_true(SSL_write(t.ssl, "GET / HTTP/1.0\r\n\r\n", 18) > 0);
    assert_true(lh_test_run_until(peer_loop, has_ended, &t));
    assert_non_null(strstr(t.got, "hello"));
    assert_true(SSL_get_shutdown(t.ssl) & SSL_RECEIVED_SHUTDOWN);
}

/* --- many at once, by our own client --- */

static unsigned good, over;

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    (void)err;
    over++;
    if (ans && ans->status == 200 && lh_secret_len(ans->body) == (size_t)(uintptr_t)arg)
        good++;
}

static bool all_over(void *arg)
{
    return over == *(unsigned *)arg;
}

static void post_many(unsigned connections_at_once, unsigned requests, size_t size)
{
    struct lh_http_options o = {.ca_pem = lh_str(ca.cert_pem),
                                .server_name = "webhook.test",
                                .allow_loopback = true,
                                .max_in_flight = connections_at_once};
    char *body = lh_calloc(1, size), url[64];
    struct lh_http_request req = {.method = "POST", .url = url, .body = {body, size}};
    struct lh_http *h = NULL;
    bool finished;

    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", lh_listener_port(open_to_all));
    memset(body, 'p', size);
    good = over = 0;
    assert_int_equal(lh_http_new(peer_loop, &o, &h, NULL), 0);
    for (unsigned i = 0; i < requests; i++)
        assert_int_equal(lh_http_start(h, &req, on_done, (void *)(uintptr_t)size, NULL, NULL), 0);
    finished = lh_test_run_until(peer_loop, all_over, &requests);
    lh_http_free(h);
    lh_free(body);
    assert_true(finished);
    assert_int_equal(good, requests);
}

static struct load {
    const char *name;
    unsigned at_once, requests;
    size_t size;
} loads[] = {
    {"64 connections, 5 kB bodies", 64, 640, 5000},
    {"bodies around a TLS record", 4, 16, 16384},
    {"bodies around lws's buffer", 4, 16, 65536 + 7},
    {"3 MiB bodies, as the largest review", 4, 8, 3 << 20},
};

static void many_requests_are_all_answered(void **state)
{
    const struct load *l = *state;

    post_many(l->at_once, l->requests, l->size);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    static struct CMUnitTest tests[32] = {
        T(speaks_http_1_1_over_a_recent_tls),
        T(tls_1_2_is_spoken_too),
        T(a_name_does_not_lead_to_another_listener),
        T(a_new_certificate_drops_no_connection),
        T(a_pair_that_is_none_leaves_the_old_one),
        T(a_listener_needs_a_pair),
        T(a_chain_is_shown_whole),
        T(plain_http_is_turned_away),
        T(a_handshake_that_never_ends_is_cut_off),
        T(a_connection_may_wait_after_its_handshake),
        T(the_end_is_said_in_tls),
    };
    size_t n = 11;

    for (size_t i = 0; i < LH_ARRAY_LEN(whos); i++)
        tests[n++] = (struct CMUnitTest){whos[i].name, client_certificates_are_verified, setup,
                                         teardown, &whos[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(loads); i++)
        tests[n++] = (struct CMUnitTest){loads[i].name, many_requests_are_all_answered, setup,
                                         teardown, &loads[i]};
    return _cmocka_run_group_tests("serve tls", tests, n, group_setup, group_teardown);
}
