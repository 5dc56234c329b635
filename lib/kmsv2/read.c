/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "leasehold/core/map.h"
#include "leasehold/core/mem.h"
#include "leasehold/grpc/protobuf.h"
#include "leasehold/kmsv2/messages.h"
#include "proto_priv.h"

ProtobufCAllocator lh_kmsv2_allocator = {.alloc = lh_grpc_pb_alloc, .free = lh_grpc_pb_free};

/* What a struct that was read points into. */
struct held {
    ProtobufCMessage *message;
    struct lh_kmsv2_annotation *annotations;
};

static void held_free(void *p)
{
    struct held *h = p;

    if (!h)
        return;
    if (h->message)
        protobuf_c_message_free_unpacked(h->message, &lh_kmsv2_allocator);
    lh_free(h->annotations);
    lh_free(h);
}

static int unpack(const ProtobufCMessageDescriptor *type, struct lh_str bytes, struct held **out,
                  struct lh_err *err)
{
    struct held *h;

    if (bytes.n > LH_KMSV2_MESSAGE_MAX)
        return lh_err_set(err, LH_E_TOOBIG, "%s has %zu bytes, more than %d", type->short_name,
                          bytes.n, LH_KMSV2_MESSAGE_MAX);
    h = lh_calloc(1, sizeof(*h));
    if (!h)
        return lh_err_nomem(err);
    h->message =
        protobuf_c_message_unpack(type, &lh_kmsv2_allocator, bytes.n, (const uint8_t *)bytes.p);
    if (!h->message) {
        held_free(h);
        return lh_err_set(err, LH_E_INVALID, "%s is malformed", type->short_name);
    }
    *out = h;
    return 0;
}

static int text(ProtobufCBinaryData d, const char *field, struct lh_str *out, struct lh_err *err)
{
    struct lh_str s = lh_kmsv2_view(d);

    if (s.n > 0 && (memchr(s.p, 0, s.n) || !lh_str_is_utf8(s)))
        return lh_err_set(err, LH_E_INVALID, "%s is not a text (UTF-8 without NUL)", field);
    *out = s;
    return 0;
}

/* seen: NULL where there is one only. */
static int take_each(V2__Annotation *const *from, size_t n, struct lh_kmsv2_annotation *to,
                     struct lh_map *seen, struct lh_err *err)
{
    static char mark;

