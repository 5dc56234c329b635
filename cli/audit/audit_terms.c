/* SPDX-License-Identifier: Apache-2.0 */
/* Words of an audit and what they mean: for the report, and for the reference. */
#include "audit.h"

const char *audit_protection_name(enum audit_protection p)
{
    static const char *const names[AUDIT_PROTECTIONS] = {[AUDIT_EXTERNAL] = "external",
                                                         [AUDIT_KMS] = "kms",
                                                         [AUDIT_LOCAL] = "local",
                                                         [AUDIT_NONE] = "none",
                                                         [AUDIT_MALFORMED] = "malformed"};

    return names[p];
}

const char *audit_protection_title(enum audit_protection p)
{
    static const char *const titles[AUDIT_PROTECTIONS] = {[AUDIT_EXTERNAL] = "external manager",
                                                          [AUDIT_KMS] = "KMS envelope",
                                                          [AUDIT_LOCAL] = "local key",
                                                          [AUDIT_NONE] = "plain text",
                                                          [AUDIT_MALFORMED] = "malformed"};

    return titles[p];
}

const char *audit_protection_meaning(enum audit_protection p)
{
    static const char *const meanings[AUDIT_PROTECTIONS] = {
        [AUDIT_EXTERNAL] = "Injected into Pods from a manager; nothing of it is in etcd.",
        [AUDIT_KMS] = "Encrypted by a data key that a KMS outside of the cluster wraps.",
        [AUDIT_LOCAL] = "Encrypted by a key that stands in a file of the API server.",
        [AUDIT_NONE] = "Read by whoever reads etcd, its disk or a backup.",
        [AUDIT_MALFORMED] = "A prefix that is not known, or bytes that its prefix does not allow."};

    return meanings[p];
}

const char *audit_proof_name(enum audit_proof p)
{
    static const char *const names[] = {"inferred", "configured", "proven"};

    return names[p];
}

const char *audit_proof_meaning(enum audit_proof p)
{
    static const char *const meanings[] = {
        [AUDIT_INFERRED] = "From flags, metrics, Pods; what is stored may differ.",
        [AUDIT_CONFIGURED] = "From the EncryptionConfiguration; it rules the next write alone.",
        [AUDIT_PROVEN] = "From the stored bytes themselves."};

    return meanings[p];
}

const char *audit_severity_name(enum audit_severity s)
{
    static const char *const names[] = {"info", "low", "medium", "high", "critical"};

    return names[s];
}

const char *audit_result_name(enum audit_result r)
{
    static const char *const names[] = {"pass", "fail", "not-proven"};

    return names[r];
}
