/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A KMS v2 plugin that is wrong on command, since no real one shows the faults that the conformance
 * kit must name: tests/component/test_kms_conformance.py. Its cipher is a toy of HMAC, never a
 * model. kms_fake SOCKET STATE [FAULT[=NUMBER]]...   STATE: a file that keeps the key's version.
 * SIGHUP makes a new version, SIGUSR1 takes the backend away or brings it back, SIGTERM drains.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "leasehold/core/loop.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/rand.h"
#include "leasehold/crypto/hash.h"
#include "leasehold/grpc/server.h"
#include "leasehold/kmsv2/messages.h"

enum { DRAIN_MS = 5000, NONCE = 12, TAG = 16, HEAD = 1 + NONCE + TAG, BACKLOG = 128 };
#define ANNOTATION "version.kms-fake.example"

/* Names of faults in the order of enum fault. */
enum fault {
    KEY_ID_FLIPS,     /* another key_id with every Status */
    KEY_ID_MISMATCH,  /* Encrypt names another key_id than Status */
    KEY_ID_LONG,      /* of NUMBER bytes */
    VERSION,          /* Status says v1 */
    UNHEALTHY,        /* healthz is a sentence */
    STATUS_FAILS,     /* Status is an error */
    ENCRYPT_FAILS,    /* Encrypt is an error */
    CIPHERTEXT_EMPTY, /* nothing in it */
    CIPHERTEXT_BYTES, /* filled up to NUMBER bytes */
    ANNOTATION_NAME,  /* not a domain name */
    ANNOTATION_BYTES, /* a value of NUMBER bytes */
    WRONG_PLAINTEXT,  /* Decrypt's first bit is the other one */
    LONG_IS_CUT,      /* plaintexts over 32 bytes lose their end */
    EMPTY_IS_WRONG,   /* an empty plaintext comes back as a byte */
    ANY_KEY_ID,       /* Decrypt does not look at key_id */
    ANY_CIPHERTEXT,   /* nor whether the ciphertext is whole */
    ANY_ANNOTATIONS,  /* nor at annotations */
    MORE_ANNOTATIONS, /* takes its own, and any beside them */
    SLOW,             /* every answer NUMBER ms late */
    FAIL_PARALLEL,    /* more than NUMBER calls at a time are refused */
    FORGETS,          /* old versions cannot be decrypted */
    REUSES,           /* the key_id is the same after a rotation */
    MODE,             /* NUMBER (octal) of the socket */
    DIES_OF_GARBAGE,  /* exits when a request cannot be read */
    GARBAGE_IS_FINE,  /* a request that cannot be read is answered OK, however large */
    OTHER_KEY,        /* its key_ids are those of others, its keys are not */
    OUTAGE_INVALID,   /* while the backend is away, requests are said to be wrong */
    OUTAGE_HANGS,     /* nothing is answered then */
    FAULTS
};
static const char *const names[FAULTS] = {"key-id-flips",
                                          "key-id-mismatch",
                                          "key-id-long",
                                          "version",
                                          "unhealthy",
                                          "status-fails",
                                          "encrypt-fails",
                                          "ciphertext-empty",
                                          "ciphertext-bytes",
                                          "annotation-name",
                                          "annotation-bytes",
                                          "wrong-plaintext",
                                          "long-is-cut",
                                          "empty-is-wrong",
                                          "any-key-id",
                                          "any-ciphertext",
                                          "any-annotations",
                                          "more-annotations",
                                          "slow",
                                          "fail-parallel",
                                          "forgets",
                                          "reuses",
                                          "mode",
                                          "dies-of-garbage",
                                          "garbage-is-fine",
                                          "other-key",
                                          "outage-invalid",
                                          "outage-hangs"};

static struct {
    struct lh_loop *loop;
    struct lh_grpc_server *server;
    const char *socket, *state;
    unsigned version, statuses, pending;
    bool away; /* the backend */
    bool on[FAULTS];
    unsigned long number[FAULTS];
} f;

/* A call whose answer is to come late. */
struct late {
    struct lh_grpc_call *call;
    struct lh_timer *timer;
    struct lh_buf request;
    void (*work)(struct lh_grpc_call *call, struct lh_str request);
};

