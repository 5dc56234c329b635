/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_ETCD_LIVE_H
#define LH_ETCD_LIVE_H

/* What live.c and live_scan.c share. */
#include "priv.h"

/* A call to the current target. */
int lh_etcd_live_call(struct lh_etcd *e, const char *method, struct lh_str message,
                      lh_grpc_answer_fn done, void *arg, struct lh_grpc_client_call **out,
                      struct lh_err *err);
/* What a status other than OK means; negative. */
int lh_etcd_live_err(const struct lh_etcd *e, enum lh_grpc_status status, const char *text,
                     struct lh_err *err);
/* Another member, or the same one later, may answer. */
bool lh_etcd_is_transient(enum lh_grpc_status status, const char *text);
void lh_etcd_next_target(struct lh_etcd_live *l);
/* ResponseHeader: ids and revision. */
void lh_etcd_take_header(struct lh_etcd_about *a, struct lh_str message);

int lh_etcd_live_scan_begin(struct lh_etcd_scan *scan, struct lh_err *err);
void lh_etcd_live_scan_end(struct lh_etcd_scan *scan);

#endif
