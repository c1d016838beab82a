// Kept for the tests that know it by this name: tests/testing/temp_directory.h.
#pragma once

#include "tests/testing/temp_directory.h"  // IWYU pragma: export
