/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_POLICY_H
#define LEASEHOLD_CLI_CMD_POLICY_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_policy_option_set;

int cmd_policy(int argc, char **argv);

#endif
