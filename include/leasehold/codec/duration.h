/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_DURATION_H
#define LEASEHOLD_CODEC_DURATION_H

/* Go durations as Kubernetes writes them: "1h30m", "250ms", "0"; no sign unless stated. */
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/err.h"

int lh_duration_ms(struct lh_str text, int64_t *out,
                   struct lh_err *err);             /* LH_E_INVALID; not negative */
void lh_duration_put(struct lh_buf *b, int64_t ms); /* "1h30m0s" as Go prints */

#endif
