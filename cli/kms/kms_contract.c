/* SPDX-License-Identifier: Apache-2.0 */
/* What the API server asks of answers: fields, sizes, key_id, and that what went in comes out. */
#include <stdio.h>
#include <string.h>

#include "kms_kit.h"
#include "leasehold/core/mem.h"

#define KEP      "KEP-3299 (KMS v2 improvements)"
#define SERVER   "kube-apiserver, value/encrypt/envelope/kmsv2"
#define PROVIDER "Kubernetes: Using a KMS provider for data encryption"

enum { ROUNDS = 50, PARALLEL = 64 };

/* 32 fresh bytes sealed by the plugin: what most tests start from. false: r says why not. */
static bool sealed_seed(struct kms_kit *k, struct kms_result *r, struct lh_secret **plain,
                        struct kms_answer *a)
{
    *plain = kms_random(LH_KMSV2_SEED_BYTES);
    if (!*plain) {
        memset(a, 0, sizeof(*a));
        kms_skip(r, "out of memory");
        return false;
    }
    kms_encrypt(k, *plain, a);
    if (!a->ok)
        kms_skip(r, "Encrypt was not answered: %.300s", a->text);
    return a->ok;
}

static void status_fields(struct kms_kit *k, struct kms_result *r)
{
    struct kms_answer a;

    kms_status(k, &a);
    if (!a.ok)
        kms_fail(r, "Status was not answered: %.300s", a.text);
    else if (a.offence < 0)
        kms_fail(r, "%s", a.offence_text);
    else
        kms_note(r, "version %s, key_id of %zu bytes", a.version, a.key_id_bytes);
    kms_answer_done(&a);
}

static void status_healthy(struct kms_kit *k, struct kms_result *r)
{
    struct kms_answer a;

    kms_status(k, &a);
    if (!a.ok)
        kms_fail(r, "Status was not answered: %.300s", a.text);
    else if (strcmp(a.healthz, "ok") != 0)
        kms_fail(r, "healthz is \"%s\"", a.healthz);
    kms_answer_done(&a);
}

static void status_stable(struct kms_kit *k, struct kms_result *r)
{
    char version[64] = "", key_id[KMS_KEY_ID_ROOM] = "";

    for (unsigned i = 0; i < ROUNDS && r->verdict == KMS_PASSED; i++) {
        struct kms_answer a;

        kms_status(k, &a);
        if (!a.ok)
            kms_fail(r, "Status %u of %d was not answered: %.250s", i + 1, ROUNDS, a.text);
        else if (i > 0 && strcmp(version, a.version) != 0)
            kms_fail(r, "version changed from \"%s\" to \"%s\" at Status %u", version, a.version,
                     i + 1);
        else if (i > 0 && strcmp(key_id, a.key_id) != 0)
            kms_fail(r, "key_id changed at Status %u although nothing was rotated", i + 1);
        memcpy(version, a.version, sizeof(version));
        memcpy(key_id, a.key_id, sizeof(key_id));
        kms_answer_done(&a);
    }
}

static void encrypt_fields(struct kms_kit *k, struct kms_result *r)
{
    struct lh_secret *plain = NULL;
    struct kms_answer a;

    if (!sealed_seed(k, r, &plain, &a))
        kms_fail(r, "Encrypt was not answered: %.300s", a.text);
    else if (a.offence < 0)
        kms_fail(r, "%s", a.offence_text);
    else
        kms_note(r, "ciphertext of %zu bytes for a seed of %d, %zu annotations",
                 a.sealed.sealed.ciphertext.n, LH_KMSV2_SEED_BYTES, a.sealed.sealed.n_annotations);
    kms_answer_done(&a);
    lh_secret_free(plain);
}

static void encrypt_key_id(struct kms_kit *k, struct kms_result *r)
{
    lh_auto_secret struct lh_secret *plain = kms_random(LH_KMSV2_SEED_BYTES);
    struct kms_answer *all = lh_calloc(PARALLEL, sizeof(*all)), before;
    unsigned other = 0, failed = 0;

    if (!plain || !all) {
        kms_skip(r, "out of memory");
        lh_free(all);
        return;
    }
    kms_status(k, &before);
    kms_encrypt_many(k, plain, all, PARALLEL);
    for (size_t i = 0; i < PARALLEL; i++) {
        failed += !all[i].ok;
        other += all[i].ok && (all[i].key_id_bytes != before.key_id_bytes ||
                               strcmp(all[i].key_id, before.key_id) != 0);
        kms_answer_done(&all[i]);
    }
    if (failed || !before.ok)
        kms_fail(r, "%u of %d Encrypts at once were not answered", failed, PARALLEL);
    else if (other)
        kms_fail(r, "%u of %d Encrypts name another key_id than Status", other, PARALLEL);
    kms_answer_done(&before);
    lh_free(all);
}

