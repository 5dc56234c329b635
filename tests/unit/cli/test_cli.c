/* SPDX-License-Identifier: Apache-2.0 */
/* The program as users start it: arguments and files in, output and exit status out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leasehold/core/buf.h"
#include "leasehold/core/mem.h"

#define GOLDEN LH_SOURCE_DIR "/tests/golden/inject"
#define STORES " --stores " GOLDEN "/stores.yaml"

/* Output of both streams, at most a megabyte, terminated; the exit status in *status. */
static char *run(const char *input, const char *arguments, int *status)
{
    char *command = lh_asprintf("%s%s%s%s %s 2>&1", input ? "printf '%b' '" : "",
                                input ? input : "", input ? "' | " : "", LH_PROGRAM, arguments);
    static char out[1 << 20];
    FILE *p = popen(command, "r");
    size_t n = p ? fread(out, 1, sizeof(out) - 1, p) : 0;
    int rc = p ? pclose(p) : -1;

    out[n] = 0;
    lh_free(command);
    *status = WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
    return out;
}

#define POD(a)                                                                                     \
    "apiVersion: v1\\nkind: Pod\\nmetadata:\\n  namespace: shop\\n  annotations:\\n    " a         \
    "\\nspec: {containers: [{name: web}]}\\n"

static const struct row {
    const char *name;
    const char *input, *arguments;
    int status;
    const char *says[4]; /* parts of the output, in order */
} rows[] = {
    {"nothing", NULL, "", 2, {"name a command"}},
    {"help", NULL, "--help", 0, {"inject", "lint", "run", "explain"}},
    {"an unknown command", NULL, "injct", 2, {"no command \"injct\"; the nearest is inject"}},
    {"help of a command", NULL, "inject --help", 0, {"Usage: leasehold inject", "--stores"}},
    {"an unknown flag", NULL, "inject --store x", 2, {"--stores"}},
    {"inject without stores", NULL, "inject -f x", 2, {"--stores is needed"}},
    {"inject of an argument", NULL, "inject x --stores y", 2, {"name the file with -f"}},
    {"inject in another format",
     NULL,
     "inject -f x -o xml" STORES,
     2,
     {"-o must be yaml, json or patch"}},
    {"inject of a file that is not there",
     NULL,
     "inject -f /nonexistent" STORES,
     1,
     {"leasehold inject: ", "/nonexistent"}},
    {"inject with stores that are not there",
     NULL,
     "inject --stores /nonexistent",
     1,
     {"/nonexistent"}},
    {"inject of no YAML", "a: [", "inject" STORES, 1, {"<stdin>:"}},
    {"inject as yaml",
     POD("leasehold.dev/secret.db: database/creds/shop"),
     "inject" STORES,
     0,
     {"kind: Pod", "leasehold.dev/status: injected", "name: leasehold-agent"}},
    {"inject as json",
     POD("leasehold.dev/secret.db: database/creds/shop"),
     "inject -o json" STORES,
     0,
     {"\"kind\": \"Pod\"", "\"leasehold-agent\""}},
    {"inject of nothing of ours", POD("a: b"), "inject -o patch" STORES, 0, {"[]\n"}},
    {"inject that is denied",
     POD("leasehold.dev/secret.db: database/creds/bank"),
     "inject" STORES,
     1,
     {"<stdin>:6: leasehold.dev/secret.db: PathNotAllowed: ClusterSecretStore \"vault\" does not "
      "let namespace \"shop\" read",
      "See: kubectl leasehold explain PathNotAllowed\n"}},
    {"inject of several documents",
     "kind: A\\n---\\nkind: B\\n",
     "inject" STORES,
     0,
     {"kind: A\n---\nkind: B\n"}},
    {"inject of a list",
     "kind: List\\napiVersion: v1\\nitems:\\n- kind: Service\\n- kind: Pod\\n  metadata: "
     "{namespace: "
     "shop, annotations: {leasehold.dev/secret.db: database/creds/shop}}\\n  spec: {containers: "
     "[{name: web}]}\\n",
     "inject" STORES,
     0,
     {"kind: List", "- kind: Service", "- kind: Pod", "leasehold-agent"}},
    {"inject in the namespace given",
     "kind: Pod\\nmetadata: {annotations: {leasehold.dev/secret.db: database/creds/shop}}\\nspec: "
     "{containers: [{name: web}]}\\n",
     "inject -n shop" STORES,
     0,
     {"leasehold-agent"}},
    {"inject of a Pod without a spec",
     "kind: Pod\\nmetadata: {annotations: {leasehold.dev/secret.db: x}}\\n",
     "inject" STORES,
     1,
     {"<stdin>:1: Pod has no spec"}},

    {"lint without files", NULL, "lint", 2, {"name the files"}},
    {"lint of what is right",
     POD("leasehold.dev/secret.db: database/creds/shop"),
     "lint -" STORES,
     0,
     {""}},
    {"lint without stores judges what it can",
     POD("leasehold.dev/secret.db: x/y"),
     "lint -",
     0,
     {""}},
    {"lint of a bad path",
     POD("leasehold.dev/secret.db: x//y"),
     "lint -",
     1,
     {"<stdin>:6: leasehold.dev/secret.db: PathInvalid: "}},
    {"lint of a warning",
     POD("leasehold.dev/store: vault"),
     "lint -",
     0,
     {"<stdin>:5: warning: metadata.annotations: nothing is injected"}},
    {"lint of two files",
     NULL,
     "lint " GOLDEN "/misplaced/pod.yaml " GOLDEN "/denied-many/pod.yaml",
     1,
     {"misplaced/pod.yaml:7: warning: leasehold.dev/secret.db: has no effect",
      "denied-many/pod.yaml:8: leasehold.dev/secret.up: ",
      "denied-many/pod.yaml:11: leasehold.dev/size: "}},
    {"lint of no YAML goes on",
     NULL,
     "lint /dev/null " GOLDEN "/denied-many/pod.yaml",
     1,
     {"denied-many/pod.yaml:8: "}},
    {"lint of a broken file", "a: [", "lint -", 1, {"<stdin>:"}},
    {"lint of a store",
     "apiVersion: leasehold.dev/v1alpha1\\nkind: ClusterSecretStore\\nmetadata: {name: "
     "v}\\nspec:\\n "
     " vault:\\n    addresses:\\n    - https://a\\n    - http://b\\n    auth: {}\\n",
     "lint -",
     1,
     {"<stdin>:8: StoreInvalid: ClusterSecretStore \"v\": spec.vault.addresses[1]: "}},
    {"lint of a projection",
     "apiVersion: leasehold.dev/v1alpha1\\nkind: SecretProjection\\nmetadata: {name: "
     "p}\\nspec:\\n  items:\\n  - name: a\\n    path: b\\n    files:\\n    - path: /x\\n",
     "lint -",
     1,
     {"<stdin>:9: ConfigInvalid: SecretProjection \"p\": spec.items[0].files[0].path: "}},
    {"lint takes stores from the files",
     "apiVersion: leasehold.dev/v1alpha1\\nkind: SecretStore\\nmetadata: {name: v, namespace: "
     "bank}\\nspec: {vault: {addresses: [\"https://a\"], auth: {jwt: {role: r, audience: "
     "vault}}}}\\n---\\n" POD("leasehold.dev/secret.db: x"),
     "lint -",
     1,
     {"<stdin>:10: leasehold.dev/store: StoreNotFound: "}},
    {"lint of a list for an object", "- a\\n", "lint -", 1, {"<stdin>:1: is no Kubernetes object"}},
    {"lint with a policy that is wrong",
     NULL,
     "lint --policy " GOLDEN "/stores.yaml /dev/null",
     1,
     {"stores.yaml: must hold one document"}},

    {"policy",
     NULL,
     "policy -f " GOLDEN "/everything/pod.yaml --policy " GOLDEN "/everything/policy.yaml" STORES,
     0,
     {"everything/pod.yaml:1: Pod web, as ServiceAccount web of shop",
      "bao write auth/jwt/role/shop-special role_type=jwt",
      "path \"database/creds/web\" {\n  capabilities = [\"read\"]\n}\npath \"pki/issue/web\" {\n  "
      "capabilities = [\"update\"]\n}\npath \"secret/data/shop/env\""}},
    {"policy for Vault",
     NULL,
     "policy --for vault -f " GOLDEN "/real-pod/pod.yaml" STORES,
     0,
     {"vault policy write shop-web"}},
    {"policy joins who logs in alike",
     "apiVersion: leasehold.dev/v1alpha1\\nkind: SecretProjection\\nmetadata: {name: a, namespace: "
     "x}\\nspec: {storeRef: {kind: ClusterSecretStore, name: first}, serviceAccountName: one, "
     "items: [{name: a, path: secret/b}]}\\n---\\n"
     "apiVersion: leasehold.dev/v1alpha1\\nkind: SecretProjection\\nmetadata: {name: b, namespace: "
     "x}\\nspec: {storeRef: {kind: ClusterSecretStore, name: first}, serviceAccountName: two, "
     "items: [{name: a, path: secret/data/a}]}\\n",
     "policy --stores " GOLDEN "/default-store/stores.yaml",
     0,
     {"bound_service_account_names=one,two bound_service_account_namespaces=x ",
      "path \"secret/data/a\"", "path \"secret/data/b\""}},
    {"policy of a store that is not there",
     "apiVersion: leasehold.dev/v1alpha1\\nkind: SecretProjection\\nmetadata: {name: a}\\nspec: "
     "{items: [{name: a, path: b}]}\\n",
     "policy" STORES,
     1,
     {"spec.storeRef must name a store"}},
    {"policy for another manager",
     NULL,
     "policy --for aws" STORES,
     2,
     {"--for must be vault or bao"}},

    {"status of two scopes", NULL, "status -A -n shop", 2, {"exclude each other"}},
    {"status in another format", NULL, "status -o yaml", 2, {"-o must be wide or json"}},
    {"status watched and live", NULL, "status --live --watch", 2, {"--live and --watch"}},
    {"status of an argument", NULL, "status shop", 2, {"takes options only"}},
    {"status without a cluster",
     NULL,
     "status --kubeconfig /nonexistent",
     1,
     {"leasehold status: ", "/nonexistent"}},

    {"explain", NULL, "explain Sealed", 0, {"Sealed\n", "What to do:\n", "Unseal it."}},
    {"explain all", NULL, "explain", 0, {"AddressNotAllowed\n", "Unreachable\n"}},
    {"explain a misspelled word", NULL, "explain Seald", 1, {"the nearest is Sealed"}},
    {"version", NULL, "version", 0, {"leasehold " LH_VERSION "\n"}},
    {"version by flag", NULL, "--version", 0, {"leasehold " LH_VERSION "\n"}},
    {"version, verbose", NULL, "version --verbose", 0, {"libraries: ", "jansson "}},
    {"docs of annotations",
     NULL,
     "docs annotations",
     0,
     {"| `secret.NAME` |", "| `inject` |", "## Reserved", "| `status` |"}},
    {"docs of reasons", NULL, "docs reasons", 0, {"## PathNotAllowed\n"}},
    {"docs of limits", NULL, "docs limits", 0, {"| agent configuration | 96 KiB |"}},
    {"docs of flags", NULL, "docs flags", 0, {"## leasehold inject", "`--stores"}},
    {"docs as a man page", NULL, "--docs man", 0, {".Dt LEASEHOLD 1", ".Ss inject"}},
    {"docs of nothing", NULL, "docs", 2, {"name a page"}},
};

