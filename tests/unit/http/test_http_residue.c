/* SPDX-License-Identifier: Apache-2.0 */
/* What a request leaves in our memory while its connection is kept: nothing. The server runs in a
 * process of its own, since it has to know the secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/crypto/x509.h"
#include "leasehold/http/client.h"
#include "leasehold/serve/server.h"
#include "support.h"

enum { CANARY = 40 };

static unsigned char body_canary[CANARY], token_canary[CANARY], sent_canary[CANARY];
static pid_t server;
static struct lh_loop *loop;
static struct lh_http *http;
static char url[128];

/* In the server. The canary stands amid other bytes, as a secret does in an answer. */
static void on_secret(void *arg, const struct lh_request *req, struct lh_call *call)
{
    char body[3000];

    (void)arg;
    (void)req;
    memset(body, '.', sizeof(body));
    lh_test_canary_reveal(body_canary, CANARY, body + 1000);
    lh_call_answer(call, 200, "application/json", (struct lh_str){body, sizeof(body)});
}

static const struct lh_route routes[] = {{NULL, "/secret", on_secret, 1 << 16}, {0}};

struct hello {
    unsigned port;
    char ca_pem[4000];
};

/* Forked before there is any secret: the region does not come along. */
static void serve(int to_parent)
{
    static const char *const names[] = {"127.0.0.1", NULL};
    struct lh_listener_options o = {.address = "127.0.0.1:0", .routes = routes};
    struct lh_cert_pair ca = {0}, leaf = {0};
    struct lh_listener *l = NULL;
    struct lh_server *s = NULL;
    struct lh_loop *own = NULL;
    struct hello hello = {0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (lh_loop_new(&own, NULL) < 0 || lh_server_new(own, &s, NULL) < 0 ||
        lh_x509_new_ca("CA", 1, &ca, NULL) < 0 || lh_x509_new_leaf(&ca, names, 1, &leaf, NULL) < 0)
        _exit(1);
    o.cert_pem = lh_str(leaf.cert_pem);
    o.key_pem = leaf.key_pem;
    if (lh_server_listen(s, &o, &l, NULL) < 0)
        _exit(1);
    hello.port = lh_listener_port(l);
    snprintf(hello.ca_pem, sizeof(hello.ca_pem), "%s", ca.cert_pem);
    if (write(to_parent, &hello, sizeof(hello)) != sizeof(hello))
        _exit(1);
    lh_loop_run(own, NULL);
    _exit(0);
}

static int from_child;

static int setup(void **state)
{
    struct lh_http_options o = {.allow_loopback = true};
    struct hello hello;

    (void)state;
    if (read(from_child, &hello, sizeof(hello)) != sizeof(hello) || lh_http_global_init(NULL) < 0 ||
        lh_loop_new(&loop, NULL) < 0)
        return -1;
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/secret", hello.port);
    o.ca_pem = lh_str(hello.ca_pem);
    return lh_http_new(loop, &o, &http, NULL);
}

static int teardown(void **state)
{
    (void)state;
    lh_http_free(http);
    lh_loop_free(loop);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}

static bool done, right;

static void on_done(void *arg, const struct lh_http_answer *ans, const struct lh_err *err)
{
    const unsigned char *p;

    (void)arg;
    (void)err;
    done = true;
    if (!ans || lh_secret_len(ans->body) != 3000)
        return;
    p = (const unsigned char *)lh_secret_expose_const(ans->body) + 1000;
    right = true;
    for (int i = 0; i < CANARY; i++)
        right = right && (p[i] ^ LH_TEST_MASK) == body_canary[i];
}

static int secret_of(const unsigned char *masked, struct lh_secret **out)
{
    if (lh_secret_new(CANARY, out, NULL) < 0)
        return -1;
    lh_test_canary_reveal(masked, CANARY, lh_secret_expose(*out));
    return 0;
}

static void request(void)
{
    lh_auto_secret struct lh_secret *token = NULL, *body = NULL;
    struct lh_http_header header = {.name = "X-Vault-Token"};
    struct lh_http_request req = {.method = "POST", .url = url, .headers = &header, .n_headers = 1};

    assert_int_equal(secret_of(token_canary, &token), 0);
    assert_int_equal(secret_of(sent_canary, &body), 0);
    header.secret = token;
    req.body_secret = body;
    done = right = false;
    assert_int_equal(lh_http_start(http, &req, on_done, NULL, NULL, NULL), 0);
    assert_true(lh_test_run_until_set(loop, &done));
    assert_true(right);
}

static void nothing_is_left_while_the_connection_is_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        request();
    assert_int_equal(lh_test_residue(body_canary, CANARY), 0);
    assert_int_equal(lh_test_residue(token_canary, CANARY), 0);
    assert_int_equal(lh_test_residue(sent_canary, CANARY), 0);
}

/* That the search finds what is there. */
static void the_search_finds_a_copy(void **state)
{
    char *copy = lh_malloc(CANARY);

    (void)state;
    lh_test_canary_reveal(body_canary, CANARY, copy);
    assert_int_equal(lh_test_residue(body_canary, CANARY), 1);
    lh_free(copy);
    assert_int_equal(lh_test_residue(body_canary, CANARY), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_while_the_connection_is_kept),
        cmocka_unit_test(the_search_finds_a_copy),
    };
    int fds[2];

    lh_mem_init();
    lh_test_canary(body_canary, CANARY);
    lh_test_canary(token_canary, CANARY);
    lh_test_canary(sent_canary, CANARY);
    if (pipe(fds) < 0)
        return 1;
    server = fork();
    if (server == 0)
        serve(fds[1]);
    close(fds[1]);
    from_child = fds[0];
    return cmocka_run_group_tests(tests, setup, teardown);
}
