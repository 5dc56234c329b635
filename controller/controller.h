/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_CONTROLLER_H
#define LEASEHOLD_CONTROLLER_CONTROLLER_H

/* One program of several verbs: a table drives dispatch, help and documentation. */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/codec/conf.h"
#include "leasehold/core/metrics.h"

enum { CONTROLLER_OK = 0, CONTROLLER_FAILED = 1, CONTROLLER_USAGE = 2 };

struct controller_verb {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the verb; the exit status */
    const struct lh_opt_set *set;
};
extern const struct controller_verb controller_verbs[]; /* ended by name NULL */

/* What every verb has. Strings borrowed from the lh_conf that parsed them. */
struct controller_common {
    bool help, version;
    const char *docs, *log_level;
};

/* Rows of a verb's table, for a struct controller_common at offset `at` of its options. */
#define CONTROLLER_COMMON_OPTS(at)                                                                 \
    {"log-level",   0,                                                                             \
     LH_OPT_STRING, "LEVEL",                                                                       \
     "info",        "debug, info, warn, error or off.",                                            \
     true,          (at) + offsetof(struct controller_common, log_level)},                         \
        {"version",   0,                                                                           \
         LH_OPT_BOOL, NULL,                                                                        \
         NULL,        "Print the version and exit.",                                               \
         false,       (at) + offsetof(struct controller_common, version)},                         \
        {"docs",        0,                                                                         \
         LH_OPT_STRING, "PAGE",                                                                    \
         NULL,          "Print a page of documentation (man, flags, metrics) and exit.",           \
         false,         (at) + offsetof(struct controller_common, docs)},                          \
    {                                                                                              \
        "help", 'h', LH_OPT_BOOL, NULL, NULL, "Print this help and exit.", false,                  \
            (at) + offsetof(struct controller_common, help)                                        \
    }

/* Parses argv into target, whose common part is *common. true: go on, the log is open. false:
 * *status is what to exit with, and whatever there is to say was said. conf is to be freed either
 * way. tables: metric tables for --docs, NULL-terminated. */
bool controller_parse(const struct lh_opt_set *set, const char *description,
                      const struct lh_metric *const *tables, int argc, char **argv, void *target,
                      const struct controller_common *common, struct lh_conf **conf, int *status);
/* "leasehold-controller node: text" on stderr; returns status. */
int controller_fail(const struct lh_opt_set *set, int status, const char *text);

#endif