static void key_id_of(unsigned version, char out[2 * LH_HASH_LEN + 1])
{
    unsigned char hash[LH_HASH_LEN];
    char text[64];
    int n = snprintf(text, sizeof(text), "kms-fake %u", f.on[REUSES] ? 1 : version);

    lh_sha256(text, (size_t)n, hash, NULL);
    lh_hex(hash, sizeof(hash), out);
}

/* HMAC under the version's key over a label, the nonce and a counter or the rest. */
static void mac(unsigned version, char label, const char *nonce, unsigned counter,
                struct lh_str rest, unsigned char out[LH_HASH_LEN])
{
    char key[32];
    struct lh_buf b;

    lh_buf_init(&b, (size_t)1 << 20);
    snprintf(key, sizeof(key), "kms-fake key %u%s", version, f.on[OTHER_KEY] ? " of mine" : "");
    lh_buf_put_c(&b, label);
    lh_buf_put(&b, nonce, NONCE);
    lh_buf_put(&b, &counter, sizeof(counter));
    lh_buf_put_str(&b, rest);
    lh_hmac_sha256(key, strlen(key), b.p, b.n, out, NULL);
    lh_buf_done(&b);
}

static void scramble(unsigned version, const char *nonce, char *p, size_t n)
{
    unsigned char block[LH_HASH_LEN];

    for (size_t i = 0; i < n; i++) {
        if (i % LH_HASH_LEN == 0)
            mac(version, 'k', nonce, (unsigned)(i / LH_HASH_LEN), (struct lh_str){NULL, 0}, block);
        p[i] = (char)(p[i] ^ (char)block[i % LH_HASH_LEN]);
    }
}

static void reply(struct lh_grpc_call *call, const struct lh_buf *b)
{
    lh_grpc_reply(call, lh_buf_peek(b));
}

static void unreadable(struct lh_grpc_call *call, const struct lh_err *err)
{
    if (f.on[DIES_OF_GARBAGE])
        exit(3);
    if (f.on[GARBAGE_IS_FINE])
        lh_grpc_reply(call, (struct lh_str){"", 0});
    else
        lh_grpc_fail(call, LH_GRPC_INVALID_ARGUMENT, err->msg);
}

static void status(struct lh_grpc_call *call, struct lh_str request)
{
    char id[2 * LH_HASH_LEN + 1];
    char long_id[4096];
    struct lh_kmsv2_status m = {LH_STR("v2"), LH_STR("ok"), {NULL, 0}, NULL};
    struct lh_err err = {0};
    lh_auto_buf struct lh_buf b;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    if (lh_kmsv2_read_status_request(request, &err) < 0) {
        unreadable(call, &err);
        return;
    }
    if (f.on[STATUS_FAILS]) {
        lh_grpc_fail(call, LH_GRPC_UNAVAILABLE, "the backend is away");
        return;
    }
    key_id_of(f.version + (f.on[KEY_ID_FLIPS] ? f.statuses++ % 2 : 0), id);
    m.key_id = lh_str(id);
    if (f.on[KEY_ID_LONG]) {
        memset(long_id, 'k', sizeof(long_id));
        m.key_id = (struct lh_str){long_id, f.number[KEY_ID_LONG]};
    }
    if (f.on[VERSION])
        m.version = LH_STR("v1");
    if (f.on[UNHEALTHY])
        m.healthz = LH_STR("the manager is sealed");
    lh_kmsv2_put_status(&b, &m, NULL);
    reply(call, &b);
}

static void seal(const struct lh_secret *plain, struct lh_buf *out)
{
    unsigned char tag[LH_HASH_LEN];
    size_t n = lh_secret_len(plain);
    char nonce[NONCE], *body;

    lh_rand_bytes(nonce, sizeof(nonce));
    lh_buf_put_c(out, (char)f.version);
    lh_buf_put(out, nonce, sizeof(nonce));
    lh_buf_extend(out, TAG);
    body = n ? lh_buf_extend(out, n) : NULL;
    if (body) {
        memcpy(body, lh_secret_expose_const(plain), n);
        scramble(f.version, nonce, body, n);
    }
    mac(f.version, 't', nonce, 0, (struct lh_str){body, n}, tag);
    memcpy(out->p + 1 + NONCE, tag, TAG);
}

