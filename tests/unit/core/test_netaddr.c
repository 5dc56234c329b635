/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "leasehold/core/mem.h"
#include "leasehold/core/netaddr.h"

static struct special {
    const char *address;
    const char *what; /* a word of the answer; NULL: ordinary */
    bool loopback;
} specials[] = {
    {"10.1.2.3", NULL, false},
    {"192.168.0.1", NULL, false},
    {"8.8.8.8", NULL, false},
    {"fd00::1", NULL, false},
    {"2001:db8::1", NULL, false},
    {"127.0.0.1", "loopback", true},
    {"127.255.0.9", "loopback", true},
    {"::1", "loopback", true},
    {"::ffff:127.0.0.1", "loopback", true},
    {"::127.0.0.1", "loopback", true},
    {"64:ff9b::7f00:1", "loopback", true},
    {"2002:7f00:1::", "loopback", true},
    {"0.0.0.0", "unspecified", true},
    {"::", "unspecified", true},
    {"169.254.169.254", "link-local", false},
    {"::ffff:169.254.169.254", "link-local", false},
    {"64:ff9b::a9fe:a9fe", "link-local", false},
    {"fe80::1", "link-local", false},
    {"fd00:ec2::254", "metadata", false},
    {"100.100.100.200", "metadata", false},
    {"168.63.129.16", "metadata", false},
    {"224.0.0.1", "multicast", false},
    {"ff02::1", "multicast", false},
    {"255.255.255.255", "broadcast", false},
};

static void tells_special_addresses(void **state)
{
    const struct special *r = *state;
    struct lh_ip ip;
    bool loopback = false;
    const char *what;

    assert_true(lh_ip_parse(r->address, &ip, NULL));
    what = lh_ip_special(&ip, &loopback);
    if (!r->what) {
        assert_null(what);
        return;
    }
    assert_non_null(what);
    assert_non_null(strstr(what, r->what));
    assert_int_equal(loopback, r->loopback);
}

static struct in_net {
    const char *net, *address;
    bool in;
} nets[] = {
    {"10.0.0.0/8", "10.255.0.1", true},  {"10.0.0.0/8", "11.0.0.0", false},
    {"10.0.0.0/9", "10.128.0.0", false}, {"10.0.0.1", "10.0.0.1", true},
    {"10.0.0.1", "10.0.0.2", false},     {"0.0.0.0/0", "203.0.113.7", true},
    {"0.0.0.0/0", "2001:db8::1", false}, {"fd00::/8", "fdff::1", true},
    {"fd00::/8", "fc00::1", false},      {"::ffff:10.0.0.0/104", "10.9.9.9", true},
};

static void knows_what_a_network_holds(void **state)
{
    const struct in_net *r = *state;
    struct lh_net n;
    struct lh_ip ip;

    assert_true(lh_net_parse(r->net, &n));
    assert_true(lh_ip_parse(r->address, &ip, NULL));
    assert_int_equal(lh_net_has(&n, &ip), r->in);
}

static void refuses_what_is_no_network(void **state)
{
    static const char *const bad[] = {"",         "10.0.0.0/33",  "10.0.0.0/-1",
                                      "10.0.0/8", "fd00::/129",   "fd00::/",
                                      "host/8",   "10.0.0.0/8/8", "10.0.0.0 /8"};
    struct lh_net n = {.bits = 7};

    (void)state;
    for (size_t i = 0; i < LH_ARRAY_LEN(bad); i++)
        assert_false(lh_net_parse(bad[i], &n));
    assert_int_equal(n.bits, 7);
}

int main(void)
{
    struct CMUnitTest tests[LH_ARRAY_LEN(specials) + LH_ARRAY_LEN(nets) + 1];
    size_t n = 0;

    for (size_t i = 0; i < LH_ARRAY_LEN(specials); i++)
        tests[n++] = (struct CMUnitTest){.name = specials[i].address,
                                         .test_func = tells_special_addresses,
                                         .initial_state = &specials[i]};
    for (size_t i = 0; i < LH_ARRAY_LEN(nets); i++)
        tests[n++] = (struct CMUnitTest){.name = nets[i].address,
                                         .test_func = knows_what_a_network_holds,
                                         .initial_state = &nets[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(refuses_what_is_no_network);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
