/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_CMD_AUDIT_H
#define LEASEHOLD_CLI_CMD_AUDIT_H

#include "leasehold/codec/conf.h"

extern const struct lh_opt_set cmd_audit_option_set;
int cmd_audit(int argc, char **argv);

#endif
