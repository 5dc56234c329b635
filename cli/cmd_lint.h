/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_LINT_H
#define LEASEHOLD_CLI_CMD_LINT_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_lint_option_set;

int cmd_lint(int argc, char **argv);

#endif
