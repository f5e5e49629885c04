// SPDX-License-Identifier: GPL-2.0-or-later
/* What is counted only when somebody asks: objects, watchers, the store's size, the build. */
#include <stdio.h>
#include <sys/utsname.h>

#include "apiserver/metrics/measure.h"
#include "apiserver/metrics/measure_internal.h"
#include "apiserver/registry/registry.h"
#include "apiserver/version.h"
#include "base/metrics.h"

static void write_objects(const struct registry *g)
{
	for (size_t i = 0; i < schema_resource_count(); i++) {
		const struct schema_resource *r = schema_resource_at(i);
		_cleanup_strbuf_ struct strbuf labels = { 0 }, old = { 0 };
		/* Views of another resource's objects, and kinds that are never stored, have none of their own. */
		if (r->storage_id != r->id || !r->list_message || !(r->verbs & VERB_WATCH))
			continue;
		size_t count = store_count(g->store, r->id);
		metrics_label(&labels, "group", r->group);
		metrics_label(&labels, "resource", r->plural);
		metrics_gauge_set("apiserver_resource_objects",
				  "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value "
				  "will be -1.", labels.data, (double)count);
		_cleanup_free_ char *name = *r->group ? str_printf("%s.%s", r->plural, r->group) : mem_strdup(r->plural);
		metrics_label(&old, "resource", name);
		metrics_gauge_set("apiserver_storage_objects",
				  "[STABLE] [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of "
				  "last check split by kind. In case of a fetching error, the value will be -1.", old.data, (double)count);
	}
}

static void write_build(void)
{
	_cleanup_strbuf_ struct strbuf labels = { 0 };
	struct utsname u = { 0 };
	uname(&u);
	_cleanup_free_ char *platform = str_printf("linux/%s", str_eq(u.machine, "x86_64") ? "amd64" : str_eq(u.machine, "aarch64") ? "arm64" :
						   u.machine);
	metrics_label(&labels, "build_date", VERSION_BUILD_DATE);
	metrics_label(&labels, "compiler", "gcc");
	metrics_label(&labels, "git_commit", "");
	metrics_label(&labels, "git_tree_state", "clean");
	metrics_label(&labels, "git_version", VERSION_GIT);
	metrics_label(&labels, "go_version", "none");
	metrics_label(&labels, "major", "1");
	metrics_label(&labels, "minor", "36");
	metrics_label(&labels, "platform", platform);
	metrics_gauge_set("kubernetes_build_info",
			  "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go "
			  "version, and compiler from which Kubernetes was built, and platform on which it is running.", labels.data, 1);
}

void measure_write(struct registry *g, struct strbuf *out)
{
	int64_t bytes = store_size_bytes(g->store);
	measure_inflight_write();
	store_tell_encryption(g->store);
	write_objects(g);
	write_build();
	if (bytes >= 0)
		metrics_gauge_set("apiserver_storage_size_bytes", "[STABLE] Size of the storage database file physically allocated in bytes.",
				  "storage_cluster_id=\"store-0\"", (double)bytes);
	metrics_gauge_set("apiserver_storage_revision", "Revision of the last durable write.", NULL, (double)store_revision(g->store));
	metrics_write(out);
}
