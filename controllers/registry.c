// SPDX-License-Identifier: GPL-2.0-or-later
/* Every controller of this program. A new one is a file of its own and a line here. */
#include "controllers/registry.h"

const struct controller_ops *const registry[] = {
	&serviceaccount_controller,
	&accounttoken_controller,
	&rootca_controller,
	&namespace_controller,
	&deployment_controller,
	&replicaset_controller,
	&replicationcontroller_controller,
	&daemonset_controller,
	&statefulset_controller,
	&job_controller,
	&ttlafterfinished_controller,
	&cronjob_controller,
	&disruption_controller,
	&endpoints_controller,
	&endpointslice_controller,
	&endpointslicemirroring_controller,
	&nodeipam_controller,
	&nodelifecycle_controller,
	&tainteviction_controller,
	&podgc_controller,
	&csrapproving_controller,
	&csrsigning_controller,
	&csrcleaner_controller,
	&tokencleaner_controller,
	&bootstrapsigner_controller,
	&aggregation_controller,
	&pvcprotection_controller,
	&pvprotection_controller,
	&vacprotection_controller,
	&garbage_controller,
};
const size_t registry_count = ARRAY_SIZE(registry);
