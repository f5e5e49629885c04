/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The node's object. Facts about the machine are read once; the runtime is asked every ten seconds (faster while it is
 * not ready); the API is written to when something changed, and every five minutes. The lease is the heartbeat.
 */
#include "agent/node.h"

#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kube/object.h"

enum {
	STATUS_MS = 10 * 1000,
	STATUS_SOON_MS = 200,
	REPORT_MS = 5 * 60 * 1000,
	LEASE_RENEWALS = 4, /* in one duration */
	RETRY_MS = 1000,
	MAX_IMAGES = 50,
	MEMORY_RESERVE_BYTES = 100 << 20, /* what eviction would keep free */
	DISK_RESERVE_PERCENT = 10,
	PID_RESERVE = 1000,
};

struct node {
	struct agent *agent;
	struct informer *informer;
	uv_timer_t *status_timer, *lease_timer;
	int64_t cpu_milli, memory_bytes, disk_bytes;
	json_t *info;      /* nodeInfo but for the runtime's version */
	char *runtime_version;
	json_t *images;    /* own array or NULL */
	json_t *reported;  /* the status last accepted, without heartbeats */
	bool registered, busy, asked, runtime_ready, network_ready;
	char *runtime_why;
	int64_t reported_at_ms;
	char *pod_cidr;
};

void node_resources(const struct node *n, int64_t *ret_cpu_milli, int64_t *ret_memory_bytes)
{
	*ret_cpu_milli = n->cpu_milli;
	*ret_memory_bytes = n->memory_bytes - MEMORY_RESERVE_BYTES;
}

bool node_runtime_ready(const struct node *n)
{
	return n->runtime_ready;
}

const json_t *node_object(const struct node *n)
{
	return informer_get(n->informer, NULL, n->agent->o.node_name);
}

/* The machine */

/* A file's first line; own, "" when it cannot be read. */
static char *first_line(const char *path)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };

	if (file_read(path, 64 << 10, &text) < 0 || !text.data)
		return mem_strdup("");
	return mem_strndup(text.data, strcspn(text.data, "\n"));
}

static char *os_image(void)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	_cleanup_strlist_ struct strlist lines = { 0 };

	if (file_read("/etc/os-release", 64 << 10, &text) == 0 && text.data)
		strlist_split(&lines, text.data, '\n');
	for (size_t i = 0; i < lines.count; i++) {
		const char *value = str_after(lines.items[i], "PRETTY_NAME=");

		if (value && *value == '"' && strlen(value) > 1)
			return mem_strndup(value + 1, strlen(value) - 2);
		if (value)
			return mem_strdup(value);
	}
	return mem_strdup("Linux");
}

static const char *architecture(const char *machine)
{
	return str_eq(machine, "x86_64") ? "amd64" : str_eq(machine, "aarch64") ? "arm64" : machine;
}

static void read_machine(struct node *n)
{
	_cleanup_free_ char *machine_id = first_line("/etc/machine-id"), *os = os_image();
	_cleanup_free_ char *boot_id = first_line("/proc/sys/kernel/random/boot_id");
	_cleanup_free_ char *system_uuid = first_line("/sys/class/dmi/id/product_uuid");
	struct utsname u;
	struct sysinfo s;
	struct statvfs v;

	uname(&u);
	n->cpu_milli = (int64_t)get_nprocs() * 1000;
	if (sysinfo(&s) == 0)
		n->memory_bytes = (int64_t)s.totalram * s.mem_unit;
	if (statvfs(n->agent->o.state, &v) == 0)
		n->disk_bytes = (int64_t)v.f_blocks * (int64_t)v.f_frsize;
	n->info = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "machineID", machine_id, "systemUUID",
			    *system_uuid ? system_uuid : machine_id, "bootID", boot_id, "kernelVersion", u.release, "osImage",
			    os, "kubeletVersion", AGENT_KUBELET_VERSION, "kubeProxyVersion", "", "operatingSystem", "linux",
			    "architecture", architecture(u.machine));
	BUG_ON(!n->info);
}

