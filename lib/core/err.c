/* SPDX-License-Identifier: Apache-2.0 */
#include "leasehold/core/err.h"
#include "leasehold/core/mem.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/core/str.h"

/* One line for people and terminals: a name that came from outside may hold anything. */
static void clean_text(char *msg)
{
    size_t n = strlen(msg), i = 0;

    while (i < n) {
        unsigned char c = (unsigned char)msg[i];
        size_t len = lh_str_utf8_len((struct lh_str){msg + i, n - i});

        if (len == 0 || c < 0x20 || c == 0x7f) {
            msg[i++] = c == '\n' || c == '\t' ? ' ' : '?';
        } else if (len == 2 && c == 0xc2 && (unsigned char)msg[i + 1] < 0xa0) {
            msg[i++] = '?'; /* C1 controls steer terminals too */
            msg[i++] = '?';
        } else {
            i += len;
        }
    }
}

/* A cut in the middle of a UTF-8 sequence would show as garbage. */
static void cut_tail(char *msg, size_t size)
{
    size_t n = strlen(msg), back = 1;

    if (n + 1 < size)
        return;
    while (back < 4 && back <= n && ((unsigned char)msg[n - back] & 0xc0) == 0x80)
        back++;
    if (back <= n && ((unsigned char)msg[n - back] & 0xc0) == 0xc0 &&
        lh_str_utf8_len((struct lh_str){msg + n - back, back}) != back)
        msg[n - back] = '\0';
}

/* Through a copy: the arguments may point into err->msg itself. */
static void __attribute__((format(printf, 2, 0)))
set_text(struct lh_err *err, const char *fmt, va_list ap, const char *suffix)
{
    char msg[sizeof(err->msg)];
    size_t n;

    if (vsnprintf(msg, sizeof(msg), fmt, ap) < 0)
        msg[0] = '\0';
    n = strlen(msg);
    if (suffix)
        snprintf(msg + n, sizeof(msg) - n, ": %s", suffix);
    cut_tail(msg, sizeof(msg));
    clean_text(msg);
    memcpy(err->msg, msg, strlen(msg) + 1);
}

int lh_err_fill(struct lh_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        set_text(err, fmt, ap, NULL);
        va_end(ap);
        err->code = code;
        err->os = 0;
        err->retry_ms = 0;
        err->http_status = 0;
        err->reason = NULL;
        err->sent = false;
    }
    return -code;
}

int lh_err_fill_os(struct lh_err *err, int os, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        va_start(ap, fmt);
        set_text(err, fmt, ap, strerror(os));
        va_end(ap);
        err->code = LH_E_OS;
        err->os = os;
        err->retry_ms = 0;
        err->http_status = 0;
        err->reason = NULL;
        err->sent = false;
    }
    return -(int)LH_E_OS;
}

int lh_err_wrap(struct lh_err *err, int rc, const char *fmt, ...)
{
    char old[sizeof(err->msg)];
    va_list ap;

    if (err) {
        memcpy(old, err->msg, sizeof(old));
        old[sizeof(old) - 1] = '\0';
        va_start(ap, fmt);
        set_text(err, fmt, ap, old);
        va_end(ap);
    }
    return rc;
}

int lh_err_reason(struct lh_err *err, int rc, const char *reason)
{
    if (err)
        err->reason = reason;
    return rc;
}

const char *lh_code_name(int code)
{
    static const char *const names[] = {
        [0] = "OK",
        [LH_E_NOMEM] = "NoMemory",
        [LH_E_OS] = "System",
        [LH_E_INVALID] = "Invalid",
        [LH_E_TOOBIG] = "TooBig",
        [LH_E_NOTFOUND] = "NotFound",
        [LH_E_DENIED] = "Denied",
        [LH_E_GONE] = "Gone",
        [LH_E_CONFLICT] = "Conflict",
        [LH_E_BUSY] = "Busy",
        [LH_E_UNAVAILABLE] = "Unavailable",
        [LH_E_EXPIRED] = "Expired",
    };

    if (code < 0 || (size_t)code >= sizeof(names) / sizeof(names[0]))
        return "Unknown";
    return names[code];
}

void lh_err_keep(struct lh_err **at, const struct lh_err *err)
{
    if (!err) {
        lh_free(*at);
        *at = NULL;
        return;
    }
    if (!*at)
        *at = lh_malloc(sizeof(**at));
    if (*at)
        **at = *err;
}
