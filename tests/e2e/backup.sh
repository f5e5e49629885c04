#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# keelson backup under write load, everything purged, keelson restore, keelson up: what was acknowledged before the backup is there,
# pods run, revisions go on. And the Secrets: no plain text in the store or in the backup, keys rotated, also when killed meanwhile.
. "$(dirname "$0")/lib.sh"

mark=the-plain-text-nobody-may-find
curl_api() { # METHOD PATH [CURL-OPTION...]
	local method=$1 path=$2; shift 2
	in_node curl -s --max-time 60 --noproxy '*' --cacert "$state/pki/ca.crt" --cert "$state/pki/admin.crt" --key "$state/pki/admin.key" \
		-X "$method" "$@" "https://127.0.0.1:6443$path"
}
revision_now() { curl_api GET '/api/v1/namespaces/default/configmaps?limit=1' | jq -r .metadata.resourceVersion; }
hidden_in() { # FILE...: neither the text nor its base64
	! grep -aqE "$mark|$(printf %s "$mark" | base64 -w0)" "$@"
}
backup=$work/cluster.backup

says "nothing to back up" "no cluster in" "$bin/keelson" backup "$backup" --state "$state"
check "a cluster" up || exit 1
check "a Deployment" K create deployment web --image keelson.local/hello:1 --replicas 2
check "is rolled out" K rollout status deployment/web --timeout=90s
check "a Secret" K create secret generic one --from-literal="password=$mark"
check "its text is not in the store" hidden_in "$state"/store/objects.db*
is "the keys are the owner's" 600 stat -c %a "$state/pki/encryption.yaml"
says "status shows the key" "^key-.* yes +[1-9]" "$bin/keelson" secrets status --state "$state"

# Rotation, and one that is killed at several moments: the next goes on with it.
first=$(awk '/name:/ { print $3; exit }' "$state/pki/encryption.yaml")
check "a new key" "$bin/keelson" secrets rotate --state "$state"
refuses "the former one is gone" grep -q "$first" "$state/pki/encryption.yaml"
for pause in 0.02 0.1 0.4 0.8 1.2; do
	"$bin/keelson" secrets rotate --state "$state" >"$work/rotate" 2>&1 &
	rotation=$!
	sleep "$pause"
	kill -9 "$rotation" 2>/dev/null
	wait "$rotation" 2>/dev/null
	is "the Secret is readable, whenever the rotation was killed" "$mark" \
		bash -c "'$bin/keelson' exec --state '$state' -- '$kubectl' --kubeconfig '$state/admin.kubeconfig' get secret one -o jsonpath='{.data.password}' | base64 -d"
done
check "the next rotation ends what was begun" "$bin/keelson" secrets rotate --state "$state"
is "with one key in the file" 1 grep -c 'name:' "$state/pki/encryption.yaml"

# A name is noted once the API server has acknowledged it.
: >"$work/acked"
for writer in a b c; do
	in_node env work="$work" w=$writer state="$state" bash -c '
		i=0; while [ ! -e "$work/stop" ]; do
			i=$((i + 1))
			code=$(curl -s -o /dev/null -w "%{http_code}" --max-time 60 --noproxy "*" --cacert "$state/pki/ca.crt" \
				--cert "$state/pki/admin.crt" --key "$state/pki/admin.key" -H "Content-Type: application/json" \
				-d "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"w$w$i\"},\"data\":{\"i\":\"aGFsbG8=\"}}" \
				https://127.0.0.1:6443/api/v1/namespaces/default/secrets)
			[ "$code" = 201 ] && echo "w$w$i" >>"$work/acked"
		done' &
	background+=($!)
done
enough() { [ "$(wc -l <"$work/acked")" -ge 60 ]; }
check "writes go on" eventually 30 enough
cp "$work/acked" "$work/acked.before"
check "a backup meanwhile" "$bin/keelson" backup "$backup" --state "$state"
touch "$work/stop"
wait "${background[@]}"
background=()
is "it is the owner's" 600 stat -c %a "$backup"
check "the text is not in it" hidden_in "$backup"
check "tar lists it" tar tf "$backup"
curl_api POST /api/v1/namespaces/default/configmaps -H 'Content-Type: application/json' -o /dev/null \
	-d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"too-late"}}'
last=$(revision_now)

