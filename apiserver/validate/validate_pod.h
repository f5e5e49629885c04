/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of pod validation: what a Pod and every pod template share. */
#ifndef KEELSON_APISERVER_VALIDATE_POD_H
#define KEELSON_APISERVER_VALIDATE_POD_H

#include "apiserver/validate/validate_internal.h"

#define APPARMOR_ANNOTATION "container.apparmor.security.beta.kubernetes.io/"
#define SECCOMP_ANNOTATION "container.seccomp.security.alpha.kubernetes.io/"

struct pod_check {
	struct field_errors *e;
	const json_t *meta;   /* of the pod or the template */
	const json_t *spec;
	bool template;        /* not a Pod itself */

	const json_t *claim_templates; /* a StatefulSet's, whose names count as volumes; or NULL */
	struct map *claims;   /* names of spec.resourceClaims */
	struct map *volumes;  /* name -> source object, of volumes without errors; filled on the way */
};

/* All of a pod's spec at p, with c->spec and the flags set. */
void check_pod_spec(struct pod_check *c, const struct fpath *p);
/* A pod template at p (metadata and spec). claim_templates: a StatefulSet's, or NULL. */
void check_pod_template(struct field_errors *e, const struct fpath *p, const json_t *template,
			const json_t *claim_templates);

void check_volumes(struct pod_check *c, const struct fpath *p);
void check_volume_mounts(struct pod_check *c, const struct fpath *p, const json_t *container);
void check_volume_devices(struct pod_check *c, const struct fpath *p, const json_t *container);
void check_all_containers(struct pod_check *c, const struct fpath *p);
void check_env(struct pod_check *c, const struct fpath *p, const json_t *container);
void check_field_ref(struct field_errors *e, const struct fpath *p, const json_t *ref, const char *const *allowed);
void check_resource_field_ref(struct field_errors *e, const struct fpath *p, const json_t *ref, bool volume);
void check_probes(struct pod_check *c, const struct fpath *p, const json_t *container);
void check_lifecycle(struct pod_check *c, const struct fpath *p, const json_t *lifecycle);
void check_resources(struct pod_check *c, const struct fpath *p, const json_t *resources); /* of a container */
void check_resource_list(struct field_errors *e, const struct fpath *p, const json_t *list);
void check_pod_resources(struct pod_check *c, const struct fpath *p);
/* What the operating system that the pod names rules out. */
void check_os_fields(struct pod_check *c, const struct fpath *p);
void check_pod_security(struct pod_check *c, const struct fpath *p);
void check_container_security(struct pod_check *c, const struct fpath *p, const json_t *security);
/* windowsOptions of a pod or a container. */
void check_windows(struct field_errors *e, const struct fpath *p, const json_t *options);
/* All containers of a Windows pod run as processes of the host, or none. */
void check_windows_host_process(struct pod_check *c, const struct fpath *p);
void check_pod_dns(struct pod_check *c, const struct fpath *p);
void check_tolerations(struct field_errors *e, const struct fpath *p, const json_t *tolerations);
void check_affinity(struct field_errors *e, const struct fpath *p, const json_t *affinity);
void check_node_selector(struct field_errors *e, const struct fpath *p, const json_t *selector);
void check_spread_constraints(struct field_errors *e, const struct fpath *p, const json_t *constraints);
void check_pvc_spec(struct field_errors *e, const struct fpath *p, const json_t *spec);
/* A path relative to a volume: not absolute, no "..". within: it may not begin with "..". */
void check_local_path(struct field_errors *e, const struct fpath *p, const char *path, bool within);

void check_fixed_annotations(const struct validation *v); /* that no update may touch */
void validate_pod_update(const struct validation *v); /* what an update may change */

#endif
