/* SPDX-License-Identifier: Apache-2.0 */
/* Every check of the audit: the planted fault is found, the same without it passes, and without its
 * source nothing is said to be proven. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "audit_facts.h"
#include "leasehold/core/mem.h"
#include "leasehold/crypto/hash.h"

enum { FACTS = 12 };

/* Metrics. K1 and K2 are the hashes of "k1" and "k2". */
#define K1 "sha256:6ab9f1eb8f7d3388f4f9d586f66e99fd54080df2c446f0e58668b09c08a16dd0"
#define K2 "sha256:015f7e6bc5aeaf483724089e9252cc13b50951a6b69412522765cff4d780306e"
#define TOLD(key, at)                                                                              \
    "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{key_id_hash=\"" key   \
    "\",provider_name=\"vault\"} " at "\n"
#define RUNS(hash)                                                                                 \
    "apiserver_encryption_config_controller_last_config_info{apiserver_id_hash=\"a\",hash=\"" hash \
    "\"} 1\n"
#define CALLS(le, n)                                                                               \
    "apiserver_envelope_encryption_kms_operations_latency_seconds_bucket{method_name="             \
    "\"/v2.KeyManagementService/Decrypt\",le=\"" le "\"} " n "\n"
#define LISTS(n) "apiserver_request_total{verb=\"LIST\",resource=\"secrets\"} " n "\n"
#define WRITES(prefix, n)                                                                          \
    "apiserver_storage_transformation_operations_total{resource=\"secrets\",transformer_prefix="   \
    "\"" prefix "\",transformation_type=\"to_storage\",status=\"OK\"} " n "\n"

/* Pods. */
#define POD(name, spec)                                                                            \
    "pod {\"metadata\":{\"namespace\":\"kube-system\",\"name\":\"" name "\"},\"spec\":{" spec "}}"
#define RUN(command) "\"containers\":[{\"name\":\"c\",\"command\":[" command "]}]"
#define PROBED(path)                                                                               \
    "\"containers\":[{\"name\":\"c\",\"command\":[\"kube-apiserver\","                             \
    "\"--encryption-provider-config=/etc/enc.yaml\",\"--etcd-servers=https://127.0.0.1:2379\"],"   \
    "\"readinessProbe\":{\"httpGet\":{\"path\":\"" path "\"}}}]"
#define APISERVER POD("kube-apiserver-a", PROBED("/readyz"))
#define ETCD_TLS                                                                                   \
    "\"etcd\",\"--client-cert-auth\",\"--peer-client-cert-auth=true\","                            \
    "\"--listen-client-urls=https://10.0.0.1:2379,http://127.0.0.1:2381\""
#define ETCD POD("etcd-a", RUN(ETCD_TLS))
#define ENV(name, value)                                                                           \
    "\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"" name "\",\"value\":\"" value "\"}]}]"
#define USES(secret)                                                                               \
    "\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":"   \
    "\"" secret "\"}}]"
#define SERVES_SOCKET                                                                              \
    "\"containers\":[{\"name\":\"c\"}],\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":"       \
    "\"/run/kms\"}}]"
#define MANAGER "\"containers\":[{\"name\":\"c\",\"image\":\"example.org/hashicorp/vault:1.20\"}]"

