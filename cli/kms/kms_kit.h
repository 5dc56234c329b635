/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_KMS_KIT_H
#define LEASEHOLD_CLI_KMS_KIT_H

/*
 * Black-box tests of a KMS v2 plugin: what kube-apiserver asks of it, seen through its socket
 * alone. A test is a row: an id that stays, the rule, where the rule is written, and a function
 * that says passed, failed with what was seen, or skipped with why. Tests run one after the other
 * and leave nothing behind in the plugin.
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/codec/json.h"
#include "leasehold/kmsv2/client.h"

enum { KMS_KEY_ID_ROOM = LH_KMSV2_KEY_ID_MAX + 1, KMS_DETAIL = 400 };

enum kms_verdict { KMS_PASSED, KMS_FAILED, KMS_SKIPPED };

struct kms_result {
    enum kms_verdict verdict;
    char detail[KMS_DETAIL]; /* for people; "" where there is nothing to say */
};

struct kms_options {
    const char *socket;
    const char *second;           /* another plugin's, of the same key, or NULL */
    const char *rotate, *restart; /* commands for a shell, or NULL */
    const char *outage, *recover;
    unsigned timeout_ms; /* of a call, as in the EncryptionConfiguration */
    unsigned settle_ms;  /* how long a rotation or restart may take to show */
};

struct kms_kit {
    struct kms_options opts;
    struct lh_loop *loop;
    struct lh_kmsv2_client *client;
};

struct kms_test {
    const char *id, *rule, *source;
    void (*run)(struct kms_kit *k, struct kms_result *r);
};
/* Each ended by id NULL, run in this order. */
extern const struct kms_test kms_host_tests[], kms_contract_tests[], kms_failure_tests[],
    kms_twin_tests[], kms_transport_tests[], kms_flow_tests[];

/* An answer: what grpc said, and the struct where that is OK. */
struct kms_answer {
    bool done, ok; /* ok: an answer came and could be read */
    enum lh_grpc_status status;
    lh_ms took_ms;
    char text[sizeof(((struct lh_err *)0)->msg)]; /* why not ok */
    char version[64], healthz[256];               /* Status; cut */
    struct lh_kmsv2_encrypt_response sealed;      /* Encrypt: read again, so it is owned */
    struct lh_secret *plain;                      /* Decrypt */
    char key_id[KMS_KEY_ID_ROOM];                 /* of Status or Encrypt */
    size_t key_id_bytes;                          /* as it came */
    int offence;                                  /* 0, or what the API server holds against it */
    char offence_text[256];
};

/* LH_E_OS: nobody accepts on the socket. */
int kms_kit_open(const struct kms_options *opts, struct kms_kit *k, struct lh_err *err);
void kms_kit_close(struct kms_kit *k);
/* A new connection, for what comes after one that was ill-treated. */
int kms_kit_reconnect(struct kms_kit *k, struct lh_err *err);

/* One call, waited for. The answer is filled always (ok false on any failure); release it. */
void kms_status(struct kms_kit *k, struct kms_answer *a);
void kms_encrypt(struct kms_kit *k, const struct lh_secret *plain, struct kms_answer *a);
void kms_decrypt(struct kms_kit *k, const struct lh_kmsv2_sealed *sealed, struct kms_answer *a);
void kms_answer_done(struct kms_answer *a);
/* n at once; each a[i] as above. */
void kms_encrypt_many(struct kms_kit *k, const struct lh_secret *plain, struct kms_answer *a,
                      size_t n);
void kms_decrypt_many(struct kms_kit *k, const struct lh_kmsv2_sealed *sealed, struct kms_answer *a,
                      size_t n);
/* n random bytes; NULL when memory is out. */
struct lh_secret *kms_random(size_t n);
/* Any method with any bytes, waited for: only whether and how it was answered. */
void kms_raw_call(struct kms_kit *k, const char *method, struct lh_str message,
                  struct kms_answer *a);

/* Of the tests that need a command: one that was started. */
struct kms_ended {
    bool done;
    int code, signal;
};
/* The user's command, as a shell runs it; e is filled when it ends. false: r says why not. */
bool kms_shell(struct kms_kit *k, const char *command, struct kms_ended *e, struct kms_result *r);
bool kms_shell_failed(const struct kms_ended *e);
/* Started and waited for. false: it could not be, or ended badly; r is skipped then, with option's
 * name. */
bool kms_shell_wait(struct kms_kit *k, const char *command, const char *option,
                    struct kms_result *r);
/* Turns of the loop for so long. */
void kms_pause(struct kms_kit *k, unsigned ms);

/* Tests made of frames. begin: false and a failed r where nobody accepts. still_there: r fails
 * where the plugin does not answer somebody else after what was done to it. */
struct frames;
bool kms_frames_begin(struct kms_kit *k, struct frames *f, struct kms_result *r);
void kms_still_there(struct kms_kit *k, const char *after, struct kms_result *r);

void kms_pass(struct kms_result *r);
void kms_note(struct kms_result *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void kms_fail(struct kms_result *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void kms_skip(struct kms_result *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Output. report: pairs of tests and results. */
struct kms_row {
    const struct kms_test *test;
    struct kms_result result;
};
struct kms_totals {
    unsigned passed, failed, skipped;
};
void kms_print_row(const struct kms_row *row, struct lh_buf *b);
/* NULL when memory is out. */
lh_json *kms_report_json(const struct kms_kit *k, const struct kms_row *rows, size_t n,
                         const struct kms_totals *t);

#endif
