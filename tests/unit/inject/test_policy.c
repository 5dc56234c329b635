/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "leasehold/api/reasons.h"
#include "leasehold/core/mem.h"
#include "leasehold/inject/policy.h"

#define DIGEST "@sha256:0123456789012345678901234567890123456789012345678901234567890123"

static const struct row {
    const char *name;
    const char *text;
    const char *says; /* NULL: fine */
} rows[] = {
    {"nothing", "", NULL},
    {"an empty block", "{}", NULL},
    {"the block inside policy", "policy: {unknownAnnotations: Warn}", NULL},
    {"what the chart renders when nothing is set",
     "clusterName: \"\"\nunknownAnnotations: Deny\naddresses: []\nimages: []\nmaxCPU: \"500m\"\n"
     "maxMemory: \"128Mi\"\nmaxSize: \"64Mi\"\nagent:\n  image: \"r/a:1\"\n"
     "  imagePullPolicy: IfNotPresent\n  imagePullSecrets: []\n  cpu: \"5m\"\n  metricsPort: 0\n",
     NULL},
    {"no YAML", "a: [", "policy.yaml:"},
    {"a list", "[]", "must be an object"},
    {"two documents", "{}\n---\n{}\n", "must hold one document"},
    {"an unknown field", "unknownAnnotation: Warn",
     "unknown field \"unknownAnnotation\"; the nearest known is \"unknownAnnotations\""},
    {"an unknown field inside policy", "policy: {maxCpu: 1}", "policy.yaml: policy: unknown field"},
    {"another word", "unknownAnnotations: Ignore", "unknownAnnotations: must be one of Deny, Warn"},
    {"a cluster name with a slash", "clusterName: a/b", "clusterName: must be lower case"},
    {"no network", "addresses: [\"10.0.0.0/99\"]", "addresses[0]: must be a network"},
    {"an image by tag", "images: [\"r/a:1\"]", "images[0]: must name an image by digest"},
    {"an image by part of a digest", "images: [\"r/a@sha256:abc\"]", "by digest"},
    {"an image by digest", "images: [\"r/a" DIGEST "\"]", NULL},
    {"an image by any digest", "images: [\"r/a@sha256:*\"]", NULL},
    {"any image", "images: [\"*\"]", "by digest"},
    {"a pattern with a star inside", "paths: [\"a/*/b\"]", "paths[0]: has * before its end"},
    {"a pattern with another placeholder", "roles: [\"{ns}\"]", "roles[0]: braces"},
    {"no quantity", "maxCPU: lots", "maxCPU: must be a quantity such as \"500m\""},
    {"nothing at most", "maxSize: \"0\"", "maxSize: must be a quantity"},
    {"another pull policy", "agent: {imagePullPolicy: Sometimes}",
     "agent.imagePullPolicy: must be one of Always, IfNotPresent, Never"},
    {"another log level", "agent: {logLevel: loud}", "agent.logLevel: must be one of"},
    {"a port past all ports", "agent: {metricsPort: 65536}", "agent.metricsPort: must be"},
};

static void policy_is_judged(void **state)
{
    const struct row *r = *state;
    struct lh_policy *p = NULL;
    struct lh_err err = {0};
    int rc = lh_policy_parse(lh_str(r->text), "policy.yaml", &p, &err);

    if (!r->says) {
        if (rc < 0)
            fail_msg("%s", err.msg);
        lh_policy_free(p);
        return;
    }
    assert_true(rc < 0);
    assert_null(p);
    assert_string_equal(err.reason, LH_REASON_ConfigInvalid);
    if (!strstr(err.msg, r->says))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, r->says);
}

static void every_field_is_read(void **state)
{
    static const char text[] = "clusterName: prod\nunknownAnnotations: Warn\n"
                               "addresses: [127.0.0.0/8]\nimages: [\"r/a@sha256:*\"]\n"
                               "roles: [a]\npaths: [b]\nmaxCPU: 1\nmaxMemory: 64Mi\nmaxSize: 8Mi\n"
                               "agent: {image: r/b, imagePullPolicy: Never, imagePullSecrets: "
                               "[s], cpu: 7m, metricsPort: 9100, logLevel: debug}\n";
    struct lh_policy *p = NULL;

    (void)state;
    assert_int_equal(lh_policy_parse(LH_STR(text), "p", &p, NULL), 0);
    assert_string_equal(p->cluster_name, "prod");
    assert_true(p->warn_unknown);
    assert_string_equal(p->addresses[0], "127.0.0.0/8");
    assert_string_equal(p->roles[0], "a");
    assert_string_equal(p->paths[0], "b");
    assert_int_equal(p->max_cpu_milli, 1000);
    assert_int_equal(p->max_memory_bytes, 64 << 20);
    assert_int_equal(p->max_size_bytes, 8 << 20);
    assert_string_equal(p->agent_image, "r/b");
    assert_string_equal(p->pull_policy, "Never");
    assert_string_equal(p->pull_secrets[0], "s");
    assert_int_equal(p->agent_cpu_milli, 7);
    assert_int_equal(p->agent_metrics_port, 9100);
    assert_string_equal(p->agent_log_level, "debug");
    lh_policy_free(p);
}

static void images_are_matched(void **state)
{
    struct lh_policy *p = NULL;

    (void)state;
    assert_int_equal(
        lh_policy_parse(LH_STR("images: [\"r/a@sha256:*\", \"r/b" DIGEST "\"]"), "p", &p, NULL), 0);
    assert_int_equal(lh_policy_allow_image(p, "r/a" DIGEST, NULL), 0);
    assert_int_equal(lh_policy_allow_image(p, "r/b" DIGEST, NULL), 0);
    assert_int_equal(lh_policy_allow_image(p, "r/a:1", NULL), -LH_E_DENIED);
    assert_int_equal(lh_policy_allow_image(p, "r/b" DIGEST "0", NULL), -LH_E_DENIED);
    assert_int_equal(lh_policy_allow_image(p, "evil/r/a" DIGEST, NULL), -LH_E_DENIED);
    lh_policy_free(p);
}

int main(void)
{
    static struct CMUnitTest tests[64];
    size_t n = 0;

    lh_json_init();
    for (; n < sizeof(rows) / sizeof(rows[0]); n++)
        tests[n] = (struct CMUnitTest){rows[n].name, policy_is_judged, NULL, NULL,
                                       (void *)(uintptr_t)&rows[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(every_field_is_read);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(images_are_matched);
    return _cmocka_run_group_tests("policy", tests, n, NULL, NULL);
}
