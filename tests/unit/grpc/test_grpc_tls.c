/* SPDX-License-Identifier: Apache-2.0 */
/* The client over TCP and TLS, against OpenSSL's server side in front of our server half. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* OpenSSL renames a function of this name. */
#undef lh_free
#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/crypto/x509.h"
#include "leasehold/grpc/client.h"
#include "leasehold/grpc/server.h"
#include "support.h"
#include "tls_front.h"

enum { MAX_MESSAGE = 8 << 20, YEAR_DAYS = 365 };

static struct {
    struct lh_test_scratch scratch;
    char path[300];
    struct lh_loop *loop;
    struct lh_grpc_server *server;
    struct lh_grpc_client *client;
    struct tls_front front;
    int listener;
    struct lh_cert_pair ca, other_ca, by_ip, by_name, expired, user, stranger;
} t;

struct outcome {
    bool done;
    enum lh_grpc_status status;
    char text[300];
    size_t n;
    uint32_t sum;
};

static uint32_t sum_of(const char *p, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + (unsigned char)p[i];
    return sum;
}

static void echo(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    lh_grpc_reply(call, request);
}

static const struct lh_grpc_method methods[] = {{"/test.Echo/Echo", echo}, {NULL, NULL}};

static void on_answer(void *arg, enum lh_grpc_status status, struct lh_str m, const char *text)
{
    struct outcome *o = arg;

    o->done = true;
    o->status = status;
    o->n = m.n;
    o->sum = sum_of(m.p, m.n);
    snprintf(o->text, sizeof(o->text), "%s", text);
}

static int issue(void)
{
    static const char *const ips[] = {"127.0.0.1", NULL}, *const names[] = {"etcd.example", NULL};
    int rc = lh_x509_new_ca("one", 3650, &t.ca, NULL);

    if (rc == 0)
        rc = lh_x509_new_ca("another", 3650, &t.other_ca, NULL);
    if (rc == 0)
        rc = lh_x509_new_leaf(&t.ca, ips, 24, &t.by_ip, NULL);
    if (rc == 0)
        rc = lh_x509_new_leaf(&t.ca, names, 24, &t.by_name, NULL);
    if (rc == 0)
        rc = lh_x509_new_client_leaf(&t.ca, "auditor", 24, &t.user, NULL);
    if (rc == 0)
        rc = lh_x509_new_client_leaf(&t.other_ca, "stranger", 24, &t.stranger, NULL);
    lh_clock_fake(1000, lh_clock_wall_ms() - YEAR_DAYS * 86400000LL);
    if (rc == 0)
        rc = lh_x509_new_leaf(&t.ca, ips, 1, &t.expired, NULL);
    lh_clock_real();
    return rc;
}

static int setup_group(void **state)
{
    (void)state;
    return lh_crypto_init(NULL) < 0 ? -1 : issue();
}

static int teardown_group(void **state)
{
    struct lh_cert_pair *const all[] = {&t.ca,      &t.other_ca, &t.by_ip,   &t.by_name,
                                        &t.expired, &t.user,     &t.stranger};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(all); i++)
        lh_cert_pair_done(all[i]);
    return 0;
}

static int listen_at(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    return bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && listen(fd, 64) == 0 ? fd : -1;
}

