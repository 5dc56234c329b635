/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_SERVERS_H
#define LEASEHOLD_CLI_AUDIT_SERVERS_H

/* The API servers of a cluster: how many, where, and what each tells of itself. */
#include "audit.h"
#include "leasehold/core/loop.h"
#include "leasehold/kube/config.h"

/* From the leases that API servers hold (kube-system, KEP-1965): how many were renewed within a
 * minute, and in urls (char *, owned; NULL: not asked) where those are that say so. */
int audit_servers_by_leases(const lh_json *list, int64_t now_ms, unsigned *alive,
                            struct lh_vec *urls, struct lh_err *err);
/* From EndpointSlices of the service kubernetes. */
int audit_servers_by_slices(const lh_json *list, struct lh_vec *urls, struct lh_err *err);

/* /metrics of each: of urls (with commas), else of those that the cluster tells of, else of the
 * kubeconfig's. asks false: they are only counted. Who does not answer is a trouble. */
int audit_gather_servers(struct audit *a, struct lh_loop *loop, const struct lh_kube_config *cfg,
                         const char *urls, bool asks, unsigned timeout_ms, struct lh_err *err);

#endif
