/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CLI_H
#define LEASEHOLD_CLI_CLI_H

/* One table of commands drives dispatch, help, the man page and docs/reference. */
#include <stdbool.h>
#include <stddef.h>

#include "leasehold/codec/conf.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const struct lh_opt_set *set; /* summary, usage and options */
    bool hidden;
};
extern const struct cli_command cli_commands[]; /* ended by name NULL */

/* Parses argv by the command's set. true: go on. false: *status is what to exit with, and whatever
 * there is to say was said (--help too; help points into target). */
bool cli_parse(const struct lh_opt_set *set, int argc, char **argv, void *target, const bool *help,
               struct lh_conf **conf, const char *const **args, int *status);
/* "leasehold inject: text" on stderr; returns status. */
int cli_fail(const struct lh_opt_set *set, int status, const struct lh_err *err);
/* All of b to stdout; CLI_OK or CLI_FAILED. */
int cli_print(const struct lh_buf *b);

#endif