static bool disk_is_full(const struct node *n, char **ret_message)
{
	struct statvfs v;

	if (statvfs(n->agent->o.state, &v) < 0 || v.f_blocks == 0 ||
	    (v.f_bavail * 100 / v.f_blocks >= DISK_RESERVE_PERCENT && (v.f_files == 0 || v.f_favail * 100 / v.f_files >= 5)))
		return false;
	*ret_message = str_printf("%s has %llu MiB free", n->agent->o.state,
				  (unsigned long long)v.f_bavail * v.f_frsize / (1 << 20));
	return true;
}

static bool memory_is_short(void)
{
	_cleanup_strbuf_ struct strbuf text = { 0 };
	const char *p;
	unsigned long long kib;

	if (file_read("/proc/meminfo", 64 << 10, &text) < 0 || !text.data || !(p = strstr(text.data, "MemAvailable:")))
		return false;
	kib = strtoull(p + strlen("MemAvailable:"), NULL, 10);
	return kib < (unsigned long long)MEMORY_RESERVE_BYTES / 1024;
}

static bool pids_are_short(void)
{
	_cleanup_free_ char *max = first_line("/proc/sys/kernel/pid_max");
	uint64_t n;
	struct sysinfo s;

	return str_to_u64(max, UINT32_MAX, &n) == 0 && sysinfo(&s) == 0 && (uint64_t)s.procs + PID_RESERVE > n;
}

/* Status */

static void on_status_timer(uv_timer_t *t);

static void set_condition(json_t *list, const json_t *had, const char *type, bool on, const char *reason,
			  const char *message)
{
	char now[CLOCK_RFC3339_SIZE];
	const char *status = on ? "True" : "False";
	json_t *old = object_condition(had, type);
	const char *since;

	clock_format_rfc3339(clock_wall_s(), now);
	since = old && str_eq(json_str(old, "status"), status) ? json_str_or(old, "lastTransitionTime", now) : now;
	json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "type", type, "status", status, "reason", reason,
					      "message", message, "lastHeartbeatTime", now, "lastTransitionTime", since));
}

static json_t *conditions(struct node *n)
{
	const json_t *had = node_object(n);
	_cleanup_free_ char *disk = NULL, *not_ready = NULL;
	bool full = disk_is_full(n, &disk), memory = memory_is_short(), pids = pids_are_short();
	json_t *list = json_array();

	set_condition(list, had, "MemoryPressure", memory, memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
		      memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available");
	set_condition(list, had, "DiskPressure", full, full ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
		      full ? disk : "kubelet has no disk pressure");
	set_condition(list, had, "PIDPressure", pids, pids ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
		      pids ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available");
	if (n->runtime_ready && n->network_ready) {
		set_condition(list, had, "Ready", true, "KubeletReady", "kubelet is posting ready status");
	} else {
		not_ready = str_printf("%s: %s", n->runtime_ready ? "container runtime network not ready" :
								     "container runtime is down",
				       n->runtime_why ? n->runtime_why : "it has not answered yet");
		set_condition(list, had, "Ready", false, "KubeletNotReady", not_ready);
	}
	return list;
}

static int listen_port(const struct agent *a)
{
	const char *colon = strrchr(a->o.listen, ':');
	uint64_t port;

	return colon && str_to_u64(colon + 1, 65535, &port) == 0 ? (int)port : 10250;
}

static json_t *quantities(const struct node *n, bool allocatable)
{
	int64_t memory = n->memory_bytes - (allocatable ? MEMORY_RESERVE_BYTES : 0);
	int64_t disk = n->disk_bytes / 100 * (allocatable ? 100 - DISK_RESERVE_PERCENT : 100);

	return json_pack("{s:o,s:o,s:o,s:s}", "cpu", json_sprintf("%lld", (long long)n->cpu_milli / 1000), "memory",
			 json_sprintf("%lldKi", (long long)memory / 1024), "ephemeral-storage",
			 json_sprintf("%lldKi", (long long)disk / 1024), "pods", "110");
}

static json_t *addresses(const struct agent *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->node_ips.count; i++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "type", "InternalIP", "address", a->node_ips.items[i]));
	json_array_append_new(list, json_pack("{s:s,s:s}", "type", "Hostname", "address", a->o.node_name));
	return list;
}