/* The faults of an Encrypt answer. */
static void spoil(struct lh_kmsv2_sealed *m, struct lh_kmsv2_annotation *a, struct lh_buf *cipher)
{
    static char filler[64 * 1024];

    if (f.on[CIPHERTEXT_EMPTY])
        m->ciphertext.n = 0;
    if (f.on[CIPHERTEXT_BYTES]) {
        while (cipher->n < f.number[CIPHERTEXT_BYTES])
            lh_buf_put_c(cipher, 0);
        m->ciphertext = lh_buf_peek(cipher);
    }
    if (f.on[KEY_ID_MISMATCH])
        m->key_id = LH_STR("another");
    if (f.on[ANNOTATION_NAME])
        a->name = LH_STR("Version");
    if (f.on[ANNOTATION_BYTES])
        a->value = (struct lh_str){filler, f.number[ANNOTATION_BYTES]};
}

static void encrypt(struct lh_grpc_call *call, struct lh_str request)
{
    struct lh_kmsv2_encrypt_request r = {0};
    char id[2 * LH_HASH_LEN + 1], version[16];
    struct lh_kmsv2_annotation a = {LH_STR(ANNOTATION), {NULL, 0}};
    struct lh_kmsv2_sealed m = {.annotations = &a, .n_annotations = 1};
    struct lh_err err = {0};
    lh_auto_buf struct lh_buf b, cipher;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    lh_buf_init(&cipher, LH_KMSV2_MESSAGE_MAX);
    if (lh_kmsv2_read_encrypt_request(request, &r, &err) < 0) {
        unreadable(call, &err);
        return;
    }
    if (f.on[ENCRYPT_FAILS]) {
        lh_grpc_fail(call, LH_GRPC_UNAVAILABLE, "the backend is away");
    } else {
        key_id_of(f.version, id);
        snprintf(version, sizeof(version), "%u", f.version);
        seal(r.plaintext, &cipher);
        m.ciphertext = lh_buf_peek(&cipher);
        m.key_id = lh_str(id);
        a.value = lh_str(version);
        spoil(&m, &a, &cipher);
        lh_kmsv2_put_encrypt_response(&b, &m, NULL);
        reply(call, &b);
    }
    lh_kmsv2_encrypt_request_done(&r);
}

static bool knows(const struct lh_kmsv2_decrypt_request *r, unsigned version)
{
    const struct lh_kmsv2_sealed *m = &r->sealed;
    char id[2 * LH_HASH_LEN + 1], text[16];
    bool mine = false;

    key_id_of(version, id);
    snprintf(text, sizeof(text), "%u", version);
    for (size_t i = 0; i < m->n_annotations; i++)
        mine |= lh_str_eqz(m->annotations[i].name, ANNOTATION) &&
                lh_str_eqz(m->annotations[i].value, text);
    if (!f.on[ANY_KEY_ID] && !lh_str_eqz(m->key_id, id))
        return false;
    if (f.on[FORGETS] && version != f.version)
        return false;
    return f.on[ANY_ANNOTATIONS] || (mine && (m->n_annotations == 1 || f.on[MORE_ANNOTATIONS]));
}

static bool is_whole(unsigned version, struct lh_str c)
{
    unsigned char tag[LH_HASH_LEN];

    mac(version, 't', c.p + 1, 0, (struct lh_str){c.p + HEAD, c.n - HEAD}, tag);
    return f.on[ANY_CIPHERTEXT] || memcmp(tag, c.p + 1 + NONCE, TAG) == 0;
}

