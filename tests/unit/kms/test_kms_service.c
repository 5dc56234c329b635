/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leasehold/core/log.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/kmsv2/client.h"
#include "listen.h"
#include "metrics.h"
#include "service.h"
#include "support.h"

/* A backend whose answers wait until the test lets them go, so that everything can happen between a
 * call and its answer. "Encrypts" by writing version and aad before the plaintext. */
enum { SEC = 1000, MIN = 60 * SEC, HELD_MAX = 1024 };

struct held {
    kms_encrypted_fn encrypted;
    kms_decrypted_fn decrypted;
    void *arg;
    int64_t version;
    unsigned timeout_ms;
    char bytes[256];
    size_t n;
};

static struct {
    struct kms_backend base; /* first */
    struct kms_version versions[64];
    size_t n;
    int64_t min_encryption;
    int code; /* looks and calls fail with it */
    bool hold, looks_wait;
    kms_facts_fn waiting_look;
    void *waiting_arg;
    struct held held[HELD_MAX];
    size_t n_held;
    unsigned looks, encrypts, decrypts;
} b;

static struct lh_err failure(void)
{
    struct lh_err err = {0};

    lh_err_set(&err, b.code, "the backend says no");
    return err;
}

static void tell_facts(kms_facts_fn fn, void *arg)
{
    const struct kms_facts f = {
        .versions = b.versions, .n = b.n, .latest = b.n - 1, .min_encryption = b.min_encryption};
    struct lh_err err = failure();

    fn(arg, b.code ? NULL : &f, b.code ? &err : NULL);
}

static void fake_look(struct kms_backend *base, unsigned timeout_ms, kms_facts_fn fn, void *arg)
{
    (void)base;
    (void)timeout_ms;
    b.looks++;
    if (b.looks_wait) {
        b.waiting_look = fn;
        b.waiting_arg = arg;
        return;
    }
    tell_facts(fn, arg);
}

static void answer(const struct held *h)
{
    lh_auto_secret struct lh_secret *plain = NULL;
    struct lh_err err = failure();
    char text[512];
    int n;

    if (b.code) {
        if (h->encrypted)
            h->encrypted(h->arg, (struct lh_str){NULL, 0}, &err);
        else
            h->decrypted(h->arg, NULL, &err);
        return;
    }
    if (h->encrypted) {
        n = snprintf(text, sizeof(text), "fake:v%lld:", (long long)h->version);
        memcpy(text + n, h->bytes, h->n);
        h->encrypted(h->arg, (struct lh_str){text, (size_t)n + h->n}, NULL);
        return;
    }
    n = snprintf(text, sizeof(text), "fake:v%lld:", (long long)h->version);
    if (h->n < (size_t)n || memcmp(h->bytes, text, (size_t)n) != 0 ||
        lh_secret_copy(h->bytes + n, h->n - (size_t)n, &plain, NULL) < 0) {
        lh_err_set(&err, LH_E_INVALID, "not of this version");
        h->decrypted(h->arg, NULL, &err);
        return;
    }
    h->decrypted(h->arg, plain, NULL);
}

static void hold(const struct held *h)
{
    if (!b.hold || b.n_held == HELD_MAX)
        answer(h);
    else
        b.held[b.n_held++] = *h;
}

static void release(void)
{
    size_t n = b.n_held;

    b.n_held = 0;
    for (size_t i = 0; i < n; i++) {
        struct held h = b.held[i];

        answer(&h);
    }
}

static struct held held_of(const struct kms_version *v, struct lh_str bytes, unsigned timeout_ms,
                           void *arg)
{
    struct held h = {.arg = arg, .version = v->version, .timeout_ms = timeout_ms, .n = bytes.n};

    if (h.n > sizeof(h.bytes))
        h.n = sizeof(h.bytes);
    if (h.n)
        memcpy(h.bytes, bytes.p, h.n);
    return h;
}

static void fake_encrypt(struct kms_backend *base, const struct kms_version *v, struct lh_str plain,
                         struct lh_str aad, unsigned timeout_ms, kms_encrypted_fn fn, void *arg)
{
    struct held h = held_of(v, plain, timeout_ms, arg);

