#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The agent against a real containerd and the real API server, in a network namespace and cgroup of its own.
#   agent/test.sh          everything: up, the checks, down
#   agent/test.sh up DIR   only start (DIR keeps pids and logs); "agent/test.sh k DIR ..." is kubectl there
#   agent/test.sh down DIR
# B names the build directory. Needs root.
set -u
B=${B:-build}
here=$(cd "$(dirname "$0")/.." && pwd)
case $B in /*) ;; *) B=$here/$B ;; esac
verb=${1:-all}
D=${2:-$(mktemp -d /tmp/agent-XXXXXX)}
NS=kt-agent-$(basename "$D" | tr -dc 'a-zA-Z0-9' | tail -c 8)
CG=/keelson-$NS
IP=10.177.0.1
in_ns() { nsenter --net=/run/netns/$NS "$@"; }
k() { in_ns kubectl --kubeconfig "$D/admin.kubeconfig" "$@"; }
ctrd() { ctr -a "$D/containerd/containerd.sock" -n k8s.io "$@"; }

cert() { # NAME SUBJECT SAN
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$D/pki/$1.key" -out "$D/pki/$1.csr" -subj "$2" 2>/dev/null
	openssl x509 -req -in "$D/pki/$1.csr" -CA "$D/pki/ca.crt" -CAkey "$D/pki/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=${3:-DNS:$1}") -out "$D/pki/$1.crt" 2>/dev/null
}
kubeconfig() { # NAME FILE
	cat >"$2" <<-EOT
	apiVersion: v1
	kind: Config
	current-context: c
	clusters: [{name: c, cluster: {server: "https://$IP:6443", certificate-authority: $D/pki/ca.crt}}]
	users: [{name: u, user: {client-certificate: $D/pki/$1.crt, client-key: $D/pki/$1.key}}]
	contexts: [{name: c, context: {cluster: c, user: u}}]
	EOT
}
pki() {
	mkdir -p "$D/pki"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$D/pki/ca.key" -out "$D/pki/ca.crt" \
		-days 2 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null
	cert apiserver /CN=apiserver "IP:$IP,IP:10.96.0.1,DNS:kubernetes"
	cert agent-server /CN=n1 "IP:$IP,DNS:n1"
	cert agent "/O=system:nodes/CN=system:node:n1"
	cert admin "/O=system:masters/CN=kubernetes-admin"
	cert client "/O=system:masters/CN=kube-apiserver-kubelet-client"
	cert nobody "/O=visitors/CN=nobody"
	openssl ecparam -name prime256v1 -genkey -noout -out "$D/pki/sa.key" 2>/dev/null
	openssl ec -in "$D/pki/sa.key" -pubout -out "$D/pki/sa.pub" 2>/dev/null
	kubeconfig admin "$D/admin.kubeconfig"
	kubeconfig agent "$D/agent.kubeconfig"
}
containerd_config() {
	mkdir -p "$D"/containerd/{root,state} "$D/cni/conf" "$D/logs" "$D/run"
	cat >"$D/containerd/config.toml" <<-EOT
	version = 2
	root = "$D/containerd/root"
	state = "$D/containerd/state"
	disabled_plugins = ["io.containerd.snapshotter.v1.aufs","io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.zfs","io.containerd.internal.v1.tracing","io.containerd.tracing.processor.v1.otlp"]
	[grpc]
	  address = "$D/containerd/containerd.sock"
	[ttrpc]
	  address = "$D/containerd/containerd.sock.ttrpc"
	[plugins."io.containerd.internal.v1.opt"]
	  path = "$D/containerd/opt"
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "keelson.local/pause:1"
	  disable_apparmor = true
	  disable_tcp_service = true
	  restrict_oom_score_adj = true
	  stream_server_address = "127.0.0.1"
	  stream_server_port = "0"
	  netns_mounts_under_state_dir = true
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "$D/cni/bin"
	    conf_dir = "$D/cni/conf"
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    snapshotter = "overlayfs"
	    default_runtime_name = "runc"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
	      runtime_type = "io.containerd.runc.v2"
	EOT
	mkdir -p "$D/cni/bin"
	cp /usr/lib/cni/* "$D/cni/bin/"
	cp "$B/bin/keelson-cni" "$D/cni/bin/"
}
images() {
	mkdir -p "$D/img/bb/bin" "$D/img/pause"
	cp /bin/busybox "$D/img/bb/bin/"
	for a in sh cat sleep echo httpd nc wget ls id env true false kill printf head tail grep touch mkdir date hostname seq dd stat; do ln -sf busybox "$D/img/bb/bin/$a"; done
	mkdir -p "$D/img/bb/etc" "$D/img/bb/tmp"
	echo root:x:0:0:root:/:/bin/sh >"$D/img/bb/etc/passwd"
	printf '#include <unistd.h>\n#include <signal.h>\nstatic void e(int s){(void)s;_exit(0);}int main(void){signal(SIGTERM,e);signal(SIGINT,e);for(;;)pause();}' >"$D/img/p.c"
	gcc -static -Os -o "$D/img/pause/pause" "$D/img/p.c"
	"$here/tools/mkimage.sh" "$D/img/bb" keelson.local/busybox:1 "$D/img/bb.tar" '{"Cmd":["/bin/sh"],"Env":["PATH=/bin"]}'
	"$here/tools/mkimage.sh" "$D/img/pause" keelson.local/pause:1 "$D/img/pause.tar" '{"Entrypoint":["/pause"]}'
}
spawn() { # NAME COMMAND...
	local name=$1
	shift
	(
		[ -d /sys/fs/cgroup/unified ] && mkdir -p "/sys/fs/cgroup/unified$CG/system" && echo 0 >"/sys/fs/cgroup/unified$CG/system/cgroup.procs"
		exec setsid nsenter --net=/run/netns/$NS "$@" >>"$D/logs/$name.log" 2>&1 </dev/null
	) &
	echo $! >"$D/run/$name.pid"
	disown
}
start_containerd() {
	spawn containerd /usr/bin/containerd -c "$D/containerd/config.toml"
	for _ in $(seq 100); do ctrd version >/dev/null 2>&1 && return; sleep 0.05; done
	echo "containerd does not answer" >&2
}
start_agent() {
	spawn agent "${AGENT:-$B/bin/keelson-agent}" --kubeconfig "$D/agent.kubeconfig" --state "$D" --node-name n1 --node-ip $IP \
		--runtime-endpoint "unix://$D/containerd/containerd.sock" --cgroup-root $CG --tls-cert "$D/pki/agent-server.crt" \
		--tls-key "$D/pki/agent-server.key" --client-ca "$D/pki/ca.crt" --listen $IP:10250
}
start_apiserver() {
	spawn apiserver "$B/bin/keelson-apiserver" --data-dir "$D/store" --listen 0.0.0.0:6443 --advertise-address $IP \
		--tls-cert "$D/pki/apiserver.crt" --tls-key "$D/pki/apiserver.key" --client-ca "$D/pki/ca.crt" \
		--sa-key "$D/pki/sa.key" --sa-public "$D/pki/sa.pub" --agent-client-cert "$D/pki/client.crt" \
		--agent-client-key "$D/pki/client.key" --agent-ca "$D/pki/ca.crt"
}
stop() { # NAME SIGNAL
	[ -f "$D/run/$1.pid" ] && kill -"${2:-TERM}" "$(cat "$D/run/$1.pid")" 2>/dev/null
	for _ in $(seq 100); do kill -0 "$(cat "$D/run/$1.pid")" 2>/dev/null || return; sleep 0.05; done
}
up() {
	ip netns add $NS
	in_ns ip link set lo up
	in_ns ip route add blackhole default metric 4294967295
	in_ns ip addr add $IP/32 dev lo
	in_ns sysctl -qw net.ipv4.ip_forward=1
	pki
	containerd_config
	images
	start_containerd
	for i in bb pause; do ctrd images import "$D/img/$i.tar" >/dev/null; done
	start_apiserver
	for _ in $(seq 200); do in_ns curl -sk "https://$IP:6443/readyz" 2>/dev/null | grep -q ok && break; sleep 0.05; done
	start_agent
	for _ in $(seq 100); do k get node n1 >/dev/null 2>&1 && break; sleep 0.1; done
	k get node n1 >/dev/null || { tail -n 20 "$D"/logs/{apiserver,agent,containerd}.log; echo "not ok - the node comes up"; exit 1; }
	# What controllers would do.
	k create serviceaccount default >/dev/null
	k create configmap kube-root-ca.crt --from-file=ca.crt="$D/pki/ca.crt" >/dev/null
	k patch node n1 -p '{"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24"]}}' >/dev/null
}
down() {
	[ -d "$D" ] || return 0
	k delete pods -A --all --grace-period=1 --wait=false >/dev/null 2>&1
	for _ in $(seq 100); do [ -z "$(ctrd containers ls -q 2>/dev/null)" ] && break; sleep 0.1; done
	stop agent
	stop apiserver
	[ -n "${KEEP_LOGS:-}" ] && cp -r "$D/logs" "$KEEP_LOGS"
	for t in $(ctrd tasks ls -q 2>/dev/null); do ctrd tasks kill -s KILL "$t" 2>/dev/null; done
	for s in $(pgrep -f containerd-shim | sed 's|^|/proc/|'); do # shims of this containerd only
		tr '\0' ' ' 2>/dev/null <"$s/cmdline" | grep -q -- "-address $D/containerd/" && kill -KILL "${s#/proc/}" 2>/dev/null
	done
	stop containerd
	awk -v d="$D/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
	ip netns del $NS 2>/dev/null
	for _ in 1 2 3; do
		find /sys/fs/cgroup -depth -type d -path "*$CG*" -exec rmdir {} + 2>/dev/null
		sleep 0.1
	done
	rm -rf "$D"
}

pod() { # NAME [SPEC-YAML]
	k apply -f - >/dev/null <<-EOT
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, namespace: default, labels: {app: $1}}
	spec:
	  nodeName: n1
	  terminationGracePeriodSeconds: ${GRACE:-2}
	$2
	EOT
}
passed=0 failed=0
check() { # TEXT COMMAND...
	local text=$1
	shift
	if "$@" >"$D/check.out" 2>&1; then
		passed=$((passed + 1))
		echo "ok - $text"
	else
		failed=$((failed + 1))
		echo "not ok - $text"
		sed 's/^/      /' "$D/check.out" | head -20
	fi
}
# Patience, not a claim about speed: a busy machine gets three times what a quiet one needs.
within() { # SECONDS COMMAND...: until it succeeds
	local end=$(($(date +%s) + 3 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -ge $end ] && "$@" && return 0
		[ "$(date +%s)" -ge $end ] && return 1
		sleep 0.2
	done
}
is() { [ "$1" = "$2" ] || { echo "got: $1"; echo "not: $2"; return 1; }; }
field() { k get pod "$1" -o "jsonpath=$2"; }
field_is() { is "$(field "$1" "$2")" "$3"; }
phase_is() { field_is "$1" '{.status.phase}' "$2"; }
log_has() { local pod=$1; shift; k logs "$pod" "$@" | grep -q -- "$WANT"; }

case $verb in
up) up; echo "$D" ;;
down) down ;;
k) shift 2; k "$@" ;;
stop) stop "$3" "${4:-TERM}" ;;
start) "start_$3" ;;
restart-agent) stop agent "${3:-TERM}"; start_agent ;;
all)
	trap down EXIT
	up
	. "$here/agent/test_cases.sh"
	echo "$passed passed, $failed failed"
	[ $failed -eq 0 ]
	;;
*) echo "unknown verb $verb" >&2; exit 2 ;;
esac
