/* SPDX-License-Identifier: Apache-2.0 */
/* Where the API server keeps what: staging/src/k8s.io/apiserver's registry and its exceptions. */
#include "audit.h"

#include <stdio.h>
#include <string.h>

#include "leasehold/core/mem.h"

/* Built-in kinds are stored without their group, some by another name. */
static const struct {
    const char *stored, *resource;
} known[] = {
    {"minions", "nodes"},
    {"controllers", "replicationcontrollers"},
    {"deployments", "deployments.apps"},
    {"replicasets", "replicasets.apps"},
    {"statefulsets", "statefulsets.apps"},
    {"daemonsets", "daemonsets.apps"},
    {"controllerrevisions", "controllerrevisions.apps"},
    {"jobs", "jobs.batch"},
    {"cronjobs", "cronjobs.batch"},
    {"horizontalpodautoscalers", "horizontalpodautoscalers.autoscaling"},
    {"leases", "leases.coordination.k8s.io"},
    {"leasecandidates", "leasecandidates.coordination.k8s.io"},
    {"endpointslices", "endpointslices.discovery.k8s.io"},
    {"ingress", "ingresses.networking.k8s.io"},
    {"ingressclasses", "ingressclasses.networking.k8s.io"},
    {"networkpolicies", "networkpolicies.networking.k8s.io"},
    {"ipaddresses", "ipaddresses.networking.k8s.io"},
    {"servicecidrs", "servicecidrs.networking.k8s.io"},
    {"poddisruptionbudgets", "poddisruptionbudgets.policy"},
    {"roles", "roles.rbac.authorization.k8s.io"},
    {"rolebindings", "rolebindings.rbac.authorization.k8s.io"},
    {"clusterroles", "clusterroles.rbac.authorization.k8s.io"},
    {"clusterrolebindings", "clusterrolebindings.rbac.authorization.k8s.io"},
    {"priorityclasses", "priorityclasses.scheduling.k8s.io"},
    {"storageclasses", "storageclasses.storage.k8s.io"},
    {"volumeattachments", "volumeattachments.storage.k8s.io"},
    {"csinodes", "csinodes.storage.k8s.io"},
    {"csidrivers", "csidrivers.storage.k8s.io"},
    {"csistoragecapacities", "csistoragecapacities.storage.k8s.io"},
    {"runtimeclasses", "runtimeclasses.node.k8s.io"},
    {"flowschemas", "flowschemas.flowcontrol.apiserver.k8s.io"},
    {"prioritylevelconfigurations", "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"},
    {"certificatesigningrequests", "certificatesigningrequests.certificates.k8s.io"},
    {"mutatingwebhookconfigurations", "mutatingwebhookconfigurations.admissionregistration.k8s.io"},
    {"validatingwebhookconfigurations",
     "validatingwebhookconfigurations.admissionregistration.k8s.io"},
    {"validatingadmissionpolicies", "validatingadmissionpolicies.admissionregistration.k8s.io"},
    {"validatingadmissionpolicybindings",
     "validatingadmissionpolicybindings.admissionregistration.k8s.io"},
    {"mutatingadmissionpolicies", "mutatingadmissionpolicies.admissionregistration.k8s.io"},
    {"mutatingadmissionpolicybindings",
     "mutatingadmissionpolicybindings.admissionregistration.k8s.io"},
    {"clustertrustbundles", "clustertrustbundles.certificates.k8s.io"},
    {"podcertificaterequests", "podcertificaterequests.certificates.k8s.io"},
    {"volumeattributesclasses", "volumeattributesclasses.storage.k8s.io"},
    {"deviceclasses", "deviceclasses.resource.k8s.io"},
    {"resourceclaims", "resourceclaims.resource.k8s.io"},
    {"resourceclaimtemplates", "resourceclaimtemplates.resource.k8s.io"},
    {"resourceslices", "resourceslices.resource.k8s.io"},
    {"storageversionmigrations", "storageversionmigrations.storagemigration.k8s.io"},
};

/* The next segment; false at the end and where it is empty. */
static bool cut(struct lh_str *rest, struct lh_str *head)
{
    lh_str_cut(*rest, '/', head, rest);
    return head->n > 0;
}

static bool set_resource(struct audit_path *out, struct lh_str first, struct lh_str second)
{
    int n;

    for (size_t i = 0; second.n == 0 && i < LH_ARRAY_LEN(known); i++) {
        if (lh_str_eqz(first, known[i].stored))
            first = lh_str(known[i].resource);
    }
    n = second.n ? snprintf(out->resource, sizeof(out->resource), "%.*s.%.*s", (int)second.n,
                            second.p, (int)first.n, first.p)
                 : snprintf(out->resource, sizeof(out->resource), "%.*s", (int)first.n, first.p);
    return n > 0 && (size_t)n < sizeof(out->resource);
}

/* Printable ASCII: a key is shown to people. */
static bool is_plain(struct lh_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    }
    return true;
}

bool audit_path_parse(struct lh_str key, struct lh_str prefix, struct audit_path *out)
{
    struct lh_str rest = key, first, second = {0}, a, b = {0};

    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (key.n > 4096 || !is_plain(key) || !lh_str_starts(key, prefix) || key.n <= prefix.n ||
        key.p[prefix.n] != '/')
        return false;
    rest = (struct lh_str){key.p + prefix.n + 1, key.n - prefix.n - 1};
    if (!cut(&rest, &first))
        return false;
    if (memchr(first.p, '.', first.n) && !cut(&rest, &second))
        return false;
    if (lh_str_eqz(first, "services")) {
        if (!cut(&rest, &a))
            return false;
        first = lh_str_eqz(a, "endpoints") ? LH_STR("endpoints") : first;
    }
    if (!set_resource(out, first, second) || !cut(&rest, &a))
        return false;
    if (rest.n && (!cut(&rest, &b) || rest.n))
        return false;
    out->namespace_ = b.n ? a : (struct lh_str){0};
    out->name = b.n ? b : a;
    return true;
}