    (void)base;
    (void)aad;
    h.encrypted = fn;
    b.encrypts++;
    hold(&h);
}

static void fake_decrypt(struct kms_backend *base, const struct kms_version *v,
                         struct lh_str ciphertext, struct lh_str aad, unsigned timeout_ms,
                         kms_decrypted_fn fn, void *arg)
{
    struct held h = held_of(v, ciphertext, timeout_ms, arg);

    (void)base;
    (void)aad;
    h.decrypted = fn;
    b.decrypts++;
    hold(&h);
}

static void fake_end(struct kms_backend *base, unsigned ms, void (*done)(void *arg), void *arg)
{
    (void)base;
    (void)ms;
    done(arg);
}

static void fake_free(struct kms_backend *base)
{
    (void)base;
}

static const struct kms_backend_ops fake_ops = {.look = fake_look,
                                                .encrypt = fake_encrypt,
                                                .decrypt = fake_decrypt,
                                                .end = fake_end,
                                                .free = fake_free};

static const struct kms_scope scope = {
    .cluster = "c1", .backend = "fake", .namespace_ = "", .mount = "m", .key = "k"};

static struct lh_test_scratch scratch;
static struct lh_loop *loop;
static struct kms_service *service;
static struct lh_grpc_server *server;
static struct lh_kmsv2_client *client;

static void add_version(void)
{
    b.versions[b.n] =
        (struct kms_version){.version = (int64_t)b.n + 1, .created_s = 1000 + (int64_t)b.n};
    b.n++;
}

static int open_service(void)
{
    const struct kms_service_options so = {.loop = loop,
                                           .backend = &b.base,
                                           .scope = scope,
                                           .settle = {.observations = 3, .delay_ms = 2 * MIN},
                                           .cache_entries = 100,
                                           .cache_age_ms = 60 * MIN,
                                           .probe_ms = MIN};
    const uid_t me = geteuid();
    const struct lh_grpc_server_options go = {
        .loop = loop, .methods = kms_methods, .peers = &me, .n_peers = 1, .max_streams = 1000};
    struct lh_grpc_server_options mine = go;
    struct kms_listener l;
    char path[300];

    snprintf(path, sizeof(path), "%.80s/s", scratch.path);
    if (kms_service_new(&so, &service, NULL) < 0)
        return -1;
    mine.arg = service;
    if (lh_grpc_server_new(&mine, &server, NULL) < 0 ||
        kms_listen(path, SOCK_STREAM, geteuid(), &l, NULL) < 0 ||
        lh_grpc_server_listen(server, l.fd, NULL) < 0)
        return -1;
    return lh_kmsv2_client_new(loop, path, 3000, &client, NULL);
}

static int setup(void **state)
{
    (void)state;
    memset(&b, 0, sizeof(b));
    b.base.ops = &fake_ops;
    add_version();
    lh_clock_fake(1000000, 1795538083000);
    if (lh_test_scratch_new(&scratch) < 0 || lh_loop_new(&loop, NULL) < 0)
        return -1;
    return open_service();
}

static int teardown(void **state)
{
    (void)state;
    lh_kmsv2_client_free(client);
    kms_service_end(service);
    lh_grpc_server_free(server);
    kms_service_free(service);
    lh_loop_free(loop);
    lh_test_scratch_done(&scratch);
    lh_metrics_reset();
    lh_clock_real();
    return 0;
}

/* What a call came to. */
struct result {
    bool done;
    enum lh_grpc_status status;
    char key_id[128], healthz[300], text[512], bytes[256];
    size_t n;
    char format[64];
};

static void note_err(struct result *r, enum lh_grpc_status status, const struct lh_err *err)
{
    r->done = true;
    r->status = status;
    if (err)
        snprintf(r->text, sizeof(r->text), "%s", err->msg);
}

static void on_status(void *arg, enum lh_grpc_status status, const struct lh_kmsv2_status *m,
                      const struct lh_err *err)
{
    struct result *r = arg;

    note_err(r, status, err);
    if (m) {
        snprintf(r->healthz, sizeof(r->healthz), "%.*s", (int)m->healthz.n, m->healthz.p);
        snprintf(r->key_id, sizeof(r->key_id), "%.*s", (int)m->key_id.n, m->key_id.p);
    }
}

