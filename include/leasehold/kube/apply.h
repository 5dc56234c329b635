/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KUBE_APPLY_H
#define LEASEHOLD_KUBE_APPLY_H

/*
 * The writes of a controller: server-side apply with a fixed field manager and only the fields it
 * owns, JSON patch with tests, delete with preconditions, finalizers. Each is one request; nothing
 * is retried here but by the client's gate for 429. Conflicts come back as LH_E_CONFLICT, also
 * where the API server calls them invalid: a test that failed, an object of another uid.
 */
#include "leasehold/kube/client.h"

/* Server-side apply (PATCH, application/apply-patch+yaml). obj carries apiVersion, kind, name. */
int lh_kube_apply(struct lh_kube *k, const struct lh_kube_resource *res, const char *manager,
                  bool force, const lh_json *obj, lh_kube_done_fn done, void *arg,
                  struct lh_kube_op **out, struct lh_err *err);
/* RFC 6902. */
int lh_kube_json_patch(struct lh_kube *k, const struct lh_kube_resource *res, const lh_json *patch,
                       lh_kube_done_fn done, void *arg, struct lh_kube_op **out,
                       struct lh_err *err);
/* Either may be NULL. NOTFOUND counts as done: done gets no error. */
int lh_kube_delete(struct lh_kube *k, const struct lh_kube_resource *res, const char *uid,
                   const char *resource_version, lh_kube_done_fn done, void *arg,
                   struct lh_kube_op **out, struct lh_err *err);
/* Adds or removes one finalizer of obj (as last read) by a patch that tests uid and resource
 * version; done at once with obj where there is nothing to do. */
int lh_kube_finalizer(struct lh_kube *k, const struct lh_kube_resource *res, const lh_json *obj,
                      const char *finalizer, bool present, lh_kube_done_fn done, void *arg,
                      struct lh_kube_op **out, struct lh_err *err);

#endif
