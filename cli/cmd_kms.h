/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_KMS_H
#define LEASEHOLD_CLI_CMD_KMS_H

#include "leasehold/codec/conf.h"

int cmd_kms(int argc, char **argv);
extern const struct lh_opt_set cmd_kms_option_set;

#endif
