/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_API_REASONS_H
#define LEASEHOLD_API_REASONS_H

/*
 * The one closed list of reason words: denials, conditions, Events, probe lines, log fields, metric
 * labels, runbook headings and `leasehold explain` all use these and nothing else.
 */
#include <stddef.h>

#include "leasehold/core/str.h"

/* X(word, summary, what it means, what to do) is in lib/api/reasons.c; here the words. */
#define LH_REASONS(X)                                                                              \
    X(AnnotationInvalid)                                                                           \
    X(AnnotationUnknown)                                                                           \
    X(AudienceInvalid)                                                                             \
    X(AudienceNotServed)                                                                           \
    X(AddressNotAllowed)                                                                           \
    X(Available)                                                                                   \
    X(CertificateInvalid)                                                                          \
    X(ConfigInvalid)                                                                               \
    X(ConfigTooLarge)                                                                              \
    X(ConfigTooNew)                                                                                \
    X(CredentialMissing)                                                                           \
    X(DeletionsHeld)                                                                               \
    X(Drained)                                                                                     \
    X(FileConflict)                                                                                \
    X(Fresh)                                                                                       \
    X(HealthUnknown)                                                                               \
    X(ImageNotAllowed)                                                                             \
    X(InternalError)                                                                               \
    X(KeyNotFound)                                                                                 \
    X(KVVersionMismatch)                                                                           \
    X(LeaseExpired)                                                                                \
    X(LedgerFull)                                                                                  \
    X(LedgerUnavailable)                                                                           \
    X(LoginFailed)                                                                                 \
    X(ManagerError)                                                                                \
    X(MountFailed)                                                                                 \
    X(NameReserved)                                                                                \
    X(NamespaceNotServed)                                                                          \
    X(NodeMemoryFull)                                                                              \
    X(NotifyFailed)                                                                                \
    X(NotInjected)                                                                                 \
    X(PathInvalid)                                                                                 \
    X(PathNotAllowed)                                                                              \
    X(PathNotFound)                                                                                \
    X(PermissionDenied)                                                                            \
    X(PodUnsupported)                                                                              \
    X(ProjectionNotFound)                                                                          \
    X(ProjectionsNotServed)                                                                        \
    X(PublishFailed)                                                                               \
    X(RateLimited)                                                                                 \
    X(RequestInvalid)                                                                              \
    X(ResourceNotAllowed)                                                                          \
    X(RestartOnLease)                                                                              \
    X(RestartPending)                                                                              \
    X(RevocationGivenUp)                                                                           \
    X(RightsMissing)                                                                               \
    X(RoleNotAllowed)                                                                              \
    X(Sealed)                                                                                      \
    X(SecretDeleted)                                                                               \
    X(SecretNotOurs)                                                                               \
    X(SecretStale)                                                                                 \
    X(Starting)                                                                                    \
    X(StoreAmbiguous)                                                                              \
    X(StoreInvalid)                                                                                \
    X(StoreNotAllowed)                                                                             \
    X(StoreNotFound)                                                                               \
    X(TemplateInvalid)                                                                             \
    X(TokenExpired)                                                                                \
    X(TooLarge)                                                                                    \
    X(Unreachable)                                                                                 \
    X(VolumeInvalid)                                                                               \
    X(WorkloadNotFound)

#define LH_REASON_DECLARE(word) extern const char LH_REASON_##word[];
LH_REASONS(LH_REASON_DECLARE)

struct lh_reason {
    const char *word;
    const char *meaning; /* one or two sentences */
    const char *action;  /* what to do, one to three sentences */
};
/* NULL if unknown. */
const struct lh_reason *lh_reason_find(const char *word);
/* All, sorted by word, ended by word NULL. */
const struct lh_reason *lh_reason_list(void);

#endif
