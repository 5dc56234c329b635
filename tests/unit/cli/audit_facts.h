/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_TESTS_CLI_AUDIT_FACTS_H
#define LEASEHOLD_TESTS_CLI_AUDIT_FACTS_H

/*
 * Facts of a cluster as lines of text, so that a row of a table can plant them:
 *   stored KIND[/NAMESPACE]/NAME PROVIDER [NAME [KEY [REVISION]]]   one object in etcd
 *   text KIND/NAMESPACE/NAME TEXT       one in plain text, with this in it
 *   seeds N                             N Secrets, each under a data key of its own
 *   bytes | damaged | http | nocert     etcd was read; pages are missing; how it was reached
 *   rule KIND[,KIND] TYPE:NAME...       one rule of the EncryptionConfiguration
 *   config MODE UID DIRMODE DAYS        its file
 *   socket PATH MODE UID DIRMODE | socket PATH absent | socket PATH file
 *   alive N [SILENT]                    API servers by their leases; those that did not answer
 *   hash WORD                           what API servers would call the configuration's file
 *   server TEXT                         metrics of one API server
 *   pods | pod JSON | cut               Pods were listed; one of them; more than are kept
 *   backup N | backup unread | leftover N | leftover unread
 *   plugin KEY DAYS [WARNING 0|1]...    one leasehold-kms, its key's version made so long ago
 *   role JSON | binding JSON            of RBAC
 *   canary PROVIDER NAME KEY            what --prove wrote and found
 */
#include "audit.h"

/* facts: until NULL or "". Fails the test on a line that is none of these. */
void audit_facts(struct audit *a, const char *const *facts);

#endif
