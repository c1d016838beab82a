// Where the tests find the source tree and their data. Constants of one small source file, so that
// the other tests compile to the same bytes in every checkout (and the compiler cache serves them).
#pragma once

namespace baleen {

extern const char* const kTestData;   ///< tests/data
extern const char* const kSourceDir;  ///< The root of the source tree.

}  // namespace baleen