static json_t *compute_status(struct node *n)
{
	json_t *info = json_copy(n->info), *status;

	json_object_set_new(info, "containerRuntimeVersion",
			    json_string(n->runtime_version ? n->runtime_version : "containerd://unknown"));
	status = json_pack("{s:o,s:o,s:o,s:o,s:{s:{s:i}},s:o}", "capacity", quantities(n, false),
			   "allocatable", quantities(n, true), "conditions", conditions(n), "addresses", addresses(n->agent),
			   "daemonEndpoints", "kubeletEndpoint", "Port", listen_port(n->agent), "nodeInfo", info);
	BUG_ON(!status);
	if (n->images)
		json_object_set(status, "images", n->images);
	return status;
}

static json_t *without_heartbeats(const json_t *status)
{
	json_t *copy = json_deep_copy(status), *c;
	size_t i;

	json_array_foreach(json_object_get(copy, "conditions"), i, c) {
		json_object_del(c, "lastHeartbeatTime");
		json_object_del(c, "lastTransitionTime");
	}
	return copy;
}

static void status_in(struct node *n, unsigned delay_ms)
{
	if (!uv_is_active((uv_handle_t *)n->status_timer) || uv_timer_get_due_in(n->status_timer) > delay_ms)
		uv_timer_start(n->status_timer, on_status_timer, delay_ms, 0);
}

static void on_reported(const struct kube_result *r, void *user)
{
	struct node *n = user;

	n->busy = false;
	if (kube_ok(r))
		return;
	log_warn("the node's status cannot be written: %s", r->message);
	json_decref(n->reported);
	n->reported = NULL;
	if (r->status == 404)
		n->registered = false;
	status_in(n, RETRY_MS);
}

static void report(struct node *n)
{
	_cleanup_json_ json_t *status = compute_status(n), *plain = without_heartbeats(status), *patch = NULL;
	_cleanup_free_ char *path = kube_path("v1", "nodes", NULL, n->agent->o.node_name, "status");
	int64_t now = clock_mono_ms();

	if (n->busy || (n->reported && json_same(plain, n->reported) && now - n->reported_at_ms < REPORT_MS))
		return;
	n->busy = true;
	n->reported_at_ms = now;
	json_decref(n->reported);
	n->reported = json_incref(plain);
	patch = json_pack("{s:O}", "status", status);
	/* The list's merge key is the type, of which there may be two: it is replaced as a whole (as the kubelet does). */
	json_array_append_new(json_object_get(status, "addresses"), json_pack("{s:s}", "$patch", "replace"));
	kube_do(n->agent->kube, "PATCH", path, KUBE_STRATEGIC_PATCH, patch, on_reported, n);
}

/* Registration */

static json_t *labels(const struct node *n)
{
	const char *arch = json_str(n->info, "architecture");

	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "kubernetes.io/hostname", n->agent->o.node_name, "kubernetes.io/os", "linux",
			 "kubernetes.io/arch", arch, "beta.kubernetes.io/os", "linux", "beta.kubernetes.io/arch", arch);
}

static void on_labelled(const struct kube_result *r, void *user)
{
	struct node *n = user;

	n->busy = false;
	if (!kube_ok(r)) {
		log_warn("the node cannot be labelled: %s", r->message);
		status_in(n, RETRY_MS);
		return;
	}
	n->registered = true;
	report(n);
}

static void on_registered(const struct kube_result *r, void *user)
{
	struct node *n = user;

	n->busy = false;
	if (kube_ok(r)) {
		log_info("node %s is registered", n->agent->o.node_name);
		n->registered = true;
		report(n);
	} else if (r->status == 409) {
		_cleanup_free_ char *path = kube_path("v1", "nodes", NULL, n->agent->o.node_name, NULL);
		_cleanup_json_ json_t *patch = json_pack("{s:{s:o}}", "metadata", "labels", labels(n));

		n->busy = true;
		kube_do(n->agent->kube, "PATCH", path, KUBE_MERGE_PATCH, patch, on_labelled, n);
	} else {
		log_warn("the node cannot be registered: %s", r->message);
		status_in(n, RETRY_MS);
	}
}

