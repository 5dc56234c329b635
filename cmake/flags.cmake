# SPDX-License-Identifier: Apache-2.0
# One interface target, lh_flags, that every library, program and test of ours links. Third-party code never sees it.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

add_library(lh_flags INTERFACE)
target_include_directories(lh_flags INTERFACE ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(lh_flags INTERFACE _GNU_SOURCE LH_VERSION="${PROJECT_VERSION}")

function(lh_flag_if_supported flag)
  string(MAKE_C_IDENTIFIER "LH_HAS${flag}" var)
  check_c_compiler_flag(${flag} ${var})
  if(${var})
    target_compile_options(lh_flags INTERFACE ${flag})
  endif()
endfunction()

foreach(flag -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wvla -Wstrict-prototypes -Wformat=2
             -Wpointer-arith -Wwrite-strings -Wundef -fno-strict-aliasing -fno-common -ffunction-sections -fdata-sections)
  lh_flag_if_supported(${flag})
endforeach()
if(LH_WERROR)
  target_compile_options(lh_flags INTERFACE -Werror)
endif()

# NDEBUG is never set: assert guards our own bugs in production too.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")

set(LH_FUZZERS OFF)
if(LH_SANITIZE AND CMAKE_C_COMPILER_ID MATCHES Clang)
  set(LH_FUZZERS ON)
endif()
if(LH_SANITIZE)
  target_compile_options(lh_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  if(LH_FUZZERS)
    # Coverage of our libraries is what guides libFuzzer.
    target_compile_options(lh_flags INTERFACE -fsanitize=fuzzer-no-link)
  endif()
  target_link_options(lh_flags INTERFACE -fsanitize=address,undefined)
else()
  foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection -ftrivial-auto-var-init=zero)
    lh_flag_if_supported(${flag})
  endforeach()
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(lh_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  endif()
  target_link_options(lh_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
