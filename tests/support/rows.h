/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LH_TEST_ROWS_H
#define LH_TEST_ROWS_H

/* Tests from tables: every row has its name first, and is one test of that name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct CMUnitTest rows_tests[512];
static size_t rows_n;

static inline void rows_add(const char *name, CMUnitTestFunction fn, void *state)
{
    if (rows_n == sizeof(rows_tests) / sizeof(rows_tests[0]))
        __builtin_trap();
    rows_tests[rows_n++] = (struct CMUnitTest){name, fn, NULL, NULL, state};
}

#define ROWS(fn, rows)                                                                             \
    do {                                                                                           \
        for (size_t i_ = 0; i_ < sizeof(rows) / sizeof((rows)[0]); i_++)                           \
            rows_add((rows)[i_].name, (fn), (void *)(uintptr_t) & (rows)[i_]);                     \
    } while (0)
#define ONE(fn) rows_add(#fn, (fn), NULL)

static inline int rows_run(const char *group)
{
    return _cmocka_run_group_tests(group, rows_tests, rows_n, NULL, NULL);
}

#endif
