/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_INJECT_H
#define LEASEHOLD_CLI_CMD_INJECT_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_inject_option_set;

int cmd_inject(int argc, char **argv);

#endif
