/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/api/reasons.h"

enum { FIRST_ANSWER_MS = 10 * 1000, MARGIN_MS = 1000, VOLUME_ID_MAX = 200 };

#define CONTEXT_FLAG "context="

static int invalid(struct lh_err *err, const char *text)
{
    return lh_err_reason(err, lh_err_set(err, LH_E_INVALID, "%s", text), LH_REASON_VolumeInvalid);
}

/* Cuts the last component off *path; false if there is none. */
static bool last(struct lh_str *path, struct lh_str *out)
{
    const char *slash = path->n ? memrchr(path->p, '/', path->n) : NULL;

    if (!slash)
        return false;
    *out = (struct lh_str){slash + 1, path->n - (size_t)(slash + 1 - path->p)};
    path->n = (size_t)(slash - path->p);
    return out->n > 0;
}

static bool copy(struct lh_str from, char *to, size_t size)
{
    if (from.n == 0 || from.n >= size || lh_str_eqz(from, ".") || lh_str_eqz(from, ".."))
        return false;
    memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return true;
}

int node_target_parse(const char *path, struct node_target *out, struct lh_err *err)
{
    struct lh_str rest = lh_str(path), part[6];
    struct node_target t = {0};
    bool ok = rest.n > 0 && rest.p[0] == '/';

    for (size_t i = 0; i < 6 && ok; i++)
        ok = last(&rest, &part[i]);
    ok = ok && lh_str_eqz(part[0], "mount") && lh_str_eqz(part[2], "kubernetes.io~csi") &&
         lh_str_eqz(part[3], "volumes") && lh_str_eqz(part[5], "pods") &&
         copy(part[1], t.volume, sizeof(t.volume)) && copy(part[4], t.pod_uid, sizeof(t.pod_uid));
    if (!ok)
        return invalid(err, "target_path must be "
                            "DIR/pods/UID/volumes/kubernetes.io~csi/VOLUME/mount, as kubelet has "
                            "it");
    *out = t;
    return 0;
}

/* It names a folder of ours. */
static bool is_volume_id(const char *id)
{
    size_t n = strlen(id);

    return n <= VOLUME_ID_MAX && id[0] != '.' &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int read_capability(const struct csi_publish *p, struct node_request *r, struct lh_err *err)
{
    long long gid;

    if (!p->has_capability)
        return invalid(err, "volume_capability is missing");
    if (!p->is_mount)
        return invalid(err, "the volume is a folder: block access is not served");
    if (p->fs_type[0])
        return invalid(err, "fsType must be left out: the volume is memory");
    if (!p->readonly)
        return invalid(err, "the volume must be read-only: add `readOnly: true` beside `driver:`");
    r->gid = LH_MOUNT_NO_GID;
    if (p->mount_group[0]) {
        if (!lh_str_to_i64(lh_str(p->mount_group), 0, INT32_MAX, &gid))
            return invalid(err, "volume_mount_group must be a group's number");
        r->gid = gid;
    }
    r->context = "";
    for (size_t i = 0; p->mount_flags[i]; i++) {
        const char *flag = p->mount_flags[i];

        if (!lh_str_starts(lh_str(flag), LH_STR(CONTEXT_FLAG)))
            return invalid(err, "mount options are not served, but SELinux's context");
        r->context = flag + strlen(CONTEXT_FLAG);
        if (strlen(r->context) >= LH_MOUNT_CONTEXT)
            return invalid(err, "the SELinux context is too long");
    }
    return 0;
}

static int take_attribute(struct node_request *r, const struct csi_pair *a, bool *ephemeral,
                          struct lh_err *err)
{
    const struct {
        const char *key;
        const char **to;
    } known[] = {{CSI_RESERVED_PREFIX "pod.name", &r->pod},
                 {CSI_RESERVED_PREFIX "pod.namespace", &r->namespace_},
                 {CSI_RESERVED_PREFIX "pod.uid", &r->pod_uid},
                 {CSI_RESERVED_PREFIX "serviceAccount.name", &r->service_account},
                 {"projection", &r->projection}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(a->key, known[i].key) == 0) {
            *known[i].to = a->value;
            return 0;
        }
    }
    if (strcmp(a->key, CSI_RESERVED_PREFIX "ephemeral") == 0) {
        *ephemeral = strcmp(a->value, "true") == 0;
        return 0;
    }
    if (lh_str_starts(lh_str(a->key), LH_STR(CSI_RESERVED_PREFIX)))
        return invalid(err, "volumeAttributes beginning with \"" CSI_RESERVED_PREFIX
                            "\" are kubelet's own: take them away");
    return invalid(err, "volumeAttributes has an attribute that is not known; the only one is "
                        "\"projection\", the name of a SecretProjection");
}

