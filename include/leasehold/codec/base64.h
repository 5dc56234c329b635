/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CODEC_BASE64_H
#define LEASEHOLD_CODEC_BASE64_H

/* RFC 4648, standard and URL alphabets; decoding is strict (padding exact, white space refused,
 * canonical bits). */
#include "leasehold/core/buf.h"

void lh_base64_put(struct lh_buf *b, const void *p, size_t n);
void lh_base64url_put(struct lh_buf *b, const void *p, size_t n); /* no padding */
int lh_base64_decode(struct lh_str text, struct lh_buf *b, struct lh_err *err);
int lh_base64url_decode(struct lh_str text, struct lh_buf *b,
                        struct lh_err *err); /* padding optional */

#endif
