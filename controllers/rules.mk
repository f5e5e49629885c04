# SPDX-License-Identifier: GPL-2.0-or-later
TEST_SCRIPTS += controllers/live_test.sh
