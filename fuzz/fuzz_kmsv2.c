/* SPDX-License-Identifier: Apache-2.0 */
/* What is read prints to bytes that read the same; what passes the check keeps its limits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/kmsv2/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int ok)
{
    if (!ok)
        abort();
}

static void same_sealed(const struct lh_kmsv2_sealed *a, const struct lh_kmsv2_sealed *b)
{
    must(lh_str_eq(a->ciphertext, b->ciphertext) && lh_str_eq(a->key_id, b->key_id));
    must(a->n_annotations == b->n_annotations);
    for (size_t i = 0; i < a->n_annotations; i++) {
        must(lh_str_eq(a->annotations[i].name, b->annotations[i].name));
        must(lh_str_eq(a->annotations[i].value, b->annotations[i].value));
    }
}

static void checked(const struct lh_kmsv2_sealed *m)
{
    struct lh_err err = {0};

    if (lh_kmsv2_sealed_check(m, &err) < 0) {
        must(err.msg[0] != '\0');
        return;
    }
    must(m->ciphertext.n >= 1 && m->ciphertext.n <= LH_KMSV2_CIPHERTEXT_MAX);
    must(m->key_id.n >= 1 && m->key_id.n <= LH_KMSV2_KEY_ID_MAX);
    for (size_t i = 0; i < m->n_annotations; i++)
        must(memchr(m->annotations[i].name.p, '.', m->annotations[i].name.n) != NULL);
}

static void decrypt_request(struct lh_str bytes)
{
    struct lh_kmsv2_decrypt_request a = {0}, b = {0};
    struct lh_buf out;

    if (lh_kmsv2_read_decrypt_request(bytes, &a, NULL) < 0) {
        must(!a.held);
        return;
    }
    checked(&a.sealed);
    lh_buf_init(&out, (size_t)2 * LH_KMSV2_MESSAGE_MAX);
    must(lh_kmsv2_put_decrypt_request(&out, &a, NULL) == 0);
    if (out.n <= LH_KMSV2_MESSAGE_MAX) {
        must(lh_kmsv2_read_decrypt_request(lh_buf_peek(&out), &b, NULL) == 0);
        same_sealed(&a.sealed, &b.sealed);
        must(lh_str_eq(a.uid, b.uid));
    }
    lh_buf_done(&out);
    lh_kmsv2_decrypt_request_done(&a);
    lh_kmsv2_decrypt_request_done(&b);
}

static void encrypt_response(struct lh_str bytes)
{
    struct lh_kmsv2_encrypt_response a = {0}, b = {0};
    struct lh_buf out;

    if (lh_kmsv2_read_encrypt_response(bytes, &a, NULL) < 0)
        return;
    checked(&a.sealed);
    lh_buf_init(&out, (size_t)2 * LH_KMSV2_MESSAGE_MAX);
    must(lh_kmsv2_put_encrypt_response(&out, &a.sealed, NULL) == 0);
    if (out.n <= LH_KMSV2_MESSAGE_MAX) {
        must(lh_kmsv2_read_encrypt_response(lh_buf_peek(&out), &b, NULL) == 0);
        same_sealed(&a.sealed, &b.sealed);
    }
    lh_buf_done(&out);
    lh_kmsv2_encrypt_response_done(&a);
    lh_kmsv2_encrypt_response_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lh_str bytes = {(const char *)data, size};
    struct lh_kmsv2_encrypt_request e = {0};
    struct lh_kmsv2_decrypt_response d = {0};
    struct lh_kmsv2_status s = {0};

    decrypt_request(bytes);
    encrypt_response(bytes);
    lh_kmsv2_read_status_request(bytes, NULL);
    if (lh_kmsv2_read_status(bytes, &s, NULL) == 0)
        lh_kmsv2_status_check(&s, NULL);
    if (lh_kmsv2_read_encrypt_request(bytes, &e, NULL) == 0)
        must(e.plaintext != NULL);
    if (lh_kmsv2_read_decrypt_response(bytes, &d, NULL) == 0)
        must(d.plaintext != NULL);
    lh_kmsv2_status_done(&s);
    lh_kmsv2_encrypt_request_done(&e);
    lh_kmsv2_decrypt_response_done(&d);
    return 0;
}
