/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_INJECT_POLICY_H
#define LEASEHOLD_INJECT_POLICY_H

/*
 * What the platform lets Pods choose, and what they get when they choose nothing: the chart's
 * policy file, read by the webhook and by `leasehold inject|lint|policy --policy FILE`. The
 * document is the block itself or holds it under the one key `policy`:
 *   clusterName: prod-1             fills {cluster}
 *   unknownAnnotations: Deny        Deny | Warn
 *   addresses: [127.0.0.0/8]        CIDRs beyond those that are refused by themselves
 *   images: ["r.example/a@sha256:*"]  what the image annotation may name, by digest
 *   roles: [], paths: []            patterns that hold for every store; left out: no further limit
 *   maxCPU: 500m, maxMemory: 128Mi, maxSize: 64Mi
 *   projections: true               false: the node's CSI driver is not installed
 *   agent: {image, imagePullPolicy, imagePullSecrets: [], cpu, metricsPort, logLevel}
 */
#include <stdbool.h>
#include <stdint.h>

#include "leasehold/codec/json.h"
#include "leasehold/core/err.h"

struct lh_policy {
    char *cluster_name; /* NULL: none */
    bool warn_unknown;
    bool no_projections;
    char **addresses, **images, **roles, **paths; /* NULL-terminated, or NULL: none given */
    int64_t max_cpu_milli, max_memory_bytes, max_size_bytes;
    char *agent_image, *pull_policy; /* pull_policy NULL: left to the API server */
    char **pull_secrets;             /* NULL-terminated or NULL */
    int64_t agent_cpu_milli;
    int agent_metrics_port; /* 0: off */
    char *agent_log_level;  /* NULL: info */
};

/* Defaults as the chart's: no cluster name, agent image of this version. */
int lh_policy_default(struct lh_policy **out, struct lh_err *err);
/* YAML or JSON text, one document; an empty one is the defaults. what names the source in errors.
 * LH_E_INVALID (ConfigInvalid) with what, field path and what would be right. */
int lh_policy_parse(struct lh_str text, const char *what, struct lh_policy **out,
                    struct lh_err *err);
void lh_policy_free(struct lh_policy *p);

/* May the image annotation name ref? LH_E_DENIED (ImageNotAllowed). */
int lh_policy_allow_image(const struct lh_policy *p, const char *ref, struct lh_err *err);

#endif