static int setup(void **state)
{
    uid_t peer = geteuid();
    struct lh_grpc_server_options opts = {
        .methods = methods, .peers = &peer, .n_peers = 1, .max_message = MAX_MESSAGE};
    int rc;

    (void)state;
    t.listener = -1;
    if (lh_test_scratch_new(&t.scratch) < 0 || lh_loop_new(&t.loop, NULL) < 0)
        return -1;
    snprintf(t.path, sizeof(t.path), "%s/s", t.scratch.path);
    opts.loop = t.loop;
    rc = lh_grpc_server_new(&opts, &t.server, NULL);
    return rc < 0 ? rc : lh_grpc_server_listen(t.server, listen_at(t.path), NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_grpc_client_free(t.client);
    t.client = NULL;
    tls_front_stop(&t.front);
    if (t.listener >= 0)
        close(t.listener);
    lh_grpc_server_free(t.server);
    lh_loop_free(t.loop);
    lh_test_scratch_done(&t.scratch);
    return 0;
}

static int client_to(int port, const struct lh_cert_pair *ca, const char *host,
                     const struct lh_cert_pair *user, struct lh_err *err)
{
    char address[32];
    struct lh_grpc_tls_options tls = {.ca_pem = lh_str(ca ? ca->cert_pem : NULL),
                                      .cert_pem = lh_str(user ? user->cert_pem : NULL),
                                      .key_pem = user ? user->key_pem : NULL,
                                      .host = host};
    struct lh_grpc_client_options opts = {
        .loop = t.loop, .address = address, .tls = ca ? &tls : NULL, .max_message = MAX_MESSAGE};

    snprintf(address, sizeof(address), "127.0.0.1:%d", port);
    return lh_grpc_client_new(&opts, &t.client, err);
}

static void call(struct lh_str message, unsigned timeout_ms, struct outcome *o)
{
    struct lh_grpc_client_call *c;

    assert_int_equal(lh_grpc_client_start(t.client, "/test.Echo/Echo", message, timeout_ms,
                                          on_answer, o, &c, NULL),
                     0);
    assert_true(lh_test_run_until_set(t.loop, &o->done));
}

static struct tls_row {
    const char *name;
    const struct lh_cert_pair *server, *trusted, *user;
    const char *host;
    bool asks, no_h2;
    long max_version;
    const char *why; /* NULL: it works */
} tls_rows[] = {
    {"an address in the certificate", &t.by_ip, &t.ca, NULL, "127.0.0.1", false, false, 0, NULL},
    {"a name in the certificate", &t.by_name, &t.ca, NULL, "etcd.example", false, false, 0, NULL},
    {"TLS 1.2", &t.by_ip, &t.ca, &t.user, "127.0.0.1", true, false, TLS1_2_VERSION, NULL},
    {"a client certificate", &t.by_ip, &t.ca, &t.user, "127.0.0.1", true, false, 0, NULL},
    {"no client certificate", &t.by_ip, &t.ca, NULL, "127.0.0.1", true, false, 0,
     "certificate required"},
    {"no client certificate, TLS 1.2", &t.by_ip, &t.ca, NULL, "127.0.0.1", true, false,
     TLS1_2_VERSION, "handshake failure"},
    {"a client certificate of another CA", &t.by_ip, &t.ca, &t.stranger, "127.0.0.1", true, false,
     0, "unknown ca"},
    {"a server of another CA", &t.by_ip, &t.other_ca, NULL, "127.0.0.1", false, false, 0,
     "unable to get local issuer certificate"},
    {"another name", &t.by_name, &t.ca, NULL, "etcd.other", false, false, 0, "hostname mismatch"},
    {"another address", &t.by_ip, &t.ca, NULL, "127.0.0.2", false, false, 0, "IP address mismatch"},
    {"a name where the address is asked for", &t.by_name, &t.ca, NULL, "127.0.0.1", false, false, 0,
     "IP address mismatch"},
    {"an expired certificate", &t.expired, &t.ca, NULL, "127.0.0.1", false, false, 0,
     "certificate has expired"},
    {"a client's certificate on a server", &t.user, &t.ca, NULL, "auditor", false, false, 0,
     "certificate purpose"},
    {"TLS 1.1", &t.by_ip, &t.ca, NULL, "127.0.0.1", false, false, TLS1_1_VERSION, "protocol"},
    {"a server without HTTP/2", &t.by_ip, &t.ca, NULL, "127.0.0.1", false, true, 0,
     "does not speak HTTP/2"},
};

static void over_tls(void **state)
{
    const struct tls_row *r = *state;
    struct tls_front_options front = {.path = t.path,
                                      .pair = r->server,
                                      .client_ca_pem = r->asks ? t.ca.cert_pem : NULL,
                                      .no_h2 = r->no_h2,
                                      .max_version = r->max_version};
    struct outcome o = {0}, again = {0};
    char peer[32];

    assert_int_equal(tls_front_start(&front, &t.front), 0);
    assert_int_equal(client_to(t.front.port, r->trusted, r->host, r->user, NULL), 0);
    call(LH_STR("hello"), 0, &o);
    if (!r->why) {
        assert_string_equal(o.text, "");
        assert_int_equal(o.n, 5);
        return;
    }
    assert_int_equal(o.status, LH_GRPC_UNAVAILABLE);
    snprintf(peer, sizeof(peer), "127.0.0.1:%d: ", t.front.port);
    assert_true(lh_str_starts(lh_str(o.text), lh_str(peer)));
    if (!strstr(o.text, r->why))
        fail_msg("%s", o.text);
    call(LH_STR("again"), 0, &again); /* a new connection, the same answer */
    assert_int_equal(again.status, LH_GRPC_UNAVAILABLE);
}

static void large_messages_go_both_ways(void **state)
{
    struct tls_front_options front = {.path = t.path, .pair = &t.by_ip};
    char *bytes = lh_malloc(MAX_MESSAGE);

    (void)state;
    for (size_t i = 0; i < MAX_MESSAGE; i++)
        bytes[i] = (char)(i * 2654435761u >> 24);
    assert_int_equal(tls_front_start(&front, &t.front), 0);
    assert_int_equal(client_to(t.front.port, &t.ca, "127.0.0.1", NULL, NULL), 0);
    for (size_t n = 1; n <= MAX_MESSAGE; n *= 8) {
        struct outcome o = {0};

        call((struct lh_str){bytes, n}, 0, &o);
        assert_string_equal(o.text, "");
        assert_int_equal(o.n, n);
        assert_int_equal(o.sum, sum_of(bytes, n));
    }
    lh_free(bytes);
}

static void a_lost_server_is_called_again(void **state)
{
    struct tls_front_options front = {.path = t.path, .pair = &t.by_ip};
    struct outcome first = {0}, gone = {0};

    (void)state;
    assert_int_equal(tls_front_start(&front, &t.front), 0);
    assert_int_equal(client_to(t.front.port, &t.ca, "127.0.0.1", NULL, NULL), 0);
    call(LH_STR("x"), 0, &first);
    assert_int_equal(first.status, LH_GRPC_OK);
    tls_front_stop(&t.front);
    call(LH_STR("x"), 0, &gone);
    assert_int_equal(gone.status, LH_GRPC_UNAVAILABLE);
}

static void nobody_listens(void **state)
{
    struct outcome o = {0};
    int port = 0, fd = tls_front_listen(&port);
    char want[64];

    (void)state;
    close(fd);
    assert_int_equal(client_to(port, &t.ca, "127.0.0.1", NULL, NULL), 0);
    call(LH_STR("x"), 0, &o);
    assert_int_equal(o.status, LH_GRPC_UNAVAILABLE);
    snprintf(want, sizeof(want), "127.0.0.1:%d: Connection refused", port);
    assert_string_equal(o.text, want);
}

/* It connects, by the kernel, and says nothing. */
static void a_silent_server_meets_the_deadline(void **state)
{
    struct outcome o = {0};
    int port = 0;

    (void)state;
    t.listener = tls_front_listen(&port);
    assert_int_equal(client_to(port, &t.ca, "127.0.0.1", NULL, NULL), 0);
    call(LH_STR("x"), 50, &o);
    assert_int_equal(o.status, LH_GRPC_DEADLINE_EXCEEDED);
}

static void plain_to_tls_fails(void **state)
{
    struct tls_front_options front = {.path = t.path, .pair = &t.by_ip};
    struct outcome o = {0};

    (void)state;
    assert_int_equal(tls_front_start(&front, &t.front), 0);
    assert_int_equal(client_to(t.front.port, NULL, NULL, NULL, NULL), 0);
    call(LH_STR("x"), 5000, &o);
    assert_int_equal(o.status, LH_GRPC_UNAVAILABLE);
}

static struct bad_option {
    const char *name, *address, *text;
} bad_options[] = {
    {"a name is not resolved", "localhost:2379", "not an IP address and a port"},
    {"no port", "127.0.0.1", "not an IP address and a port"},
    {"port 0", "127.0.0.1:0", "not an IP address and a port"},
    {"IPv6 without brackets", "::1:2379", "not an IP address and a port"},
    {"a CA that is none", "127.0.0.1:1", "CA bundle"},
};

static void refuses_options(void **state)
{
    const struct bad_option *b = *state;
    struct lh_grpc_tls_options tls = {.ca_pem = LH_STR("no PEM"), .host = "127.0.0.1"};
    struct lh_grpc_client_options opts = {.loop = t.loop, .address = b->address, .tls = &tls};
    struct lh_err err = {0};

    assert_int_equal(lh_grpc_client_new(&opts, &t.client, &err), -LH_E_INVALID);
    assert_null(t.client);
    assert_non_null(strstr(err.msg, b->text));
}

int main(void)
{
    struct CMUnitTest tests[64] = {
        cmocka_unit_test_setup_teardown(large_messages_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_server_is_called_again, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_server_meets_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_to_tls_fails, setup, teardown),
    };
    size_t n = 5;

    for (size_t i = 0; i < LH_ARRAY_LEN(tls_rows); i++)
        tests[n++] = (struct CMUnitTest){tls_rows[i].name, over_tls, setup, teardown, &tls_rows[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(bad_options); i++)
        tests[n++] = (struct CMUnitTest){bad_options[i].name, refuses_options, setup, teardown,
                                         &bad_options[i]};
    return _cmocka_run_group_tests("grpc_tls", tests, n, setup_group, teardown_group);
}
