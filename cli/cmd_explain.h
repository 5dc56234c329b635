/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_EXPLAIN_H
#define LEASEHOLD_CLI_CMD_EXPLAIN_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_explain_option_set;

int cmd_explain(int argc, char **argv);

#endif