static void open_it(struct lh_grpc_call *call, struct lh_str c)
{
    lh_auto_secret struct lh_secret *s = NULL, *shown = NULL;
    lh_auto_buf struct lh_buf b;
    size_t n = c.n - HEAD;
    char *p;

    lh_buf_init(&b, LH_KMSV2_MESSAGE_MAX);
    if (lh_secret_copy(c.p + HEAD, n, &s, NULL) < 0)
        return;
    p = lh_secret_expose(s);
    scramble((unsigned char)c.p[0], c.p + 1, p, n);
    if (f.on[WRONG_PLAINTEXT] && n > 0)
        p[0] = (char)(p[0] ^ 1);
    if (f.on[LONG_IS_CUT] && n > LH_KMSV2_SEED_BYTES)
        n = LH_KMSV2_SEED_BYTES;
    if (f.on[EMPTY_IS_WRONG] && n == 0)
        lh_secret_copy("x", 1, &shown, NULL);
    else
        lh_secret_copy(p, n, &shown, NULL);
    lh_kmsv2_put_decrypt_response(&b, shown, NULL);
    reply(call, &b);
}

static void decrypt(struct lh_grpc_call *call, struct lh_str request)
{
    struct lh_kmsv2_decrypt_request r = {0};
    struct lh_err err = {0};
    struct lh_str c;

    if (lh_kmsv2_read_decrypt_request(request, &r, &err) < 0) {
        unreadable(call, &err);
        return;
    }
    c = r.sealed.ciphertext;
    if (c.n < HEAD)
        lh_grpc_fail(call, LH_GRPC_INVALID_ARGUMENT, "the ciphertext is too short");
    else if (!knows(&r, (unsigned char)c.p[0]))
        lh_grpc_fail(call, LH_GRPC_NOT_FOUND, "no such key_id, or not its annotations");
    else if (!is_whole((unsigned char)c.p[0], c))
        lh_grpc_fail(call, LH_GRPC_INVALID_ARGUMENT, "the ciphertext is not whole");
    else
        open_it(call, c);
    lh_kmsv2_decrypt_request_done(&r);
}

static void on_late(void *arg)
{
    struct late *l = arg;

    f.pending--;
    l->work(l->call, lh_buf_peek(&l->request));
    lh_timer_free(l->timer);
    lh_buf_done(&l->request);
    lh_free(l);
}

static void handle(struct lh_grpc_call *call, struct lh_str request,
                   void (*work)(struct lh_grpc_call *call, struct lh_str request))
{
    struct late *l;

    if (f.on[FAIL_PARALLEL] && f.pending >= f.number[FAIL_PARALLEL]) {
        lh_grpc_fail(call, LH_GRPC_RESOURCE_EXHAUSTED, "too many calls");
        return;
    }
    if (!f.on[SLOW]) {
        work(call, request);
        return;
    }
    l = lh_calloc(1, sizeof(*l));
    if (!l || lh_timer_new(f.loop, on_late, l, &l->timer, NULL) < 0)
        abort();
    f.pending++;
    l->call = call;
    l->work = work;
    lh_buf_init(&l->request, LH_KMSV2_MESSAGE_MAX);
    lh_buf_put_str(&l->request, request);
    lh_timer_in(l->timer, (lh_ms)f.number[SLOW]);
}

static void on_status(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    handle(call, request, status);
}

/* Not answered again: who asked gives up, and whoever tests this ends us hard. */
static void on_cancel(void *arg)
{
    lh_grpc_fail(arg, LH_GRPC_CANCELLED, "");
}

static void no_backend(struct lh_grpc_call *call)
{
    if (f.on[OUTAGE_HANGS])
        lh_grpc_call_on_cancel(call, on_cancel, call);
    else if (f.on[OUTAGE_INVALID])
        lh_grpc_fail(call, LH_GRPC_INVALID_ARGUMENT, "no");
    else
        lh_grpc_fail(call, LH_GRPC_UNAVAILABLE, "the backend is away");
}

static void on_encrypt(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    if (f.away)
        no_backend(call);
    else
        handle(call, request, encrypt);
}

static void on_decrypt(void *arg, struct lh_grpc_call *call, struct lh_str request)
{
    (void)arg;
    if (f.away)
        no_backend(call);
    else
        handle(call, request, decrypt);
}

