#include "tests/testing/test_paths.h"

namespace baleen {

const char* const kTestData = BALEEN_TEST_DATA;
const char* const kSourceDir = BALEEN_SOURCE_DIR;

}  // namespace baleen
