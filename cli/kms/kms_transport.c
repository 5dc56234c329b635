/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC over HTTP/2 as the API server's client speaks it, and what must not hurt others. */
#include <errno.h>
#include <string.h>

#include "kms_frames.h"
#include "kms_kit.h"
#include "leasehold/core/mem.h"

#define RFC  "RFC 9113 (HTTP/2)"
#define GRPC "gRPC over HTTP/2 (grpc/grpc doc/PROTOCOL-HTTP2.md)"

enum { CROWD = 32, STORM = 200 };

static bool any(const struct frames *f)
{
    return f->any;
}

static bool pinged(const struct frames *f)
{
    return f->ping_acks > 0;
}

static bool ended(const struct frames *f)
{
    return f->ended || f->reset;
}

static bool never(const struct frames *f)
{
    (void)f;
    return false;
}

static bool sent(const struct frames *f)
{
    return f->out.n == 0;
}

bool kms_frames_begin(struct kms_kit *k, struct frames *f, struct kms_result *r)
{
    if (frames_open(f, k->opts.socket, k->opts.timeout_ms) < 0) {
        kms_fail(r, "no new connection: %s", strerror(errno));
        return false;
    }
    return true;
}

/* After whatever was done to it, the plugin answers somebody else. */
void kms_still_there(struct kms_kit *k, const char *after, struct kms_result *r)
{
    struct lh_err err = {0};
    struct kms_answer a;

    if (kms_kit_reconnect(k, &err) < 0) {
        kms_skip(r, "%.300s", err.msg);
        return;
    }
    /* Not Status: that may fail for reasons of its own. */
    kms_raw_call(k, "/v2.KeyManagementService/Nonsense", (struct lh_str){"", 0}, &a);
    if (a.status == LH_GRPC_UNAVAILABLE || a.status == LH_GRPC_DEADLINE_EXCEEDED)
        kms_fail(r, "after %s a call is not answered: %.200s", after, a.text);
    kms_answer_done(&a);
}

static void settings_first(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;

    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        if (!frames_until(&f, any))
            kms_fail(r, "nothing came within %u ms of the connection preface", f.timeout_ms);
        else if (f.first != FRAME_SETTINGS || (f.first_flags & FLAG_ACK))
            kms_fail(r, "the first frame is of type %u, flags %u, not its own SETTINGS", f.first,
                     f.first_flags);
    }
    frames_close(&f);
}

static void ping(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;

    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        frames_put(&f, FRAME_PING, 0, 0, "leasehld", 8);
        if (!frames_until(&f, pinged))
            kms_fail(r, "a PING was not answered");
    }
    frames_close(&f);
}

static const char empty_message[5];

static void put_plain(struct frames *f, struct lh_str block)
{
    frames_put(f, FRAME_HEADERS, FLAG_END_HEADERS, 1, block.p, block.n);
    frames_put(f, FRAME_DATA, FLAG_END_STREAM, 1, empty_message, sizeof(empty_message));
}

/* A call of Status in frames of one's own: whether a message came back. */
static bool answers(struct kms_kit *k, void (*put)(struct frames *f, struct lh_str block),
                    struct kms_result *r)
{
    struct frames f;
    lh_auto_buf struct lh_buf block;
    bool came = false;

    lh_buf_init(&block, 4096);
    frames_status_block(&block);
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        put(&f, lh_buf_peek(&block));
        came = frames_until(&f, ended) && !f.reset && f.data_bytes > 0;
    }
    frames_close(&f);
    return came;
}

static void peculiar(struct kms_kit *k, void (*put)(struct frames *f, struct lh_str block),
                     const char *what, struct kms_result *r)
{
    if (answers(k, put, r))
        kms_still_there(k, what, r);
    else if (answers(k, put_plain, r))
        kms_fail(r, "a call with %s is not answered, the plain one is", what);
    else if (r->verdict == KMS_PASSED)
        kms_skip(r, "Status is not answered with a message, however it is asked");
}

static void put_split(struct frames *f, struct lh_str block)
{
    frames_put(f, FRAME_HEADERS, 0, 1, block.p, 10);
    frames_put(f, FRAME_CONTINUATION, 0, 1, block.p + 10, 20);
    frames_put(f, FRAME_CONTINUATION, FLAG_END_HEADERS, 1, block.p + 30, block.n - 30);
    frames_put(f, FRAME_DATA, FLAG_END_STREAM, 1, empty_message, sizeof(empty_message));
}

static void put_padded(struct frames *f, struct lh_str block)
{
    static const char padded[1 + 5 + 3] = {3};

    frames_put(f, FRAME_HEADERS, FLAG_END_HEADERS, 1, block.p, block.n);
    frames_put(f, FRAME_DATA, FLAG_PADDED, 1, padded, sizeof(padded));
    frames_put(f, FRAME_DATA, FLAG_END_STREAM, 1, "", 0);
}

static void put_bytewise(struct frames *f, struct lh_str block)
{
    frames_put(f, FRAME_HEADERS, FLAG_END_HEADERS, 1, block.p, block.n);
    for (size_t i = 0; i < sizeof(empty_message); i++)
        frames_put(f, FRAME_DATA, i + 1 == sizeof(empty_message) ? FLAG_END_STREAM : 0, 1,
                   empty_message + i, 1);
}

static void split_headers(struct kms_kit *k, struct kms_result *r)
{
    peculiar(k, put_split, "its header block in three frames", r);
}

static void padding(struct kms_kit *k, struct kms_result *r)
{
    peculiar(k, put_padded, "padding and an empty DATA frame", r);
}

