/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_NAMES_H
#define LEASEHOLD_API_NAMES_H

/*
 * Names in the cluster that more than one program writes or reads. They outlive a version: an
 * object that carries one of them may have been written by an older controller.
 */
#define LH_API_GROUP   "leasehold.dev"
#define LH_API_VERSION "v1alpha1"

#define LH_PLURAL_STORE         "secretstores"
#define LH_PLURAL_CLUSTER_STORE "clustersecretstores"
#define LH_PLURAL_PROJECTION    "secretprojections"

/* On a SecretProjection only while something outside the cluster hangs on it. */
#define LH_FINALIZER_REVOKE "leasehold.dev/revoke"

/* In the operator's namespace: ids and accessors of what the cluster controller issued. */
#define LH_LEDGER_SECRET    "leasehold-ledger"
/* On the ledger: the controller shall write no copies, revoke what is recorded, drop its
 * finalizers, and start nothing anew while the annotation is there. The value is the time. */
#define LH_ANNOTATION_DRAIN "leasehold.dev/drain"

/* On a Secret copy: the name of its projection. */
#define LH_LABEL_PROJECTION "leasehold.dev/projection"

#define LH_MANAGER_CONTROLLER "leasehold-controller" /* field manager */
#define LH_MANAGER_NODE       "leasehold-node"       /* field manager */
#define LH_MANAGER_CLI        "leasehold"            /* field manager */

#define LH_CSI_DRIVER          "csi.leasehold.dev"
#define LH_CSI_KEY_PROJECTION  "projection" /* the only volume attribute */
#define LH_POD_CONDITION_FRESH "leasehold.dev/SecretsFresh"

#define LH_DEFAULT_OPERATOR_NAMESPACE "leasehold-system"

#endif