static void on_encrypt(void *arg, enum lh_grpc_status status, const struct lh_kmsv2_sealed *m,
                       const struct lh_err *err)
{
    struct result *r = arg;

    note_err(r, status, err);
    if (!m)
        return;
    snprintf(r->key_id, sizeof(r->key_id), "%.*s", (int)m->key_id.n, m->key_id.p);
    r->n = m->ciphertext.n < sizeof(r->bytes) ? m->ciphertext.n : sizeof(r->bytes);
    memcpy(r->bytes, m->ciphertext.p, r->n);
}

static void on_decrypt(void *arg, enum lh_grpc_status status, const struct lh_secret *plain,
                       const struct lh_err *err)
{
    struct result *r = arg;

    note_err(r, status, err);
    if (!plain)
        return;
    r->n = lh_secret_len(plain);
    memcpy(r->bytes, lh_secret_expose_const(plain), r->n < 256 ? r->n : 256);
}

static bool is_done(void *arg)
{
    return ((struct result *)arg)->done;
}

static void start_status(struct result *r)
{
    *r = (struct result){0};
    assert_int_equal(lh_kmsv2_start_status(client, on_status, r, NULL, NULL), 0);
}

static void status(struct result *r)
{
    start_status(r);
    assert_true(lh_test_run_until(loop, is_done, r));
}

static void start_encrypt(struct result *r, const char *plain)
{
    struct lh_secret *s = NULL;
    struct lh_kmsv2_encrypt_request m = {.uid = LH_STR("u")};

    *r = (struct result){0};
    assert_int_equal(lh_secret_copy(plain, strlen(plain), &s, NULL), 0);
    m.plaintext = s;
    assert_int_equal(lh_kmsv2_start_encrypt(client, &m, on_encrypt, r, NULL, NULL), 0);
    lh_secret_free(s);
}

static void encrypt(struct result *r, const char *plain)
{
    start_encrypt(r, plain);
    assert_true(lh_test_run_until(loop, is_done, r));
}

static const struct lh_kmsv2_annotation ours = {LH_STR("format.kms.leasehold.dev"), LH_STR("1")};

static void start_decrypt(struct result *r, const char *key_id, const char *bytes, size_t n,
                          const struct lh_kmsv2_annotation *a, size_t n_annotations)
{
    const struct lh_kmsv2_decrypt_request m = {.uid = LH_STR("u"),
                                               .sealed = {.ciphertext = {bytes, n},
                                                          .key_id = lh_str(key_id),
                                                          .annotations = a,
                                                          .n_annotations = n_annotations}};

    *r = (struct result){0};
    assert_int_equal(lh_kmsv2_start_decrypt(client, &m, on_decrypt, r, NULL, NULL), 0);
}

static void decrypt(struct result *r, const struct result *of)
{
    start_decrypt(r, of->key_id, of->bytes, of->n, &ours, 1);
    assert_true(lh_test_run_until(loop, is_done, r));
}

/* Bytes take turns of the loop to arrive, and no virtual time. */
static void let_arrive(void)
{
    for (int i = 0; i < 30; i++)
        lh_loop_turn(loop, 1);
}

static void start(void)
{
    kms_service_start(service, NULL, NULL);
    lh_test_step(loop, SEC, SEC);
}

static void id_of(int64_t version, char out[KMS_KEY_ID_SIZE])
{
    assert_int_equal(kms_key_id(&scope, 0, &b.versions[version - 1], out, NULL), 0);
}

static void calls_wait_for_the_key_and_are_answered_in_time(void **state)
{
    struct result s, e, early;

    (void)state;
    b.looks_wait = true;
    start();
    start_status(&early);
    let_arrive();
    lh_test_step(loop, 2 * SEC, 100);
    assert_false(early.done);
    lh_test_step(loop, SEC - 50, 50);
    assert_true(lh_test_run_until(loop, is_done, &early));
    assert_int_equal(early.status, LH_GRPC_UNAVAILABLE); /* ours, not the client's own */
    start_status(&s);
    start_encrypt(&e, "seed");
    let_arrive();
    lh_test_step(loop, SEC, 100);
    assert_false(s.done || e.done);
    tell_facts(b.waiting_look, b.waiting_arg);
    assert_true(lh_test_run_until(loop, is_done, &s) && lh_test_run_until(loop, is_done, &e));
    assert_string_equal(s.healthz, "ok");
    assert_string_equal(s.key_id, e.key_id);
}

