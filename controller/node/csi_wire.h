/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CONTROLLER_NODE_CSI_WIRE_H
#define LEASEHOLD_CONTROLLER_NODE_CSI_WIRE_H

/*
 * CSI's and kubelet's registration messages as typed structs and back. Only csi_wire.c knows the
 * generated code. What may be secret is a struct lh_secret from here on, and the decoded message is
 * wiped. Maps with a key twice and texts that are no UTF-8 are LH_E_INVALID.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/secret.h"

#define CSI_RESERVED_PREFIX "csi.storage.k8s.io/"
#define CSI_TOKENS_KEY      CSI_RESERVED_PREFIX "serviceAccount.tokens"

struct csi_pair {
    char *key, *value;
};

struct csi_secret {
    char *key;
    struct lh_secret *value;
};

struct csi_publish {
    char *volume_id, *target_path;
    bool readonly, has_capability, is_mount;
    char *fs_type, *mount_group; /* "" if not given */
    char **mount_flags;          /* NULL-terminated */
    struct csi_pair *context;    /* without the tokens */
    size_t n_context;
    struct csi_secret *secrets; /* without the tokens */
    size_t n_secrets;
    struct lh_secret *tokens; /* kubelet's map of tokens, from secrets, else from the context */
    bool tokens_in_context_ignored; /* both were there: the second is the Pod author's */
};

struct csi_volume {
    char *volume_id, *path;
};

struct csi_usage {
    int64_t available, total, used;
};

void csi_publish_done(struct csi_publish *p);
void csi_volume_done(struct csi_volume *v);

int csi_decode_publish(struct lh_str bytes, struct csi_publish *out, struct lh_err *err);
int csi_decode_unpublish(struct lh_str bytes, struct csi_volume *out, struct lh_err *err);
int csi_decode_stats(struct lh_str bytes, struct csi_volume *out, struct lh_err *err);
/* NotifyRegistrationStatus. *text: owned. */
int csi_decode_registered(struct lh_str bytes, bool *registered, char **text, struct lh_err *err);

/* Replies; failure is sticky in b. */
void csi_put_plugin_info(struct lh_buf *b, const char *name, const char *version);
void csi_put_probe(struct lh_buf *b, bool ready);
void csi_put_node_capabilities(struct lh_buf *b);
void csi_put_node_info(struct lh_buf *b, const char *node_id);
void csi_put_stats(struct lh_buf *b, const struct csi_usage *bytes, const struct csi_usage *inodes,
                   bool abnormal, const char *message);
void csi_put_registration_info(struct lh_buf *b, const char *name, const char *endpoint);

#endif