static const struct lh_grpc_method methods[] = {{LH_KMSV2_STATUS, on_status},
                                                {LH_KMSV2_ENCRYPT, on_encrypt},
                                                {LH_KMSV2_DECRYPT, on_decrypt},
                                                {NULL, NULL}};

static void keep_version(void)
{
    FILE *file = fopen(f.state, "we");

    if (!file || fprintf(file, "%u\n", f.version) < 0 || fclose(file) != 0)
        exit(4);
}

static void read_version(void)
{
    FILE *file = fopen(f.state, "re");

    f.version = 1;
    if (file && fscanf(file, "%u", &f.version) != 1)
        exit(4);
    if (file)
        fclose(file);
    keep_version();
}

static void on_hup(void *arg, int signo)
{
    (void)arg;
    (void)signo;
    f.version++;
    keep_version();
}

static void on_usr1(void *arg, int signo)
{
    (void)arg;
    (void)signo;
    f.away = !f.away;
}

static void on_drained(void *arg)
{
    (void)arg;
    lh_loop_stop(f.loop);
}

static void on_term(void *arg, int signo)
{
    (void)arg;
    (void)signo;
    lh_grpc_server_drain(f.server, DRAIN_MS, on_drained, NULL);
}

static int listen_at(struct lh_err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f.socket);
    unlink(f.socket);
    umask(077);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0)
        return lh_err_os(err, errno, "listen on %s", f.socket);
    if (f.on[MODE] && chmod(f.socket, (mode_t)f.number[MODE]) < 0)
        return lh_err_os(err, errno, "chmod %s", f.socket);
    return fd;
}

static int serve(struct lh_err *err)
{
    /* Nobody too: what a kit of another account sees is the socket's mode alone. */
    uid_t peers[] = {geteuid(), 65534};
    struct lh_grpc_server_options opts = {.methods = methods,
                                          .peers = peers,
                                          .n_peers = f.on[MODE] ? 2 : 1,
                                          .max_message =
                                              f.on[GARBAGE_IS_FINE] ? (size_t)16 << 20 : 0};
    struct lh_signal *term = NULL, *hup = NULL, *usr1 = NULL;
    int rc = lh_loop_new(&f.loop, err), fd;

    if (rc < 0)
        return rc;
    opts.loop = f.loop;
    rc = lh_grpc_server_new(&opts, &f.server, err);
    fd = rc < 0 ? rc : listen_at(err);
    if (fd < 0)
        return fd;
    rc = lh_grpc_server_listen(f.server, fd, err);
    if (rc == 0)
        rc = lh_signal_new(f.loop, SIGTERM, on_term, NULL, &term, err);
    if (rc == 0)
        rc = lh_signal_new(f.loop, SIGHUP, on_hup, NULL, &hup, err);
    if (rc == 0)
        rc = lh_signal_new(f.loop, SIGUSR1, on_usr1, NULL, &usr1, err);
    if (rc < 0)
        return rc;
    puts("{\"ready\": true}");
    fflush(stdout);
    lh_loop_run(f.loop, err);
    lh_grpc_server_free(f.server);
    lh_signal_free(term);
    lh_signal_free(hup);
    lh_signal_free(usr1);
    lh_loop_free(f.loop);
    return 0;
}

static bool turn_on(const char *word)
{
    struct lh_str name, number;
    bool has = lh_str_cut(lh_str(word), '=', &name, &number);

    for (size_t i = 0; i < FAULTS; i++) {
        if (!lh_str_eqz(name, names[i]))
            continue;
        f.on[i] = true;
        f.number[i] = has ? strtoul(number.p, NULL, i == MODE ? 8 : 10) : 0;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct lh_err err = {0};

    lh_mem_init();
    if (argc < 3 || lh_crypto_init(&err) < 0)
        return 2;
    f.socket = argv[1];
    f.state = argv[2];
    for (int i = 3; i < argc; i++) {
        if (!turn_on(argv[i])) {
            fprintf(stderr, "kms_fake: there is no fault %s\n", argv[i]);
            return 2;
        }
    }
    read_version();
    if (serve(&err) < 0) {
        fprintf(stderr, "kms_fake: %s\n", err.msg);
        return 1;
    }
    return 0;
}