/* NULL: it came back whole, or was refused where that is allowed. */
static const char *lost(struct kms_kit *k, size_t bytes, bool may_refuse, char text[200])
{
    lh_auto_secret struct lh_secret *plain = kms_random(bytes);
    struct kms_answer e, d = {0};
    const char *what = NULL;

    if (!plain)
        return "out of memory";
    kms_encrypt(k, plain, &e);
    if (e.ok) {
        kms_decrypt(k, &e.sealed.sealed, &d);
        if (!d.ok)
            snprintf(text, 200, "%zu bytes were encrypted, their Decrypt fails: %.120s", bytes,
                     d.text);
        else if (!lh_secret_equal(plain, d.plain))
            snprintf(text, 200, "%zu bytes come back as %zu other bytes", bytes,
                     lh_secret_len(d.plain));
        if (!d.ok || !lh_secret_equal(plain, d.plain))
            what = text;
    } else if (!may_refuse) {
        snprintf(text, 200, "Encrypt of %zu bytes fails: %.120s", bytes, e.text);
        what = text;
    }
    kms_answer_done(&e);
    kms_answer_done(&d);
    return what;
}

static void round_trip(struct kms_kit *k, struct kms_result *r)
{
    char text[200];

    for (unsigned i = 0; i < ROUNDS && r->verdict == KMS_PASSED; i++) {
        const char *what = lost(k, LH_KMSV2_SEED_BYTES, false, text);

        if (what)
            kms_fail(r, "%s", what);
    }
}

static void lengths(struct kms_kit *k, struct kms_result *r)
{
    static const size_t bytes[] = {0, 1, 31, 33, 1024, 65536};
    char text[200];

    for (size_t i = 0; i < LH_ARRAY_LEN(bytes) && r->verdict == KMS_PASSED; i++) {
        const char *what = lost(k, bytes[i], true, text);

        if (what)
            kms_fail(r, "%s", what);
    }
}

/* Decrypt of something that was never sealed so must be an error. */
static void must_refuse(struct kms_kit *k, const struct lh_kmsv2_sealed *m, const char *what,
                        struct kms_result *r)
{
    struct kms_answer a;

    kms_decrypt(k, m, &a);
    if (a.ok)
        kms_fail(r, "Decrypt answers although %s", what);
    else if (a.status == LH_GRPC_UNAVAILABLE || a.status == LH_GRPC_DEADLINE_EXCEEDED)
        kms_fail(r, "Decrypt says %.200s although %s: it looks like an outage", a.text, what);
    kms_answer_done(&a);
}

static void unknown_key_id(struct kms_kit *k, struct kms_result *r)
{
    struct lh_secret *plain = NULL;
    struct kms_answer a;

    if (sealed_seed(k, r, &plain, &a)) {
        struct lh_kmsv2_sealed m = a.sealed.sealed;

        m.key_id = LH_STR("leasehold-conformance-unknown");
        must_refuse(k, &m, "it does not know the key_id", r);
        m.key_id = (struct lh_str){"", 0};
        if (r->verdict == KMS_PASSED)
            must_refuse(k, &m, "the key_id is empty", r);
    }
    kms_answer_done(&a);
    lh_secret_free(plain);
}

static void tampered(struct kms_kit *k, struct kms_result *r)
{
    struct lh_secret *plain = NULL;
    struct kms_answer a;
    size_t n;
    char *bytes = NULL;

    if (sealed_seed(k, r, &plain, &a)) {
        struct lh_kmsv2_sealed m = a.sealed.sealed;

        n = m.ciphertext.n;
        bytes = n ? lh_memdup(m.ciphertext.p, n) : NULL;
        /* Five places: heads hold versions and nonces, the end holds a tag as a rule. */
        for (size_t i = 0; bytes && i < 5 && r->verdict == KMS_PASSED; i++) {
            size_t at = i * (n - 1) / 4;
            char was = bytes[at], what[80];

            bytes[at] = (char)(was ^ 1);
            m.ciphertext = (struct lh_str){bytes, n};
            snprintf(what, sizeof(what), "byte %zu of %zu of the ciphertext was changed", at + 1,
                     n);
            must_refuse(k, &m, what, r);
            bytes[at] = was;
        }
        if (!bytes)
            kms_skip(r, "the ciphertext is empty");
    }
    lh_free(bytes);
    kms_answer_done(&a);
    lh_secret_free(plain);
}