static void register_node(struct node *n)
{
	_cleanup_free_ char *path = kube_path("v1", "nodes", NULL, NULL, NULL);
	_cleanup_json_ json_t *body = NULL;

	if (n->busy)
		return;
	body = json_pack("{s:s,s:s,s:{s:s,s:o},s:{},s:o}", "apiVersion", "v1", "kind", "Node", "metadata", "name",
			 n->agent->o.node_name, "labels", labels(n), "spec", "status", compute_status(n));
	n->busy = true;
	kube_do(n->agent->kube, "POST", path, NULL, body, on_registered, n);
}

/* The runtime */

static void on_images(const struct cri_result *r, void *user)
{
	struct node *n = user;
	const Cri__ListImagesResponse *a = (const void *)r->answer;
	json_t *list;

	if (!a)
		return;
	list = json_array();
	for (size_t i = 0; i < a->n_images && i < MAX_IMAGES; i++) {
		const Cri__Image *image = a->images[i];
		json_t *image_names = json_array();

		for (size_t k = 0; k < image->n_repo_digests; k++)
			json_array_append_new(image_names, json_string(image->repo_digests[k]));
		for (size_t k = 0; k < image->n_repo_tags; k++)
			json_array_append_new(image_names, json_string(image->repo_tags[k]));
		json_array_append_new(list, json_pack("{s:o,s:I}", "names", image_names, "sizeBytes", (json_int_t)image->size));
	}
	json_decref(n->images);
	n->images = list;
}

static void set_runtime(struct node *n, bool runtime, bool network, const char *why)
{
	if (runtime != n->runtime_ready || network != n->network_ready)
		log_info("container runtime %s, its network %s%s%s", runtime ? "ready" : "not ready", network ? "ready" : "not ready",
			 str_empty(why) ? "" : ": ", why ? why : "");
	n->runtime_ready = runtime;
	n->network_ready = network;
	free(n->runtime_why);
	n->runtime_why = mem_strdup(why);
}

static void on_runtime_status(const struct cri_result *r, void *user)
{
	struct node *n = user;
	const Cri__StatusResponse *a = (const void *)r->answer;
	bool runtime = false, network = false;
	const char *why = r->message;

	n->asked = false;
	for (size_t i = 0; a && a->status && i < a->status->n_conditions; i++) {
		const Cri__RuntimeCondition *c = a->status->conditions[i];

		if (str_eq(c->type, "RuntimeReady"))
			runtime = c->status;
		else if (str_eq(c->type, "NetworkReady"))
			network = c->status;
		if (!c->status)
			why = c->message;
	}
	set_runtime(n, runtime, network, runtime && network ? NULL : why);
	if (!n->registered)
		register_node(n);
	else
		report(n);
	/* While it comes up, or waits for its network: look often. */
	status_in(n, runtime && network ? STATUS_MS : STATUS_SOON_MS);
}

static void ask_status(struct node *n)
{
	Cri__StatusRequest status = CRI__STATUS_REQUEST__INIT;
	Cri__ListImagesRequest list = CRI__LIST_IMAGES_REQUEST__INIT;

	cri_call(n->agent->cri, CRI_LIST_IMAGES, &list.base, 0, on_images, n);
	cri_call(n->agent->cri, CRI_STATUS, &status.base, STATUS_MS, on_runtime_status, n);
}

static void on_version(const struct cri_result *r, void *user)
{
	struct node *n = user;
	const Cri__VersionResponse *a = (const void *)r->answer;

	if (a) {
		free(n->runtime_version);
		n->runtime_version = str_printf("%s://%s", a->runtime_name, a->runtime_version);
	}
	ask_status(n);
}

