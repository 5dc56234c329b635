/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_RUN_H
#define LEASEHOLD_CLI_CMD_RUN_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_run_option_set;

/* argv[0] is the command's name; the exit status: 0, 1 failed, 2 wrong options. */
int cmd_run(int argc, char **argv);

#endif