static void truncated(struct kms_kit *k, struct kms_result *r)
{
    static const char noise[4096] = "vault:v1:";
    struct lh_secret *plain = NULL;
    struct kms_answer a;

    if (sealed_seed(k, r, &plain, &a)) {
        struct lh_kmsv2_sealed m = a.sealed.sealed;
        struct lh_str whole = m.ciphertext;

        m.ciphertext.n = whole.n ? whole.n - 1 : 0;
        must_refuse(k, &m, "the last byte of the ciphertext is missing", r);
        m.ciphertext.n = 0;
        if (r->verdict == KMS_PASSED)
            must_refuse(k, &m, "the ciphertext is empty", r);
        m.ciphertext = (struct lh_str){noise, sizeof(noise)};
        if (r->verdict == KMS_PASSED)
            must_refuse(k, &m, "the ciphertext is 4096 bytes of something else", r);
    }
    kms_answer_done(&a);
    lh_secret_free(plain);
}

static void own_annotations(struct kms_kit *k, struct kms_result *r)
{
    struct lh_secret *plain = NULL;
    struct kms_answer a;

    if (sealed_seed(k, r, &plain, &a)) {
        struct lh_kmsv2_sealed m = a.sealed.sealed;
        struct lh_kmsv2_annotation changed;

        if (m.n_annotations == 0) {
            kms_skip(r, "this plugin stores no annotations");
        } else {
            changed = m.annotations[0];
            changed.value = LH_STR("leasehold-conformance");
            m.annotations = &changed;
            m.n_annotations = 1;
            must_refuse(k, &m, "the value of its own annotation was changed", r);
            m.n_annotations = 0;
            if (r->verdict == KMS_PASSED)
                must_refuse(k, &m, "its own annotations are missing", r);
        }
    }
    kms_answer_done(&a);
    lh_secret_free(plain);
}

static void foreign_annotation(struct kms_kit *k, struct kms_result *r)
{
    struct lh_secret *plain = NULL;
    struct lh_kmsv2_annotation *more = NULL;
    struct kms_answer a;

    if (sealed_seed(k, r, &plain, &a)) {
        struct lh_kmsv2_sealed m = a.sealed.sealed;

        more = lh_calloc(m.n_annotations + 1, sizeof(*more));
        if (!more) {
            kms_skip(r, "out of memory");
        } else {
            if (m.n_annotations > 0)
                memcpy(more, m.annotations, m.n_annotations * sizeof(*more));
            more[m.n_annotations++] =
                (struct lh_kmsv2_annotation){LH_STR("conformance.leasehold.dev"), LH_STR("1")};
            m.annotations = more;
            must_refuse(k, &m, "an annotation was added that it never wrote", r);
        }
    }
    lh_free(more);
    kms_answer_done(&a);
    lh_secret_free(plain);
}

const struct kms_test kms_contract_tests[] = {
    {"status-fields", "Status says version v2 (or v2beta1) and a key_id of 1 to 1024 bytes.",
     SERVER ", ValidateKeyID; " KEP ", Status", status_fields},
    {"status-healthy",
     "Status says healthz \"ok\", these two letters and nothing else, while the "
     "plugin can encrypt and decrypt.",
     SERVER ", probe; " PROVIDER, status_healthy},
    {"status-stable",
     "version never changes while the plugin lives, key_id only when the key is rotated, and never "
     "back and forth.",
     KEP ", Key Rotation; " PROVIDER ", Developing a KMS plugin", status_stable},
    {"encrypt-fields",
     "Encrypt of 32 bytes answers a ciphertext of 1 to 1024 bytes, a key_id of 1 to 1024, and "
     "annotations whose names are fully qualified domain names, at most 32 KiB together.",
     SERVER ", validateEncryptedObject, validateAnnotations; " PROVIDER, encrypt_fields},
    {"encrypt-key-id",
     "Encrypt names the key_id that Status names, also when many come at once; else the API server "
     "throws the answer away and is unhealthy.",
     SERVER ", generateTransformer; " KEP ", Status", encrypt_key_id},
    {"round-trip", "Decrypt gives back the 32 bytes that Encrypt got.", KEP ", Encrypt, Decrypt",
     round_trip},
    {"lengths",
     "Other lengths than 32 (0 to 64 KiB) come back whole or are refused; they are never cut or "
     "changed.",
     KEP ", Encrypt, Decrypt", lengths},
    {"decrypt-unknown-key-id",
     "Decrypt refuses a key_id that it never gave out, and not as if the manager were away.",
     KEP ", Decrypt; " PROVIDER, unknown_key_id},
    {"decrypt-tampered",
     "Decrypt refuses a ciphertext with any bit changed: whoever can write to "
     "etcd must not choose the seed.",
     KEP ", Encrypt (authenticated encryption)", tampered},
    {"decrypt-truncated", "Decrypt refuses a ciphertext that is cut, empty or not its own.",
     KEP ", Decrypt", truncated},
    {"decrypt-own-annotations",
     "Decrypt gets the annotations as Encrypt gave them; others in their place are refused.",
     KEP ", Decrypt (annotations)", own_annotations},
    {"decrypt-foreign-annotation",
     "Decrypt refuses an annotation that it never wrote: what is stored was changed.",
     KEP ", Decrypt (annotations)", foreign_annotation},
    {0},
};
