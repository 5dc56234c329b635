/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <string.h>

#include "leasehold/core/mem.h"
#include "options.h"
#include "warn.h"

static struct row {
    const char *name;
    const char *argv[12];
    const char *says; /* NULL: fine */
} rows[] = {
    {"Transit", {"--listen", "/run/k", "--store", "s", "--key", "k", "--cluster", "c"}, NULL},
    {"local key", {"--listen", "fd", "--local-key", "f", "--cluster", "c"}, NULL},
    {"a worker", {"--from-holder", "/c", "--local-key", "f", "--cluster", "c"}, NULL},
    {"a holder", {"--hold", "--listen", "/run/k", "--control", "/run/c"}, NULL},
    {"no backend", {"--listen", "/run/k", "--cluster", "c"}, "--store"},
    {"two backends",
     {"--listen", "/run/k", "--store", "s", "--key", "k", "--local-key", "f", "--cluster", "c"},
     "either --store"},
    {"no cluster", {"--listen", "/run/k", "--local-key", "f"}, "--cluster"},
    {"no key", {"--listen", "/run/k", "--store", "s", "--cluster", "c"}, "--key"},
    {"nowhere to listen", {"--local-key", "f", "--cluster", "c"}, "--listen"},
    {"a holder without control", {"--hold", "--listen", "/run/k"}, "--control"},
    {"a holder with a key",
     {"--hold", "--listen", "/k", "--control", "/c", "--local-key", "f"},
     "knows no key"},
    {"control without hold",
     {"--listen", "/k", "--control", "/c", "--local-key", "f", "--cluster", "c"},
     "--hold"},
    {"a generation too far",
     {"--listen", "/k", "--local-key", "f", "--cluster", "c", "--generation", "100"},
     "--generation"},
    {"no age",
     {"--listen", "/k", "--local-key", "f", "--cluster", "c", "--cache-age", "0s"},
     "--cache-age"},
    {"probing without pause",
     {"--listen", "/k", "--local-key", "f", "--cluster", "c", "--probe-interval", "10ms"},
     "--probe-interval"},
    {"an unknown level",
     {"--listen", "/k", "--local-key", "f", "--cluster", "c", "--log-level", "loud"},
     "--log-level"},
};

static void checks(void **state)
{
    const struct row *r = *state;
    char *argv[14] = {(char *)"leasehold-kms"};
    const char *const *args = NULL;
    struct lh_conf *conf = NULL;
    struct kms_options o = {0};
    struct lh_err err = {0};
    int argc = 1, rc;

    for (size_t i = 0; i < LH_ARRAY_LEN(r->argv) && r->argv[i]; i++)
        argv[argc++] = (char *)r->argv[i];
    assert_int_equal(lh_conf_parse(&kms_option_set, argc, argv, NULL, &o, &conf, &args, &err), 0);
    rc = kms_options_check(&o, &err);
    lh_conf_free(conf);
    assert_int_equal(rc, r->says ? -LH_E_INVALID : 0);
    if (r->says)
        assert_non_null(strstr(err.msg, r->says));
}

static const char *const nets[] = {"10.96.0.0/12", "fd00:1::/108", NULL};

static struct address_row {
    const char *name;
    bool want;
} addresses[] = {
    {"https://vault.vault.svc:8200", true}, {"https://vault.vault.svc.cluster.local:8200", true},
    {"https://vault.example:8200", false},  {"https://svc:8200", false},
    {"https://10.100.3.4:8200", true},      {"https://10.112.0.1:8200", false},
    {"https://[fd00:1::5]:8200", true},     {"https://[fd00:2::5]:8200", false},
    {"https://10.100.3.4.example", false},
};

static void in_cluster(void **state)
{
    const struct address_row *r = *state;

    assert_int_equal(kms_warn_in_cluster(r->name, nets), r->want);
}

static void warns_of_keys(void **state)
{
    struct lh_transit_key k = {.latest = 3, .min_decryption = 1};

    (void)state;
    assert_int_equal(kms_warn_key(&k), 0);
    k.deletion_allowed = true;
    assert_int_equal(kms_warn_key(&k), 1u << KMS_WARN_DELETION);
    k = (struct lh_transit_key){.plaintext_backup = true, .min_decryption = 2};
    assert_int_equal(kms_warn_key(&k), 1u << KMS_WARN_EXPORTABLE | 1u << KMS_WARN_MIN_DECRYPTION);
    for (unsigned w = 0; w < KMS_N_WARNINGS; w++) {
        assert_non_null(kms_warning_name(w));
        assert_non_null(kms_warning_text(w));
    }
}

int main(void)
{
    ROWS(checks, rows);
    ROWS(in_cluster, addresses);
    ONE(warns_of_keys);
    return rows_run("kms_options");
}
