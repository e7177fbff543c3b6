# SPDX-License-Identifier: Apache-2.0
"""The text generator behind the demo checkpoint: seeded, deterministic, standard library only."""
