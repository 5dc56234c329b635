/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_ENCRYPTION_H
#define LEASEHOLD_CLI_CMD_ENCRYPTION_H

#include "leasehold/codec/conf.h"

extern const struct lh_opt_set cmd_encryption_option_set;
int cmd_encryption(int argc, char **argv);

#endif
