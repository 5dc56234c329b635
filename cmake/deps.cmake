# SPDX-License-Identifier: Apache-2.0
# The only place that finds packages. Every dependency has a line that says why we need it.
find_package(PkgConfig REQUIRED)

function(lh_dep name module)
  pkg_check_modules(PC_${name} REQUIRED IMPORTED_TARGET ${module})
  add_library(lh_dep_${name} INTERFACE)
  target_link_libraries(lh_dep_${name} INTERFACE PkgConfig::PC_${name})
endfunction()

lh_dep(uv libuv)                    # the event loop: timers, signals, children, watched folders, sockets
lh_dep(jansson jansson)             # JSON trees, behind codec/json
lh_dep(yaml yaml-0.1)               # YAML parser, behind codec/yaml
lh_dep(openssl_crypto libcrypto)    # digests, X.509, own CA
lh_dep(openssl_ssl libssl)          # TLS settings that curl and libwebsockets do not expose
lh_dep(curl libcurl)                # HTTP client
lh_dep(lws libwebsockets)           # HTTP server
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
  lh_dep(cmocka cmocka)             # unit tests
endif()
