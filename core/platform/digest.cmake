bp_test(NAME bp_digest_tests SOURCES digest_test.cc DEPS bp_platform)
