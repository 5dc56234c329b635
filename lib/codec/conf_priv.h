/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_CODEC_CONF_PRIV_H
#define LH_CODEC_CONF_PRIV_H

/* How one name of an option is written in its three places. */
#include "leasehold/codec/conf.h"

/* "tls-cert" -> tlsCert */
void lh_conf_put_key(struct lh_buf *b, const char *name);
/* "tls-cert" -> LEASEHOLD_TLS_CERT */
void lh_conf_put_env(struct lh_buf *b, const char *name);

#endif
