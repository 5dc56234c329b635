# SPDX-License-Identifier: Apache-2.0
# The only place that finds packages. Every dependency has a line that says why we need it.
# With build/deps (scripts/deps makes it) all programs and tests link the trimmed static libraries that the images ship;
# without it, or with -DLH_DEPS=system, Debian's shared ones.

# Plain variables unless given with -D: build/deps may appear, or sanitizers be switched on, after the first configure.
if(NOT DEFINED LH_DEPS)
  set(LH_DEPS system)
  if(EXISTS ${CMAKE_SOURCE_DIR}/build/deps/versions.txt)
    set(LH_DEPS ${CMAKE_SOURCE_DIR}/build/deps)
  endif()
endif()
if(NOT LH_DEPS STREQUAL "system" AND NOT EXISTS ${LH_DEPS}/versions.txt)
  message(FATAL_ERROR "LH_DEPS=${LH_DEPS} was not made by scripts/deps; run it, or use -DLH_DEPS=system")
endif()

# Programs are linked as static-pie, as the images ship them. A sanitizer needs the dynamic C library.
if(NOT DEFINED LH_STATIC)
  set(LH_STATIC ON)
  if(LH_DEPS STREQUAL "system" OR LH_SANITIZE)
    set(LH_STATIC OFF)
  endif()
endif()
if(LH_STATIC AND (LH_DEPS STREQUAL "system" OR LH_SANITIZE))
  message(FATAL_ERROR "LH_STATIC needs build/deps (scripts/deps) and no LH_SANITIZE")
endif()
message(STATUS "libraries: ${LH_DEPS}, static programs: ${LH_STATIC}")

# lh_dep(NAME MODULE [ARCHIVE LIBS...]): target lh_dep_NAME. MODULE is pkg-config's name; ARCHIVE is lib/ARCHIVE.a of
# LH_DEPS; LIBS follow it on the link line. Without ARCHIVE the library is always the system's.
function(lh_dep name module)
  add_library(lh_dep_${name} INTERFACE)
  if(LH_DEPS STREQUAL "system" OR ARGC EQUAL 2)
    find_package(PkgConfig REQUIRED)
    pkg_check_modules(PC_${name} REQUIRED IMPORTED_TARGET ${module})
    target_link_libraries(lh_dep_${name} INTERFACE PkgConfig::PC_${name})
    return()
  endif()
  list(POP_FRONT ARGN archive)
  add_library(lh_archive_${name} STATIC IMPORTED)
  set_target_properties(lh_archive_${name} PROPERTIES IMPORTED_LOCATION ${LH_DEPS}/lib/${archive}.a)
  target_include_directories(lh_archive_${name} SYSTEM INTERFACE ${LH_DEPS}/include)
  target_link_libraries(lh_archive_${name} INTERFACE ${ARGN})
  target_link_libraries(lh_dep_${name} INTERFACE lh_archive_${name})
endfunction()

lh_dep(uv libuv libuv pthread dl)                                  # event loop: timers, signals, children, sockets
lh_dep(jansson jansson libjansson)                                 # JSON trees, behind codec/json
lh_dep(yaml yaml-0.1 libyaml)                                      # YAML parser, behind codec/yaml
lh_dep(openssl_crypto libcrypto libcrypto pthread)                 # digests, X.509, own CA
lh_dep(openssl_ssl libssl libssl lh_dep_openssl_crypto)            # TLS settings that the two below do not expose
lh_dep(curl libcurl libcurl lh_dep_openssl_ssl pthread)            # HTTP client
lh_dep(lws libwebsockets libwebsockets lh_dep_openssl_ssl pthread) # HTTP server
lh_dep(nghttp2 libnghttp2 libnghttp2)                              # HTTP/2 frames of gRPC, behind grpc/server and grpc/client
lh_dep(protobuf_c libprotobuf-c libprotobuf-c)                     # gRPC messages (CSI, kubelet's plugin registration)
find_program(LH_PROTOC_C protoc-c REQUIRED)                        # C for the .proto files, at build time
if(NOT LH_DEPS STREQUAL "system")
  target_compile_definitions(lh_dep_curl INTERFACE CURL_STATICLIB)
endif()
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
  lh_dep(cmocka cmocka)                                            # unit tests
endif()

# lh_program() calls this. RELR (-340 kB) exists for x86 only in binutils 2.40, and glibc 2.36 applies it; a dynamic
# program keeps the linker's default. --build-id=none: the id would differ with the folder it was built in. The maps say
# which libraries really are in a program: scripts/image lists them. `programs` builds just what lh_program() named.
include(CheckLinkerFlag)
check_linker_flag(C -Wl,-z,pack-relative-relocs LH_HAS_RELR)
add_custom_target(programs)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/maps)
function(lh_program_link_options target)
  add_dependencies(programs ${target})
  target_link_options(${target} PRIVATE -Wl,--gc-sections)
  if(NOT LH_STATIC)
    target_link_options(${target} PRIVATE -pie)
    return()
  endif()
  target_link_options(${target} PRIVATE -static-pie -Wl,-O1 -Wl,--build-id=none
    -Wl,-Map=${CMAKE_BINARY_DIR}/maps/${target}.map)
  if(LH_HAS_RELR)
    target_link_options(${target} PRIVATE -Wl,-z,pack-relative-relocs)
  endif()
  target_compile_definitions(${target} PRIVATE LH_STATIC=1)
endfunction()
