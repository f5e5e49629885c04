/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers of the strategies, and the kinds that do more than the table says. */
#ifndef KEELSON_APISERVER_STRATEGY_H
#define KEELSON_APISERVER_STRATEGY_H

#include "kube/json.h"

json_t *strategy_meta(json_t *object);                                         /* metadata, made when absent; borrow */
void strategy_restore(json_t *object, const json_t *old, const char *key);     /* object[key] = old[key] */
void strategy_restore_metadata(json_t *object, const json_t *old);             /* what "metadata reset" covers */

void strategy_no_generation(json_t *object);
void strategy_pod_create(json_t *pod);
void strategy_pod_update(const char *subresource, json_t *pod, const json_t *old);
void strategy_service_update(const char *subresource, json_t *service, const json_t *old);
void strategy_namespace_create(json_t *ns);
void strategy_namespace_update(const char *subresource, json_t *ns, const json_t *old);
void strategy_pv_create(json_t *pv);
void strategy_pv_update(const char *subresource, json_t *pv, const json_t *old);
void strategy_daemon_set_create(json_t *ds);
void strategy_daemon_set_update(const char *subresource, json_t *ds, const json_t *old);
void strategy_job_create(json_t *job);
void strategy_csr_update(const char *subresource, json_t *csr, const json_t *old);
void strategy_crd_create(json_t *crd);
void strategy_crd_update(const char *subresource, json_t *crd, const json_t *old);

#endif