static void command_does_it(void **state)
{
    const struct row *r = *state;
    int status = -1;
    const char *out = run(r->input, r->arguments, &status), *at = out;

    if (status != r->status)
        fail_msg("exit status %d: %s", status, out);
    for (size_t i = 0; i < 4 && r->says[i]; i++) {
        at = strstr(at, r->says[i]);
        if (!at)
            fail_msg("\"%s\" is not in its place: %s", r->says[i], out);
        at += strlen(r->says[i]);
    }
    if (r->says[0] && !*r->says[0])
        assert_string_equal(out, "");
}

/* The golden patches of the library, byte for byte, by the program; and [] on its own output. */
static void patch_is_the_golden_one(void **state)
{
    static const char *const cases[] = {"one-annotation", "real-pod", "deployment", "signal",
                                        "mesh-native"};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(cases); i++) {
        char *args = lh_asprintf("inject -o patch -f " GOLDEN "/%s/pod.yaml" STORES
                                 " 2>/dev/null | cmp - " GOLDEN "/%s/patch.json",
                                 cases[i], cases[i]);
        char *again =
            lh_asprintf("inject -f " GOLDEN "/%s/pod.yaml" STORES " 2>/dev/null | " LH_PROGRAM
                        " inject -o patch" STORES " 2>/dev/null",
                        cases[i]);
        int status = -1;
        const char *out = run(NULL, args, &status);

        if (status != 0)
            fail_msg("%s: %s", cases[i], out);
        assert_string_equal(run(NULL, again, &status), "[]\n");
        assert_int_equal(status, 0);
        lh_free(args);
        lh_free(again);
    }
}

int main(void)
{
    static struct CMUnitTest tests[128];
    size_t n = 0;

    for (; n < sizeof(rows) / sizeof(rows[0]); n++)
        tests[n] = (struct CMUnitTest){rows[n].name, command_does_it, NULL, NULL,
                                       (void *)(uintptr_t)&rows[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(patch_is_the_golden_one);
    return _cmocka_run_group_tests("cli", tests, n, NULL, NULL);
}
