/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_KMS_OPTIONS_H
#define LEASEHOLD_KMS_OPTIONS_H

#include "leasehold/codec/conf.h"

/* Strings borrowed from the lh_conf that parsed them. */
struct kms_options {
    const char *listen, *from_holder, *store, *mount, *key, *cluster, *local_key, *credentials;
    const char *jwt_file, *ca_file, *service_cidr, *metrics, *control, *log_level, *docs;
    int64_t generation, cache_entries, cache_age_ms, probe_ms, settle_ms, settle_seen, peer_uid;
    bool hold, check_config, help, version;
};

extern const struct lh_opt_set kms_option_set;
extern const char kms_description[];

/* What the table alone cannot say: LH_E_INVALID with a sentence for the user. */
int kms_options_check(const struct kms_options *o, struct lh_err *err);

#endif
