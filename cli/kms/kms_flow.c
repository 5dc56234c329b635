/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of HTTP/2 may do at any time, though grpc-go seldom does: windows, settings and
 * pings in the middle of a call, taking leave, coming in numbers, and asking for what is not to be
 * had. */
#include "kms_frames.h"
#include "kms_kit.h"
#include "leasehold/core/mem.h"

#define RFC  "RFC 9113 (HTTP/2)"
#define GRPC "gRPC over HTTP/2 (grpc/grpc doc/PROTOCOL-HTTP2.md)"

enum { WINDOW = 65535, FLOOD = 1000, CALLS = 50, CONNECTS = 1000, LARGE = 8 * 1024 * 1024 };

static const char empty_message[5];

static bool begun(const struct frames *f)
{
    return f->headers || f->ended || f->reset;
}

static bool ended(const struct frames *f)
{
    return f->ended || f->reset;
}

static bool pinged(const struct frames *f)
{
    return f->ping_acks > 0;
}

static bool counted(const struct frames *f)
{
    return f->ends >= f->awaited;
}

static void put_call(struct frames *f, uint32_t stream, const char *content_type)
{
    lh_auto_buf struct lh_buf block;
    struct lh_str b;

    lh_buf_init(&block, 4096);
    frames_status_block_of(&block, content_type);
    b = lh_buf_peek(&block);
    frames_put(f, FRAME_HEADERS, FLAG_END_HEADERS, stream, b.p, b.n);
    frames_put(f, FRAME_DATA, FLAG_END_STREAM, stream, empty_message, sizeof(empty_message));
}

/* Bytes of the answer to a plain call of Status; 0 and a skipped r where there is none. */
static size_t plain_answer(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;
    size_t n = 0;

    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        put_call(&f, 1, "application/grpc");
        if (frames_until(&f, ended) && !f.reset)
            n = f.data_bytes;
        if (n == 0)
            kms_skip(r, "Status is not answered with a message, however it is asked");
    }
    frames_close(&f);
    return n;
}

static void open_by_update(struct frames *f)
{
    frames_window(f, 1, WINDOW);
}

static void open_by_settings(struct frames *f)
{
    frames_settings(f, SETTING_INITIAL_WINDOW, WINDOW);
}

/* A call whose answer may not come before the window opens. */
static void held_back(struct kms_kit *k, void (*open)(struct frames *f), struct kms_result *r)
{
    struct frames f;

    if (plain_answer(k, r) == 0)
        return;
    if (kms_frames_begin(k, &f, r)) {
        frames_preface_with(&f, SETTING_INITIAL_WINDOW, 0);
        put_call(&f, 1, "application/grpc");
        frames_until(&f, begun);
        /* Whatever came after the headers came before the answer to this. */
        frames_put(&f, FRAME_PING, 0, 0, "leasehld", 8);
        frames_until(&f, pinged);
        if (f.data_bytes > 0) {
            kms_fail(r, "%zu bytes of DATA came into a window of 0", f.data_bytes);
        } else {
            open(&f);
            if (!frames_until(&f, ended) || f.reset || f.data_bytes == 0)
                kms_fail(r, "the answer does not come after the window was opened");
        }
    }
    frames_close(&f);
}

static void window_zero(struct kms_kit *k, struct kms_result *r)
{
    held_back(k, open_by_update, r);
}

static void settings_midway(struct kms_kit *k, struct kms_result *r)
{
    held_back(k, open_by_settings, r);
}

static void goaway(struct kms_kit *k, struct kms_result *r)
{
    static const char no_error[8];
    struct frames f;

    if (plain_answer(k, r) == 0)
        return;
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        put_call(&f, 1, "application/grpc");
        frames_put(&f, FRAME_GOAWAY, 0, 0, no_error, sizeof(no_error));
        if (!frames_until(&f, ended) || f.reset || f.data_bytes == 0)
            kms_fail(r, "a call that was under way when the client took leave is not answered");
    }
    frames_close(&f);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "a client that took leave", r);
}

static void pings_with_calls(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;

    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        for (unsigned i = 0; i < CALLS && r->verdict == KMS_PASSED; i++) {
            unsigned ends = f.ends;

            put_call(&f, 1 + 2 * i, "application/grpc");
            frames_put(&f, FRAME_PING, 0, 0, "leasehld", 8);
            f.awaited = ends + 1;
            frames_until(&f, counted);
            if (f.goaway || f.closed)
                kms_fail(r, "the connection is ended after %u calls with a PING each", i + 1);
            else if (f.ends == ends)
                kms_fail(r, "call %u with a PING is not answered", i + 1);
        }
    }
    frames_close(&f);
}