static void status_asks_nobody(void **state)
{
    struct result s;
    unsigned looks, encrypts;

    (void)state;
    start();
    looks = b.looks;
    encrypts = b.encrypts;
    for (int i = 0; i < 1000; i++)
        status(&s);
    assert_string_equal(s.healthz, "ok");
    assert_int_equal(b.looks, looks);
    assert_int_equal(b.encrypts, encrypts);
}

static void idle_is_two_calls_a_minute_at_most(void **state)
{
    unsigned before;

    (void)state;
    start();
    before = b.looks + b.encrypts + b.decrypts;
    lh_test_step(loop, 60 * MIN, SEC);
    assert_in_range(b.looks + b.encrypts + b.decrypts - before, 60, 120);
}

/* Every Encrypt is answered under the version whose id it names, whatever rotates meanwhile, and
 * under one that Status had advertised when it was asked. */
static void encrypts_race_rotations_without_a_mismatch(void **state)
{
    enum { ROUNDS = 1000, BATCH = 100 };
    static struct result r[BATCH];
    unsigned long answers = 0;
    char text[32], id[KMS_KEY_ID_SIZE];
    struct result advertised;

    (void)state;
    lh_rand_seed(3);
    start();
    b.hold = true;
    for (int round = 0; round < ROUNDS; round++) {
        b.hold = false;
        status(&advertised);
        b.hold = true;
        for (int i = 0; i < BATCH; i++)
            start_encrypt(&r[i], "0123456789abcdef0123456789abcdef");
        while (b.n_held < BATCH)
            lh_loop_turn(loop, 1);
        if (lh_rand_between(0, 19) == 0 && b.n < LH_ARRAY_LEN(b.versions))
            add_version();
        /* Looks, and with them promotions, fall between an Encrypt and its answer. */
        lh_test_step(loop, 2 * SEC, SEC);
        release();
        for (int i = 0; i < BATCH; i++) {
            long long version = 0;

            assert_true(lh_test_run_until(loop, is_done, &r[i]));
            assert_int_equal(r[i].status, LH_GRPC_OK);
            assert_string_equal(r[i].key_id, advertised.key_id);
            snprintf(text, sizeof(text), "%.20s", r[i].bytes);
            assert_int_equal(sscanf(text, "fake:v%lld:", &version), 1);
            id_of(version, id);
            assert_string_equal(r[i].key_id, id);
            answers++;
        }
        b.hold = false;
        lh_test_step(loop, MIN / 2, SEC);
    }
    assert_int_equal(answers, (unsigned long)ROUNDS * BATCH);
    assert_true(b.n > 20);
    id_of(20, id);
    assert_string_not_equal(advertised.key_id, id); /* it did rotate */
}

static void equal_decrypts_are_one(void **state)
{
    enum { MANY = 500 };
    static struct result r[MANY];
    struct result e;
    unsigned before;

    (void)state;
    start();
    id_of(1, e.key_id);
    e.n = (size_t)snprintf(e.bytes, sizeof(e.bytes), "fake:v1:another plugin's seed");
    b.hold = true;
    before = b.decrypts;
    for (int i = 0; i < MANY; i++)
        start_decrypt(&r[i], e.key_id, e.bytes, e.n, &ours, 1);
    for (int i = 0; i < 50; i++)
        lh_loop_turn(loop, 1);
    assert_int_equal(b.decrypts - before, 1);
    release();
    for (int i = 0; i < MANY; i++) {
        assert_true(lh_test_run_until(loop, is_done, &r[i]));
        assert_int_equal(r[i].status, LH_GRPC_OK);
        assert_memory_equal(r[i].bytes, "another plugin's seed", 21);
    }
    decrypt(&r[0], &e); /* and now from memory */
    assert_int_equal(r[0].status, LH_GRPC_OK);
    assert_int_equal(b.decrypts - before, 1);
}

