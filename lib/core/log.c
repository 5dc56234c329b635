/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leasehold/core/clock.h"
#include "leasehold/core/mem.h"

enum {
    LINE_MAX_BYTES = 8192,
    TAIL_BYTES = 32, /* kept free for what ends a line that was cut */
    VALUE_MAX_BYTES = 1024,
    BURST = 10,
    WINDOW_MS = 10000,
    MESSAGES = 64,
    MESSAGE_BYTES = 96,
};

/* A line is built without allocating: the log must work when memory is out. */
struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
    bool cut;
};

struct repeat {
    enum lh_log_level level;
    char msg[MESSAGE_BYTES];
    lh_ms since;
    unsigned seen, suppressed;
};

static struct {
    const char *program;
    enum lh_log_level least;
    int fd;
    struct repeat repeats[MESSAGES];
} logger = {.least = LH_LOG_INFO, .fd = 2};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

static bool put(struct line *l, const char *p, size_t n)
{
    if (l->cut || n > sizeof(l->p) - TAIL_BYTES - l->n)
        return false;
    memcpy(l->p + l->n, p, n);
    l->n += n;
    return true;
}

static bool put_z(struct line *l, const char *z)
{
    return put(l, z, strlen(z));
}

static bool needs_escape(struct lh_str s, size_t len)
{
    unsigned char c = (unsigned char)s.p[0];

    if (len == 0 || c < 0x20 || c == 0x7f || c == '"' || c == '\\')
        return true;
    return len == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0; /* C1 controls */
}

static bool put_escaped(struct line *l, struct lh_str s, size_t len)
{
    char esc[8];

    if (len == 0)
        return put_z(l, "\\ufffd");
    if (s.p[0] == '"' || s.p[0] == '\\') {
        esc[0] = '\\';
        esc[1] = s.p[0];
        return put(l, esc, 2);
    }
    snprintf(esc, sizeof(esc), "\\u%04x", (unsigned char)s.p[len - 1]);
    return put_z(l, esc);
}

static bool put_string(struct line *l, struct lh_str s)
{
    size_t left = s.n;
    bool ok = put(l, "\"", 1);

    if (left > VALUE_MAX_BYTES)
        left = VALUE_MAX_BYTES;
    while (ok && left > 0) {
        size_t len = lh_str_utf8_len((struct lh_str){s.p, left}), step = len ? len : 1;

        if (len == 0 && left < 4 && left < s.n) /* a sequence that the cut divided */
            break;
        ok = needs_escape(s, len) ? put_escaped(l, s, len) : put(l, s.p, len);
        s.p += step;
        s.n -= step;
        left -= step;
    }
    if (ok && s.n > 0)
        ok = put_z(l, "...");
    return ok && put(l, "\"", 1);
}

static bool put_key(struct line *l, const char *key)
{
    return put(l, ",", 1) && put_string(l, lh_str(key)) && put(l, ":", 1);
}

static bool put_text_field(struct line *l, const char *key, struct lh_str s)
{
    return put_key(l, key) && put_string(l, s);
}

static bool put_raw_field(struct line *l, const char *key, const char *raw)
{
    return put_key(l, key) && put_z(l, raw);
}

static bool put_field(struct line *l, const struct lh_log_field *f)
{
    char number[24];

    switch (f->kind) {
    case LH_LOG_F_STR:
        return f->z ? put_text_field(l, f->key, lh_str(f->z)) : put_raw_field(l, f->key, "null");
    case LH_LOG_F_STRN:
        return put_text_field(l, f->key, f->s);
    case LH_LOG_F_INT:
        snprintf(number, sizeof(number), "%" PRId64, f->i);
        return put_raw_field(l, f->key, number);
    case LH_LOG_F_BOOL:
        return put_raw_field(l, f->key, f->b ? "true" : "false");
    case LH_LOG_F_ERR:
        if (!f->err)
            return true;
        return put_text_field(l, f->key, lh_str(f->err->msg)) &&
               (!f->err->reason || put_text_field(l, "reason", lh_str(f->err->reason)));
    case LH_LOG_F_END:
        break;
    }
    return true;
}