static bool flooded(const struct frames *f)
{
    return f->ping_acks == FLOOD || f->goaway;
}

static void ping_flood(struct kms_kit *k, struct kms_result *r)
{
    struct frames f;

    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        for (unsigned i = 0; i < FLOOD; i++)
            frames_put(&f, FRAME_PING, 0, 0, "leasehld", 8);
        if (!frames_until(&f, flooded) && !f.closed)
            kms_fail(r, "of %d PINGs %u are answered, and the connection stays", FLOOD,
                     f.ping_acks);
        else
            kms_note(r, "%u of %d answered%s", f.ping_acks, FLOOD,
                     f.goaway || f.closed ? ", then the connection was ended" : "");
    }
    frames_close(&f);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "1000 PINGs at once", r);
}

static void connects(struct kms_kit *k, struct kms_result *r)
{
    for (unsigned i = 0; i < CONNECTS && r->verdict == KMS_PASSED; i++) {
        struct frames f;

        kms_frames_begin(k, &f, r);
        frames_close(&f);
    }
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "1000 connections that came and went", r);
}

static void content_type(struct kms_kit *k, struct kms_result *r)
{
    size_t plain = plain_answer(k, r);
    struct frames f;

    if (plain == 0)
        return;
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        put_call(&f, 1, "text/plain");
        if (!frames_until(&f, ended) && !f.closed)
            kms_fail(r, "a call of content-type text/plain gets no answer at all");
        else if (f.data_bytes == plain)
            kms_fail(r, "a call of content-type text/plain is answered as if it were gRPC");
    }
    frames_close(&f);
}

static void two_messages(struct kms_kit *k, struct kms_result *r)
{
    static const char two[2 * sizeof(empty_message)];
    size_t plain = plain_answer(k, r);
    lh_auto_buf struct lh_buf block;
    struct lh_str b;
    struct frames f;

    lh_buf_init(&block, 4096);
    frames_status_block(&block);
    b = lh_buf_peek(&block);
    if (plain == 0)
        return;
    if (kms_frames_begin(k, &f, r)) {
        frames_preface(&f);
        frames_put(&f, FRAME_HEADERS, FLAG_END_HEADERS, 1, b.p, b.n);
        frames_put(&f, FRAME_DATA, FLAG_END_STREAM, 1, two, sizeof(two));
        frames_until(&f, ended);
        if (f.data_bytes > plain)
            kms_fail(r, "a call with two messages is answered twice");
    }
    frames_close(&f);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "a call with two messages", r);
}

static void oversize(struct kms_kit *k, struct kms_result *r)
{
    char *bytes = lh_calloc(1, LARGE);
    struct kms_answer a;

    if (!bytes) {
        kms_skip(r, "out of memory");
        return;
    }
    kms_raw_call(k, LH_KMSV2_ENCRYPT, (struct lh_str){bytes, LARGE}, &a);
    if (a.ok)
        kms_fail(r, "8 MiB that are no request are answered OK");
    kms_answer_done(&a);
    lh_free(bytes);
    if (r->verdict == KMS_PASSED)
        kms_still_there(k, "a request of 8 MiB", r);
}

const struct kms_test kms_flow_tests[] = {
    {"window-zero", "DATA waits for the client's window; what comes after it is opened is whole.",
     RFC " 6.9.2", window_zero},
    {"settings-midway", "A larger initial window opens the windows of calls under way.",
     RFC " 6.9.2, 6.9.3", settings_midway},
    {"goaway", "A client that takes leave still gets what it asked for.", RFC " 6.8", goaway},
    {"ping-with-calls", "A PING with each call is no offence: grpc-go measures by them.",
     RFC " 6.7; grpc-go, bdp_estimator", pings_with_calls},
    {"ping-flood", "PINGs without end are answered or end their own connection.", RFC " 6.7, 10.5",
     ping_flood},
    {"connects", "1000 connections that come and go keep nobody out.", "availability of " GRPC,
     connects},
    {"content-type", "A call of another content-type than application/grpc is refused.", GRPC,
     content_type},
    {"two-messages", "A call has one answer, whatever follows its message.", GRPC, two_messages},
    {"oversize", "A request of 8 MiB is an error, and one of its call alone.", GRPC, oversize},
    {0},
};
