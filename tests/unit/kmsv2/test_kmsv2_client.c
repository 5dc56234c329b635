/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a server of three methods: answers, refusals, cancelled and late calls. */
#include "rows.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/core/mem.h"
#include "leasehold/grpc/server.h"
#include "leasehold/kmsv2/client.h"
#include "support.h"

static struct {
    struct lh_test_scratch scratch;
    char path[300];
    struct lh_loop *loop;
    struct lh_grpc_server *server;
    struct lh_kmsv2_client *client;
    struct lh_str status_bytes; /* what Status answers */
    struct lh_grpc_call *kept;
    bool keep;
} t;

struct outcome {
    bool done;
    enum lh_grpc_status status;
    int code;
    char text[512], key_id[64];
    size_t n;
};

static void serve_status(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    (void)request;
    if (t.keep)
        t.kept = call;
    else
        lh_grpc_reply(call, t.status_bytes);
}

/* The ciphertext is the plaintext: only the way there is tested. */
static void serve_encrypt(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    struct lh_kmsv2_encrypt_request r = {0};
    struct lh_kmsv2_sealed out = {.key_id = LH_STR("kid")};
    struct lh_buf b;

    (void)arg;
    lh_buf_init(&b, 4096);
    if (lh_kmsv2_read_encrypt_request(request, &r, NULL) == 0) {
        out.ciphertext =
            (struct lh_str){lh_secret_expose_const(r.plaintext), lh_secret_len(r.plaintext)};
        lh_kmsv2_put_encrypt_response(&b, &out, NULL);
        lh_grpc_reply(call, lh_buf_peek(&b));
    } else {
        lh_grpc_fail(call, LH_GRPC_INVALID_ARGUMENT, "");
    }
    lh_buf_done(&b);
    lh_kmsv2_encrypt_request_done(&r);
}

static void serve_decrypt(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    char text[400];

    (void)arg;
    (void)request;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    text[0] = '\n';
    lh_grpc_fail(call, LH_GRPC_PERMISSION_DENIED, text);
}

static const struct lh_grpc_method methods[] = {{LH_KMSV2_STATUS, serve_status},
                                                {LH_KMSV2_ENCRYPT, serve_encrypt},
                                                {LH_KMSV2_DECRYPT, serve_decrypt},
                                                {NULL, NULL}};

static int listen_at(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 16) == 0)
        return fd;
    return -1;
}

static int setup(void **state)
{
    uid_t self = geteuid();
    struct lh_grpc_server_options o = {.methods = methods, .peers = &self, .n_peers = 1};
    int fd;

    (void)state;
    memset(&t, 0, sizeof(t));
    if (lh_test_scratch_new(&t.scratch) < 0 || lh_loop_new(&t.loop, NULL) < 0)
        return -1;
    snprintf(t.path, sizeof(t.path), "%s/kms.sock", t.scratch.path);
    o.loop = t.loop;
    fd = listen_at(t.path);
    t.status_bytes = LH_STR("\x0a\x02v2\x12\x02ok\x1a\x03kid");
    return fd < 0 || lh_grpc_server_new(&o, &t.server, NULL) < 0 ||
           lh_grpc_server_listen(t.server, fd, NULL) < 0 ||
           lh_kmsv2_client_new(t.loop, t.path, 2000, &t.client, NULL) < 0;
}

static int teardown(void **state)
{
    (void)state;
    lh_kmsv2_client_free(t.client);
    lh_grpc_server_free(t.server);
    if (t.kept)
        lh_grpc_fail(t.kept, LH_GRPC_CANCELLED, "");
    lh_loop_free(t.loop);
    lh_test_scratch_done(&t.scratch);
    return 0;
}

static void note(struct outcome *o, enum lh_grpc_status status, const struct lh_err *err)
{
    o->done = true;
    o->status = status;
    o->code = err ? err->code : 0;
    if (err)
        snprintf(o->text, sizeof(o->text), "%s", err->msg);
}

static void on_status(void *arg, enum lh_grpc_status status, const struct lh_kmsv2_status *m,
                      const struct lh_err *err)
{
    struct outcome *o = arg;

    note(o, status, err);
    if (m)
        snprintf(o->key_id, sizeof(o->key_id), "%.*s", (int)m->key_id.n, m->key_id.p);
}

static void on_encrypt(void *arg, enum lh_grpc_status status, const struct lh_kmsv2_sealed *m,
                       const struct lh_err *err)
{
    struct outcome *o = arg;

    note(o, status, err);
    o->n = m ? m->ciphertext.n : 0;
}

