/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_DRAIN_H
#define LEASEHOLD_CLI_CMD_DRAIN_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_drain_option_set;

int cmd_drain(int argc, char **argv);

#endif
