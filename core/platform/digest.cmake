# SPDX-License-Identifier: Apache-2.0
# SHA-256 comes from OpenSSL's libcrypto.
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
target_sources(bp_platform PRIVATE digest.cc mapping_guard.cc)
target_link_libraries(bp_platform PUBLIC OpenSSL::Crypto)
