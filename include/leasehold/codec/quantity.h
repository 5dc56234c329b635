/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_QUANTITY_H
#define LEASEHOLD_CODEC_QUANTITY_H

/* Kubernetes resource quantities (resource.Quantity): "100m", "24Mi", "1e3", "0.5". */
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"

/* To units of 1/1000. LH_E_INVALID, LH_E_TOOBIG (does not fit). Rounds up as Kubernetes does. */
int lh_quantity_milli(struct lh_str text, int64_t *out, struct lh_err *err);
/* To whole units (bytes, cores), rounded up. */
int lh_quantity_whole(struct lh_str text, int64_t *out, struct lh_err *err);
/* Canonical binary form: 29360128 -> "28Mi". */
void lh_quantity_put_bytes(struct lh_buf *b, int64_t bytes);

#endif
