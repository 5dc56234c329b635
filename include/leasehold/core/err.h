/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_ERR_H
#define LEASEHOLD_CORE_ERR_H

/*
 * One error object for every layer. A function that can fail in more than one way returns 0 or a
 * negated enum lh_code and fills *err; outputs are untouched then. The text is one line for people:
 * it names the object and what to do, never a secret and never bytes of an answer. Libraries do not
 * log errors; the program that decides what happens next logs once.
 */
#include <stdarg.h>
#include <stdbool.h>

/* Small and closed, because retry policy switches on it. */
enum lh_code {
    LH_E_NOMEM = 1,
    LH_E_OS,      /* a system call failed; err->os holds errno */
    LH_E_INVALID, /* the input is wrong: never retry */
    LH_E_TOOBIG,  /* past a named limit */
    LH_E_NOTFOUND,
    LH_E_DENIED, /* not allowed, by policy: a new login does not help */
    LH_E_GONE,   /* the position is lost: list again */
    LH_E_CONFLICT,
    LH_E_BUSY,        /* retry after err->retry_ms */
    LH_E_UNAVAILABLE, /* not reachable or not able now: retry with backoff */
    LH_E_EXPIRED,     /* the token or lease is dead: get a new one */
};

struct lh_err {
    int code;           /* enum lh_code, 0 when unset */
    int os;             /* errno for LH_E_OS, else 0 */
    int retry_ms;       /* LH_E_BUSY and LH_E_UNAVAILABLE: what the peer asked for, 0 if nothing */
    int http_status;    /* 0, or the status that the answer had */
    const char *reason; /* NULL, or a word of api/reasons.h (static storage) */
    bool sent;          /* the request may have been acted on: nobody below lease retries it */
    char msg[512];
};

/* Fills *err (NULL is allowed) and returns -code. */
int lh_err_fill(struct lh_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int lh_err_fill_os(struct lh_err *err, int os, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Prefixes the text ("prefix: old text"), keeps everything else; once per layer. Returns rc. */
int lh_err_wrap(struct lh_err *err, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the reason word (static string), keeps the rest. Returns rc. */
int lh_err_reason(struct lh_err *err, int rc, const char *reason);

/* An error takes half a kilobyte: whoever has many objects keeps one only where there is one. *at
 * is a copy of err, owned, of the caller's; NULL forgets it. Without memory *at is as it was. */
void lh_err_keep(struct lh_err **at, const struct lh_err *err);

/* Static name of a code: "NotFound"... */
const char *lh_code_name(int code);

/* Analysers must see the result as negative. */
static inline int lh_err_negative(int rc)
{
    return rc < 0 ? rc : -(int)LH_E_OS;
}

#define lh_err_set(err, code, ...) lh_err_negative(lh_err_fill((err), (code), __VA_ARGS__))
#define lh_err_os(err, os, ...)    lh_err_negative(lh_err_fill_os((err), (os), __VA_ARGS__))
#define lh_err_nomem(err)          lh_err_negative(lh_err_fill((err), LH_E_NOMEM, "out of memory"))

#endif