static void reads_survive_an_outage_for_as_long_as_the_cache_says(void **state)
{
    struct result e, d, s;

    (void)state;
    start();
    encrypt(&e, "seed");
    b.code = LH_E_UNAVAILABLE;
    lh_test_step(loop, 2 * MIN, SEC);
    status(&s);
    assert_string_equal(s.healthz, "ok");
    lh_test_step(loop, 10 * MIN, SEC);
    status(&s);
    assert_int_equal(s.status, LH_GRPC_OK); /* writes go on under the seed that is there */
    assert_string_equal(s.key_id, e.key_id);
    assert_non_null(strstr(s.healthz, "the backend says no"));
    decrypt(&d, &e);
    assert_int_equal(d.status, LH_GRPC_OK);
    assert_memory_equal(d.bytes, "seed", 4);
    encrypt(&d, "other");
    assert_int_equal(d.status, LH_GRPC_UNAVAILABLE);
    assert_non_null(strstr(d.text, "the backend says no"));
    lh_test_step(loop, 50 * MIN, MIN);
    decrypt(&d, &e);
    assert_int_equal(d.status, LH_GRPC_UNAVAILABLE);
    b.code = 0;
    lh_test_step(loop, 11 * SEC, SEC);
    status(&s);
    assert_string_equal(s.healthz, "ok");
}

static void a_key_that_is_gone_stops_writes(void **state)
{
    struct result s, d, e;

    (void)state;
    start();
    encrypt(&e, "seed");
    b.code = LH_E_NOTFOUND;
    lh_test_step(loop, 2 * MIN, SEC);
    status(&s);
    assert_int_equal(s.status, LH_GRPC_FAILED_PRECONDITION);
    decrypt(&d, &e);
    assert_int_equal(d.status, LH_GRPC_OK);
    b.code = 0;
    b.versions[0].created_s++; /* made again under the same name */
    lh_test_step(loop, 11 * SEC, SEC);
    encrypt(&d, "more");
    assert_int_equal(d.status, LH_GRPC_FAILED_PRECONDITION);
}

static void what_is_not_ours_never_reaches_the_backend(void **state)
{
    static const struct lh_kmsv2_annotation foreign[] = {
        {LH_STR("format.kms.leasehold.dev"), LH_STR("2")},
        {LH_STR("version.other.example"), LH_STR("1")},
        {LH_STR("format.kms.leasehold.dev"), LH_STR("1")}};
    struct result e, d;
    unsigned before;

    (void)state;
    start();
    encrypt(&e, "seed");
    before = b.decrypts;
    start_decrypt(&d, "1", e.bytes, e.n, &ours, 1);
    assert_true(lh_test_run_until(loop, is_done, &d));
    assert_int_equal(d.status, LH_GRPC_FAILED_PRECONDITION);
    for (size_t i = 0; i < 2; i++) {
        start_decrypt(&d, e.key_id, e.bytes, e.n, &foreign[i], 1);
        assert_true(lh_test_run_until(loop, is_done, &d));
        assert_int_equal(d.status, LH_GRPC_INVALID_ARGUMENT);
    }
    start_decrypt(&d, e.key_id, e.bytes, e.n, foreign + 1, 2);
    assert_true(lh_test_run_until(loop, is_done, &d));
    assert_int_equal(d.status, LH_GRPC_INVALID_ARGUMENT);
    start_decrypt(&d, e.key_id, e.bytes, e.n, NULL, 0);
    assert_true(lh_test_run_until(loop, is_done, &d));
    assert_int_equal(d.status, LH_GRPC_INVALID_ARGUMENT);
    start_decrypt(&d, e.key_id, "", 0, &ours, 1);
    assert_true(lh_test_run_until(loop, is_done, &d));
    assert_int_equal(d.status, LH_GRPC_INVALID_ARGUMENT);
    assert_int_equal(b.decrypts, before);
}

