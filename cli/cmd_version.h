/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_VERSION_H
#define LEASEHOLD_CLI_CMD_VERSION_H

struct lh_opt_set;
extern const struct lh_opt_set cmd_version_option_set;

int cmd_version(int argc, char **argv);

#endif
