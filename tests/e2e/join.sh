#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Further machines as nodes: the provision scripts of vagrant/ run on two machines (network namespaces with one link between
# them), and everything that can be wrong with joining is refused with what to do, leaving nothing behind.
. "$(dirname "$0")/lib.sh"
export PREFIX=$work/usr MAKE_OPTIONS="B=${B:-build} SANITIZE=${SANITIZE:-0}"
server=$netns worker=$netns-w wstate=$work/w
keelson=$PREFIX/bin/keelson

cleanup_more() {
	[ "$failures" = 0 ] || tail -n 15 "$wstate"/logs/*.log 2>/dev/null
	[ ! -e "$wstate/cluster.json" ] || "$keelson" down --state "$wstate" --purge >/dev/null 2>&1
	ip netns del "$worker" 2>/dev/null
}
# The server's namespace is the test's own, so down leaves it.
trap 'cleanup; ip netns del "$server" 2>/dev/null' EXIT
inside() { local ns=$1; shift; nsenter --net="/run/netns/$ns" "$@"; }
join() { "$keelson" join --state "$wstate" --netns "$worker" "$@"; }
# fails TEXT PATTERN COMMAND...: it fails, says the pattern, and no trace of a node is there afterwards.
fails() {
	local text=$1 pattern=$2 out; shift 2
	if out=$("$@" 2>&1); then not_ok "$text" "$ $* succeeded: $out"; return; fi
	if ! grep -qE -- "$pattern" <<<"$out"; then not_ok "$text" "$ $*
wanted /$pattern/, got: $out"; return; fi
	out=$(ls -d "$wstate" /sys/fs/cgroup/*/"keelson-$worker" /sys/fs/cgroup/"keelson-$worker" 2>/dev/null
		grep -F "$wstate" /proc/self/mounts; inside "$worker" ip route | grep blackhole; inside "$worker" ip -o link | grep -E ' kl')
	if [ -z "$out" ]; then ok "$text"; else not_ok "$text: it leaves something behind" "$out"; fi
}
field() { sed -n "s/.* --$1 \([^ ]*\).*/\1/p" <<<"$2"; }

for ns in "$server" "$worker"; do
	ip netns add "$ns"
	ip -n "$ns" link set lo up
done
ip -n "$server" link add eth0 type veth peer name eth0 netns "$worker"
ip -n "$server" addr add 198.18.20.1/24 dev eth0
ip -n "$server" addr add 198.18.20.9/24 dev eth0
ip -n "$worker" addr add 198.18.20.2/24 dev eth0
ip -n "$server" link set eth0 up
ip -n "$worker" link set eth0 up

check "vagrant's machines: build and install" "$root/vagrant/common.sh" "$root" || exit 1
check "the server" env KEELSON_OPTIONS="--netns $server --state $state" "$root/vagrant/server.sh" 198.18.20.1 || exit 1
check "the server's script again changes nothing" \
	matches "nothing changed" env KEELSON_OPTIONS="--netns $server --state $state" "$root/vagrant/server.sh" 198.18.20.1

command=$("$keelson" token create --state "$state" --description "for the test")
says "token create prints the join command" \
	"^keelson join https://198.18.20.1:6443 --token [a-z0-9]{6}\.[a-z0-9]{16} --ca-hash sha256:[0-9a-f]{64}$" echo "$command"
url=https://198.18.20.1:6443 token=$(field token "$command") hash=$(field ca-hash "$command")
says "token list shows it" "^${token%.*} +23h[0-9]+m|^${token%.*} +24h00m" "$keelson" token list --state "$state"
says "with its description" "join +for the test" "$keelson" token list --state "$state"
refuses "but not its secret" matches "${token#*.}" "$keelson" token list --state "$state"
says "a bad time is refused" "not a time" "$keelson" token create --state "$state" --ttl 1d
says "an unknown token cannot be deleted" "there is no token zzzzzz" "$keelson" token delete --state "$state" zzzzzz

other=sha256:$(tr 0-9a-f 1-9a-f0 <<<"${hash#*:}")
fails "no arguments" "needs the server's address, --token and --ca-hash" join
fails "a token without a hash" "given together" join $url --token "$token"
fails "a token that is none" "is not a token" join $url --token abc --ca-hash "$hash"
fails "a hash that is none" "is not sha256:" join $url --token "$token" --ca-hash md5:00
fails "an address that is none" "is not the address" join http://198.18.20.1 --token "$token" --ca-hash "$hash"
fails "nobody there" "does not answer.*firewall" join https://198.18.20.1:6444 --token "$token" --ca-hash "$hash"
fails "no API server there" "does not (tell|answer)" join https://198.18.20.1:10250 --token "$token" --ca-hash "$hash"
fails "another cluster's hash" "has the hash $hash, not $other" join $url --token "$token" --ca-hash "$other"
fails "an unknown token" "does not know the token aaaaaa" join $url --token aaaaaa.0123456789abcdef --ca-hash "$hash"
fails "a known ID with another secret" "does not know the token" join $url --token "${token%.*}.0123456789abcdef" --ca-hash "$hash"
short=$("$keelson" token create --state "$state" --ttl 1s --print-token)
sleep 1.2
fails "a token that is over" "is over; make a new one" join $url --token "$short" --ca-hash "$hash"
gone=$("$keelson" token create --state "$state" --print-token)
check "a token is deleted" "$keelson" token delete --state "$state" "${gone%.*}"
fails "a deleted token" "does not know the token" join $url --token "$gone" --ca-hash "$hash"
fails "an address that the certificate has not" "cannot be verified.*--tls-san" \
	join https://198.18.20.9:6443 --token "$token" --ca-hash "$hash"