static void a_backend_that_does_not_answer_is_said_before_the_client_gives_up(void **state)
{
    struct result e;

    (void)state;
    start();
    b.hold = true;
    start_encrypt(&e, "seed");
    while (b.n_held == 0)
        lh_loop_turn(loop, 1);
    assert_true(b.held[0].timeout_ms < 3000);
    lh_test_step(loop, 3 * SEC - 50, 50);
    assert_true(lh_test_run_until(loop, is_done, &e));
    assert_int_equal(e.status, LH_GRPC_UNAVAILABLE);
    assert_non_null(strstr(e.text, "in time"));
    release(); /* nobody waits any more */
}

static void wait_held(size_t n)
{
    while (b.n_held < n)
        lh_loop_turn(loop, 1);
}

/* It was sent with the first one's time; who joined two seconds later gets all of his own. */
static void who_joins_a_decrypt_keeps_his_own_time(void **state)
{
    struct result first, second, e = {0};

    (void)state;
    start();
    id_of(1, e.key_id);
    e.n = (size_t)snprintf(e.bytes, sizeof(e.bytes), "fake:v1:another plugin's seed");
    b.hold = true;
    start_decrypt(&first, e.key_id, e.bytes, e.n, &ours, 1);
    wait_held(1);
    lh_test_step(loop, 2 * SEC, 100);
    start_decrypt(&second, e.key_id, e.bytes, e.n, &ours, 1);
    let_arrive();
    assert_int_equal(b.n_held, 1);
    lh_test_step(loop, b.held[0].timeout_ms - 2 * SEC, 10);
    b.code = LH_E_UNAVAILABLE; /* the backend's own time-out */
    release();
    assert_true(lh_test_run_until(loop, is_done, &first));
    assert_int_equal(first.status, LH_GRPC_UNAVAILABLE);
    assert_non_null(strstr(first.text, "the backend says no"));
    let_arrive();
    assert_false(second.done);
    assert_int_equal(b.n_held, 1);
    assert_in_range(b.held[0].timeout_ms, 1500, 2200);
    b.code = 0;
    release();
    assert_true(lh_test_run_until(loop, is_done, &second));
    assert_int_equal(second.status, LH_GRPC_OK);
    assert_memory_equal(second.bytes, "another plugin's seed", 21);
}

/* Before the time is up it is an answer, and one for all. */
static void a_decrypt_that_fails_at_once_fails_for_all(void **state)
{
    struct result first, second;
    char id[KMS_KEY_ID_SIZE];

    (void)state;
    start();
    id_of(1, id);
    b.hold = true;
    start_decrypt(&first, id, "fake:v1:x", 9, &ours, 1);
    wait_held(1);
    lh_test_step(loop, 2 * SEC, 100);
    start_decrypt(&second, id, "fake:v1:x", 9, &ours, 1);
    let_arrive();
    b.code = LH_E_UNAVAILABLE;
    release();
    assert_true(lh_test_run_until(loop, is_done, &first));
    assert_true(lh_test_run_until(loop, is_done, &second));
    assert_int_equal(first.status, LH_GRPC_UNAVAILABLE);
    assert_int_equal(second.status, LH_GRPC_UNAVAILABLE);
    assert_int_equal(b.n_held, 0);
}

static void clients_that_go_away_leave_nothing_behind(void **state)
{
    struct result e;

    (void)state;
    start();
    b.hold = true;
    start_encrypt(&e, "seed");
    while (b.n_held == 0)
        lh_loop_turn(loop, 1);
    lh_kmsv2_client_free(client);
    client = NULL;
    for (int i = 0; i < 20; i++)
        lh_loop_turn(loop, 1);
    release();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(calls_wait_for_the_key_and_are_answered_in_time),
        T(status_asks_nobody),
        T(idle_is_two_calls_a_minute_at_most),
        T(encrypts_race_rotations_without_a_mismatch),
        T(equal_decrypts_are_one),
        T(reads_survive_an_outage_for_as_long_as_the_cache_says),
        T(a_key_that_is_gone_stops_writes),
        T(what_is_not_ours_never_reaches_the_backend),
        T(a_backend_that_does_not_answer_is_said_before_the_client_gives_up),
        T(who_joins_a_decrypt_keeps_his_own_time),
        T(a_decrypt_that_fails_at_once_fails_for_all),
        T(clients_that_go_away_leave_nothing_behind),
    };

    lh_log_init("test", LH_LOG_OFF, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