/* Roles. */
#define ROLE(resource, verb)                                                                       \
    "role {\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":["         \
    "\"" resource "\"],\"verbs\":[\"" verb "\"]}]}"
#define BOUND(kind, name)                                                                          \
    "binding "                                                                                     \
    "{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"r\"},"        \
    "\"subjects\":[{\"kind\":\"" kind "\",\"name\":\"" name "\"}]}"
#define SAFE "deletion_allowed 0 exportable 0 min_decryption_version 0"

#define SECRET "stored secrets/kube-system/a "
#define BY_KMS "rule secrets kmsv2:vault"
#define SOCKET "socket /run/kms/kms.sock 0140600 0 0700"

static const struct row {
    const char *name; /* begins with the check's id */
    enum audit_result want;
    const char *says; /* part of the detail */
    const char *facts[FACTS];
} rows[] = {
    {"P01 a Secret in plain text",
     AUDIT_FAIL,
     "1 in plain text",
     {SECRET "kmsv2 vault k1", "stored secrets/shop/b identity"}},
    {"P01 all by a KMS", AUDIT_PASS, "1 by a KMS", {SECRET "kmsv2 vault k1"}},
    {"P01 all by a local key", AUDIT_PASS, "1 by a local key", {SECRET "secretbox k"}},
    {"P01 a malformed one",
     AUDIT_NOT_PROVEN,
     "1 malformed",
     {SECRET "kmsv2 vault k1", "stored secrets/shop/b unknown"}},
    {"P01 pages are missing", AUDIT_NOT_PROVEN, "", {SECRET "kmsv2 vault k1", "damaged"}},
    {"P01 other kinds only", AUDIT_NOT_PROVEN, "no Secret", {"stored pods/shop/a kmsv2 vault k1"}},

    {"P02 no rule names them", AUDIT_FAIL, "no rule", {"rule configmaps secretbox:k"}},
    {"P02 a wildcard of another group", AUDIT_FAIL, "no rule", {"rule *.apps secretbox:k"}},
    {"P02 by name", AUDIT_PASS, "covers", {"rule pods,secrets secretbox:k"}},
    {"P02 by the wildcard of the core group", AUDIT_PASS, "covers", {"rule *. secretbox:k"}},
    {"P02 by the wildcard of all", AUDIT_PASS, "covers", {"rule *.* secretbox:k"}},
    {"P02 a server without the flag",
     AUDIT_FAIL,
     "without --encryption-provider-config",
     {"rule secrets secretbox:k", POD("a", RUN("\"kube-apiserver\""))}},
    {"P02 Pods alone see no flag",
     AUDIT_FAIL,
     "without --encryption-provider-config",
     {POD("a", RUN("\"kube-apiserver\",\"--v=2\""))}},
    {"P02 a flag without the file", AUDIT_NOT_PROVEN, "--config", {APISERVER}},

    {"P03 identity first", AUDIT_FAIL, "by identity", {"rule secrets identity secretbox:k"}},
    {"P03 the first rule counts",
     AUDIT_FAIL,
     "by identity",
     {"rule *. identity", "rule secrets secretbox:k"}},
    {"P03 no rule", AUDIT_FAIL, "as good as identity", {"rule pods secretbox:k"}},
    {"P03 identity last", AUDIT_PASS, "by secretbox", {"rule secrets secretbox:k identity"}},
    {"P03 the canary came out plain",
     AUDIT_FAIL,
     "written now",
     {"rule secrets secretbox:k", "canary identity"}},
    {"P03 the canary alone", AUDIT_PASS, "written now was stored by kmsv2", {"canary kmsv2 v k"}},
    {"P03 no source", AUDIT_NOT_PROVEN, "--config", {SECRET "secretbox k"}},

    {"P03 plain text by the metrics",
     AUDIT_FAIL,
     "plain text since",
     {"server " WRITES("k8s:enc:kms:v2:vault:", "5") WRITES("", "1")}},
    {"P03 none by the metrics",
     AUDIT_NOT_PROVEN,
     "--config",
     {"server " WRITES("k8s:enc:kms:v2:vault:", "5")}},
    {"P04 listed, and nothing needs it",
     AUDIT_FAIL,
     "nothing needs it",
     {"rule secrets secretbox:k identity", SECRET "secretbox k"}},
    {"P04 gone, and something needs it",
     AUDIT_FAIL,
     "cannot read them",
     {"rule secrets secretbox:k", SECRET "identity"}},
    {"P04 it writes", AUDIT_FAIL, "another provider", {"rule secrets identity", SECRET "identity"}},
    {"P04 no rule", AUDIT_FAIL, "another provider", {"rule pods secretbox:k"}},
    {"P04 gone", AUDIT_PASS, "no longer", {"rule secrets secretbox:k", SECRET "secretbox k"}},
    {"P04 listed, and needed",
     AUDIT_PASS,
     "1 objects in plain text need it",
     {"rule secrets secretbox:k identity", SECRET "identity"}},
    {"P04 another kind of the rule needs it",
     AUDIT_PASS,
     "1 objects in plain text need it",
     {"rule secrets,configmaps secretbox:k identity", SECRET "secretbox k",
      "stored configmaps/shop/a identity"}},
    {"P04 a kind of no rule does not",
     AUDIT_FAIL,
     "nothing needs it",
     {"rule secrets secretbox:k identity", SECRET "secretbox k",
      "stored configmaps/shop/a identity"}},
    {"P04 pages are missing",
     AUDIT_NOT_PROVEN,
     "all of etcd's bytes",
     {"rule secrets secretbox:k identity", SECRET "secretbox k", "damaged"}},
    {"P04 listed, etcd was not read",
     AUDIT_NOT_PROVEN,
     "all of etcd's bytes",
     {"rule secrets secretbox:k identity"}},

    {"P05 aescbc", AUDIT_FAIL, "by aescbc", {"rule secrets aescbc:k"}},
    {"P05 aesgcm, writes counted",
     AUDIT_FAIL,
     "12 writes",
     {"rule secrets aesgcm:k", "server " WRITES("k8s:enc:aesgcm:v1:k:", "12")}},
    {"P05 aescbc only reads", AUDIT_PASS, "by secretbox", {"rule secrets secretbox:k aescbc:o"}},
    {"P05 no source", AUDIT_NOT_PROVEN, "--config", {SECRET "aescbc k"}},

    {"P05 aescbc by the metrics",
     AUDIT_FAIL,
     "aescbc has written 7",
     {"server " WRITES("k8s:enc:aescbc:v1:k:", "7")}},
    {"P06 configured", AUDIT_FAIL, "apiVersion", {"rule secrets kmsv1:old"}},
    {"P06 stored",
     AUDIT_FAIL,
     "1 objects",
     {BY_KMS, SECRET "kmsv2 vault k1", "stored configmaps/shop/b kmsv1 old"}},
    {"P06 neither", AUDIT_PASS, "neither", {BY_KMS, SECRET "kmsv2 vault k1"}},
    {"P06 the configuration alone", AUDIT_NOT_PROVEN, "both", {BY_KMS}},
    {"P06 etcd alone", AUDIT_NOT_PROVEN, "both", {SECRET "kmsv2 vault k1"}},
    {"P06 pages are missing", AUDIT_NOT_PROVEN, "all", {BY_KMS, SECRET "kmsv2 v k", "damaged"}},

    {"P06 v1 by the metrics",
     AUDIT_FAIL,
     "since they started",
     {"server " WRITES("k8s:enc:kms:v1:old:", "1")}},
    {"P07 an older class",
     AUDIT_FAIL,
     "1 of 2 objects are in an older class or key, 1 of them s",
     {"rule secrets secretbox:k aescbc:o", SECRET "secretbox k", "stored secrets/shop/b aescbc o"}},
    {"P07 an older local key",
     AUDIT_FAIL,
     "1 of 1",
     {"rule secrets secretbox:n secretbox:o", SECRET "secretbox o"}},
    {"P07 an older key of the KMS",
     AUDIT_FAIL,
     "1 of 2",
     {BY_KMS, SECRET "kmsv2 vault k1", "stored secrets/shop/b kmsv2 vault k2",
      "server " TOLD(K1, "5") TOLD(K2, "9")}},
    {"P07 an older key than the canary's",
     AUDIT_FAIL,
     "1 of 1",
     {BY_KMS, SECRET "kmsv2 vault k1", "canary kmsv2 vault k2"}},
    {"P07 a kind that no rule covers is encrypted",
     AUDIT_FAIL,
     "configmaps",
     {"rule secrets secretbox:k", SECRET "secretbox k", "stored configmaps/a/b secretbox k"}},
    {"P07 two keys, no configuration",
     AUDIT_FAIL,
     "more than one",
     {SECRET "kmsv2 vault k1", "stored secrets/shop/b kmsv2 vault k2"}},
    {"P07 all current",
     AUDIT_PASS,
     "all 2 objects",
     {BY_KMS, SECRET "kmsv2 vault k1", "stored pods/shop/b identity", "server " TOLD(K1, "9")}},
    {"P07 a local key", AUDIT_PASS, "all 1", {"rule secrets secretbox:k", SECRET "secretbox k"}},
    {"P07 nobody says the current key",
     AUDIT_NOT_PROVEN,
     "1 of 1",
     {BY_KMS, SECRET "kmsv2 vault k1"}},
    {"P07 one class, no configuration",
     AUDIT_NOT_PROVEN,
     "--config",
     {SECRET "kmsv2 vault k1", "stored pods/shop/b identity"}},
    {"P07 pages are missing",
     AUDIT_NOT_PROVEN,
     "may be missing",
     {"rule secrets secretbox:k", SECRET "secretbox k", "damaged"}},

    {"P08 apart for nine minutes",
     AUDIT_FAIL,
     "vault",
     {APISERVER, "server " TOLD(K1, "1000"), "server " TOLD(K1, "460") TOLD(K2, "1001")}},
    {"P08 apart since a moment ago",
     AUDIT_NOT_PROVEN,
     "different keys",
     {APISERVER, "server " TOLD(K1, "1000"), "server " TOLD(K1, "990") TOLD(K2, "1001")}},
    {"P08 agreed",
     AUDIT_PASS,
     "the same key",
     {APISERVER, "server " TOLD(K1, "1000"), "server " TOLD(K1, "1001")}},
    {"P08 no KMS", AUDIT_PASS, "no KMS", {APISERVER, "server " RUNS("c")}},
    {"P08 one of two has none",
     AUDIT_NOT_PROVEN,
     "1 of 2",
     {APISERVER, "server " TOLD(K1, "1000"), "server " RUNS("c")}},
    {"P08 perhaps not all servers", AUDIT_NOT_PROVEN, "is not known", {"server " TOLD(K1, "9")}},

    {"P08 all that hold a lease name one key",
     AUDIT_PASS,
     "the same",
     {"server " TOLD(K1, "9"), "server " TOLD(K1, "9"), "alive 2"}},
    {"P08 one of three was not heard",
     AUDIT_NOT_PROVEN,
     "2 API servers were heard of 3",
     {"server " TOLD(K1, "9"), "server " TOLD(K1, "9"), "alive 3 1"}},
    {"P08 one more than hold a lease did not answer",
     AUDIT_NOT_PROVEN,
     "1 API servers were heard of 2",
     {"server " TOLD(K1, "9"), "alive 1 1"}},
    {"P09 a local key of 91 days",
     AUDIT_FAIL,
     "91 days",
     {"rule secrets secretbox:k", "config 0600 0 0700 91"}},
    {"P09 a file of 89 days",
     AUDIT_NOT_PROVEN,
     "no proof",
     {"rule secrets secretbox:k", "config 0600 0 0700 89"}},
    {"P09 a version of 91 days", AUDIT_FAIL, "91 days", {BY_KMS, "plugin k1 2", "plugin k1 91"}},
    {"P09 a version of 90 days", AUDIT_PASS, "90 days", {BY_KMS, "plugin k1 90"}},
    {"P09 of a KMS", AUDIT_NOT_PROVEN, "manager", {BY_KMS, "config 0600 0 0700 91"}},

    {"P10 300 data keys", AUDIT_FAIL, "300 data keys", {"seeds 300"}},
    {"P10 a server holds many more",
     AUDIT_FAIL,
     "holds 3000",
     {"seeds 3", "server apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"v\"} "
                 "3000"}},
    {"P10 three", AUDIT_PASS, "3 data keys", {"seeds 3"}},
    {"P10 nothing is stored", AUDIT_NOT_PROVEN, "no stored", {"bytes"}},
    {"P10 pages are missing", AUDIT_NOT_PROVEN, "", {"seeds 3", "damaged"}},

    {"P11 plain text in the log", AUDIT_FAIL, "2 values", {"leftover 0", "leftover 2"}},
    {"P11 none", AUDIT_PASS, "none found in 2", {"leftover 0", "leftover 0"}},
    {"P11 one was not read", AUDIT_NOT_PROVEN, "some", {"leftover 0", "leftover unread"}},

    {"P12 a backup of before", AUDIT_FAIL, "7 values", {"backup 0", "backup 7", "backup unread"}},
    {"P12 none", AUDIT_PASS, "none found in 1", {"backup 0"}},
    {"P12 one was not read", AUDIT_NOT_PROVEN, "some", {"backup 0", "backup unread"}},

    {"P13 others read it", AUDIT_FAIL, "0644", {"config 0644 0 0700 1"}},
    {"P13 somebody else's", AUDIT_FAIL, "uid 1000", {"config 0600 1000 0700 1"}},
    {"P13 others write its folder", AUDIT_FAIL, "0775", {"config 0600 0 0775 1"}},
    {"P13 a copy in a ConfigMap",
     AUDIT_FAIL,
     "1 ConfigMaps",
     {"config 0600 0 0700 1",
      "text configmaps/shop/a kind: EncryptionConfiguration\n keys: [{secret: c2VjcmV0}]"}},
    {"P13 root's alone", AUDIT_PASS, "0600", {"config 0600 0 0755 1"}},
    {"P13 no file", AUDIT_NOT_PROVEN, "--config", {SECRET "secretbox k"}},

    {"P14 two configurations",
     AUDIT_FAIL,
     "different",
     {APISERVER, "server " RUNS("sha256:a"), "server " RUNS("sha256:b")}},
    {"P14 one",
     AUDIT_PASS,
     "one configuration",
     {APISERVER, "server " RUNS("sha256:a"), "server " RUNS("sha256:a")}},
    {"P14 one of them does not say",
     AUDIT_NOT_PROVEN,
     "automatic-reload",
     {APISERVER, "server " RUNS("sha256:a"), "server " LISTS("1")}},
    {"P14 perhaps not all servers", AUDIT_NOT_PROVEN, "is not known", {"server " RUNS("a")}},

    {"P14 another configuration than the file's",
     AUDIT_FAIL,
     "than this file",
     {BY_KMS, "hash c0ffee", "server " RUNS("sha256:bad"), "alive 1"}},
    {"P14 the file's",
     AUDIT_PASS,
     "one configuration",
     {BY_KMS, "hash c0ffee", "server " RUNS("sha256:c0ffee"), "alive 1"}},
    {"P15 an abstract socket", AUDIT_FAIL, "abstract", {BY_KMS, "socket @kms x"}},
    {"P15 others may connect", AUDIT_FAIL, "0666", {BY_KMS, "socket /run/k 0140666 0 0700"}},
    {"P15 a group may connect", AUDIT_FAIL, "0660", {BY_KMS, "socket /run/k 0140660 0 0700"}},
    {"P15 somebody else's", AUDIT_FAIL, "uid 33", {BY_KMS, "socket /run/k 0140600 33 0700"}},
    {"P15 others may replace it", AUDIT_FAIL, "1777", {BY_KMS, "socket /tmp/k 0140600 0 1777"}},
    {"P15 a file in its place", AUDIT_FAIL, "no socket", {BY_KMS, "socket /run/k file"}},
    {"P15 the second of two", AUDIT_FAIL, "0666", {BY_KMS, SOCKET, "socket /run/k 0140666 0 0700"}},
    {"P15 root's", AUDIT_PASS, "0600", {BY_KMS, SOCKET}},
    {"P15 no KMS", AUDIT_PASS, "no KMS", {"rule secrets secretbox:k"}},
    {"P15 elsewhere", AUDIT_NOT_PROVEN, "not on this machine", {BY_KMS, "socket /run/k absent"}},

    {"P16 a Pod of a DaemonSet serves it",
     AUDIT_FAIL,
     "1 Pods",
     {BY_KMS, SOCKET, POD("kms", SERVES_SOCKET)}},
    {"P16 a static Pod serves it",
     AUDIT_PASS,
     "static",
     {BY_KMS, SOCKET,
      "pod {\"metadata\":{\"namespace\":\"kube-system\",\"name\":\"kms\",\"annotations\":{"
      "\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{" SERVES_SOCKET "}}"}},
    {"P16 no KMS", AUDIT_PASS, "no KMS", {"rule secrets secretbox:k", "pods"}},
    {"P16 a manager beside it",
     AUDIT_NOT_PROVEN,
     "1 containers",
     {BY_KMS, SOCKET, POD("vault-0", MANAGER)}},
    {"P16 the plugin's manager is in it",
     AUDIT_FAIL,
     "inside the cluster",
     {BY_KMS, SOCKET, "pods", "plugin k1 1 in_cluster 1"}},
    {"P16 a manager beside it, the plugin's is elsewhere",
     AUDIT_PASS,
     "elsewhere",
     {BY_KMS, SOCKET, POD("vault-0", MANAGER), "plugin k1 1 in_cluster 0"}},
    {"P16 more Pods than are kept", AUDIT_NOT_PROVEN, "more", {BY_KMS, SOCKET, "pods", "cut"}},
    {"P16 Pods were not read", AUDIT_NOT_PROVEN, "--kubeconfig", {BY_KMS, SOCKET}},

    {"P17 a probe leaves it out",
     AUDIT_FAIL,
     "probe",
     {POD("a", PROBED("/readyz?exclude=kms-provider-0"))}},
    {"P17 slower than half of it",
     AUDIT_FAIL,
     "timeout 3.0",
     {BY_KMS, APISERVER, "server " CALLS("0.1", "90") CALLS("2.5", "100") CALLS("+Inf", "100")}},
    {"P17 past the last bucket",
     AUDIT_FAIL,
     "past the last",
     {BY_KMS, APISERVER, "server " CALLS("0.1", "90") CALLS("+Inf", "100")}},
    {"P17 fast",
     AUDIT_PASS,
     "at most 0.1",
     {BY_KMS, APISERVER, "server " CALLS("0.1", "100") CALLS("+Inf", "100")}},
    {"P17 no KMS", AUDIT_PASS, "no KMS", {"rule secrets secretbox:k", "pods"}},
    {"P17 fast, probes not seen",
     AUDIT_NOT_PROVEN,
     "probes were not seen",
     {BY_KMS, "server " CALLS("0.1", "100") CALLS("+Inf", "100")}},
    {"P17 nothing measured", AUDIT_NOT_PROVEN, "latencies", {BY_KMS, APISERVER}},

    {"P18 everything, and many",
     AUDIT_FAIL,
     "200000 LIST",
     {"rule *.* secretbox:k", "server " LISTS("2e5")}},
    {"P18 everything, and few",
     AUDIT_PASS,
     "5 LIST",
     {"rule *.* secretbox:k", "server " LISTS("5")}},
    {"P18 not everything",
     AUDIT_PASS,
     "no rule encrypts everything",
     {"rule secrets secretbox:k", "server " LISTS("2e5")}},
    {"P18 everything, not counted", AUDIT_NOT_PROVEN, "", {"rule *.* secretbox:k"}},

    {"P19 the key may be deleted",
     AUDIT_FAIL,
     "deletion_allowed",
     {SECRET "kmsv2 vault k1", "plugin k1 1 deletion_allowed 1 exportable 0"}},
    {"P19 one of two may be exported",
     AUDIT_FAIL,
     "exportable",
     {SECRET "kmsv2 vault k1", "plugin k1 1 " SAFE, "plugin k1 1 deletion_allowed 0 exportable 1"}},
    {"P19 old versions decrypt nothing",
     AUDIT_FAIL,
     "min_decryption_version",
     {SECRET "kmsv2 vault k1", "plugin k1 1 min_decryption_version 1"}},
    {"P19 a mistyped name makes a key",
     AUDIT_FAIL,
     "upsert",
     {SECRET "kmsv2 vault k1", "plugin k1 1 upsert 1"}},
    {"P19 nothing to warn of",
     AUDIT_PASS,
     "1 plugins",
     {SECRET "kmsv2 vault k1", "plugin k1 1 " SAFE}},
    {"P19 of a key that the canary has alone",
     AUDIT_PASS,
     "",
     {"canary kmsv2 vault k1", "plugin k1 1 " SAFE}},
    {"P19 of another cluster's plugin",
     AUDIT_NOT_PROVEN,
     "nothing was seen",
     {SECRET "kmsv2 vault k1", "plugin k2 1 " SAFE}},
    {"P19 a key in a file", AUDIT_NOT_PROVEN, "file", {SECRET "kmsv2 vault k1", "plugin k1 0"}},
    {"P19 nobody was asked", AUDIT_NOT_PROVEN, "the manager was not asked", {BY_KMS, "pods"}},

    {"P20 reached by http", AUDIT_FAIL, "without TLS", {SECRET "secretbox k", "http"}},
    {"P20 it asks for no certificate", AUDIT_FAIL, "no client certificate", {ETCD, "nocert"}},
    {"P20 an API server reaches it by http",
     AUDIT_FAIL,
     "without TLS",
     {ETCD, POD("a", RUN("\"kube-apiserver\",\"--etcd-servers=http://10.0.0.1:2379\""))}},
    {"P20 clients without certificates",
     AUDIT_FAIL,
     "--client-cert-auth",
     {POD("etcd", RUN("\"etcd\",\"--peer-client-cert-auth\""))}},
    {"P20 peers without certificates",
     AUDIT_FAIL,
     "--peer-client-cert-auth",
     {POD("etcd",
          RUN("\"/usr/bin/etcd\",\"--client-cert-auth\",\"--peer-client-cert-auth=false\""))}},
    {"P20 listens beyond loopback",
     AUDIT_FAIL,
     "beyond loopback",
     {POD("etcd", RUN(ETCD_TLS ",\"--listen-client-urls\",\"http://0.0.0.0:2379\""))}},
    {"P20 certificates on both sides", AUDIT_PASS, "certificates", {ETCD, APISERVER}},
    {"P20 its flags were not seen", AUDIT_NOT_PROVEN, "flags", {APISERVER, SECRET "secretbox k"}},

    {"P21 a private key in a ConfigMap",
     AUDIT_FAIL,
     "1 ConfigMaps",
     {"pods", "text configmaps/shop/a -----BEGIN EC PRIVATE KEY-----"}},
    {"P21 a password as a variable",
     AUDIT_FAIL,
     "1 variables",
     {POD("a", ENV("DB_PASSWORD", "x"))}},
    {"P21 neither",
     AUDIT_PASS,
     "0 ConfigMaps",
     {POD("a", ENV("DB_PASSWORD_FILE", "/run/secrets/db")), "text configmaps/shop/a colour=blue"}},
    {"P21 ConfigMaps are encrypted",
     AUDIT_NOT_PROVEN,
     "1 ConfigMaps are encrypted",
     {"pods", "stored configmaps/shop/a secretbox k"}},
    {"P21 pages are missing",
     AUDIT_NOT_PROVEN,
     "0 ConfigMaps",
     {"pods", "text configmaps/shop/a x", "damaged"}},
    {"P21 Pods were not read", AUDIT_NOT_PROVEN, "--kubeconfig", {"text configmaps/shop/a x"}},

    {"P22 one that nobody uses",
     AUDIT_FAIL,
     "1 by none",
     {POD("a", USES("a")), SECRET "secretbox k", "stored secrets/shop/b secretbox k"}},
    {"P22 each is used", AUDIT_PASS, "1 Secrets", {POD("a", USES("a")), SECRET "secretbox k"}},
    {"P22 pages are missing",
     AUDIT_NOT_PROVEN,
     "",
     {POD("a", USES("a")), SECRET "secretbox k", "damaged"}},
    {"P22 Pods were not read", AUDIT_NOT_PROVEN, "--kubeconfig", {SECRET "secretbox k"}},

    {"P23 everybody may",
     AUDIT_FAIL,
     "everybody",
     {ROLE("secrets", "list"), BOUND("Group", "system:authenticated")}},
    {"P23 everybody may in one namespace",
     AUDIT_FAIL,
     "everybody",
     {ROLE("secrets", "get"),
      "binding {\"metadata\":{\"namespace\":\"shop\"},\"roleRef\":{\"kind\":\"ClusterRole\","
      "\"name\":\"r\"},\"subjects\":[{\"kind\":\"Group\",\"name\":\"system:serviceaccounts\"}]}"}},
    {"P23 six users may",
     AUDIT_FAIL,
     "6 may read",
     {ROLE("*", "*"), BOUND("User", "a"), BOUND("User", "b"), BOUND("User", "c"),
      BOUND("User", "d"), BOUND("User", "e"), BOUND("User", "f")}},
    {"P23 six may run programs",
     AUDIT_FAIL,
     "6 may run",
     {ROLE("pods/exec", "create"), BOUND("User", "a"), BOUND("User", "b"), BOUND("User", "c"),
      BOUND("User", "d"), BOUND("User", "e"), BOUND("User", "f")}},
    {"P23 two users and Kubernetes itself",
     AUDIT_PASS,
     "1 may read every Secret: User a",
     {ROLE("secrets", "watch"), BOUND("User", "a"), BOUND("Group", "system:masters"),
      BOUND("User", "system:kube-controller-manager")}},
    {"P23 a role that only writes",
     AUDIT_PASS,
     "0 may read",
     {ROLE("secrets", "create"), BOUND("Group", "system:authenticated")}},
    {"P23 one Secret by its name",
     AUDIT_PASS,
     "0 may read",
     {"role {\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":["
      "\"secrets\"],\"verbs\":[\"get\"],\"resourceNames\":[\"ca\"]}]}",
      BOUND("Group", "system:authenticated")}},
    {"P23 another group's secrets",
     AUDIT_PASS,
     "0 may read",
     {"role {\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"example.org\"],"
      "\"resources\":[\"secrets\"],\"verbs\":[\"get\"]}]}",
      BOUND("User", "a")}},
    {"P23 roles were not read", AUDIT_NOT_PROVEN, "--kubeconfig", {"pods"}},

    {"P24 bytes were read", AUDIT_PASS, "1 objects", {SECRET "secretbox k"}},
    {"P24 a prefix without objects", AUDIT_NOT_PROVEN, "0 objects", {"bytes"}},
    {"P24 pages are missing", AUDIT_NOT_PROVEN, "", {SECRET "secretbox k", "damaged"}},
    {"P24 all but bytes", AUDIT_NOT_PROVEN, "managed cluster", {BY_KMS, APISERVER}},
};

/* All that can be decided, and nothing wrong. */
static const char *const clean[] = {BY_KMS,
                                    "config 0600 0 0700 1",
                                    SOCKET,
                                    APISERVER,
                                    ETCD,
                                    POD("web", USES("a")),
                                    SECRET "kmsv2 vault k1",
                                    "text configmaps/shop/a colour=blue",
                                    "backup 0",
                                    "leftover 0",
                                    "plugin k1 1 " SAFE,
                                    ROLE("secrets", "get"),
                                    "server " TOLD(K1, "9") RUNS("c") CALLS("0.1", "1")
                                        CALLS("+Inf", "1") LISTS("1"),
                                    NULL};

static struct audit audit;
static struct lh_vec verdicts;

static int set_up(void **state)
{
    (void)state;
    lh_vec_init(&verdicts, sizeof(struct audit_verdict));
    return audit_init(&audit, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    audit_verdicts_done(&verdicts);
    audit_done(&audit);
    return 0;
}

static const struct audit_verdict *judged(const char *id)
{
    assert_int_equal(audit_judge(&audit, &verdicts, NULL), 0);
    for (size_t i = 0; i < verdicts.n; i++) {
        const struct audit_verdict *v = lh_vec_at(&verdicts, i);

        if (memcmp(v->check->id, id, strlen(v->check->id)) == 0)
            return v;
    }
    fail_msg("%s is in no table", id);
    return NULL;
}

static void finds(void **state)
{
    const struct row *r = *state;
    const struct audit_verdict *v;

    audit_facts(&audit, r->facts);
    v = judged(r->name);
    if (v->result != r->want)
        fail_msg("%s: %s, because %s", r->name, audit_result_name(v->result), v->detail);
    assert_true(*v->detail);
    if (!strstr(v->detail, r->says))
        fail_msg("%s: it says: %s", r->name, v->detail);
}

static void a_clean_cluster_passes(void **state)
{
    (void)state;
    audit_facts(&audit, clean);
    assert_int_equal(audit_judge(&audit, &verdicts, NULL), 0);
    for (size_t i = 0; i < verdicts.n; i++) {
        const struct audit_verdict *v = lh_vec_at(&verdicts, i);

        if (v->result != AUDIT_PASS)
            fail_msg("%s: %s, because %s", v->check->id, audit_result_name(v->result), v->detail);
    }
}

static void without_sources_nothing_is_decided(void **state)
{
    (void)state;
    assert_int_equal(audit_judge(&audit, &verdicts, NULL), 0);
    assert_true(verdicts.n > 0);
    for (size_t i = 0; i < verdicts.n; i++) {
        const struct audit_verdict *v = lh_vec_at(&verdicts, i);

        if (v->result != AUDIT_NOT_PROVEN)
            fail_msg("%s: %s", v->check->id, audit_result_name(v->result));
        assert_true(*v->detail); /* it says what it lacks */
    }
}

static bool has_row(const char *id, enum audit_result want)
{
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++) {
        if (strncmp(rows[i].name, id, strlen(id)) == 0 && rows[i].want == want)
            return true;
    }
    return false;
}

/* A check that is added to the table needs its rows here. */
static void every_check_has_its_rows(void **state)
{
    (void)state;
    for (const struct audit_check *c = audit_checks; c->id; c++) {
        if (has_row(c->id, AUDIT_FAIL) != (c->reach == AUDIT_DECIDES))
            fail_msg("%s: a planted fault, where one can be found", c->id);
        if (!has_row(c->id, AUDIT_PASS))
            fail_msg("%s: a cluster without the fault", c->id);
        if (!has_row(c->id, AUDIT_NOT_PROVEN))
            fail_msg("%s: a cluster without the source", c->id);
    }
}

static void every_check_says_what_to_do(void **state)
{
    (void)state;
    for (const struct audit_check *c = audit_checks; c->id; c++) {
        assert_true(*c->title && *c->meaning && *c->action && *c->proof);
        for (const struct audit_check *other = audit_checks; other != c; other++)
            assert_string_not_equal(other->id, c->id);
    }
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(rows) + 4];
    size_t n = 0;

    lh_mem_init();
    lh_json_init();
    if (lh_crypto_init(NULL) < 0)
        return 1;
    for (size_t i = 0; i < LH_ARRAY_LEN(rows); i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, finds, set_up, tear_down, (void *)&rows[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(a_clean_cluster_passes, set_up,
                                                                    tear_down);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
        without_sources_nothing_is_decided, set_up, tear_down);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(every_check_has_its_rows);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(every_check_says_what_to_do);
    return _cmocka_run_group_tests("audit_checks", tests, n, NULL, NULL);
}
