/* SPDX-License-Identifier: Apache-2.0 */
/* leasehold-controller: the watch loop, on a node or for the cluster. */
#include <stdio.h>
#include <string.h>

#include "cluster/cluster.h"
#include "controller.h"
#include "leasehold/codec/json.h"
#include "leasehold/core/mem.h"
#include "leasehold/core/proc.h"
#include "node/node.h"

const struct controller_verb controller_verbs[] = {
    {"cluster", controller_cluster, &controller_cluster_option_set},
    {"node", controller_node, &controller_node_option_set},
    {0},
};

static int usage(FILE *to)
{
    fputs("Usage: leasehold-controller VERB [OPTION...]\n\nVerbs:\n", to);
    for (const struct controller_verb *v = controller_verbs; v->name; v++)
        fprintf(to, "  %-10s %s\n", v->name, v->set->summary);
    fputs("\n`leasehold-controller VERB --help` says more.\n", to);
    return to == stdout ? CONTROLLER_OK : CONTROLLER_USAGE;
}

int main(int argc, char **argv)
{
    struct lh_err err = {0};

    lh_mem_init();
    if (lh_proc_harden(&err) < 0) {
        fprintf(stderr, "leasehold-controller: %s\n", err.msg);
        return CONTROLLER_FAILED;
    }
    lh_json_init();
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return usage(stdout);
    if (strcmp(argv[1], "--version") == 0)
        return puts("leasehold-controller " LH_VERSION) < 0 ? CONTROLLER_FAILED : CONTROLLER_OK;
    for (const struct controller_verb *v = controller_verbs; v->name; v++) {
        if (strcmp(argv[1], v->name) == 0)
            return v->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "leasehold-controller: there is no verb \"%s\"\n", argv[1]);
    return usage(stderr);
}
