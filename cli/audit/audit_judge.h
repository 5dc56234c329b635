/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CLI_AUDIT_JUDGE_H
#define LEASEHOLD_CLI_AUDIT_JUDGE_H

/* One judge a check; the table in audit_checks.c says what each is for. Each writes its detail and
 * never takes "not seen" for "well". */
#include "audit.h"

#define AUDIT_JUDGE(name) enum audit_result name(const struct audit *a, struct lh_buf *b)

/* audit_judge_bytes.c */
AUDIT_JUDGE(audit_judge_class);
AUDIT_JUDGE(audit_judge_stale);
AUDIT_JUDGE(audit_judge_seeds);
AUDIT_JUDGE(audit_judge_leftovers);
AUDIT_JUDGE(audit_judge_backups);
AUDIT_JUDGE(audit_judge_configmaps);
AUDIT_JUDGE(audit_judge_unused);
AUDIT_JUDGE(audit_judge_read);
/* audit_judge_config.c */
AUDIT_JUDGE(audit_judge_covered);
AUDIT_JUDGE(audit_judge_identity_first);
AUDIT_JUDGE(audit_judge_identity_last);
AUDIT_JUDGE(audit_judge_weak);
AUDIT_JUDGE(audit_judge_kms1);
AUDIT_JUDGE(audit_judge_key_age);
AUDIT_JUDGE(audit_judge_files);
AUDIT_JUDGE(audit_judge_sockets);
/* audit_judge_cluster.c */
AUDIT_JUDGE(audit_judge_agreement);
AUDIT_JUDGE(audit_judge_config_hash);
AUDIT_JUDGE(audit_judge_placement);
AUDIT_JUDGE(audit_judge_timing);
AUDIT_JUDGE(audit_judge_lists);
AUDIT_JUDGE(audit_judge_etcd);
/* audit_judge_manager.c */
/* Whether a plugin warns of this, by the name that leasehold-kms has for it. */
bool audit_plugins_warn(const struct audit *a, const char *warning);
/* Whether each of them has looked, and there is one. */
bool audit_plugins_told(const struct audit *a, const char *warning);
AUDIT_JUDGE(audit_judge_transit);
AUDIT_JUDGE(audit_judge_rbac);

#endif
