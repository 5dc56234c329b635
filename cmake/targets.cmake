# SPDX-License-Identifier: Apache-2.0
# How a folder becomes a target. Everything of ours is a static internal library or a program.

# lh_library(NAME SOURCES a.c b.c [LIBS lh_core lh_dep_uv]): the library lh_NAME.
function(lh_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_library(lh_${name} STATIC ${A_SOURCES})
  target_link_libraries(lh_${name} PUBLIC lh_flags ${A_LIBS})
  target_include_directories(lh_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
endfunction()

# lh_proto(TARGET a.proto ...): a.pb-c.[ch] of the .proto files here, compiled as TARGET; include "a.pb-c.h".
function(lh_proto target)
  set(generated)
  foreach(proto IN LISTS ARGN)
    get_filename_component(stem ${proto} NAME_WE)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/proto/${stem}.pb-c)
    add_custom_command(OUTPUT ${out}.c ${out}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/proto
      COMMAND ${LH_PROTOC_C} --proto_path=${CMAKE_CURRENT_SOURCE_DIR} --c_out=${CMAKE_CURRENT_BINARY_DIR}/proto
              ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto} VERBATIM)
    list(APPEND generated ${out}.c ${out}.h)
  endforeach()
  add_library(${target} STATIC ${generated})
  # Not our code: no warnings of ours, and none from its headers.
  target_compile_options(${target} PRIVATE -w)
  target_include_directories(${target} SYSTEM PUBLIC ${CMAKE_CURRENT_BINARY_DIR}/proto)
  target_link_libraries(${target} PUBLIC lh_dep_protobuf_c PRIVATE lh_flags)
  set_target_properties(${target} PROPERTIES C_CLANG_TIDY "" EXPORT_COMPILE_COMMANDS OFF)
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

# lh_fuzzer(NAME [PRIVATE_OF lib/x] LIBS ...): fuzz_NAME.c defines LLVMFuzzerTestOneInput. It is linked with replay.c, and
# ctest replays corpus/NAME; with clang and LH_SANITIZE a real libFuzzer binary fuzz/fuzz_NAME is built as well.
# PRIVATE_OF: the folder whose private headers it includes.
function(lh_fuzzer name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(A "" "PRIVATE_OF" "LIBS" ${ARGN})
  set(targets replay_${name})
  add_executable(replay_${name} fuzz_${name}.c replay.c)
  add_test(NAME fuzz.${name} COMMAND replay_${name} ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  if(LH_FUZZERS)
    list(APPEND targets fuzz_${name})
    add_executable(fuzz_${name} fuzz_${name}.c)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endif()
  foreach(target IN LISTS targets)
    target_link_libraries(${target} PRIVATE lh_flags ${A_LIBS})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    if(A_PRIVATE_OF)
      target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/${A_PRIVATE_OF})
    endif()
  endforeach()
endfunction()
