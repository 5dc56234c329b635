/* SPDX-License-Identifier: Apache-2.0 */
/* Who may read Secrets through the API, where encryption at rest does not help: RBAC's roles, and
 * who is bound to them. Authorizers other than RBAC are not seen. */
#include <stdio.h>
#include <string.h>

#include "audit_gather.h"
#include "leasehold/core/mem.h"
#include "leasehold/kube/client.h"

enum { MAX_SUBJECTS = 20000, MAX_ROLES = 50000 };

/* What a role grants, as the values of a map: there, or not. */
static char reads, execs, both;

static bool has_word(const lh_json *list, const char *const *words)
{
    struct lh_str s;

    for (size_t i = 0; i < lh_json_len(list); i++) {
        for (size_t k = 0; words[k]; k++) {
            if (lh_json_str(lh_json_at(list, i), &s) && lh_str_eqz(s, words[k]))
                return true;
        }
    }
    return false;
}

/* A rule for objects by name is no right to read all of them. */
static void look(const lh_json *rule, bool *may_read, bool *may_exec)
{
    static const char *const groups[] = {"", "*", NULL}, *const secrets[] = {"secrets", "*", NULL};
    static const char *const reading[] = {"get", "list", "watch", "*", NULL};
    static const char *const exec[] = {"pods/exec", "pods/*", "*/exec", "*", NULL};
    static const char *const making[] = {"create", "get", "*", NULL};
    const lh_json *resources = lh_json_get(rule, "resources"), *verbs = lh_json_get(rule, "verbs");

    if (!has_word(lh_json_get(rule, "apiGroups"), groups) ||
        lh_json_len(lh_json_get(rule, "resourceNames")))
        return;
    *may_read |= has_word(resources, secrets) && has_word(verbs, reading);
    *may_exec |= has_word(resources, exec) && has_word(verbs, making);
}

int audit_take_role(struct audit *a, const lh_json *role, struct lh_err *err)
{
    const lh_json *rules = lh_json_get(role, "rules"), *meta = lh_json_get(role, "metadata");
    const char *ns = lh_json_get_z(meta, "namespace"), *name = lh_json_get_z(meta, "name");
    bool may_read = false, may_exec = false;
    char room[600];

    for (size_t i = 0; i < lh_json_len(rules); i++)
        look(lh_json_at(rules, i), &may_read, &may_exec);
    if (!name || (!may_read && !may_exec))
        return 0;
    if (lh_map_len(a->rights.roles) >= MAX_ROLES) {
        a->rights.cut = true;
        return 0;
    }
    snprintf(room, sizeof(room), "%s/%s", ns ? ns : "", name);
    return lh_map_set(a->rights.roles, lh_str(room),
                      may_read && may_exec ? &both : (may_read ? &reads : &execs), NULL, err);
}

static bool is_in(const char *name, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(name, *list) == 0)
            return true;
    }
    return false;
}

/* Who has to: the server's own administrators, its components, its built-in controllers. */
static bool is_own(const char *kind, const char *ns, const char *name, const char *role)
{
    static const char *const users[] = {"system:kube-controller-manager", "system:kube-scheduler",
                                        "system:apiserver", NULL};

    if (strcmp(kind, "Group") == 0)
        return strcmp(name, "system:masters") == 0;
    if (strcmp(kind, "User") == 0)
        return is_in(name, users);
    return strcmp(ns, "kube-system") == 0 && strncmp(role, "system:controller:", 18) == 0;
}

static int note(struct audit *a, struct lh_map *m, const char *subject, struct lh_err *err)
{
    if (lh_map_len(m) < MAX_SUBJECTS)
        return lh_map_set(m, lh_str(subject), &reads, NULL, err);
    a->rights.cut |= lh_map_get(m, lh_str(subject)) == NULL;
    return 0;
}

static int take_subject(struct audit *a, const lh_json *subject, const char *role,
                        const void *grants, bool everywhere, struct lh_err *err)
{
    static const char *const anybody[] = {"system:authenticated", "system:unauthenticated",
                                          "system:serviceaccounts", "system:anonymous", NULL};
    const char *kind = lh_json_get_z(subject, "kind"), *name = lh_json_get_z(subject, "name");
    const char *ns = lh_json_get_z(subject, "namespace");
    char room[800];
    int rc = 0;

    ns = ns ? ns : "";
    if (!kind || !name || is_own(kind, ns, name, role))
        return 0;
    snprintf(room, sizeof(room), "%s %s%s%s", kind, ns, *ns ? "/" : "", name);
    if (grants != &execs) {
        a->rights.everybody |= strcmp(kind, "ServiceAccount") != 0 && is_in(name, anybody);
        rc = note(a, everywhere ? a->rights.all : a->rights.some, room, err);
    }
    if (rc == 0 && grants != &reads && everywhere)
        rc = note(a, a->rights.exec, room, err);
    return rc;
}

int audit_take_binding(struct audit *a, const lh_json *binding, struct lh_err *err)
{
    const lh_json *meta = lh_json_get(binding, "metadata"), *ref = lh_json_get(binding, "roleRef");
    const lh_json *subjects = lh_json_get(binding, "subjects");
    const char *ns = lh_json_get_z(meta, "namespace"), *kind = lh_json_get_z(ref, "kind");
    const char *role = lh_json_get_z(ref, "name");
    const void *grants;
    char room[600];
    int rc = 0;

    if (!kind || !role)
        return 0;
    snprintf(room, sizeof(room), "%s/%s", ns && strcmp(kind, "Role") == 0 ? ns : "", role);
    grants = lh_map_get(a->rights.roles, lh_str(room));
    for (size_t i = 0; grants && i < lh_json_len(subjects) && rc == 0; i++)
        rc = take_subject(a, lh_json_at(subjects, i), role, grants, ns == NULL, err);
    return rc;
}

int audit_gather_rights(struct audit *a, struct lh_kube *kube, unsigned timeout_ms,
                        struct lh_err *err)
{
    static const struct {
        const char *resource;
        audit_take_fn take;
    } lists[] = {{"clusterroles", audit_take_role},
                 {"roles", audit_take_role},
                 {"clusterrolebindings", audit_take_binding},
                 {"rolebindings", audit_take_binding}};
    struct lh_err why = {0};
    int rc = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(lists) && rc == 0; i++) {
        const struct lh_kube_resource kind = {
            .group = "rbac.authorization.k8s.io", .version = "v1", .resource = lists[i].resource};

        rc = audit_gather_list(a, kube, &kind, lists[i].take, timeout_ms, &why);
    }
    if (rc == -LH_E_NOMEM)
        return lh_err_nomem(err);
    if (rc < 0)
        return audit_trouble(a, err, "roles were not read: %s", why.msg);
    a->rights.read = true;
    return 0;
}
