/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_LOG_H
#define LEASEHOLD_CORE_LOG_H

/*
 * JSON lines on stderr: constant message plus typed fields. No field type takes a secret. Equal
 * messages are limited to a burst of 10 in 10 s per (level, message), then one line with a count.
 *   lh_log_warn("renewal failed", LH_F_STR("store", name), LH_F_INT("retry_ms", n),
 * LH_F_ERR(&err));
 * {"time":"...","level":"warn","msg":"renewal
 * failed","store":"vault","retry_ms":250,"error":"...","reason":"..."}
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/core/err.h"
#include "leasehold/core/str.h"

enum lh_log_level { LH_LOG_DEBUG, LH_LOG_INFO, LH_LOG_WARN, LH_LOG_ERROR, LH_LOG_OFF };
enum lh_log_kind {
    LH_LOG_F_END,
    LH_LOG_F_STR,
    LH_LOG_F_STRN,
    LH_LOG_F_INT,
    LH_LOG_F_BOOL,
    LH_LOG_F_ERR
};

struct lh_log_field {
    enum lh_log_kind kind;
    const char *key;
    union {
        const char *z;
        struct lh_str s;
        int64_t i;
        bool b;
        const struct lh_err *err;
    };
};

#define LH_F_STR(k, v)  ((struct lh_log_field){.kind = LH_LOG_F_STR, .key = (k), .z = (v)})
#define LH_F_STRN(k, v) ((struct lh_log_field){.kind = LH_LOG_F_STRN, .key = (k), .s = (v)})
#define LH_F_INT(k, v)  ((struct lh_log_field){.kind = LH_LOG_F_INT, .key = (k), .i = (int64_t)(v)})
#define LH_F_BOOL(k, v) ((struct lh_log_field){.kind = LH_LOG_F_BOOL, .key = (k), .b = (v)})
#define LH_F_ERR(e)     ((struct lh_log_field){.kind = LH_LOG_F_ERR, .key = "error", .err = (e)})

/* program: static string, written as "program" in each line. fd: where lines go, 2 by default. */
void lh_log_init(const char *program, enum lh_log_level least, int fd);
int lh_log_level_parse(const char *text,
                       enum lh_log_level *out); /* debug|info|warn|error|off; 0 or -1 */
bool lh_log_enabled(enum lh_log_level level);
void lh_log_write(enum lh_log_level level, const char *msg, const struct lh_log_field *fields);

#define lh_log_at(level, msg, ...)                                                                 \
    do {                                                                                           \
        if (lh_log_enabled(level))                                                                 \
            lh_log_write((level), (msg),                                                           \
                         (const struct lh_log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}});            \
    } while (0)
#define lh_log_debug(msg, ...) lh_log_at(LH_LOG_DEBUG, msg __VA_OPT__(, ) __VA_ARGS__)
#define lh_log_info(msg, ...)  lh_log_at(LH_LOG_INFO, msg __VA_OPT__(, ) __VA_ARGS__)
#define lh_log_warn(msg, ...)  lh_log_at(LH_LOG_WARN, msg __VA_OPT__(, ) __VA_ARGS__)
#define lh_log_error(msg, ...) lh_log_at(LH_LOG_ERROR, msg __VA_OPT__(, ) __VA_ARGS__)

#endif