    for (size_t i = 0; i < n; i++) {
        int rc = text(from[i]->name, "an annotation's name", &to[i].name, err);

        if (rc < 0)
            return rc;
        to[i].value = lh_kmsv2_view(from[i]->value);
        if (!seen)
            continue;
        if (lh_map_get(seen, to[i].name))
            return lh_err_set(err, LH_E_INVALID, "annotations have a name twice");
        rc = lh_map_set(seen, to[i].name, &mark, NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int take_annotations(struct held *h, V2__Annotation *const *from, size_t n,
                            struct lh_kmsv2_sealed *out, struct lh_err *err)
{
    struct lh_map *seen = NULL;
    int rc;

    if (n == 0)
        return 0;
    h->annotations = lh_calloc(n, sizeof(*h->annotations));
    if (!h->annotations)
        return lh_err_nomem(err);
    /* One has no twin, and is what a plugin makes: a map draws two keys from the kernel. */
    rc = n > 1 ? lh_map_new(&seen, err) : 0;
    if (rc == 0)
        rc = take_each(from, n, h->annotations, seen, err);
    lh_map_free(seen, NULL);
    if (rc < 0)
        return rc;
    out->annotations = h->annotations;
    out->n_annotations = n;
    return 0;
}

static int secret(ProtobufCBinaryData d, struct lh_secret **out, struct lh_err *err)
{
    return lh_secret_copy(d.data, d.len, out, err);
}

int lh_kmsv2_read_status_request(struct lh_str bytes, struct lh_err *err)
{
    struct held *h = NULL;
    int rc = unpack(&v2__status_request__descriptor, bytes, &h, err);

    held_free(h);
    return rc;
}

int lh_kmsv2_read_status(struct lh_str bytes, struct lh_kmsv2_status *out, struct lh_err *err)
{
    struct lh_kmsv2_status s = {0};
    struct held *h = NULL;
    int rc = unpack(&v2__status_response__descriptor, bytes, &h, err);

    if (rc == 0) {
        const V2__StatusResponse *p = (const V2__StatusResponse *)h->message;

        rc = text(p->version, "version", &s.version, err);
        if (rc == 0)
            rc = text(p->healthz, "healthz", &s.healthz, err);
        if (rc == 0)
            rc = text(p->key_id, "key_id", &s.key_id, err);
    }
    s.held = h;
    if (rc < 0)
        lh_kmsv2_status_done(&s);
    else
        *out = s;
    return rc;
}

int lh_kmsv2_read_encrypt_request(struct lh_str bytes, struct lh_kmsv2_encrypt_request *out,
                                  struct lh_err *err)
{
    struct lh_kmsv2_encrypt_request r = {0};
    struct held *h = NULL;
    int rc = unpack(&v2__encrypt_request__descriptor, bytes, &h, err);

    if (rc == 0) {
        const V2__EncryptRequest *p = (const V2__EncryptRequest *)h->message;

        rc = text(p->uid, "uid", &r.uid, err);
        if (rc == 0)
            rc = secret(p->plaintext, &r.plaintext, err);
    }
    r.held = h;
    if (rc < 0)
        lh_kmsv2_encrypt_request_done(&r);
    else
        *out = r;
    return rc;
}

int lh_kmsv2_read_encrypt_response(struct lh_str bytes, struct lh_kmsv2_encrypt_response *out,
                                   struct lh_err *err)
{
    struct lh_kmsv2_encrypt_response r = {0};
    struct held *h = NULL;
    int rc = unpack(&v2__encrypt_response__descriptor, bytes, &h, err);

    if (rc == 0) {
        const V2__EncryptResponse *p = (const V2__EncryptResponse *)h->message;

        r.sealed.ciphertext = lh_kmsv2_view(p->ciphertext);
        rc = text(p->key_id, "key_id", &r.sealed.key_id, err);
        if (rc == 0)
            rc = take_annotations(h, p->annotations, p->n_annotations, &r.sealed, err);
    }
    r.held = h;
    if (rc < 0)
        lh_kmsv2_encrypt_response_done(&r);
    else
        *out = r;
    return rc;
}

int lh_kmsv2_read_decrypt_request(struct lh_str bytes, struct lh_kmsv2_decrypt_request *out,
                                  struct lh_err *err)
{
    struct lh_kmsv2_decrypt_request r = {0};
    struct held *h = NULL;
    int rc = unpack(&v2__decrypt_request__descriptor, bytes, &h, err);

    if (rc == 0) {
        const V2__DecryptRequest *p = (const V2__DecryptRequest *)h->message;

        r.sealed.ciphertext = lh_kmsv2_view(p->ciphertext);
        rc = text(p->uid, "uid", &r.uid, err);
        if (rc == 0)
            rc = text(p->key_id, "key_id", &r.sealed.key_id, err);
        if (rc == 0)
            rc = take_annotations(h, p->annotations, p->n_annotations, &r.sealed, err);
    }
    r.held = h;
    if (rc < 0)
        lh_kmsv2_decrypt_request_done(&r);
    else
        *out = r;
    return rc;
}

int lh_kmsv2_read_decrypt_response(struct lh_str bytes, struct lh_kmsv2_decrypt_response *out,
                                   struct lh_err *err)
{
    struct held *h = NULL;
    int rc = unpack(&v2__decrypt_response__descriptor, bytes, &h, err);

    if (rc == 0)
        rc = secret(((const V2__DecryptResponse *)h->message)->plaintext, &out->plaintext, err);
    held_free(h);
    return rc;
}

void lh_kmsv2_status_done(struct lh_kmsv2_status *m)
{
    held_free(m->held);
    *m = (struct lh_kmsv2_status){0};
}

void lh_kmsv2_encrypt_request_done(struct lh_kmsv2_encrypt_request *m)
{
    lh_secret_free(m->plaintext);
    held_free(m->held);
    *m = (struct lh_kmsv2_encrypt_request){0};
}

void lh_kmsv2_encrypt_response_done(struct lh_kmsv2_encrypt_response *m)
{
    held_free(m->held);
    *m = (struct lh_kmsv2_encrypt_response){0};
}

void lh_kmsv2_decrypt_request_done(struct lh_kmsv2_decrypt_request *m)
{
    held_free(m->held);
    *m = (struct lh_kmsv2_decrypt_request){0};
}

void lh_kmsv2_decrypt_response_done(struct lh_kmsv2_decrypt_response *m)
{
    lh_secret_free(m->plaintext);
    *m = (struct lh_kmsv2_decrypt_response){0};
}
