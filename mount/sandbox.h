/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_MOUNT_SANDBOX_H
#define LEASEHOLD_MOUNT_SANDBOX_H

/* What a privileged program gives up: first the network, then, once all is open, everything that
 * serving requests does not take. */
#include "leasehold/core/err.h"

/* Closes what was inherited and moves into a new, empty network namespace. Sockets on the
 * filesystem are reached from outside all the same. */
int lh_mount_leave_network(struct lh_err *err);

/* Capabilities for good, then system calls. After this the program cannot start another, open a
 * socket, or get executable memory; a call that is not in the table ends it. */
int lh_mount_confine(struct lh_err *err);

#endif