static void bytewise(struct kms_kit *k, struct kms_result *r)
{
    peculiar(k, put_bytewise, "its message in frames of one byte", r);
}

static void unknown_method(struct kms_kit *k, struct kms_result *r)
{
    struct kms_answer a;

    kms_raw_call(k, "/v2.KeyManagementService/Nonsense", (struct lh_str){"", 0}, &a);
    if (a.status != LH_GRPC_UNIMPLEMENTED)
        kms_fail(r, "a method that does not exist is answered %.200s", a.text);
    kms_answer_done(&a);
}

static void malformed(struct kms_kit *k, struct kms_result *r)
{
    static const struct lh_str cut_short = {"\x0a\x7f\x01", 3};
    static const char *const methods[] = {LH_KMSV2_ENCRYPT, LH_KMSV2_DECRYPT};

    for (size_t i = 0; i < LH_ARRAY_LEN(methods) && r->verdict == KMS_PASSED; i++) {
        struct kms_answer a;

        kms_raw_call(k, methods[i], cut_short, &a);
        if (a.ok)
            kms_fail(r, "%s of bytes that are no message is answered OK", methods[i]);
        kms_answer_done(&a);
    }
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "a message that cannot be read", r);
}

/* A body that is not one plain message gets no message back. */
static void no_message(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;
    lh_auto_buf struct lh_buf block;

    lh_buf_init(&block, 4096);
    frames_status_block(&block);
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        frames_put(&f, FRAME_HEADERS, FLAG_END_HEADERS | FLAG_END_STREAM, 1, block.p, block.n);
        if (!frames_until(&f, ended) && !f.closed)
            kms_note(r, "nothing comes back, as from grpc-go");
        if (f.data_bytes > 0)
            kms_fail(r, "a call without a message is answered with one");
    }
    frames_close(&f);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "a call without a message", r);
}

static void compressed(struct kms_kit *k, struct kms_result *r)
{
    static const char flagged[5 + 1] = {1, 0, 0, 0, 1, 'x'};
    struct frames f;
    lh_auto_buf struct lh_buf block;

    lh_buf_init(&block, 4096);
    frames_status_block(&block);
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        frames_put(&f, FRAME_HEADERS, FLAG_END_HEADERS, 1, block.p, block.n);
        frames_put(&f, FRAME_DATA, FLAG_END_STREAM, 1, flagged, sizeof(flagged));
        if (!frames_until(&f, ended) && !f.closed)
            kms_fail(r, "a message said to be compressed gets no answer at all");
        else if (f.data_bytes > 0)
            kms_fail(r, "a message said to be compressed, with no grpc-encoding, is taken");
    }
    frames_close(&f);
}

static void garbage(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;

    if (kms_frames_begin(k, &f, r)) {
        lh_buf_put_z(&f.out, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        frames_put(&f, 0xff, 0xff, 0x7fffffff, "\xff\xff\xff\xff", 4);
        /* Without its own end the plugin may wait for more: half a second is enough to fall. */
        f.timeout_ms = f.timeout_ms < 500 ? f.timeout_ms : 500;
        frames_until(&f, never);
    }
    frames_close(&f);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "a connection that speaks no HTTP/2", r);
}

static void reset_storm(struct kms_kit *k, struct kms_result *r)
{
    static const char cancel[4] = {0, 0, 0, 8};
    struct frames f;
    lh_auto_buf struct lh_buf block;

    lh_buf_init(&block, 4096);
    frames_status_block(&block);
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        for (uint32_t i = 0; i < STORM; i++) {
            frames_put(&f, FRAME_HEADERS, FLAG_END_HEADERS, 1 + 2 * i, block.p, block.n);
            frames_put(&f, FRAME_RST_STREAM, 0, 1 + 2 * i, cancel, sizeof(cancel));
        }
        frames_until(&f, sent);
    }
    frames_close(&f);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "200 calls that were cancelled at once", r);
}

static void crowd(struct kms_kit *k, struct kms_result *r)
{
    struct frames *all = lh_calloc(CROWD, sizeof(*all));
    size_t n = 0;

    if (!all) {
        kms_skip(r, "out of memory");
        return;
    }
    while (n < CROWD && kms_frames_begin(k, &all[n], r))
        n++;
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "32 connections that say nothing", r);
    for (size_t i = 0; i < (n < CROWD ? n + 1 : n); i++)
        frames_close(&all[i]);
    lh_free(all);
}

const struct kms_test kms_transport_tests[] = {
    {"settings-first", "The first frame is SETTINGS and comes at once; grpc-go waits for it.",
     RFC " 3.4", settings_first},
    {"ping", "PING is answered; grpc-go measures the connection by it.", RFC " 6.7", ping},
    {"split-headers", "A header block may come in several frames.", RFC " 6.10", split_headers},
    {"padding", "DATA may be padded, or empty.", RFC " 6.1", padding},
    {"bytewise", "A message may come in any number of DATA frames.", GRPC, bytewise},
    {"unknown-method", "A method that does not exist is UNIMPLEMENTED.", GRPC, unknown_method},
    {"malformed", "A request that is no message is an error, and one of its call alone.", GRPC,
     malformed},
    {"no-message", "A call that ends without a message is not answered with one.", GRPC,
     no_message},
    {"compressed", "A message said to be compressed, with no grpc-encoding, is refused.", GRPC,
     compressed},
    {"garbage", "Bytes that are no HTTP/2 end their own connection at most.", RFC " 5.4.1",
     garbage},
    {"reset-storm", "Calls that are given up in numbers leave the others alone.", RFC " 5.4.2",
     reset_storm},
    {"crowd", "32 connections that stay idle keep nobody out.", "availability of " GRPC, crowd},
    {0},
};