says "a running cluster is not replaced" "runs in .*; stop it first: keelson down" "$bin/keelson" restore "$backup" --state "$state" --replace
check "down" "$bin/keelson" down --state "$state"
says "nor one that is down, without --replace" "is not empty; .*--replace" "$bin/keelson" restore "$backup" --state "$state"
check "purged" "$bin/keelson" down --state "$state" --purge
head -c 100000 "$backup" >"$work/cut"
says "half a backup is refused" "is no whole backup" "$bin/keelson" restore "$work/cut" --state "$state"
refuses "and leaves no cluster" test -e "$state/cluster.json"
# As whole as any, but for what it says: its name of a namespace leads elsewhere.
python3 - "$backup" "$work/hostile" <<-'END'
	import hashlib, io, json, sys, tarfile
	old, new = tarfile.open(sys.argv[1]), tarfile.open(sys.argv[2], "w", format=tarfile.USTAR_FORMAT)
	files = {m.name: old.extractfile(m).read() for m in old.getmembers()}
	manifest, cluster = json.loads(files["MANIFEST.json"]), json.loads(files["cluster.json"])
	cluster["netns"] = cluster["id"] = "../../tmp/out"
	files["cluster.json"] = json.dumps(cluster).encode()
	manifest["files"][0].update(bytes=len(files["cluster.json"]), sha256=hashlib.sha256(files["cluster.json"]).hexdigest())
	files["MANIFEST.json"] = json.dumps(manifest).encode()
	for name, data in files.items():
	    member = tarfile.TarInfo(name)
	    member.size = len(data)
	    new.addfile(member, io.BytesIO(data))
	new.close()
END
says "a description that leads elsewhere is refused" "cluster.json of .* is none that" "$bin/keelson" restore "$work/hostile" --state "$state"
check "restore" "$bin/keelson" restore "$backup" --state "$state"
check "up" up || exit 1
K get secrets -o name 2>/dev/null | sed 's,^secret/,,' | sort >"$work/found"
is "every write acknowledged before the backup is there" "" comm -23 <(sort "$work/acked.before") "$work/found"
refuses "one from after it is not" K get configmap too-late
is "the Secret is as it was" "$mark" \
	bash -c "'$bin/keelson' exec --state '$state' -- '$kubectl' --kubeconfig '$state/admin.kubeconfig' get secret one -o jsonpath='{.data.password}' | base64 -d"
check "pods run" K rollout status deployment/web --timeout=90s
check "and new ones" K scale deployment/web --replicas=3
check "are rolled out" K rollout status deployment/web --timeout=90s
check "no revision goes backwards" test "$(revision_now)" -gt "$last"
says "a watch that goes on from a revision of before ends with 410" '"code":410' \
	curl_api GET "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&resourceVersion=$last"

# Over a cluster that is down: what was there is put aside. The node gets another name and address with it.
check "down again" "$bin/keelson" down --state "$state"
check "restore as another node, replacing" "$bin/keelson" restore "$backup" --state "$state" --replace --node-name other
is "what was there is kept" 1 bash -c "ls -d '$state'/replaced-*/store | wc -l"
check "up as that node" up
says "certificates are the new node's" "CN ?= ?system:node:other" openssl x509 -noout -subject -in "$state/pki/agent.crt"
check "it gets ready" K wait --for=condition=Ready node/other --timeout=90s

if command -v etcd >/dev/null && command -v etcdctl >/dev/null; then
	check "purged again" "$bin/keelson" down --state "$state" --purge
	check "a cluster on an etcd" up --store etcd || exit 1
	check "a Secret in it" K create secret generic two --from-literal="password=$mark"
	check "a rotation of its keys" "$bin/keelson" secrets rotate --state "$state"
	check "a backup of it" "$bin/keelson" backup "$backup" --state "$state"
	check "the text is neither in that nor in etcd's files" hidden_in -r "$backup" "$state/etcd"
	check "purged" "$bin/keelson" down --state "$state" --purge
	check "restored" "$bin/keelson" restore "$backup" --state "$state"
	check "up" up || exit 1
	is "the Secret is there" "$mark" \
		bash -c "'$bin/keelson' exec --state '$state' -- '$kubectl' --kubeconfig '$state/admin.kubeconfig' get secret two -o jsonpath='{.data.password}' | base64 -d"
fi
finish
