/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_SANDBOX_H
#define LEASEHOLD_KMS_SANDBOX_H

/*
 * Once all is open: nothing but the system calls that serving takes. What starts a program, reads
 * another process or changes the machine ends us; anything else that is not in the table fails with
 * ENOSYS, so that a library that learns a new call does not take an API server's plugin down. One
 * log line says whether it holds; where the kernel has no filters, we serve without.
 */
void kms_limit_worker(void);
void kms_limit_holder(void);

#endif
