/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_DOCS_H
#define LEASEHOLD_CLI_CMD_DOCS_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_docs_option_set;

int cmd_docs(int argc, char **argv);

#endif
