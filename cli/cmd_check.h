/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_CHECK_H
#define LEASEHOLD_CLI_CMD_CHECK_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_check_option_set;

int cmd_check(int argc, char **argv);

#endif
