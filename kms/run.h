/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_RUN_H
#define LEASEHOLD_KMS_RUN_H

#include "options.h"

/* Serves until a signal, then ends what it has at the manager. Libraries are initialised. */
int kms_run(const struct kms_options *o, struct lh_err *err);
/* Everything that can be checked without a network: store, files, folder of the socket. */
int kms_check(const struct kms_options *o, struct lh_err *err);

#endif