static void start_line(struct line *l, enum lh_log_level level, const char *msg)
{
    char time[32];

    l->n = 0;
    l->cut = false;
    put_z(l, "{\"time\":\"");
    put_z(l, lh_clock_format(lh_clock_wall_ms(), time));
    put_z(l, "\",\"level\":\"");
    put_z(l, level_names[level]);
    put_z(l, "\"");
    if (logger.program)
        put_text_field(l, "program", lh_str(logger.program));
    put_text_field(l, "msg", lh_str(msg));
}

static void end_line(struct line *l)
{
    static const char tail[] = "}\n", cut_tail[] = ",\"truncated\":true}\n";
    const char *end = l->cut ? cut_tail : tail;
    size_t at = 0;

    memcpy(l->p + l->n, end, strlen(end));
    l->n += strlen(end);
    while (at < l->n) {
        ssize_t w = write(logger.fd, l->p + at, l->n - at);

        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return; /* nowhere left to say so */
        at += (size_t)w;
    }
}

static void add_fields(struct line *l, const struct lh_log_field *f)
{
    for (; f->kind != LH_LOG_F_END; f++) {
        size_t before = l->n;

        if (!put_field(l, f)) {
            l->n = before;
            l->cut = true;
            return;
        }
    }
}

static void write_suppressed(struct repeat *r)
{
    struct line l;
    char number[16];

    if (r->suppressed == 0)
        return;
    start_line(&l, r->level, r->msg);
    snprintf(number, sizeof(number), "%u", r->suppressed);
    put_raw_field(&l, "suppressed", number);
    end_line(&l);
    r->suppressed = 0;
}

static void expire_windows(lh_ms now)
{
    for (size_t i = 0; i < MESSAGES; i++) {
        struct repeat *r = &logger.repeats[i];

        if (r->seen > 0 && (now - r->since >= WINDOW_MS || now < r->since)) {
            write_suppressed(r);
            r->seen = 0;
        }
    }
}

/* The slot of this message, a free one, or the oldest one, whose count is written out first. */
static struct repeat *find_repeat(enum lh_log_level level, const char *msg, lh_ms now)
{
    struct repeat *free_slot = NULL, *oldest = &logger.repeats[0];

    for (size_t i = 0; i < MESSAGES; i++) {
        struct repeat *r = &logger.repeats[i];

        if (r->seen == 0) {
            free_slot = r;
            continue;
        }
        if (r->level == level && strncmp(r->msg, msg, MESSAGE_BYTES - 1) == 0)
            return r;
        if (r->since < oldest->since)
            oldest = r;
    }
    if (!free_slot) {
        write_suppressed(oldest);
        free_slot = oldest;
    }
    *free_slot = (struct repeat){.level = level, .since = now};
    snprintf(free_slot->msg, sizeof(free_slot->msg), "%s", msg);
    return free_slot;
}

void lh_log_init(const char *program, enum lh_log_level least, int fd)
{
    for (size_t i = 0; i < MESSAGES; i++)
        write_suppressed(&logger.repeats[i]);
    memset(logger.repeats, 0, sizeof(logger.repeats));
    logger.program = program;
    logger.least = least;
    logger.fd = fd;
}

int lh_log_level_parse(const char *text, enum lh_log_level *out)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum lh_log_level)i;
            return 0;
        }
    }
    return -1;
}

bool lh_log_enabled(enum lh_log_level level)
{
    return level >= logger.least && logger.least != LH_LOG_OFF;
}

void lh_log_write(enum lh_log_level level, const char *msg, const struct lh_log_field *fields)
{
    lh_ms now = lh_clock_now();
    struct repeat *r;
    struct line l;

    if (level >= LH_LOG_OFF)
        return;
    expire_windows(now);
    r = find_repeat(level, msg, now);
    r->seen++;
    if (r->seen > BURST) {
        r->suppressed++;
        return;
    }
    start_line(&l, level, msg);
    add_fields(&l, fields);
    end_line(&l);
}