/* The version comes first, so that a node that says it is ready says with what. */
static void on_status_timer(uv_timer_t *t)
{
	struct node *n = t->data;
	Cri__VersionRequest version = CRI__VERSION_REQUEST__INIT;

	uv_timer_start(n->status_timer, on_status_timer, STATUS_MS, 0);
	if (n->asked)
		return;
	n->asked = true;
	if (n->runtime_version)
		ask_status(n);
	else
		cri_call(n->agent->cri, CRI_VERSION, &version.base, STATUS_MS, on_version, n);
}

/* The lease */

static json_t *lease_spec(const struct node *n)
{
	char now[CLOCK_RFC3339_MICRO_SIZE];

	clock_format_rfc3339_micro(clock_wall_us(), now);
	return json_pack("{s:s,s:i,s:s}", "holderIdentity", n->agent->o.node_name, "leaseDurationSeconds", (int)n->agent->lease_s,
			 "renewTime", now);
}

static void on_lease(const struct kube_result *r, void *user)
{
	struct node *n = user;

	if (kube_ok(r))
		return;
	if (r->status == 404) {
		const json_t *node = node_object(n);
		_cleanup_free_ char *path = kube_path("coordination.k8s.io/v1", "leases", "kube-node-lease", NULL, NULL);
		_cleanup_json_ json_t *body = json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "apiVersion", "coordination.k8s.io/v1",
							"kind", "Lease", "metadata", "name", n->agent->o.node_name, "namespace",
							"kube-node-lease", "spec", lease_spec(n));

		if (node)
			json_set(body, "metadata.ownerReferences",
				 json_pack("[{s:s,s:s,s:s,s:s}]", "apiVersion", "v1", "kind", "Node", "name", object_name(node), "uid",
					   object_uid(node)));
		kube_do(n->agent->kube, "POST", path, NULL, body, NULL, NULL);
		return;
	}
	log_warn("the node's lease cannot be renewed: %s", r->message);
}

static void on_lease_timer(uv_timer_t *t)
{
	struct node *n = t->data;
	_cleanup_free_ char *path =
		kube_path("coordination.k8s.io/v1", "leases", "kube-node-lease", n->agent->o.node_name, NULL);
	_cleanup_json_ json_t *patch = json_pack("{s:o}", "spec", lease_spec(n));

	kube_do(n->agent->kube, "PATCH", path, KUBE_MERGE_PATCH, patch, on_lease, n);
}

/* The CNI configuration */

/* cidrs: the node's pod ranges in the order of a pod's addresses, with commas. */
static void write_cni(struct node *n, const char *cidrs)
{
	const struct agent_options *o = &n->agent->o;
	_cleanup_free_ char *dir = str_printf("%s/cni/conf", o->state), *path = str_printf("%s/10-keelson.conflist", dir);
	_cleanup_free_ char *data_dir = str_printf("%s/cni/state", o->state);
	_cleanup_strbuf_ struct strbuf text = { 0 }, have = { 0 };
	_cleanup_strlist_ struct strlist ranges = { 0 };
	json_t *ipam = json_object(), *list = json_array();
	_cleanup_json_ json_t *conf = json_pack(
		"{s:s,s:s,s:[{s:s,s:s,s:i,s:b,s:b,s:b,s:{s:b,s:b},s:s,s:s,s:o,s:s}]}", "cniVersion", "1.0.0", "name", "keelson", "plugins",
		"type", "keelson-cni", "bridge", "kl0", "mtu", 0, "isGateway", 1, "hairpinMode", 1, "ipMasq", 1, "capabilities",
		"portMappings", 1, "bandwidth", 1, "clusterCIDR", o->cluster_cidr, "serviceCIDR", o->service_cidr, "ipam", ipam,
		"dataDir", data_dir);
	int r;

	BUG_ON(!conf);
	strlist_split(&ranges, cidrs, ',');
	for (size_t i = 0; i < ranges.count; i++)
		json_array_append_new(list, json_string(ranges.items[i]));
	if (ranges.count > 1) {
		json_object_set_new(ipam, "subnets", list);
	} else {
		json_decref(list);
		json_object_set_new(ipam, "subnet", json_string(cidrs));
	}
	json_write_pretty(&text, conf);
	if (file_read(path, 1 << 20, &have) == 0 && have.len == text.len && memcmp(have.data, text.data, text.len) == 0)
		return;
	r = file_mkdir_p(dir, 0755);
	if (r == 0)
		r = file_write_atomic(path, text.data, text.len, 0644);
	if (r < 0) {
		log_error("write %s: %s", path, strerror(-r));
		return;
	}
	log_info("the pods' addresses come from %s", cidrs);
	status_in(n, STATUS_SOON_MS);
}

