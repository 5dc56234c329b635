/* SPDX-License-Identifier: Apache-2.0 */
/* The table of checks: what each says, why it matters, what to do. */
#include <string.h>

#include "audit_judge.h"
#include "leasehold/core/mem.h"

#define ROW(id, severity, reach, judge, title, meaning, action, proof)                             \
    {                                                                                              \
        id, severity, reach, title, meaning, action, proof, judge                                  \
    }

const struct audit_check audit_checks[] = {
    ROW("P01", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_class, "No Secret is stored in plain text",
        "Whoever reads etcd, its disk or a backup reads these Secrets.",
        "Cover Secrets by a rule (`leasehold encryption init`), then `leasehold encryption "
        "rewrite`.",
        "etcd's bytes"),
    ROW("P02", AUDIT_CRITICAL, AUDIT_DECIDES, audit_judge_covered, "A rule covers Secrets",
        "Without a rule every Secret is written in plain text.",
        "Name secrets, or \"*.\", in the configuration, and give it to every API server.",
        "the configuration; Pods of kube-apiserver"),
    ROW("P03", AUDIT_CRITICAL, AUDIT_DECIDES, audit_judge_identity_first,
        "Secrets are not written by identity",
        "The first provider writes; behind identity all others only read.",
        "Put the encrypting provider first, identity last.", "the configuration"),
    ROW("P04", AUDIT_LOW, AUDIT_DECIDES, audit_judge_identity_last,
        "identity is gone once nothing needs it",
        "While it is listed, plain text put into etcd is taken for a Secret.",
        "Remove identity once P01 passes and backups are encrypted.",
        "the configuration and etcd's bytes"),
    ROW("P05", AUDIT_MEDIUM, AUDIT_DECIDES, audit_judge_weak,
        "Secrets are not written by aescbc or aesgcm",
        "aescbc is not authenticated; aesgcm with random nonces wears its key out.",
        "Move to secretbox or KMS v2, or rotate aesgcm's key before 200,000 writes.",
        "the configuration; metrics for counts"),
    ROW("P06", AUDIT_MEDIUM, AUDIT_DECIDES, audit_judge_kms1,
        "KMS v1 is neither configured nor needed",
        "KMS v1 is off by default since Kubernetes 1.29 and asks the plugin for each object.",
        "Add a KMS v2 provider first, rewrite, then remove v1.",
        "the configuration and etcd's bytes"),
    ROW("P07", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_stale,
        "Every object is in its writer's class and key",
        "A rotation protects nothing that it has not rewritten.",
        "`leasehold encryption rewrite`, then audit again; only then drop the old key.",
        "etcd's bytes and the configuration; metrics for a KMS"),
    ROW("P08", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_agreement, "API servers agree on the KMS key",
        "While they differ each makes the other's writes stale.",
        "Compare the plugins' configuration and their view of the manager.",
        "metrics of every API server"),
    ROW("P09", AUDIT_MEDIUM, AUDIT_DECIDES, audit_judge_key_age, "The key is younger than 90 days",
        "An old key has wrapped more, and has been in more backups.",
        "`leasehold encryption rotate`, or rotate the manager's key.",
        "leasehold-kms for a manager's key; the file of a local one can only disprove it"),
    ROW("P10", AUDIT_LOW, AUDIT_DECIDES, audit_judge_seeds, "Few data keys wrap what is stored",
        "A cold API server asks the plugin once for each of them.",
        "`leasehold encryption rewrite` gathers objects under the current one.", "etcd's bytes"),
    ROW("P11", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_leftovers,
        "No plain text is left behind on etcd's disk",
        "Rewritten values stay in free pages and in the write-ahead log.",
        "Compact and defragment each member, then let the log be purged.", "etcd's data folder"),
    ROW("P12", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_backups,
        "Backups hold no Secret in plain text",
        "A backup made before the migration is not migrated.",
        "Replace or encrypt old backups; rotate what was in them.", "the snapshots that are kept"),
    ROW("P13", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_files,
        "The configuration's file is root's alone", "A local key stands in this file in the clear.",
        "Owner root, mode 0600, folder 0700; no copy in a ConfigMap or in Git.",
        "the file on this machine; etcd's bytes"),
    ROW("P14", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_config_hash,
        "API servers run with one configuration", "One server may not read what another wrote.",
        "Give all the same file, and let it be reloaded or restart them in turn.",
        "metrics of every API server"),
    ROW("P15", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_sockets, "The KMS socket is root's",
        "Whoever speaks to it has the data keys opened; whoever replaces it gets new ones.",
        "No abstract socket; folder 0700, socket 0600, both of the API server's user.",
        "the socket on this machine"),
    ROW("P16", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_placement,
        "The plugin starts without this API server",
        "A plugin or manager in the cluster that it protects waits for itself after an outage.",
        "Run the plugin as a static Pod or a systemd unit, the manager elsewhere.",
        "the configuration and Pods; leasehold-kms"),
    ROW("P17", AUDIT_MEDIUM, AUDIT_DECIDES, audit_judge_timing,
        "The plugin answers well within its timeout",
        "Past the timeout reads and writes fail; a probe that leaves KMS out hides it.",
        "Raise timeout or mend the way to the manager; keep KMS in readyz.",
        "the configuration, metrics, Pods of kube-apiserver"),
    ROW("P18", AUDIT_INFO, AUDIT_DECIDES, audit_judge_lists, "\"*.*\" is not met by many LISTs",
        "Decrypting everything on each LIST contends for locks in the API server.",
        "Encrypt what is secret, not everything.", "the configuration and metrics"),
    ROW("P19", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_transit,
        "The manager's key cannot be lost or taken out",
        "Without that key no backup of etcd can be read; exported, it protects nothing.",
        "Not deletable, not exportable, min_decryption_version below what is stored.",
        "leasehold-kms, which asks the manager"),
    ROW("P20", AUDIT_HIGH, AUDIT_DECIDES, audit_judge_etcd, "etcd asks for certificates",
        "Whoever reaches it reads, and writes, the whole cluster.",
        "TLS with client certificates for clients and peers, no other address.",
        "the connection; Pods of kube-apiserver and etcd"),
    ROW("P21", AUDIT_MEDIUM, AUDIT_DECIDES, audit_judge_configmaps,
        "No secret stands in ConfigMaps or variables",
        "These are not covered by rules for Secrets, and are read by more people.",
        "Move them to the manager, or at least to Secrets.", "etcd's bytes and Pods"),
    ROW("P22", AUDIT_LOW, AUDIT_DECIDES, audit_judge_unused, "Every Secret is used by a Pod",
        "What nobody uses can only leak. Ingresses and controllers use Secrets too.",
        "Look at them; delete what nothing needs.", "etcd's keys and Pods"),
    ROW("P23", AUDIT_INFO, AUDIT_DECIDES, audit_judge_rbac, "Few may read Secrets through the API",
        "Encryption at rest does not stop who may list Secrets or exec into Pods.",
        "Review roles with list or get on secrets, and pods/exec.", "RBAC's roles and bindings"),
    ROW("P24", AUDIT_HIGH, AUDIT_CONFIRMS, audit_judge_read,
        "What is said here rests on stored bytes",
        "Configurations and descriptions say what should be, not what is.",
        "On a managed cluster ask the provider for evidence, and write that down.", "etcd's bytes"),
    {0},
};

void audit_verdicts_done(struct lh_vec *verdicts)
{
    for (size_t i = 0; i < verdicts->n; i++)
        lh_free(((struct audit_verdict *)lh_vec_at(verdicts, i))->detail);
    lh_vec_done(verdicts);
}

int audit_judge(const struct audit *a, struct lh_vec *verdicts, struct lh_err *err)
{
    for (const struct audit_check *c = audit_checks; c->id; c++) {
        struct audit_verdict v = {.check = c};
        lh_auto_buf struct lh_buf detail;
        int rc;

        lh_buf_init(&detail, (size_t)64 * 1024);
        v.result = c->judge(a, &detail);
        rc = lh_buf_finish(&detail, &v.detail, NULL, err);
        if (rc == 0 && !lh_vec_push(verdicts, &v)) {
            lh_free(v.detail);
            rc = lh_err_nomem(err);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}
