/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_GATHER_H
#define LEASEHOLD_CLI_AUDIT_GATHER_H

/* Takes facts out of their sources into struct audit. Each waits on the loop until it is through.
 */
#include "audit.h"
#include "leasehold/core/loop.h"
#include "leasehold/etcd/source.h"

struct lh_kube;
struct lh_kube_resource;

/* What stands in etcd as protection; borrowed from e. */
void audit_value_of(const struct lh_etcd_entry *e, struct audit_value *out);
/* Every object below prefix; its Pods too, unless they are known from the API server. */
int audit_gather_etcd(struct audit *a, struct lh_loop *loop, struct lh_etcd *etcd,
                      const char *prefix, struct lh_err *err);
/* audit_leftovers.c: what is still in a file or a folder, into a->backups or a->leftovers; what
 * cannot be read is said in it. */
int audit_gather_backup(struct audit *a, const char *path, const char *prefix, struct lh_err *err);
int audit_gather_database(struct audit *a, const char *path, const char *prefix,
                          struct lh_err *err);
int audit_gather_folder(struct audit *a, const char *path, const char *prefix, struct lh_err *err);
/* The EncryptionConfiguration, its file's mode, and the sockets that it names. */
int audit_gather_config(struct audit *a, const char *path, struct lh_err *err);
/* One API server's /metrics, saved. */
int audit_gather_metrics(struct audit *a, const char *path, struct lh_err *err);
/* Objects of one kind in all namespaces, page by page. */
typedef int (*audit_take_fn)(struct audit *a, const lh_json *obj, struct lh_err *err);
int audit_gather_list(struct audit *a, struct lh_kube *kube, const struct lh_kube_resource *kind,
                      audit_take_fn one, unsigned timeout_ms, struct lh_err *err);
/* audit_take_pod() for all of them. */
int audit_gather_pods(struct audit *a, struct lh_kube *kube, unsigned timeout_ms,
                      struct lh_err *err);
/* audit_rights.c: roles and who is bound to them. Where they may not be listed that is a trouble.
 */
int audit_gather_rights(struct audit *a, struct lh_kube *kube, unsigned timeout_ms,
                        struct lh_err *err);
/* audit_plugins.c: leasehold-kms at its own port, http://ADDR:PORT. */
int audit_gather_plugin(struct audit *a, struct lh_loop *loop, const char *url, unsigned timeout_ms,
                        struct lh_err *err);

#endif
