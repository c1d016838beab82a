# Writes a C++ source that holds a text file as one string literal.
# Usage: cmake -DINPUT=loop.lua -DOUTPUT=x.cc -DHEADER=agent/agent.h -DFUNCTION=Name -P embed_text.cmake
file(READ ${INPUT} text)
string(FIND "${text}" ")embedded\"" clash)
if(NOT clash EQUAL -1)
  message(FATAL_ERROR "${INPUT} holds the raw string's end mark; change the mark in embed_text.cmake")
endif()
get_filename_component(name ${INPUT} NAME)
file(WRITE ${OUTPUT} "// Made from ${name} by embed_text.cmake; don't edit.
#include \"${HEADER}\"

namespace baleen {

std::string_view ${FUNCTION}() {
  return R\"embedded(${text})embedded\";
}

}  // namespace baleen
")
