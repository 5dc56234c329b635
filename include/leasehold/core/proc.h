/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LEASEHOLD_CORE_PROC_H
#define LEASEHOLD_CORE_PROC_H

/* The process itself: hardening at start, other processes of a shared PID namespace. */
#include <stdbool.h>
#include <sys/types.h>

#include "leasehold/core/err.h"

/* First in main: no core files, not dumpable, SIGPIPE ignored, umask 077, and a Pod author's
 * environment disarmed: SSLKEYLOGFILE, OPENSSL_*, GLIBC_TUNABLES, MALLOC_*, LD_*, *_proxy, *_PROXY,
 * NETRC, CURL_* are dropped. */
int lh_proc_harden(struct lh_err *err);

/* Sends signo to every process whose argv[0] base name (or comm) is name, other than ourselves,
 * with the same effective uid rules as kill(2). *count gets how many got it. LH_E_NOTFOUND if there
 * is none; LH_E_DENIED. */
int lh_proc_signal_by_name(const char *name, int signo, unsigned *count, struct lh_err *err);
/* "HUP", "SIGHUP" or "1" to a number; 0 if unknown. */
int lh_proc_signal_number(const char *name);

/* Anonymous memory of this process from smaps_rollup, and resident, in bytes; 0 where unreadable.
 */
void lh_proc_memory(size_t *anonymous, size_t *resident);

#endif