static void on_decrypt(void *arg, enum lh_grpc_status status, const struct lh_secret *m,
                       const struct lh_err *err)
{
    struct outcome *o = arg;

    note(o, status, err);
    o->n = m ? lh_secret_len(m) : 0;
}

static void status_is_answered(void **state)
{
    struct outcome o = {0};

    (void)state;
    assert_int_equal(lh_kmsv2_start_status(t.client, on_status, &o, NULL, NULL), 0);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_int_equal(o.code, 0);
    assert_string_equal(o.key_id, "kid");
}

static void encrypt_carries_the_plaintext(void **state)
{
    struct lh_kmsv2_encrypt_request r = {.uid = LH_STR("u")};
    struct outcome o = {0};

    (void)state;
    assert_int_equal(lh_secret_new(32, &r.plaintext, NULL), 0);
    assert_int_equal(lh_kmsv2_start_encrypt(t.client, &r, on_encrypt, &o, NULL, NULL), 0);
    lh_secret_free(r.plaintext);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_int_equal(o.code, 0);
    assert_int_equal(o.n, 32);
}

static void a_refusal_is_short_and_printable(void **state)
{
    struct lh_kmsv2_decrypt_request r = {.uid = LH_STR("u")};
    struct outcome o = {0};

    (void)state;
    assert_int_equal(lh_kmsv2_start_decrypt(t.client, &r, on_decrypt, &o, NULL, NULL), 0);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_int_equal(o.status, LH_GRPC_PERMISSION_DENIED);
    assert_int_equal(o.code, LH_E_DENIED);
    assert_non_null(strstr(o.text, "PERMISSION_DENIED: ?xx"));
    assert_true(strlen(o.text) == strlen("PERMISSION_DENIED: ") + 120);
}

static void an_answer_that_is_none_is_told(void **state)
{
    struct outcome o = {0};

    (void)state;
    t.status_bytes = LH_STR("\x0a\x7f");
    assert_int_equal(lh_kmsv2_start_status(t.client, on_status, &o, NULL, NULL), 0);
    assert_true(lh_test_run_until_set(t.loop, &o.done));
    assert_int_equal(o.status, LH_GRPC_OK);
    assert_int_equal(o.code, LH_E_INVALID);
}

static void a_cancelled_call_stays_silent(void **state)
{
    struct lh_kmsv2_call *call = NULL;
    struct outcome first = {0}, second = {0};

    (void)state;
    t.keep = true;
    assert_int_equal(lh_kmsv2_start_status(t.client, on_status, &first, &call, NULL), 0);
    lh_kmsv2_cancel(call);
    t.keep = false;
    assert_int_equal(lh_kmsv2_start_status(t.client, on_status, &second, NULL, NULL), 0);
    assert_true(lh_test_run_until_set(t.loop, &second.done));
    assert_false(first.done);
}

static void no_answer_ends_with_the_deadline(void **state)
{
    struct lh_kmsv2_client *hasty = NULL;
    struct outcome o = {0};
    bool ended;

    (void)state;
    t.keep = true;
    assert_int_equal(lh_kmsv2_client_new(t.loop, t.path, 100, &hasty, NULL), 0);
    assert_int_equal(lh_kmsv2_start_status(hasty, on_status, &o, NULL, NULL), 0);
    ended = lh_test_run_until_set(t.loop, &o.done);
    lh_kmsv2_client_free(hasty);
    assert_true(ended);
    assert_int_equal(o.status, LH_GRPC_DEADLINE_EXCEEDED);
}

static void freeing_the_client_ends_its_calls(void **state)
{
    struct outcome o = {0};

    (void)state;
    t.keep = true;
    assert_int_equal(lh_kmsv2_start_status(t.client, on_status, &o, NULL, NULL), 0);
    assert_int_equal(lh_kmsv2_start_status(t.client, on_status, &o, NULL, NULL), 0);
    lh_kmsv2_client_free(t.client);
    t.client = NULL;
    assert_false(o.done);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(status_is_answered),
        T(encrypt_carries_the_plaintext),
        T(a_refusal_is_short_and_printable),
        T(an_answer_that_is_none_is_told),
        T(a_cancelled_call_stays_silent),
        T(no_answer_ends_with_the_deadline),
        T(freeing_the_client_ends_its_calls),
    };

    lh_mem_init();
    return cmocka_run_group_tests_name("kmsv2_client", tests, NULL, NULL);
}
