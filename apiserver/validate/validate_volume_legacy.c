/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volume sources that pods and persistent volumes name the same way: network file systems, block devices, clouds. */
#include "apiserver/validate/validate_volume.h"

#include <ctype.h>

static void check_partition(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	int64_t n = get_int(source, "partition");

	if (n < 0 || n > 255)
		fe_invalid_int(e, FP(p, "partition"), n, "must be between 1 and 255, inclusive");
}

static void check_lun(struct field_errors *e, const struct fpath *p, int64_t lun)
{
	if (lun < 0 || lun > 255)
		fe_invalid_int(e, p, lun, "must be between 0 and 255, inclusive");
}

static void source_nfs(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	if (!*get_str(source, "server"))
		fe_required(e, FP(p, "server"), NULL);
	if (!*get_str(source, "path"))
		fe_required(e, FP(p, "path"), NULL);
	else if (*get_str(source, "path") != '/')
		fe_invalid(e, FP(p, "path"), get_str(source, "path"), "must be an absolute path");
}

/* "iqn.2001-04.com.example:name" */
static bool iqn_shape(const char *s)
{
	const char *date = s + 4, *colon = strchr(s, ':');

	for (int i = 0; i < 7; i++)
		if (i == 4 ? date[i] != '-' : !isdigit((unsigned char)date[i]))
			return false;
	if (date[7] != '.' || !colon || colon <= date + 8 || !colon[1])
		return false;
	for (const char *c = date + 8; c < colon; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-.", *c))
			return false;
	return !strpbrk(colon + 1, ",;*&$| \t\n\r\f\v");
}

/* A prefix of four bytes and n letters or digits. */
static bool wwn_shape(const char *s, size_t n)
{
	if (strlen(s) != 4 + n)
		return false;
	for (s += 4; *s; s++)
		if (!isalnum((unsigned char)*s))
			return false;
	return true;
}

static void check_iscsi_name(struct field_errors *e, const struct fpath *p, const char *s)
{
	bool iqn = str_starts(s, "iqn"), eui = str_starts(s, "eui"), naa = str_starts(s, "naa");

	if (!iqn && !eui && !naa)
		fe_invalid(e, p, s, "must be valid format starting with iqn, eui, or naa");
	else if ((iqn && (s[3] != '.' || !iqn_shape(s))) || (eui && !wwn_shape(s, 16)) || (naa && !wwn_shape(s, 32)))
		fe_invalid(e, p, s, "must be valid format");
}

static void source_iscsi(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	const json_t *secret = get(source, "secretRef");

	if (!*get_str(source, "targetPortal"))
		fe_required(e, FP(p, "targetPortal"), NULL);
	if (!*get_str(source, "iqn"))
		fe_required(e, FP(p, "iqn"), NULL);
	else
		check_iscsi_name(e, FP(p, "iqn"), get_str(source, "iqn"));
	check_lun(e, FP(p, "lun"), get_int(source, "lun"));
	if ((get_bool(source, "chapAuthDiscovery") || get_bool(source, "chapAuthSession")) && !secret)
		fe_required(e, FP(p, "secretRef"), NULL);
	if (secret && !*get_str(secret, "name"))
		fe_required(e, FP(FP(p, "secretRef"), "name"), NULL);
	if (get(source, "initiatorName"))
		check_iscsi_name(e, FP(p, "initiatorName"), get_str(source, "initiatorName"));
}

static void source_fc(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	const json_t *targets = get(source, "targetWWNs"), *lun = get(source, "lun");
	size_t ids = json_array_size(get(source, "wwids"));

	if (json_array_size(targets) == 0 && ids == 0)
		fe_required(e, FP(p, "targetWWNs"), "must specify either targetWWNs or wwids, but not both");
	if (json_array_size(targets) > 0 && ids > 0)
		fe_invalid_json(e, FP(p, "targetWWNs"), targets, "targetWWNs and wwids can not be specified simultaneously");
	if (json_array_size(targets) == 0)
		return;
	if (!lun)
		fe_required(e, FP(p, "lun"), "lun is required if targetWWNs is specified");
	else
		check_lun(e, FP(p, "lun"), json_integer_value(lun));
}

static void source_flex(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	const char *key;
	json_t *v;

	json_object_foreach(get(source, "options"), key, v) {
		_cleanup_free_ char *domain = str_printf(".%.*s", (int)strcspn(key, "/"), key);

		for (char *c = domain; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (str_ends(domain, ".kubernetes.io") || str_ends(domain, ".k8s.io"))
			fe_invalid(e, FP_KEY(FP(p, "options"), key), key, "kubernetes.io and k8s.io namespaces are reserved");
	}
}

static void source_azure_disk(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	static const char *const caching[] = { "None", "ReadOnly", "ReadWrite", NULL }, *const kinds[] = { "Dedicated", "Managed",
													     "Shared", NULL };
	const char *uri = get_str(source, "diskURI"), *kind = get_str(source, "kind");
	bool managed = strcmp(kind, "Managed") == 0;

	if (get(source, "cachingMode") && !one_of(get_str(source, "cachingMode"), caching))
		fe_not_supported(e, FP(p, "cachingMode"), get_str(source, "cachingMode"), caching);
	if (get(source, "kind") && !one_of(kind, kinds))
		fe_not_supported(e, FP(p, "kind"), kind, kinds);
	if (managed && !str_starts(uri, "/subscriptions/"))
		fe_not_supported(e, FP(p, "diskURI"), uri,
				 WORDS("/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"));
	else if (!managed && *uri && !str_starts(uri, "https://"))
		fe_not_supported(e, FP(p, "diskURI"), uri,
				 WORDS("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"));
}

static void source_flocker(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	const char *name = get_str(source, "datasetName"), *uuid = get_str(source, "datasetUUID");

	if (!*name && !*uuid)
		fe_required(e, p, "one of datasetName and datasetUUID is required");
	if (*name && *uuid)
		fe_invalid(e, p, "resource", "datasetName and datasetUUID can not be specified simultaneously");
	if (strchr(name, '/'))
		fe_invalid(e, FP(p, "datasetName"), name, "must not contain '/'");
}

static void source_quobyte(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	static const char pairs[] = "must be a host:port pair or multiple pairs separated by commas";
	const char *registry = get_str(source, "registry");
	_cleanup_strlist_ struct strlist hosts = {0};

	if (!*registry) {
		fe_required(e, FP(p, "registry"), pairs);
	} else if (strlen(get_str(source, "tenant")) >= 65) {
		fe_required(e, FP(p, "tenant"), "must be a UUID and may not exceed a length of 64 characters");
	} else {
		strlist_split(&hosts, registry, ',');
		for (size_t i = 0; i < hosts.count; i++)
			if (!strchr(hosts.items[i], ':'))
				fe_invalid(e, FP(p, "registry"), registry, "%s", pairs);
	}
	if (!*get_str(source, "volume"))
		fe_required(e, FP(p, "volume"), NULL);
}

static void source_storageos(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	if (!*get_str(source, "volumeName"))
		fe_required(e, FP(p, "volumeName"), NULL);
	else
		check_format(e, FP(p, "volumeName"), get_str(source, "volumeName"), fmt_dns_label);
	if (*get_str(source, "volumeNamespace"))
		check_format(e, FP(p, "volumeNamespace"), get_str(source, "volumeNamespace"), fmt_dns_label);
	if (get(source, "secretRef") && !*get_str(get(source, "secretRef"), "name"))
		fe_required(e, FP(FP(p, "secretRef"), "name"), NULL);
}

static void source_cinder(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	if (get(source, "secretRef") && !*get_str(get(source, "secretRef"), "name"))
		fe_required(e, FP(FP(p, "secretRef"), "name"), NULL);
}

const struct volume_source volume_sources[] = {
	{ "gcePersistentDisk", "persistentDisk", { "pdName" }, check_partition },
	{ "awsElasticBlockStore", NULL, { "volumeID" }, check_partition },
	{ "nfs", NULL, { NULL }, source_nfs },
	{ "iscsi", NULL, { NULL }, source_iscsi },
	{ "fc", NULL, { NULL }, source_fc },
	{ "azureDisk", NULL, { "diskName", "diskURI" }, source_azure_disk },
	{ "azureFile", NULL, { "secretName", "shareName" }, NULL },
	{ "cephfs", NULL, { "monitors" }, NULL },
	{ "rbd", NULL, { "monitors", "image" }, NULL },
	{ "cinder", NULL, { "volumeID" }, source_cinder },
	{ "glusterfs", NULL, { "endpoints", "path" }, NULL },
	{ "vsphereVolume", NULL, { "volumePath" }, NULL },
	{ "photonPersistentDisk", NULL, { "pdID" }, NULL },
	{ "portworxVolume", NULL, { "volumeID" }, NULL },
	{ "scaleIO", NULL, { "gateway", "system", "volumeName" }, NULL },
	{ "quobyte", NULL, { NULL }, source_quobyte },
	{ "flexVolume", NULL, { "driver" }, source_flex },
	{ "flocker", NULL, { NULL }, source_flocker },
	{ "storageos", NULL, { NULL }, source_storageos },
};
const size_t volume_source_count = ARRAY_SIZE(volume_sources);

void check_volume_source(struct field_errors *e, const struct fpath *parent, const struct volume_source *s, const json_t *source)
{
	const struct fpath *p = FP(parent, s->path ? s->path : s->kind);

	for (size_t i = 0; i < ARRAY_SIZE(s->required) && s->required[i]; i++) {
		const json_t *v = get(source, s->required[i]);

		if (!v || (json_is_string(v) && json_string_length(v) == 0) || (json_is_array(v) && json_array_size(v) == 0))
			fe_required(e, FP(p, s->required[i]), NULL);
	}
	if (s->check)
		s->check(e, p, source);
}

void check_host_path(struct field_errors *e, const struct fpath *p, const json_t *source)
{
	static const char *const types[] = { "",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
					     "File", "FileOrCreate", "Socket",     NULL };
	_cleanup_strlist_ struct strlist parts = {0};
	const char *path = get_str(source, "path");

	if (!*path)
		fe_required(e, FP(p, "path"), NULL);
	strlist_split(&parts, path, '/');
	if (strlist_has(&parts, ".."))
		fe_invalid(e, FP(p, "path"), path, "must not contain '..'");
	if (!one_of(get_str(source, "type"), types))
		fe_not_supported(e, FP(p, "type"), get_str(source, "type"), types);
}

void check_csi_driver_name(struct field_errors *e, const struct fpath *p, const char *name)
{
	_cleanup_free_ char *lower = mem_strdup(name);
	_cleanup_strlist_ struct strlist msgs = {0};

	if (!*name)
		fe_required(e, p, NULL);
	if (strlen(name) > 63)
		fe_too_long(e, p, 63);
	for (char *c = lower; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	fmt_dns_subdomain(lower, &msgs);
	for (size_t i = 0; i < msgs.count; i++)
		fe_invalid(e, p, name, "%s", msgs.items[i]);
}
