/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_STATUS_H
#define LEASEHOLD_CLI_CMD_STATUS_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_status_option_set;

int cmd_status(int argc, char **argv);

#endif
