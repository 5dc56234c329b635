/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/mem.h"
#include "leasehold/kmsv2/messages.h"
#include "proto_priv.h"

ProtobufCBinaryData lh_kmsv2_borrow(struct lh_str s)
{
    union {
        const char *in;
        uint8_t *out;
    } u = {.in = s.p};

    return (ProtobufCBinaryData){.len = s.n, .data = u.out};
}

static ProtobufCBinaryData exposed(const struct lh_secret *s)
{
    if (!s)
        return (ProtobufCBinaryData){0};
    return lh_kmsv2_borrow((struct lh_str){lh_secret_expose_const(s), lh_secret_len(s)});
}

static int put(struct lh_buf *b, const ProtobufCMessage *m, struct lh_err *err)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    char *at = n ? lh_buf_extend(b, n) : NULL;

    if (at)
        protobuf_c_message_pack(m, (uint8_t *)at);
    return lh_buf_check(b, err);
}

/* The annotations as protobuf-c wants them: messages, and pointers to them. One block each. */
struct entries {
    V2__Annotation *all;
    V2__Annotation **list;
};

static int entries_of(const struct lh_kmsv2_sealed *m, struct entries *out, struct lh_err *err)
{
    size_t n = m->n_annotations;

    *out = (struct entries){0};
    if (n == 0)
        return 0;
    out->all = lh_calloc(n, sizeof(*out->all));
    out->list = lh_calloc(n, sizeof(*out->list));
    if (!out->all || !out->list)
        return lh_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        v2__annotation__init(&out->all[i]);
        out->all[i].name = lh_kmsv2_borrow(m->annotations[i].name);
        out->all[i].value = lh_kmsv2_borrow(m->annotations[i].value);
        out->list[i] = &out->all[i];
    }
    return 0;
}

static void entries_done(struct entries *e)
{
    lh_free(e->all);
    lh_free(e->list);
}

int lh_kmsv2_put_status(struct lh_buf *b, const struct lh_kmsv2_status *m, struct lh_err *err)
{
    V2__StatusResponse p = V2__STATUS_RESPONSE__INIT;

    p.version = lh_kmsv2_borrow(m->version);
    p.healthz = lh_kmsv2_borrow(m->healthz);
    p.key_id = lh_kmsv2_borrow(m->key_id);
    return put(b, &p.base, err);
}

int lh_kmsv2_put_encrypt_request(struct lh_buf *b, const struct lh_kmsv2_encrypt_request *m,
                                 struct lh_err *err)
{
    V2__EncryptRequest p = V2__ENCRYPT_REQUEST__INIT;

    p.plaintext = exposed(m->plaintext);
    p.uid = lh_kmsv2_borrow(m->uid);
    return put(b, &p.base, err);
}

int lh_kmsv2_put_encrypt_response(struct lh_buf *b, const struct lh_kmsv2_sealed *m,
                                  struct lh_err *err)
{
    V2__EncryptResponse p = V2__ENCRYPT_RESPONSE__INIT;
    struct entries e;
    int rc = entries_of(m, &e, err);

    if (rc == 0) {
        p.ciphertext = lh_kmsv2_borrow(m->ciphertext);
        p.key_id = lh_kmsv2_borrow(m->key_id);
        p.n_annotations = m->n_annotations;
        p.annotations = e.list;
        rc = put(b, &p.base, err);
    }
    entries_done(&e);
    return rc;
}

int lh_kmsv2_put_decrypt_request(struct lh_buf *b, const struct lh_kmsv2_decrypt_request *m,
                                 struct lh_err *err)
{
    V2__DecryptRequest p = V2__DECRYPT_REQUEST__INIT;
    struct entries e;
    int rc = entries_of(&m->sealed, &e, err);

    if (rc == 0) {
        p.ciphertext = lh_kmsv2_borrow(m->sealed.ciphertext);
        p.uid = lh_kmsv2_borrow(m->uid);
        p.key_id = lh_kmsv2_borrow(m->sealed.key_id);
        p.n_annotations = m->sealed.n_annotations;
        p.annotations = e.list;
        rc = put(b, &p.base, err);
    }
    entries_done(&e);
    return rc;
}

int lh_kmsv2_put_decrypt_response(struct lh_buf *b, const struct lh_secret *plaintext,
                                  struct lh_err *err)
{
    V2__DecryptResponse p = V2__DECRYPT_RESPONSE__INIT;

    p.plaintext = exposed(plaintext);
    return put(b, &p.base, err);
}