static int check_names(const struct node_request *r, bool ephemeral, struct lh_err *err)
{
    if (!r->pod || !r->namespace_ || !r->pod_uid || !r->service_account)
        return invalid(err, "kubelet did not say for which Pod: the CSIDriver object needs "
                            "podInfoOnMount: true");
    if (!ephemeral)
        return invalid(err, "only inline volumes of a Pod are served (`csi:` in its volumes)");
    if (strcmp(r->pod_uid, r->target.pod_uid) != 0)
        return invalid(err, "target_path is of another Pod");
    if (!lh_str_is_dns_label(lh_str(r->namespace_)) || !lh_str_is_dns_subdomain(lh_str(r->pod)) ||
        !lh_str_is_dns_subdomain(lh_str(r->service_account)))
        return invalid(err, "the Pod's name, namespace or account is no name of Kubernetes");
    if (!r->projection)
        return invalid(err, "volumeAttributes must have \"projection\", the name of a "
                            "SecretProjection in the Pod's namespace");
    if (!lh_str_is_dns_subdomain(lh_str(r->projection)))
        return invalid(err, "volumeAttributes.projection must be the plain name of a "
                            "SecretProjection");
    return 0;
}

int node_request_read(const struct csi_publish *p, struct node_request *out, struct lh_err *err)
{
    struct node_request r = {.gid = LH_MOUNT_NO_GID};
    bool ephemeral = false;
    int rc = 0;

    if (!p->volume_id[0] || !is_volume_id(p->volume_id))
        return invalid(err, "volume_id is missing or is no plain name");
    if (!p->target_path[0])
        return invalid(err, "target_path is missing");
    rc = read_capability(p, &r, err);
    if (rc == 0)
        rc = node_target_parse(p->target_path, &r.target, err);
    if (rc == 0 && p->tokens_in_context_ignored)
        rc = invalid(err, "volumeAttributes beginning with \"" CSI_RESERVED_PREFIX
                          "\" are kubelet's own: take them away");
    for (size_t i = 0; i < p->n_context && rc == 0; i++)
        rc = take_attribute(&r, &p->context[i], &ephemeral, err);
    if (rc == 0)
        rc = check_names(&r, ephemeral, err);
    if (rc == 0)
        *out = r;
    return rc;
}

enum lh_grpc_status node_status_of(int code)
{
    switch (code) {
    case LH_E_INVALID:
    case LH_E_CONFLICT:
        return LH_GRPC_FAILED_PRECONDITION;
    case LH_E_TOOBIG:
        return LH_GRPC_RESOURCE_EXHAUSTED;
    case LH_E_NOTFOUND:
        return LH_GRPC_NOT_FOUND;
    case LH_E_DENIED:
        return LH_GRPC_PERMISSION_DENIED;
    case LH_E_EXPIRED:
        return LH_GRPC_UNAUTHENTICATED;
    case LH_E_NOMEM:
    case LH_E_OS:
        return LH_GRPC_INTERNAL;
    default:
        return LH_GRPC_UNAVAILABLE;
    }
}

lh_ms node_answer_by(lh_ms now, lh_ms deadline, int64_t limit_ms, bool first)
{
    lh_ms by = now + (first && FIRST_ANSWER_MS < limit_ms ? FIRST_ANSWER_MS : limit_ms);

    if (deadline == INT64_MAX || by <= deadline - MARGIN_MS)
        return by;
    return deadline - MARGIN_MS > now ? deadline - MARGIN_MS : now;
}

int node_memory_check(int64_t more, int64_t all, int64_t all_max, int64_t in_namespace,
                      int64_t namespace_max, const char *namespace_, struct lh_err *err)
{
    int rc = 0;

    if (all + more > all_max)
        rc = lh_err_set(err, LH_E_TOOBIG,
                        "the volumes of this node may have %lld KiB together, and %lld KiB are "
                        "given away",
                        (long long)all_max / 1024, (long long)all / 1024);
    else if (in_namespace + more > namespace_max)
        rc =
            lh_err_set(err, LH_E_TOOBIG,
                       "the volumes of namespace \"%s\" on this node may have %lld KiB together, "
                       "and %lld KiB are given away",
                       namespace_, (long long)namespace_max / 1024, (long long)in_namespace / 1024);
    return rc < 0 ? lh_err_reason(err, rc, LH_REASON_NodeMemoryFull) : 0;
}
