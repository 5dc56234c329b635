/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_SERVE_H
#define LEASEHOLD_KMS_SERVE_H

/* /metrics, /status, /healthz (the process), /readyz (the key was confirmed, and may be used). */
#include "service.h"

struct kms_serve;

/* While another process has the address, as the plugin that we follow does until it ends, it is
 * tried again and no failure. address and service are borrowed until free. */
int kms_serve_new(struct lh_loop *loop, const struct kms_service *service, const char *address,
                  struct kms_serve **out, struct lh_err *err);
void kms_serve_free(struct kms_serve *s); /* NULL is a no-op */

#endif
