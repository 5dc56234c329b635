/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_CONF_H
#define LEASEHOLD_CODEC_CONF_H

/*
 * One const table of options per program drives flags, environment, an optional YAML file, --help,
 * --check-config, the man page and the chart's comments. Order of precedence: flag, environment,
 * file, default. Unknown keys are errors that name file and line, unknown flags are errors with the
 * nearest known.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"

enum lh_opt_type { LH_OPT_BOOL, LH_OPT_STRING, LH_OPT_INT, LH_OPT_DURATION, LH_OPT_QUANTITY };

struct lh_opt {
    const char *name; /* "tls-cert": flag --tls-cert, YAML key tlsCert, environment
                         LEASEHOLD_TLS_CERT if env */
    char letter;      /* 'f' for -f, or 0 */
    enum lh_opt_type type;
    const char *arg;  /* "FILE", for help */
    const char *def;  /* default as text, or NULL */
    const char *help; /* one sentence */
    bool env;         /* also read from the environment */
    size_t offset;    /* into the program's struct: bool, const char *, int64_t (int, ms, bytes) */
};

struct lh_opt_set {
    const char *program, *usage, *summary; /* usage: "leasehold run -f FILE --root DIR" */
    const struct lh_opt *opts;             /* ended by a row with name NULL */
};

struct lh_conf; /* owns the strings that the program's struct points to */

/* Fills *target (size bytes, defaults included). Positional arguments go to *args (borrowed from
 * argv, NULL-ended, array owned by conf). file: YAML path or NULL. LH_E_INVALID with a sentence for
 * the user. */
int lh_conf_parse(const struct lh_opt_set *set, int argc, char **argv, const char *file,
                  void *target, struct lh_conf **out, const char *const **args, struct lh_err *err);
void lh_conf_free(struct lh_conf *c);
void lh_conf_help(const struct lh_opt_set *set, struct lh_buf *b);     /* --help text */
void lh_conf_markdown(const struct lh_opt_set *set, struct lh_buf *b); /* table for docs/ */
void lh_conf_man(const struct lh_opt_set *set, const char *description,
                 struct lh_buf *b); /* mdoc(7) page */

struct lh_metric;
/* One page of a program's documentation, for docs/ and man/: "flags" or "metrics" (Markdown; tables
 * NULL-terminated, NULL: none) or "man" (mdoc). LH_E_INVALID for any other. */
int lh_conf_docs(const struct lh_opt_set *set, const char *page, const char *description,
                 const struct lh_metric *const *tables, struct lh_buf *b, struct lh_err *err);

#endif