fails "the name of a live node" "has a node $server already.*--node-name" \
	join $url --token "$token" --ca-hash "$hash" --node-name "$server"
fails "an address that is not the machine's" "is not an address of this machine" \
	join $url --token "$token" --ca-hash "$hash" --node-ip 198.18.20.77
fails "a clock that is wrong" "clock.*ahead of the server's" \
	faketime '+2 hours' "$keelson" join --state "$wstate" --netns "$worker" $url --token "$token" --ca-hash "$hash"
says "a machine with a cluster of its own" "has a cluster of its own" \
	"$keelson" join --state "$state" $url --token "$token" --ca-hash "$hash"
mkdir "$work/other"; touch "$work/other/precious"
says "a directory of somebody else's" "holds something else" \
	"$keelson" join --state "$work/other" --netns "$worker" $url --token "$token" --ca-hash "$hash"
check "is left alone" test -e "$work/other/precious"

# An interrupted join, then the real one by vagrant's script.
"$keelson" join --state "$wstate" --netns "$worker" $url --token "$token" --ca-hash "$hash" >/dev/null 2>&1 &
sleep 0.12; kill -9 $!; wait $! 2>/dev/null
echo "$command" >"$work/join-command"
worker_sh() { KEELSON_OPTIONS="--netns $worker --state $wstate" "$root/vagrant/worker.sh" 198.18.20.2 "$work/join-command"; }
check "the worker, after an attempt that was killed" worker_sh
check "its token is not left lying about" test ! -e "$work/join-command"
check "it is Ready" eventually 20 matches "$worker +Ready" K get nodes
says "joining again" "has joined .* already, nothing changed" join $url --token "$token" --ca-hash "$hash"
says "joining another cluster" "is a node of the cluster of $url already" join https://198.18.20.9:6443 --token "$token" --ca-hash "$hash"
says "being called otherwise" "is the node $worker" join --node-name other
says "no control plane on it" "^agent" "$keelson" status --state "$wstate"
refuses "none indeed" matches "apiserver|scheduler|controllers" "$keelson" status --state "$wstate"
says "tokens are made on the server" "tokens are made there" "$keelson" token create --state "$wstate"

K run box --image=keelson.local/busybox:1 --restart=Never --overrides="{\"spec\":{\"nodeName\":\"$worker\"}}" -- sh -c 'echo hello; sleep 3600' >/dev/null
check "a pod on it" K wait --for=condition=Ready pod/box --timeout=30s
check "its log through the API server" eventually 5 matches hello K logs box
is "exec through the API server" "$((6 * 7))" K exec box -- sh -c 'echo $((6 * 7))'

# A sixth of its life is left: renewed. The old key is signed again by the cluster's CA, as if it were 20 hours ago.
serial() { openssl x509 -in "$wstate/pki/agent.crt" -noout -serial; }
openssl req -new -key "$wstate/pki/agent.key" -subj "/O=system:nodes/CN=system:node:$worker" |
	faketime '-20 hours' openssl x509 -req -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -CAcreateserial -days 1 \
		-extfile <(echo extendedKeyUsage=clientAuth) -out "$work/short.pem" 2>/dev/null || not_ok "a short certificate"
sed -n '/BEGIN.*PRIVATE KEY/,$p' "$wstate/pki/agent.key" >>"$work/short.pem"
cp "$work/short.pem" "$wstate/pki/agent.pem"
old=$(serial)
"$keelson" renew --state "$wstate"
is "a certificate with little life left is renewed" 10 echo $?
check "by another" test "$old" != "$(serial)"
check "for a year" openssl x509 -in "$wstate/pki/agent.crt" -noout -checkend $((360 * 86400))
"$keelson" renew --state "$wstate"
is "and then no more" 0 echo $?

check "down" "$keelson" down --state "$wstate"
says "status then" "is not running; keelson join" "$keelson" status --state "$wstate"
check "up again without a token" "$keelson" join --state "$wstate"
check "the pod's node is back" eventually 20 matches "$worker +Ready" K get nodes
check "down once more" "$keelson" down --state "$wstate"
rm "$wstate/pki/agent.pem"
says "without a certificate it needs a token" "join again with --token" "$keelson" join --state "$wstate"
check "and joins with one" "$keelson" join --state "$wstate" --token "$token" --ca-hash "$hash"
purged=$("$keelson" down --state "$wstate" --purge 2>&1)
says "down --purge" "node down; nothing is left" echo "$purged"
# A cluster need not let a node remove itself: then down says what to do.
forgotten() { ! K get node "$worker" >/dev/null 2>&1 || grep "kubectl delete node $worker" <<<"$purged"; }
check "the cluster has no such node any more, or it is said how to remove it" forgotten
check "nothing is left of it" test ! -e "$wstate"
check "it may come back" join $url --token "$token" --ca-hash "$hash"
check "and goes" "$keelson" down --state "$wstate" --purge

# The Vagrantfile itself, from a copy: vagrant writes beside it.
cp -r "$root/vagrant" "$work/vagrant"
export VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_CWD=$work/vagrant VAGRANT_HOME=$work/vagrant.d
if command -v vagrant >/dev/null; then
	check "the Vagrantfile is Ruby" ruby -c "$root/vagrant/Vagrantfile"
	check "vagrant validates it for libvirt" env VAGRANT_DEFAULT_PROVIDER=libvirt vagrant validate
	check "and for any provider" vagrant validate --ignore-provider
	says "three machines" "server .*|worker1|worker2" env VAGRANT_DEFAULT_PROVIDER=libvirt vagrant status
else
	echo "ok - vagrant is not installed here: its file is not validated (skipped)"
fi
finish
