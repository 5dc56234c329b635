/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_COMMAND_H
#define LEASEHOLD_CLI_COMMAND_H

/* One subcommand: a row of the table in main.c. */
#include "leasehold/codec/conf.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct command {
    const char *name;
    const struct lh_opt_set *set;      /* NULL: takes no options */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; the exit status */
};

extern const struct command commands[]; /* ended by name NULL */

/* What every command does first: parse, and print help. < 0: go on, *conf is owned; else the exit
 * status. */
int command_parse(const struct lh_opt_set *set, int argc, char **argv, void *target,
                  const bool *help, struct lh_conf **conf, const char *const **args);
/* "leasehold NAME: text" on standard error; returns status. */
int command_fail(const struct lh_opt_set *set, int status, const struct lh_err *err);
/* b on standard output; CLI_OK or CLI_FAILED (out of memory, or nobody reads). */
int command_print(const struct lh_buf *b);
/* A whole file, or standard input for "-"; owned. */
int command_read(const char *path, char **out, size_t *n, struct lh_err *err);

int cmd_inject(int argc, char **argv);
int cmd_lint(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_docs(int argc, char **argv);

extern const struct lh_opt_set cmd_inject_option_set, cmd_lint_option_set, cmd_explain_option_set,
    cmd_version_option_set, cmd_docs_option_set;

#endif
