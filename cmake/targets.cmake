# SPDX-License-Identifier: Apache-2.0
# How a folder becomes a target. Everything of ours is a static internal library or a program.

# lh_library(NAME SOURCES a.c b.c [LIBS lh_core lh_dep_uv]): the library lh_NAME.
function(lh_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_library(lh_${name} STATIC ${A_SOURCES})
  target_link_libraries(lh_${name} PUBLIC lh_flags ${A_LIBS})
  target_include_directories(lh_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
endfunction()

# lh_program(NAME SOURCES ... LIBS ...): bin/NAME.
function(lh_program name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE lh_flags ${A_LIBS})
  if(COMMAND lh_program_link_options)
    lh_program_link_options(${name})
  endif()
endfunction()

# lh_unit_test(NAME [SOURCES extra.c] LIBS ...): test_NAME from test_NAME.c, run by ctest with label unit.
function(lh_unit_test name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(test_${name} test_${name}.c ${A_SOURCES})
  target_link_libraries(test_${name} PRIVATE lh_flags ${A_LIBS} lh_dep_cmocka)
  target_compile_definitions(test_${name} PRIVATE LH_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME unit.${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT
    "ASAN_OPTIONS=handle_segv=2:handle_sigbus=2:handle_sigill=2:handle_sigfpe=2:detect_leaks=1;UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1")
endfunction()

# lh_fuzzer(NAME LIBS ...): fuzz_NAME.c defines LLVMFuzzerTestOneInput. With gcc it is linked with replay.c and
# ctest replays corpus/NAME; with clang and LH_SANITIZE a real libFuzzer binary fuzz/fuzz_NAME is built as well.
function(lh_fuzzer name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(A "" "" "LIBS" ${ARGN})
  add_executable(replay_${name} fuzz_${name}.c replay.c)
  target_link_libraries(replay_${name} PRIVATE lh_flags ${A_LIBS})
  set_target_properties(replay_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  add_test(NAME fuzz.${name} COMMAND replay_${name} ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  if(CMAKE_C_COMPILER_ID MATCHES Clang AND LH_SANITIZE)
    add_executable(fuzz_${name} fuzz_${name}.c)
    target_link_libraries(fuzz_${name} PRIVATE lh_flags ${A_LIBS})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  endif()
endfunction()
