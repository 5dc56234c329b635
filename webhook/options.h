/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_WEBHOOK_OPTIONS_H
#define LEASEHOLD_WEBHOOK_OPTIONS_H

#include "leasehold/codec/conf.h"

/* Strings borrowed from the lh_conf that parsed them. */
struct webhook_options {
    const char *listen, *metrics;
    const char *tls_cert, *tls_key;
    const char *stores, *kubeconfig, *policy;
    const char *ca_secret, *service, *webhook_configuration;
    const char *log_level, *docs;
    int64_t retire_ms, drain_ms;
    bool help, version, check_config;
};

extern const struct lh_opt_set webhook_option_set;

/* What the table cannot say: options that need or exclude each other. LH_E_INVALID with a sentence.
 */
int webhook_options_check(const struct webhook_options *o, struct lh_err *err);

#endif