/* Somebody wrote other conditions than we did: the controllers do when they hear nothing for a while. */
static bool is_doubted(const struct node *n, const json_t *object)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(n->reported, "conditions"), i, c) {
		const json_t *now = object_condition(object, json_str_or(c, "type", ""));

		if (now && !str_eq(json_str(now, "status"), json_str(c, "status")))
			return true;
	}
	return false;
}

/* spec.podCIDRs with commas, or spec.podCIDR, or "". */
static char *pod_cidrs(const json_t *node)
{
	struct strbuf text = { 0 };
	json_t *list = json_at(node, "spec.podCIDRs"), *item;
	size_t i;

	json_array_foreach(list, i, item)
		strbuf_addf(&text, "%s%s", i ? "," : "", json_string_value(item) ? json_string_value(item) : "");
	if (json_array_size(list) == 0)
		strbuf_adds(&text, json_str_or(node, "spec.podCIDR", ""));
	return strbuf_take(&text);
}

static void on_node(const json_t *old, const json_t *new, void *user)
{
	struct node *n = user;
	_cleanup_free_ char *cidrs = pod_cidrs(new);

	if (new && n->reported && !n->busy && is_doubted(n, new)) {
		log_warn("the node's conditions were changed by somebody else: they are written again");
		json_decref(n->reported);
		n->reported = NULL;
		status_in(n, STATUS_SOON_MS);
	}

	(void)old;
	if (!new && n->registered) {
		log_warn("the node's object was deleted: it is registered again");
		n->registered = false;
		status_in(n, STATUS_SOON_MS);
	} else if (!str_empty(cidrs) && !str_eq(cidrs, n->pod_cidr)) {
		free(n->pod_cidr);
		n->pod_cidr = TAKE(cidrs);
		write_cni(n, n->pod_cidr);
	}
}

struct node *node_new(struct agent *a)
{
	struct node *n = mem_new(struct node);
	_cleanup_free_ char *selector = str_printf("metadata.name=%s", a->o.node_name);
	struct informer_options o = { .size = sizeof(o), .api_version = "v1", .plural = "nodes", .field_selector = selector };
	struct informer_handler h = { .on_change = on_node, .user = n };

	n->agent = a;
	read_machine(n);
	n->status_timer = mem_new(uv_timer_t);
	n->lease_timer = mem_new(uv_timer_t);
	BUG_ON(uv_timer_init(&a->loop, n->status_timer) < 0 || uv_timer_init(&a->loop, n->lease_timer) < 0);
	n->status_timer->data = n->lease_timer->data = n;
	uv_timer_start(n->status_timer, on_status_timer, 0, 0);
	uv_timer_start(n->lease_timer, on_lease_timer, STATUS_SOON_MS, a->lease_s * 1000 / LEASE_RENEWALS);
	n->informer = informer_new(a->kube, &o);
	informer_add_handler(n->informer, &h);
	informer_start(n->informer);
	return n;
}

static void timer_closed(uv_handle_t *h)
{
	free(h);
}

void node_free(struct node *n)
{
	if (!n)
		return;
	informer_free(n->informer);
	uv_close((uv_handle_t *)n->status_timer, timer_closed);
	uv_close((uv_handle_t *)n->lease_timer, timer_closed);
	json_decref(n->info);
	json_decref(n->images);
	json_decref(n->reported);
	free(n->runtime_version);
	free(n->runtime_why);
	free(n->pod_cidr);
	free(n);
}
