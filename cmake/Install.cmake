# `cmake --install`: libbaleen, its headers, a CMake package and pkg-config files; the program, too.
# With `--component tools_sdk`: what authors of native tools need, and nothing else; it needs no build.
include(CMakePackageConfigHelpers)

install(TARGETS baleen_shared EXPORT baleenTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(BALEEN_CLI)
  install(TARGETS baleen baleen-tool-host RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES runtime/c/include/baleen/baleen.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/baleen)
install(DIRECTORY tools_sdk/include/baleen DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT tools_sdk)
# The C++ headers include each other as in the source tree.
install(FILES runtime/approval.h runtime/budget.h runtime/engine_options.h
  runtime/http_tool_options.h runtime/mcp_options.h runtime/observer.h runtime/runtime.h
  runtime/script.h runtime/secret_options.h runtime/session.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/baleen/runtime)
install(FILES tools_sdk/message.h tools_sdk/status.h tools_sdk/tool.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/baleen/tools_sdk)
# Krill, for whoever names no model: runtime/default_model.cc looks there.
install(FILES model/krill/config.json model/krill/model.safetensors model/krill/tokenizer.json
  model/krill/README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/baleen/models/krill)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/baleen)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/baleen)
install(EXPORT baleenTargets NAMESPACE baleen:: DESTINATION ${package})
install(TARGETS baleen_plugin_sdk EXPORT baleenToolsSdkTargets)
install(EXPORT baleenToolsSdkTargets NAMESPACE baleen:: DESTINATION ${package} COMPONENT tools_sdk)
configure_package_config_file(cmake/baleenConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/baleenConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/baleenConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/baleenConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/baleenConfigVersion.cmake DESTINATION ${package}
  COMPONENT tools_sdk)
configure_file(cmake/baleen-tool.pc.in ${CMAKE_CURRENT_BINARY_DIR}/baleen-tool.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/baleen-tool.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT tools_sdk)
configure_file(cmake/baleen.pc.in ${CMAKE_CURRENT_BINARY_DIR}/baleen.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/baleen.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
