// Kept for the tests that know it by this name: tests/testing/child.h.
#pragma once

#include "tests/testing/child.h"  // IWYU pragma: export
